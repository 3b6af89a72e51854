"""The built-in engine as a `blobdiag.targets.measured_engine.MeasuredEngine`."""

from __future__ import annotations

from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.arm import BuiltInArm
from blobdiag.targets.builtin.iterations import BuiltInIterations
from blobdiag.targets.builtin.memory import memory_of_engine
from blobdiag.targets.builtin.run_folder import TrainingJob
from blobdiag.targets.builtin.weights import check_workload, load_network
from blobdiag.targets.measured_engine import PhaseMarker
from engine.game.jit import is_warm
from engine.matches.evaluation import compile_match_kernels
from engine.search.compilation import compile_kernels


class BuiltIn:
    """The engine that comes with blobdiag."""

    unseen = None
    proof_device = "meta"

    def __init__(self, settings: Settings) -> None:
        """Load the network. Raises UserError for settings that cannot be played."""
        check_workload(settings)
        self.network = load_network(settings)
        self.memory = memory_of_engine(settings)
        self._plays_matches = settings.plays_matches

    def prepare(self, phase: PhaseMarker) -> None:
        """Compile the kernels, once for all workers."""
        with phase("kernels" if is_warm() else "kernels, compiled on first use"):
            compile_kernels()
            if self._plays_matches:
                compile_match_kernels()

    def arm(self, settings: Settings, device: str) -> BuiltInArm:
        """Self-play on a device. Raises DeviceUnavailable."""
        return BuiltInArm(settings, self.network, device)

    def iterations(self, job: TrainingJob, device: str) -> BuiltInIterations:
        """Iterations on a device. Raises DeviceUnavailable and CheckpointError."""
        return BuiltInIterations(job, self.network, device)
