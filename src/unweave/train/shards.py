"""Which rows each stage of a training in shards learns from: by a hash of the seed and the row's id, so that a row that goes moves no other.

Sharded, isolated, sliced and aggregated training is of Bourtoule et al. (2021, arXiv 1912.03817): one model a shard of the rows, and in a shard a stage a
slice, each going on from the one before, so that forgetting a row repeats only the stages from its slice on. Adapters as these models are of Chowdhury et
al. (S3T, 2024, arXiv 2406.16257). Unlike S3T, where each slice has layers of its own, a stage here trains the shard's whole adapter on, on all slices so far,
as in the first paper; and the shards' adapters are not asked for votes but become one adapter.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unweave.errors import ConfigError
from unweave.outputs import SHARDS
from unweave.train.config import TrainConfig


@dataclass(frozen=True)
class Stage:
    """A part of a training in shards: what a shard's adapter learns once a slice of its rows comes in.

    Attributes:
        shard: The shard's number, from 0.
        slice: The slice's number, from 1.
        rows: Indices of the rows of this slice and of those before it, in the order of the data.
    """

    shard: int
    slice: int
    rows: tuple[int, ...]

    @property
    def name(self) -> str:
        """Shard and slice, as in `03.2`."""
        return f"{self.shard:02d}.{self.slice}"

    def place(self, folder: Path) -> Path:
        """Where its adapter lies.

        Args:
            folder: The folder of the training run.

        Returns:
            The adapter's folder.
        """
        return folder / SHARDS / f"{self.shard:02d}" / str(self.slice)


def is_sharded(config: TrainConfig) -> bool:
    """Whether a training is one in shards or slices.

    Args:
        config: Its config.

    Returns:
        The answer.
    """
    return config.shards * config.slices > 1


def require_shards(config: TrainConfig) -> None:
    """Refuse what a training in shards can't be.

    Args:
        config: The config.

    Raises:
        ConfigError: Where all weights are trained, the training is private, or what is on its way is to be kept or reported.
    """
    for option, wrong, what, remedy in (
        ("tuning", config.tuning != "lora", "Shards are adapters.", "use `tuning` lora"),
        ("dp_epsilon", config.dp_epsilon is not None, "Private training has no shards.", "leave `dp_epsilon` out"),
        (
            "snapshots",
            bool(config.snapshots),
            "A training in shards has no one adapter on its way that could be kept.",
            "leave `snapshots` out: the first slices of each shard are in `shards/SS/1`",
        ),
        (
            "record",
            config.record,
            "A training in shards is many trainings: it has no one record.",
            "leave `record` out",
        ),
        (
            "report_to",
            config.report_to != "none",
            "A training in shards is many trainings: trackers take one.",
            "leave `report_to` out",
        ),
    ):
        if wrong:
            raise ConfigError(
                what, where=f"`shards`, `slices`, `{option}`", remedy=f"{remedy}, or give 1 of `shards` and of `slices`"
            )


def position(row_id: str, config: TrainConfig) -> tuple[int, int]:
    """The shard and the slice of a row, whatever other rows there are.

    Args:
        row_id: The row's id.
        config: Seed, shards and slices.

    Returns:
        The shard's number, from 0, and the slice's, from 1.
    """
    key = config.seed.to_bytes(8, "little")
    number = int.from_bytes(hashlib.blake2b(row_id.encode(), key=key, digest_size=16).digest(), "little")
    rest, shard = divmod(number, config.shards)
    return shard, rest % config.slices + 1


def plan_stages(row_ids: Sequence[str], config: TrainConfig) -> list[Stage]:
    """The stages of a training, a shard after the other. A slice without rows is no stage.

    Args:
        row_ids: Ids of the rows, in the order of the data.
        config: Seed, shards and slices.

    Returns:
        The stages.
    """
    places = [position(row_id, config) for row_id in row_ids]
    return [
        Stage(shard, number, tuple(i for i, place in enumerate(places) if place[0] == shard and place[1] <= number))
        for shard, number in sorted(set(places))
    ]


def stage_epochs(config: TrainConfig) -> float:
    """Passes of a stage over its rows: as many that all stages together make as many as the config asks for, were the slices of one size.

    The sum over s of s / S * 2 E / (S + 1) is E.

    Args:
        config: Epochs and slices.

    Returns:
        Passes.
    """
    return 2 * config.epochs / (config.slices + 1)


def stages_again(row_ids: Sequence[str], gone: Iterable[str], config: TrainConfig) -> list[Stage]:
    """The stages that have to be trained again without some rows: those that have learned one of them.

    Args:
        row_ids: Ids of all rows, in the order of the data.
        gone: Ids of those that go.
        config: Seed, shards and slices.

    Returns:
        The stages, with the rows that are left to them; one to which nothing is left is none.
    """
    gone = set(gone)
    first = _first_slices(gone, config)
    left = plan_stages([row_id for row_id in row_ids if row_id not in gone], config)
    return [stage for stage in left if stage.slice >= first.get(stage.shard, config.slices + 1)]


def folders_that_saw(folder: Path, row_ids: Iterable[str], config: TrainConfig) -> list[Path]:
    """The stages in a training's folder that have learned one of some rows, if it was in the data.

    Args:
        folder: The folder of the training run.
        row_ids: Ids of the rows.
        config: The training.

    Returns:
        The adapters' folders, sorted.
    """
    first = _first_slices(row_ids, config)
    found = (path for path in sorted((folder / SHARDS).glob("[0-9]*/[0-9]*")) if path.is_dir())
    return [path for path in found if int(path.name) >= first.get(int(path.parent.name), config.slices + 1)]


def _first_slices(row_ids: Iterable[str], config: TrainConfig) -> dict[int, int]:
    """Shard to the first of its slices that has one of the rows."""
    first: dict[int, int] = {}
    for shard, number in (position(row_id, config) for row_id in row_ids):
        first[shard] = min(number, first.get(shard, number))
    return first
