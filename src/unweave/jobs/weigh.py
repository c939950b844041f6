"""The weighing stage: influence in, weight files out."""

import time
from dataclasses import dataclass
from pathlib import Path

from unweave.arguments import quoted
from unweave.data.remembered import read_remembering, remembered_columns
from unweave.errors import ConfigError
from unweave.ranges import require_in_range
from unweave.store.store import GradientStore
from unweave.weights.config import WeighConfig
from unweave.weights.files import WeightSummary, write_weights
from unweave.weights.influence_files import blocks_from_files
from unweave.weights.weighing import RowWeights, weigh_blocks, weigh_store

FILES = ("f2f", "f2r", "r2f", "r2r")


@dataclass(frozen=True)
class Weights:
    """Weights of forget and retain rows.

    Attributes:
        method: Which.
        forget: One a forget row, mean 1.
        retain: One a retain row, mean 1.
        forget_summary: Saturation and effective sample size.
        retain_summary: The same for the retain rows.
        seconds: Wall time.
    """

    method: str
    forget: list[float]
    retain: list[float]
    forget_summary: WeightSummary
    retain_summary: WeightSummary
    seconds: float


def weigh_rows(config: WeighConfig) -> Weights:
    """Compute weights and write both files.

    Args:
        config: Where influence comes from, and how it is mapped.

    Returns:
        The weights.

    Raises:
        ConfigError: When neither four files nor a store with both row files are given.
    """
    require_in_range(config)
    started = time.monotonic()
    found = _from_store(config, config.store) if config.store is not None else _from_files(config)
    forget, retain = found.forget.tolist(), found.retain.tolist()
    write_weights(config.output_forget, forget)
    write_weights(config.output_retain, retain)
    seconds = round(time.monotonic() - started, 3)
    return Weights(config.method, forget, retain, found.summary.forget, found.summary.retain, seconds)


def _from_files(config: WeighConfig) -> RowWeights:
    files = {name: getattr(config, name) for name in FILES}
    if missing := [name for name, file in files.items() if file is None]:
        raise ConfigError(
            "Weights need influence.",
            where=quoted(*missing),
            remedy="give the four influence files, or a gradient store and both files of rows",
        )
    if config.method == "loreun":
        raise ConfigError(
            "LoReUn weighs by losses, which influence files do not hold.",
            where="`method`",
            remedy="give a gradient store",
        )
    blocks = blocks_from_files(**files, n_forget=config.n_forget, n_retain=config.n_retain)
    return weigh_blocks(blocks, config.method, config)


def _from_store(config: WeighConfig, folder: Path) -> RowWeights:
    if config.forget is None or config.retain is None:
        raise ConfigError(
            "Weighing from a store needs both sets of rows.", where="`forget`, `retain`", remedy="give both files"
        )
    store = GradientStore.open(folder)
    forget, retain = (
        read_remembering(path, config, remembered_columns(folder)).rows for path in (config.forget, config.retain)
    )
    store.require_texts([*forget, *retain])
    return weigh_store(store, [row.id for row in forget], [row.id for row in retain], config.method, config)
