"""The state of a process beside its calls; reads of torch only what is there already."""

import os
import sys

SWITCHES = "CUDA_LAUNCH_BLOCKING", "PYTORCH_NO_CUDA_MEMORY_CACHING"


def observe(state: "dict[str, object]") -> None:
    """Bring it up to date. Never imports torch, never initialises CUDA, never waits for a GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    state["cuda_visible_devices"] = visible if visible is None else visible[:500]
    switches = [name for name in SWITCHES if os.environ.get(name, "0") != "0"]
    unseen = []
    torch = sys.modules.get("torch")
    if torch is not None and getattr(torch, "__version__", None):
        state["torch"] = str(torch.__version__)
        if torch.is_anomaly_enabled():
            switches.append("detect_anomaly")
        if _compiled():
            unseen.append("forwards inside functions of torch.compile")
        _observe_cuda(state)
    # Left on for a moment is left on: a context manager is rarely open when we look.
    _extend(state, "debug_switches", switches)
    _extend(state, "unseen", unseen)


def _observe_cuda(state: "dict[str, object]") -> None:
    cuda = sys.modules.get("torch.cuda")
    if cuda is None:
        return
    state["cuda_initialised"] = bool(cuda.is_initialized())
    if state["cuda_initialised"]:
        most = max(map(cuda.max_memory_reserved, range(cuda.device_count())), default=0)
        state["gpu_memory_mib"] = most / 2**20


def _compiled() -> bool:
    """Whether dynamo compiled anything: a module that is called in it is not seen."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return dynamo is not None and any(dynamo.counters.values())


def _extend(state: "dict[str, object]", key: str, found: "list[str]") -> None:
    known = state.get(key)
    old = known if isinstance(known, list) else []
    state[key] = old + [name for name in found if name not in old]
