"""Each cause why CUDA is not seen, from facts alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from blobdiag.cli.doctor import doctor
from blobdiag.diagnosis.cuda_causes import DoctorLine, State, conclude, diagnose
from blobdiag.measure import cuda_facts
from blobdiag.model.cuda_facts import CudaFacts
from blobdiag.model.machine import Gpu, MigInstance
from blobdiag.sampling import cuda_probe
from blobdiag.sampling.cuda_probe import collect
from blobdiag.targets.builtin.kernel_cache import kernel_cache_is_writable

GPUS = tuple(
    Gpu(
        uuid=f"GPU-{letter * 8}-1111",
        name="NVIDIA Scripted",
        pci_bus_id=f"0:{place}:0",
        mig_enabled=False,
    )
    for letter, place in (("a", 2), ("b", 1))
)

WORKING = CudaFacts(
    pci_nvidia=True,
    container=None,
    wsl=False,
    wsl_libcuda=False,
    device_nodes=("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"),
    closed_nodes=(),
    gpus=GPUS,
    nvml_reason=None,
    driver="575.51.03",
    driver_cuda="12.9",
    visible_devices=None,
    device_order="PCI_BUS_ID",
    torch="2.13.0+cu128",
    torch_cuda="12.8",
    torch_rocm=None,
    cuda_works=True,
    cuda_error=None,
    cores_usable=16,
    cores_total=16,
    cpu_quota=None,
    kernel_cache=True,
)
BROKEN = replace(WORKING, cuda_works=False, cuda_error="No CUDA GPUs are available")
NO_DRIVER = replace(
    BROKEN,
    device_nodes=(),
    gpus=(),
    nvml_reason="NVML shared library not found: no NVIDIA driver is visible here",
    driver=None,
    driver_cuda=None,
    cuda_error="Found no NVIDIA driver on your system.",
)
CPU_ONLY = replace(
    NO_DRIVER,
    pci_nvidia=False,
    torch="2.13.0+cpu",
    torch_cuda=None,
    cuda_error="Torch not compiled with CUDA enabled",
)
UNKNOWN = replace(CPU_ONLY, pci_nvidia=None)


SILENT = tuple(gpu.model_copy(update={"mig_enabled": None}) for gpu in GPUS)
"""The driver does not say whether they are split."""
SPLIT = (GPUS[0].model_copy(update={"mig_enabled": True}),)
"""One GPU, without an instance."""
INSTANCES = tuple(
    Gpu(
        uuid=f"MIG-{digit * 8}",
        name=f"NVIDIA Scripted MIG {digit}g.10gb",
        mig=MigInstance(parent_uuid=SPLIT[0].uuid, gpu_instance=digit, compute_instance=0),
    )
    for digit in ("1", "2")
)
ROCM = replace(CPU_ONLY, torch="2.13.0+rocm6.4", torch_rocm="6.4", cuda_works=True, cuda_error=None)


def verdict(facts: CudaFacts) -> tuple[str, int]:
    return conclude(facts, diagnose(facts))


def line(facts: CudaFacts, subject: str) -> DoctorLine:
    (found,) = [line for line in diagnose(facts) if line.subject == subject]
    return found


def first_cause(facts: CudaFacts) -> str:
    """The subject that the conclusion blames; its line must be a problem with a remedy."""
    text, code = verdict(facts)
    assert code == 1, text
    assert "\n" not in text
    blamed = [line for line in diagnose(facts) if f"First cause: {line.subject}: " in text]
    assert len(blamed) == 1, text
    assert blamed[0].state is State.PROBLEM
    assert blamed[0].remedy
    return blamed[0].subject


def test_all_is_well_with_a_gpu() -> None:
    assert {line.state for line in diagnose(WORKING)} == {State.OK}
    assert verdict(WORKING) == ("CUDA works.", 0)


def test_all_is_well_without_one() -> None:
    assert {line.state for line in diagnose(CPU_ONLY)} == {State.OK}
    text, code = verdict(CPU_ONLY)
    assert code == 0
    assert text.startswith("CPU only")


def test_unknown_is_never_ok() -> None:
    text, code = verdict(UNKNOWN)
    assert code == 3
    assert text.startswith("INCONCLUSIVE. First unknown: NVIDIA hardware")
    for subject in ("NVIDIA hardware", "device nodes", "NVIDIA driver", "torch.cuda", "MIG"):
        assert line(UNKNOWN, subject).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        (replace(BROKEN, torch="2.13.0+cpu", torch_cuda=None), "torch build"),
        (replace(NO_DRIVER, torch="2.13.0+cpu", torch_cuda=None), "device nodes"),
        (NO_DRIVER, "device nodes"),
        (replace(NO_DRIVER, container="docker"), "container"),
        (replace(NO_DRIVER, container="kubernetes"), "container"),
        (replace(NO_DRIVER, device_nodes=WORKING.device_nodes), "NVIDIA driver"),
        (replace(BROKEN, closed_nodes=("/dev/nvidia0",)), "permissions"),
        (replace(BROKEN, visible_devices=""), "CUDA_VISIBLE_DEVICES"),
        (replace(BROKEN, visible_devices="-1"), "CUDA_VISIBLE_DEVICES"),
        (replace(BROKEN, torch_cuda="13.0"), "driver and torch"),
        (replace(BROKEN, gpus=SPLIT), "MIG"),
        (BROKEN, "torch.cuda"),
        (replace(BROKEN, torch="not installed", torch_cuda=None), "torch build"),
    ],
)
def test_first_cause(facts: CudaFacts, cause: str) -> None:
    assert first_cause(facts) == cause


def test_remedies_fit_the_cause() -> None:
    cpu_build = replace(BROKEN, torch="2.13.0+cpu", torch_cuda=None)
    remedy = line(cpu_build, "torch build").remedy
    assert "https://download.pytorch.org/whl/cuXXX" in remedy
    assert "12.9" in remedy
    assert "--gpus all" in line(replace(NO_DRIVER, container="docker"), "container").remedy
    assert "nvidia.com/gpu" in line(replace(NO_DRIVER, container="kubernetes"), "container").remedy
    no_kernel = replace(BROKEN, cuda_error="CUDA error: no kernel image is available")
    assert "no code for your GPU" in line(no_kernel, "torch.cuda").remedy
    assert "nvidia_uvm" in line(replace(BROKEN, cuda_error="unknown error"), "torch.cuda").remedy


def test_container_is_innocent_where_the_gpu_was_passed_in() -> None:
    assert line(replace(WORKING, container="docker"), "container").state is State.OK
    assert line(replace(CPU_ONLY, container="docker"), "container").state is State.OK
    assert line(replace(UNKNOWN, container="docker"), "container").state is State.UNKNOWN


@pytest.mark.parametrize(
    ("value", "state", "text"),
    [
        (None, State.OK, "not set"),
        ("0,1", State.OK, "'0,1'"),
        ("GPU-bbbb", State.OK, "'GPU-bbbb'"),
        (" 1 , 0", State.OK, ""),
        ("1gpu", State.OK, ""),
        ("MIG-1234", State.OK, ""),
        ("", State.PROBLEM, "empty, which hides every GPU"),
        ("-1", State.PROBLEM, "no GPU can be seen"),
        ("-1,0", State.PROBLEM, "no GPU can be seen"),
        ("2", State.PROBLEM, "2 names no GPU here"),
        ("NoDevFiles", State.PROBLEM, "names no GPU"),
        ("GPU-cccc", State.PROBLEM, "GPU-cccc names no GPU here"),
        ("GPU-", State.PROBLEM, "names no GPU here"),
        ("0,7,1", State.PROBLEM, "only 1 before it"),
        ("0,0", State.PROBLEM, "repeated"),
        ("0,", State.PROBLEM, "an empty entry"),
    ],
)
def test_visible_devices(value: str | None, state: State, text: str) -> None:
    facts = replace(BROKEN, gpus=SILENT, visible_devices=value)
    seen = line(facts, "CUDA_VISIBLE_DEVICES")
    assert seen.state is state
    assert text in seen.seen
    assert bool(seen.remedy) == (state is State.PROBLEM)


def test_visible_devices_that_hide_a_part_are_told_beside_a_working_gpu() -> None:
    facts = replace(WORKING, visible_devices="0,7")
    text, code = verdict(facts)
    assert code == 0
    assert text.startswith("CUDA works. Also CUDA_VISIBLE_DEVICES: '0,7'")


def test_visible_devices_mean_nothing_without_a_gpu() -> None:
    assert verdict(replace(CPU_ONLY, visible_devices="-1"))[1] == 0


@pytest.mark.parametrize(
    ("driver", "torch", "state"),
    [
        ("12.4", "12.8", State.OK),
        ("13.0", "12.8", State.OK),
        ("12.9", "13.0", State.PROBLEM),
        ("11.8", "12.1", State.PROBLEM),
        (None, "12.8", State.UNKNOWN),
        ("12.9", None, State.UNKNOWN),
    ],
)
def test_versions_by_major_only(driver: str | None, torch: str | None, state: State) -> None:
    facts = replace(BROKEN, driver_cuda=driver, torch_cuda=torch)
    assert line(facts, "driver and torch").state is state


class TestWsl:
    wsl = replace(NO_DRIVER, pci_nvidia=None, wsl=True, container="wsl")

    def test_windows_shares_no_driver(self) -> None:
        # The PCI bus of Linux does not show the GPU of Windows.
        for pci in (None, False):
            facts = replace(self.wsl, pci_nvidia=pci)
            assert verdict(facts)[1] == 3
            assert line(facts, "WSL").state is State.UNKNOWN
        assert "none in Linux" in line(self.wsl, "WSL").remedy

    def test_shared_driver_is_a_mark_of_a_gpu(self) -> None:
        shared = replace(self.wsl, wsl_libcuda=True, device_nodes=("/dev/dxg",))
        assert line(shared, "WSL").state is State.OK
        assert first_cause(shared) == "NVIDIA driver"

    def test_wsl_is_no_container(self) -> None:
        assert line(self.wsl, "container").state is State.OK


def test_mig_that_works_spoils_only_the_sampling() -> None:
    facts = replace(WORKING, gpus=SPLIT + INSTANCES[:1])
    text, code = verdict(facts)
    assert code == 0
    assert "MIG" in text
    name, uuid = INSTANCES[0].name, INSTANCES[0].uuid
    assert f"split: NVIDIA Scripted; {name} ({uuid})" in line(facts, "MIG").seen


def test_instances_that_cuda_does_not_show_are_marked() -> None:
    facts = replace(BROKEN, gpus=SPLIT + INSTANCES, visible_devices=INSTANCES[1].uuid)
    seen = line(facts, "MIG")
    assert f"({INSTANCES[0].uuid}, hidden)" in seen.seen
    assert f"({INSTANCES[1].uuid})" in seen.seen
    assert not seen.hides_cuda, "an instance is there: the cause is another"
    undefined = line(replace(facts, visible_devices=None), "MIG")
    assert "hidden" not in undefined.seen, "which of two CUDA shows it does not define"


def test_mig_that_the_driver_does_not_tell() -> None:
    assert line(replace(WORKING, gpus=SILENT), "MIG").state is State.UNKNOWN


def test_an_amd_gpu_that_works_is_no_nvidia_gpu() -> None:
    text, code = verdict(ROCM)
    assert code == 0
    assert text.startswith("ROCm 6.4 works. Also NVIDIA driver: ")
    assert line(ROCM, "torch build").seen == "2.13.0+rocm6.4, built for AMD's ROCm 6.4"
    assert line(ROCM, "NVIDIA hardware").seen == "no NVIDIA GPU on the PCI bus"


def test_an_amd_gpu_that_does_not_work_is_not_called_cpu_only() -> None:
    facts = replace(ROCM, cuda_works=False, cuda_error="No HIP GPUs are available")
    text, code = verdict(facts)
    assert code == 3
    assert text.startswith("INCONCLUSIVE. First unknown: torch.cuda: No HIP GPUs are available")
    assert "rocminfo" in line(facts, "torch.cuda").remedy


def test_cuda_without_nvml_works_but_cannot_be_sampled() -> None:
    facts = replace(WORKING, gpus=(), nvml_reason="NVML shared library not found")
    text, code = verdict(facts)
    assert code == 0
    assert "cannot be sampled" in text


def test_what_would_hide_a_gpu_is_told_beside_one_that_works() -> None:
    text, code = verdict(replace(WORKING, closed_nodes=("/dev/nvidia1",)))
    assert code == 0
    assert text.startswith("CUDA works. Also permissions: /dev/nvidia1")


def test_hidden_pci_bus_does_not_outweigh_a_working_gpu() -> None:
    facts = replace(UNKNOWN, cuda_works=True, torch_cuda="12.8")
    assert line(facts, "NVIDIA hardware").state is State.OK
    assert verdict(facts)[1] == 0


def test_nuisances_never_decide() -> None:
    quota = replace(CPU_ONLY, cores_usable=2, cpu_quota=2.5)
    seen = line(quota, "cores")
    assert seen.state is State.PROBLEM
    assert "2 usable of 16" in seen.seen
    assert "OMP_NUM_THREADS=2" in seen.remedy
    text, code = verdict(quota)
    assert code == 0
    assert "Also cores" in text
    cache = replace(WORKING, kernel_cache=False)
    assert "NUMBA_CACHE_DIR" in line(cache, "kernel cache").remedy
    assert verdict(cache)[1] == 0
    assert line(replace(WORKING, kernel_cache=None), "kernel cache").state is State.UNKNOWN


def test_quota_above_the_cores_limits_nothing() -> None:
    assert line(replace(WORKING, cpu_quota=16.0), "cores").state is State.OK


@pytest.mark.parametrize(
    ("vendor", "kind", "seen"),
    [
        ("0x10de", "0x030200", True),
        ("0x10de", "0x030000", True),
        ("0x10de", "0x040300", False),
        ("0x8086", "0x030000", False),
    ],
)
def test_pci_bus(tmp_path: Path, vendor: str, kind: str, seen: bool) -> None:
    device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    assert cuda_probe.nvidia_on_pci(tmp_path) is seen


def test_pci_bus_that_shows_nothing(tmp_path: Path) -> None:
    assert cuda_probe.nvidia_on_pci(tmp_path) is None


def test_device_nodes_are_those_cuda_opens(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia12", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "null"):
        (tmp_path / "dev" / name).touch()
    found = set(cuda_probe._device_nodes(tmp_path))
    assert found == {"/dev/nvidia0", "/dev/nvidia12", "/dev/nvidiactl", "/dev/nvidia-uvm"}


def test_facts_agree_with_torch() -> None:
    import torch

    facts = collect(kernel_cache_is_writable())
    assert facts.kernel_cache is not None
    assert facts.torch == torch.__version__
    assert facts.torch_cuda == torch.version.cuda
    assert facts.cuda_works == torch.cuda.is_available()
    assert bool(facts.cuda_error) != facts.cuda_works
    assert bool(facts.nvml_reason) != bool(facts.gpus)


@pytest.mark.parametrize(
    ("facts", "code"), [(WORKING, 0), (CPU_ONLY, 0), (NO_DRIVER, 1), (UNKNOWN, 3)]
)
def test_command_prints_every_line_and_ends_with_the_conclusion(
    facts: CudaFacts, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    odd = replace(facts, visible_devices="[bold]0[/]")
    monkeypatch.setattr(cuda_facts, "collect_cuda_facts", lambda: odd)
    assert doctor() == code
    printed = capsys.readouterr().out.rstrip().splitlines()
    assert printed[-1] == verdict(odd)[0]
    for shown in diagnose(odd):
        assert any(shown.subject in text and shown.seen in text for text in printed), shown
        assert not shown.remedy or any(shown.remedy in text for text in printed), shown
