"""The built-in engine, as the measuring commands see it."""

from __future__ import annotations

from time import monotonic

from blobdiag.diagnosis.rates import EXAMPLES_MADE, GAMES_PLAYED
from blobdiag.engines.protocol import OnProgress, OnStep, PhaseMarker
from blobdiag.engines.training import training_rate
from blobdiag.reporting.model import Metric
from blobdiag.sampling.host import usable_cores
from blobdiag.settings import Settings
from blobdiag.workload import Arm, check_workload, load_network
from engine.evaluator import compile_kernels
from engine.jit import is_warm
from engine.network import BlobNet
from engine.pipeline import IterationResult, TrainingPipeline
from engine.replay import ReplayBuffer
from engine.selfplay import CPU_LANES
from engine.telemetry import Progress, subtract_tallies
from engine.training import NetworkTrainer, StepLoss, fastest_dtype

WAVES = 4
"""An iteration plays at least so many games a lane, or no stretch of it is steady."""


class BuiltIn:
    """The engine that comes with blobdiag; all of it can be seen."""

    unseen = None
    proof_device = "meta"

    def __init__(self, settings: Settings) -> None:
        """Raises UserError, in one line, for what could not be played."""
        check_workload(settings)
        self.network = load_network(settings)

    def prepare(self, phase: PhaseMarker) -> None:
        """Compile the search, once for all workers."""
        with phase("kernels" if is_warm() else "kernels, compiled on first use"):
            compile_kernels()

    def arm(self, settings: Settings, device: str) -> Arm:
        """Self-play on a device. Raises what SelfPlayEngine raises for it."""
        return Arm(settings, self.network, device)

    def iteration(self, settings: Settings, device: str) -> BuiltInIteration:
        """An iteration on a device. Raises what SelfPlayEngine raises for it."""
        return BuiltInIteration(settings, self.network, device)


class BuiltInIteration:
    """Self-play, replay buffer, training and the weights' way back to the workers."""

    def __init__(self, settings: Settings, network: BlobNet, device: str) -> None:
        self.settings = settings
        self.arm = Arm(settings, network, device, lanes=lanes_for(settings, device))
        self.games = max(settings.games, WAVES * self.arm.engine.lanes)
        # Room for all that can come: every decision of every game searched.
        room = self.games * settings.players * (settings.cards + 1)
        # The trainer's network is the one whose weights go to the workers.
        dtype, cores = settings.dtype, usable_cores()
        if dtype == "auto":
            dtype = fastest_dtype(network, trainer_device(device), cores)
        self.trainer = NetworkTrainer(network, trainer_device(device), dtype=dtype, cores=cores)
        self.pipeline = TrainingPipeline(
            self.arm.engine, self.trainer, ReplayBuffer(room, settings.seed), settings.reuse
        )

    def run(self, phase: PhaseMarker, on_progress: OnProgress, on_step: OnStep) -> list[Metric]:
        """Raises what TrainingPipeline.run_iteration raises."""
        timeline = Timeline(self.arm, on_progress)

        def stepped(step: int, loss: StepLoss) -> None:
            timeline.steps.append(monotonic())
            # The buffer holds this iteration's examples and no others.
            on_step(step + 1, self.pipeline.steps_for(len(self.pipeline.buffer)))

        with self.trainer:
            result = self.pipeline.run_iteration(
                self.games,
                self.settings.players,
                self.settings.cards,
                phase=phase,
                on_progress=timeline.on_progress,
                on_message=self.arm.on_message,
                on_step=stepped,
            )
        training = result.training
        batch = training.examples / training.steps
        rate = training_rate(
            timeline.steps, [batch] * len(timeline.steps), training.examples_per_second
        )
        return [rate, *facts(result)]


class Timeline:
    """When self-play was steady, and when each training step ended."""

    def __init__(self, arm: Arm, on_progress: OnProgress) -> None:
        self.arm, self._on_progress = arm, on_progress
        self.begun: Progress | None = None
        self.steps: list[float] = []

    def on_progress(self, progress: Progress) -> None:
        """The steady stretch: from every lane's first finished game until lanes run empty."""
        self._on_progress(progress)
        full = (progress.wanted or 0) - progress.games > self.arm.engine.lanes
        if full and progress.lanes_settled and self.begun is None:
            self.begun = progress
        if not full and self.begun is not None and not self.arm.windows:
            self.arm.add_window(
                self.begun.time, progress.time, subtract_tallies(progress.tally, self.begun.tally)
            )


def trainer_device(device: str) -> str:
    """Training runs on one GPU: the first, where any would do."""
    return "cuda:0" if device == "cuda" else device


def lanes_for(settings: Settings, device: str) -> int | None:
    """On the CPU few enough lanes for WAVES games each; on CUDA the engine's own number."""
    if device != "cpu":
        return None
    workers = settings.workers or usable_cores()
    return max(1, min(CPU_LANES * (settings.threads or 1), settings.games // (WAVES * workers)))


def facts(result: IterationResult) -> list[Metric]:
    """Figures of the iteration that stand in no other place."""
    examples, training = result.self_play.examples.rows, result.training
    losses = training.losses
    tenth = max(1, len(losses) // 10)
    counted = [
        (GAMES_PLAYED, result.self_play.games, "games"),
        (EXAMPLES_MADE, examples, "examples"),
        ("training steps", training.steps, "steps"),
        ("each example trained on", training.examples / examples, "times"),
        ("loss of the first tenth", sum(x.total for x in losses[:tenth]) / tenth, "nats"),
        ("loss of the last tenth", sum(x.total for x in losses[-tenth:]) / tenth, "nats"),
    ]
    return [Metric(name=n, value=float(v), unit=u, samples=1) for n, v, u in counted]
