"""What a request costs where the model was trained in shards: the share of a training's passes over rows that has to be made again."""

from collections.abc import Iterable, Sequence

from unweave.train.config import TrainConfig
from unweave.train.shards import plan_stages, stage_epochs, stages_again

SHOWN = (1, 10, 100)
"""Rows of a request for which the cost is shown."""


def expected_share(rows: int, *, shards: int, slices: int) -> float:
    """The share of retraining that a request costs by expectation, for rows chosen at random, each whatever the others are, and slices of one size.

    Of shard k the stage s, which has s / S of its rows, is trained again if one of the rows is in its first s slices: the mean over shards of the sum over s of
    2 s / (S (S + 1)) * (1 - (1 - s / (S N))^rows). For one row that is (2 S + 1) / (3 S N).

    Args:
        rows: Rows of the request.
        shards: N.
        slices: S.

    Returns:
        A number from 0 to 1.
    """
    return sum(
        2 * number / (slices * (slices + 1)) * (1 - (1 - number / (slices * shards)) ** rows)
        for number in range(1, slices + 1)
    )


def passes_again(row_ids: Sequence[str], gone: Iterable[str], config: TrainConfig) -> float:
    """Passes over a row that training again without some rows makes.

    Args:
        row_ids: Ids of all rows, in the order of the data.
        gone: Ids of those that go.
        config: The training.

    Returns:
        A number of rows, each counted as often as it is passed.
    """
    return stage_epochs(config) * sum(len(stage.rows) for stage in stages_again(row_ids, gone, config))


def passes(row_ids: Sequence[str], config: TrainConfig) -> float:
    """Passes over a row that the whole training makes.

    Args:
        row_ids: Ids of all rows.
        config: The training.

    Returns:
        A number of rows, each counted as often as it is passed.
    """
    return stage_epochs(config) * sum(len(stage.rows) for stage in plan_stages(row_ids, config))


def cost_in_words(config: TrainConfig) -> str:
    """What requests cost, for people.

    Args:
        config: The training.

    Returns:
        A sentence without its end.
    """
    shares = [(rows, expected_share(rows, shards=config.shards, slices=config.slices)) for rows in SHOWN]
    costs = ", ".join(f"{share:.1%} for {rows} row{'s' * (rows > 1)}" for rows, share in shares)
    return f"to forget rows chosen at random takes this share of a training, by expectation: {costs}"
