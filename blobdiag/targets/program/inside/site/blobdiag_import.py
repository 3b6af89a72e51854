"""Acts right after torch is imported, without importing it."""

import sys


def install() -> None:
    """Wait for torch; where a .pth file has imported it already, act now."""
    if "torch" in sys.modules:
        _torch_is_there()
    else:
        sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]


class _Finder:
    """Finds nothing itself: it lets the others find torch, and shadows one method of its loader."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name != "torch":
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find and finder is not self else None
            if spec is not None:
                break
        else:
            return None
        try:
            loader, execute = spec.loader, spec.loader.exec_module

            def exec_module(module: object) -> None:
                del loader.exec_module
                execute(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)  # type: ignore[arg-type]
                _torch_is_there()

            loader.exec_module = exec_module
        except Exception as error:
            _stop(error)
        return spec


def _torch_is_there() -> None:
    try:
        import blobdiag_calls

        blobdiag_calls.install(sys.modules["torch"])
    except Exception as error:
        _stop(error)


def _stop(error: Exception) -> None:
    import blobdiag_record

    if blobdiag_record.current is not None:
        blobdiag_record.current.stop(f"torch was imported, but not to be counted: {error!r}")
