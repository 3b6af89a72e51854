"""Versions, read without importing torch; and GPUs that are none of NVML's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from file_tree import write

from blobdiag.sampling import software as module
from blobdiag.sampling.software import other_gpu, software


class TestOtherGpu:
    def test_amd_is_known_from_torchs_files(self, tmp_path: Path) -> None:
        code = "from blobdiag.sampling.software import other_gpu; print(other_gpu())"
        write(tmp_path / "torch", version_dot_py="cuda = None\nhip: str | None = '6.4.43'\n")
        (tmp_path / "torch/__init__.py").write_text("raise SystemExit('imported')")
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        answer = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
        )
        assert answer.stdout.startswith("torch is built for AMD GPUs (ROCm 6.4.43)"), answer.stderr

    def test_apple(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module.platform, "system", lambda: "Darwin")
        monkeypatch.setattr(module.platform, "machine", lambda: "arm64")
        assert "Apple" in (other_gpu() or "")

    def test_none_of_these(self) -> None:
        assert other_gpu() is None


class TestSoftware:
    def test_software_without_importing_torch(self) -> None:
        code = (
            "import sys\n"
            "from blobdiag.sampling.software import software\n"
            "s = software('575.51')\n"
            "assert not {'torch', 'numba', 'numpy'} & sys.modules.keys()\n"
            "print(s.model_dump_json())\n"
        )
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        import torch

        from blobdiag.model.machine import Software

        seen = Software.model_validate_json(answer.stdout)
        assert seen.torch == torch.__version__
        assert seen.torch_cuda == torch.version.cuda
        assert seen.driver == "575.51"

    @pytest.mark.parametrize(
        ("source", "cuda"),
        [
            ("__version__ = '2'\ncuda: Optional[str] = '12.8'\nhip = None\n", "12.8"),
            ("cuda = '13.0'\n", "13.0"),
            ("cuda: Optional[str] = None\n", None),
            ("", None),
        ],
    )
    def test_cuda_version_is_read_from_the_source(self, source: str, cuda: str | None) -> None:
        assert module._assigned("cuda", source) == cuda

    def test_commit_of_the_current_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert software().git_commit is None
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(tmp_path)]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
        commit = software().git_commit
        assert commit is not None
        assert len(commit) == 40
        monkeypatch.setenv("PATH", "")
        assert software().git_commit is None

    def test_slow_git_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def late(*_: object, timeout: float, **__: object) -> None:
            assert timeout <= 2
            raise subprocess.TimeoutExpired("git", timeout)

        monkeypatch.setattr(subprocess, "run", late)
        assert software().git_commit is None
