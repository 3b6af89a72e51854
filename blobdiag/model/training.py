"""A training of several iterations, and the matches that say how strong it became."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Metric, Model


class Match(Model):
    """A player in every seat of each deal, against copies of another: the cards' luck cancels."""

    player: str
    opponent: str
    deals: int = Field(description="each played once with the player in every seat")
    difference: Metric = Field(
        description="the player's mean score minus the opponents', its interval clustered by deal"
    )
    exact_bids: float = Field(description="share of the player's bids that were made exactly")
    opponents_exact_bids: float
    seconds: float | None = Field(default=None, description="None: of several matches together")


class TrainedIteration(Model):
    """One finished iteration of a training run, with what of it was done before a resume."""

    iteration: int = Field(description="from 1")
    games: int
    determinizations: int
    simulations: int
    chunks: int = Field(description="self-play's units, each repeated if it is interrupted")
    self_play_seconds: float
    evaluations_per_game: float
    examples: int
    buffer_examples: int = Field(description="those that training drew from")
    steps: int
    training_seconds: float
    learning_rate: float = Field(description="of its last step")
    policy_loss: float | None = Field(
        description="mean of the last tenth of its steps, nats; None: it had no step"
    )
    value_loss: float | None
    weights_hash: str
    weights_ages: dict[int, int] = Field(
        description="iterations that the weights a game ended with were behind: how many games"
    )
    mean_age: float = Field(
        description="iterations since the buffer's examples were played, when it ended"
    )
    mean_uses: float = Field(description="times each of them had been trained on until then")
    core_seconds: float | None = Field(
        default=None,
        description="of self-play and training: seconds × cores kept busy; None on a GPU",
    )
    evaluation_seconds: float = Field(default=0.0, description="of its matches, all together")
    matches: list[Match] = Field(
        default_factory=list, description="of the network with its search; empty: none was played"
    )


class TrainingRun(Model):
    """A training of several iterations, or one that is kept in a folder."""

    wanted: int = Field(description="iterations it will have")
    taken_up_at: int = Field(default=0, description="iterations that were finished before this run")
    iterations: list[TrainedIteration] = Field(description="all that are finished")
    examples_by_age: dict[int, int] = Field(
        description="of the last training: iterations since an example was played: how many "
        "examples; empty: this run has finished none"
    )
    examples_by_uses: dict[int, int] = Field(
        description="of the last training: times an example had been trained on when it ended: "
        "how many examples; empty: this run has finished none"
    )
