"""Which devices CUDA sees, from the environment and NVML's list alone."""

from __future__ import annotations

import pytest

from blobdiag.model.gpus import find
from blobdiag.model.machine import Gpu, MigInstance
from blobdiag.model.visible_gpus import UNORDERED, WHICH_INSTANCE, Visible, visible

# NVML lists a before b; on the PCI bus b comes first.
A = Gpu(uuid="GPU-aaaaaaaa-1111", name="H", pci_bus_id="00000000:65:00.0", mig_enabled=False)
B = Gpu(uuid="GPU-abbbbbbb-2222", name="H", pci_bus_id="00000000:17:00.0", mig_enabled=False)
SPLIT = A.model_copy(update={"mig_enabled": True})


def part(uuid: str, gpu_instance: int, of: Gpu = SPLIT) -> Gpu:
    place = MigInstance(parent_uuid=of.uuid, gpu_instance=gpu_instance, compute_instance=0)
    return Gpu(uuid=uuid, name="H MIG 1g", mig=place)


ONE, TWO = part("MIG-11111111-aaaa", 9), part("MIG-22222222-bbbb", 10)


def visible_names(
    value: str | None, *gpus: Gpu, order: str | None = "PCI_BUS_ID"
) -> tuple[list[str] | None, Visible]:
    variables = {"CUDA_VISIBLE_DEVICES": value, "CUDA_DEVICE_ORDER": order}
    visibility = visible({name: text for name, text in variables.items() if text is not None}, gpus)
    names = {gpu.uuid: letter for gpu, letter in zip((A, B, ONE, TWO), "ab12", strict=True)}
    return visibility.uuids and [names[uuid] for uuid in visibility.uuids], visibility


@pytest.mark.parametrize(
    ("value", "devices"),
    [
        (None, "ba"),
        ("0,1", "ba"),
        ("1,0", "ab"),
        ("1", "a"),
        (" 1 , 0", "ab"),
        ("1gpu,0x", "ab"),
        ("+1", ""),
        ("GPU-aa,GPU-ab", "ab"),
        ("GPU-abbbbbbb-2222,GPU-aaaaaaaa-1111", "ba"),
        ("", ""),
        (" ", ""),
        ("-1", ""),
        ("-1,0", ""),
        ("0,-1,1", "b"),
        ("0,7,1", "b"),
        ("0,", "b"),
        ("NoDevFiles", ""),
        ("2", ""),
        ("GPU-a", ""),
        ("GPU-", ""),
        ("GPU-aa,GPU-cc,GPU-ab", "a"),
        ("0,0", ""),
        ("GPU-aa,GPU-aaaaaaaa-1111", ""),
        ("0,GPU-aa", "b"),
        ("GPU-aa,0", "a"),
    ],
)
def test_two_gpus(value: str | None, devices: str) -> None:
    names, visibility = visible_names(value, A, B)
    assert names == list(devices)
    assert visibility.hides_all == (not devices)
    entries = 2 if value is None else len(value.split(","))
    assert bool(visibility.fault) == (len(devices) < entries)


@pytest.mark.parametrize("order", [None, "FASTEST_FIRST"])
@pytest.mark.parametrize("value", [None, "0", "1,0"])
def test_indices_mean_nothing_without_the_order(value: str | None, order: str | None) -> None:
    names, visibility = visible_names(value, A, B, order=order)
    assert (names, visibility.reason) == (None, UNORDERED)


def test_uuids_need_no_order() -> None:
    assert visible_names("GPU-ab", A, B, order=None)[0] == ["b"]


def test_one_gpu_has_only_one_order() -> None:
    assert visible_names(None, A, order=None)[0] == ["a"]
    assert visible_names("0", A, order=None)[0] == ["a"]
    assert visible_names("0,1", A, order=None)[0] == ["a"]


def test_unknown_bus_ids() -> None:
    names, visibility = visible_names(None, A, B.model_copy(update={"pci_bus_id": None}))
    assert names is None
    assert "PCI bus" in (visibility.reason or "")


def test_without_nvml_only_the_form_is_checked() -> None:
    assert visible_names("7", order=None)[1].fault is None
    assert visible_names("7", order=None)[0] is None
    assert visible_names("x", order=None)[1].hides_all
    assert visible_names("3,3")[1].hides_all
    assert visible_names(None)[0] == []


class TestMig:
    @pytest.mark.parametrize(
        ("value", "devices"),
        [
            ("MIG-22222222-bbbb", "2"),
            ("MIG-22222222-bbbb,MIG-11111111-aaaa", "2"),
            ("MIG-GPU-aaaaaaaa-1111/10/0", "2"),
            ("MIG-GPU-aaaaaaaa-1111/9/0", "1"),
            ("MIG-GPU-aaaaaaaa-1111/9/1", ""),
            ("MIG-unknown", ""),
            ("MIG-11111111-aaaa,MIG-11111111-aaaa", ""),
        ],
    )
    def test_named(self, value: str, devices: str) -> None:
        names, visibility = visible_names(value, SPLIT, ONE, TWO, B)
        assert names == list(devices)
        assert visibility.hides_all == (not devices)

    @pytest.mark.parametrize("value", [None, "1", "GPU-aa"])
    def test_the_only_instance_stands_for_its_gpu(self, value: str | None) -> None:
        assert visible_names(value, SPLIT, ONE, B)[0] == ["1"]

    def test_which_of_several_is_not_defined(self) -> None:
        names, visibility = visible_names("GPU-aa", SPLIT, ONE, TWO, B)
        assert (names, visibility.reason) == (None, WHICH_INSTANCE)

    def test_split_without_an_instance_offers_nothing(self) -> None:
        assert visible_names(None, SPLIT, B)[0] == ["b"]
        assert visible_names("GPU-aa", SPLIT, B)[0] == []

    def test_driver_that_does_not_report_mig(self) -> None:
        silent = A.model_copy(update={"mig_enabled": None})
        names, visibility = visible_names("MIG-33333333", silent)
        assert (names, visibility.fault) == (None, None)
        assert visibility.reason


class TestFind:
    def test_by_digits_whatever_the_prefix(self) -> None:
        assert find("GPU-ABBBBBBB-2222", [A, B]) is B
        assert find("GPU-11111111-aaaa", [SPLIT, ONE, TWO]) is ONE
        assert find("MIG-22222222-bbbb", [SPLIT, ONE, TWO]) is TWO
        assert find("GPU-cccccccc-3333", [A, B]) is None

    def test_the_whole_gpus_uuid_means_its_only_instance(self) -> None:
        assert find(SPLIT.uuid, [SPLIT, ONE]) is ONE
        assert find(SPLIT.uuid, [SPLIT, ONE, TWO]) is SPLIT
