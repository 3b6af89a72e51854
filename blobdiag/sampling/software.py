"""Versions of what decides the speed; torch is not imported: its version is read from its files."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from blobdiag import __version__
from blobdiag.model.machine import Software
from blobdiag.sampling import proc


def software(driver: str | None = None) -> Software:
    """Versions of what decides the speed; `driver` is the GPU driver's, which NVML knows.

    `git_commit` is that of the folder the command runs in, None outside a repository.
    """
    return Software(
        blobdiag=__version__,
        python=platform.python_version(),
        torch=package_version("torch"),
        torch_cuda=torch_cuda(),
        numpy=package_version("numpy"),
        numba=package_version("numba"),
        driver=driver,
        git_commit=_git_commit(),
    )


def package_version(package: str) -> str:
    """A package's installed version, or 'not installed'; the package is not imported."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def torch_cuda() -> str | None:
    """The CUDA version torch was built for, None: CPU build, AMD build, or no torch."""
    return _torch_version("cuda")


def torch_rocm() -> str | None:
    """The ROCm version torch was built for, None: any other build, or no torch."""
    return _torch_version("hip")


def other_gpu() -> str | None:
    """Why a GPU that torch may compute on is none of NVML's; None where torch is for NVIDIA's."""
    rocm = torch_rocm()
    if rocm is not None:
        return f"torch is built for AMD GPUs (ROCm {rocm}), and NVML samples only NVIDIA's"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "this is an Apple GPU, and NVML samples only NVIDIA's"
    return None


def _torch_version(name: str) -> str | None:
    """`torch.version.<name>`, from the file unless torch is loaded: to import it takes seconds."""
    if "torch" in sys.modules:
        return getattr(sys.modules["torch"].version, name, None)
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    return _assigned(name, "\n".join(proc.read_lines(Path(spec.origin).parent / "version.py")))


def _assigned(name: str, source: str) -> str | None:
    """The string constant that a module's source assigns to `name`, else None."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        value = getattr(node, "value", None)
        if named and isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None


def _git_commit() -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        answer = subprocess.run(
            [git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
