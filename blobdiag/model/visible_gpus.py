"""Which GPUs CUDA sees, and in which order: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER.

Sources: CUDA Programming Guide, "CUDA Environment Variables" (UUIDs may be cut short, an invalid
entry hides itself and all after it); torch.cuda._parse_visible_devices (the first entry decides
which kind of name counts, digits are read as strtoul does, a repeated entry hides everything);
MIG User Guide, "CUDA Device Enumeration" (CUDA shows one MIG instance at most, and no whole GPU
beside it; names MIG-<UUID> and, before driver 470, MIG-<GPU UUID>/<GPU instance>/<compute
instance>).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from blobdiag.model.gpus import instances_of
from blobdiag.model.machine import Gpu

UNORDERED = (
    "CUDA_DEVICE_ORDER is not PCI_BUS_ID: CUDA puts the fastest GPU first and does not "
    "define the order of the others"
)
NO_BUS_IDS = "the driver does not report the PCI bus IDs by which CUDA orders GPUs"
WHICH_INSTANCE = "CUDA shows one MIG instance, which of several it does not define: name one"


class Visible(NamedTuple):
    """What CUDA sees. `uuids[i]` is cuda:i; None where `reason` says why it is not known."""

    uuids: list[str] | None
    reason: str | None = None
    fault: str | None = None
    """What is wrong with CUDA_VISIBLE_DEVICES, in words."""
    hides_all: bool = False
    """Whether that fault hides every GPU."""


def visible(environment: Mapping[str, str], gpus: Sequence[Gpu]) -> Visible:
    """The devices that CUDA sees of those NVML lists (whole GPUs and MIG instances).

    Where NVML lists none, entries are checked for their form only.
    """
    value = environment.get("CUDA_VISIBLE_DEVICES")
    order, unordered = _cuda_order(gpus, environment.get("CUDA_DEVICE_ORDER"))
    if value is None:
        return _enumerated(order, gpus, unordered)
    named, fault, hides_all = _named(value, gpus, order)
    if hides_all:
        return Visible([], fault=fault, hides_all=True)
    kind = _kind(value)
    if not _can_be_checked(kind, gpus):
        return Visible(None, "the driver does not list what could be named", fault)
    if not kind and unordered:
        return Visible(None, unordered, fault)
    return _enumerated(named, gpus, None)._replace(fault=fault)


def _cuda_order(gpus: Sequence[Gpu], order: str | None) -> tuple[list[Gpu], str | None]:
    """(whole GPUs in CUDA's own order, or else why it is not known and they are in NVML's)."""
    whole = [gpu for gpu in gpus if gpu.mig is None]
    if len(whole) <= 1:
        return whole, None
    if order != "PCI_BUS_ID":
        return whole, UNORDERED
    if any(gpu.pci_bus_id is None for gpu in whole):
        return whole, NO_BUS_IDS
    return sorted(whole, key=lambda gpu: gpu.pci_bus_id or ""), None


def _enumerated(selected: Sequence[Gpu], gpus: Sequence[Gpu], unordered: str | None) -> Visible:
    """What CUDA makes of the selected devices: a MIG instance is alone, and stands for its GPU."""
    parts: list[Gpu] = []
    for gpu in selected:
        parts += [gpu] if gpu.mig else instances_of(gpu, gpus)
    if parts:
        named = selected[0].mig is not None
        certain = named or len(parts) == 1
        return Visible([parts[0].uuid]) if certain else Visible(None, WHICH_INSTANCE)
    # A GPU that is split, and has no instance, offers nothing to compute on.
    usable = [gpu.uuid for gpu in selected if not gpu.mig_enabled]
    if unordered and len(usable) > 1:
        return Visible(None, unordered)
    return Visible(usable)


def _named(value: str, gpus: Sequence[Gpu], order: list[Gpu]) -> tuple[list[Gpu], str | None, bool]:
    """(devices named, what is wrong or None, whether that hides all)."""
    entries = [entry.strip() for entry in value.split(",")]
    if entries == [""]:
        return [], "empty, which hides every GPU", True
    kind = _kind(value)
    seen: list[str] = []
    devices: list[Gpu] = []
    for entry in entries:
        device = _resolved(entry, kind, gpus, order)
        if device is None:
            rest = f"only {len(seen)} before it can be seen" if seen else "no GPU can be seen"
            return devices, f"{_fault(entry, kind)}, so {rest}", not seen
        key = device if isinstance(device, str) else device.uuid
        if key in seen:
            return [], f"{entry} is repeated, so no GPU can be seen", True
        seen.append(key)
        if isinstance(device, Gpu):
            devices.append(device)
    return devices, None, False


def _kind(value: str) -> str:
    """The prefix that every entry must have: that of the first; '' for indices."""
    return next((prefix for prefix in ("GPU-", "MIG-") if value.strip().startswith(prefix)), "")


def _can_be_checked(kind: str, gpus: Sequence[Gpu]) -> bool:
    """Whether NVML lists what names of this kind stand for: MIG needs a driver that reports it."""
    return bool(gpus) and (kind != "MIG-" or all(g.mig or g.mig_enabled is not None for g in gpus))


def _fault(entry: str, kind: str) -> str:
    if kind and entry and not entry.startswith(kind):
        return f"{entry} is of another kind than the first entry"
    return f"{entry or 'an empty entry'} names no GPU here"


def _resolved(entry: str, kind: str, gpus: Sequence[Gpu], order: list[Gpu]) -> Gpu | str | None:
    """The device an entry stands for, None: nothing; itself where that cannot be checked."""
    if not kind:
        number = re.match(r"\d+", entry)
        if number is None:
            return None
        index = int(number[0])
        if not _can_be_checked(kind, gpus):
            return str(index)
        return order[index] if index < len(order) else None
    if not entry.startswith(kind):
        return None
    if not _can_be_checked(kind, gpus):
        return entry
    candidates = [gpu for gpu in gpus if gpu.uuid.startswith(kind) and _is_named(gpu, entry)]
    return candidates[0] if len(candidates) == 1 else None


def _is_named(gpu: Gpu, entry: str) -> bool:
    if gpu.mig is None:
        return gpu.uuid.startswith(entry)
    part = gpu.mig
    old = f"MIG-{part.parent_uuid}/{part.gpu_instance}/{part.compute_instance}"
    return entry in (gpu.uuid, old)
