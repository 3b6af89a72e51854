"""A training of several iterations, and the matches that measure its strength."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Metric, Model


class Match(Model):
    """A player in every seat of each deal against copies of an opponent, so card luck cancels."""

    player: str
    opponent: str
    deals: int = Field(description="each deal is played once with the player in every seat")
    difference: Metric = Field(
        description="the player's mean score minus the opponents', its interval clustered by deal"
    )
    exact_bids: float = Field(description="share of the player's bids that were made exactly")
    opponents_exact_bids: float
    seconds: float | None = Field(
        default=None, description="None: measured only for several matches together"
    )


class TrainedIteration(Model):
    """One finished iteration of a training run, including work done before a resume."""

    iteration: int = Field(description="from 1")
    games: int
    determinizations: int
    simulations: int
    chunks: int = Field(description="units of self-play; an interrupted one is repeated")
    self_play_seconds: float
    evaluations_per_game: float
    examples: int
    buffer_examples: int = Field(description="examples that training drew from")
    steps: int
    training_seconds: float
    learning_rate: float = Field(description="learning rate of the last step")
    policy_loss: float | None = Field(
        description="mean over the last tenth of the steps, nats; None: no steps"
    )
    value_loss: float | None
    weights_hash: str
    weights_ages: dict[int, int] = Field(
        description="number of games by the iterations that their last weights were behind"
    )
    mean_age: float = Field(
        description="mean iterations since the buffer's examples were played, at the end"
    )
    mean_uses: float = Field(
        description="mean times that the buffer's examples had been trained on, at the end"
    )
    core_seconds: float | None = Field(
        default=None,
        description="self-play and training: seconds × busy cores; None on a GPU",
    )
    evaluation_seconds: float = Field(default=0.0, description="seconds of all its matches")
    matches: list[Match] = Field(
        default_factory=list, description="matches of the network with its search"
    )


class TrainingRun(Model):
    """A training of several iterations, or one that is stored in a folder."""

    wanted: int = Field(description="planned number of iterations")
    taken_up_at: int = Field(default=0, description="iterations finished before this run")
    iterations: list[TrainedIteration] = Field(description="all finished iterations")
    examples_by_age: dict[int, int] = Field(
        description="last training: number of examples by iterations since they were played; "
        "empty: this run has finished no training"
    )
    examples_by_uses: dict[int, int] = Field(
        description="last training: number of examples by times trained on, at its end; "
        "empty: this run has finished no training"
    )
