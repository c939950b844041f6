"""The weighing stage: influence in, weight files out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unweave.attribution.formats.rapidin import InfluenceEntry, read_influence_file
from unweave.data.remembered import read_remembering, remembered_columns
from unweave.errors import ConfigError, DataError
from unweave.ranges import require_in_range
from unweave.store.store import GradientStore
from unweave.weights.blocks import Blocks, blocks_from_store
from unweave.weights.config import WeighConfig
from unweave.weights.controls import loreun_weights, permuted_weights, uniform_weights
from unweave.weights.files import WeightSummary, summarize, write_weights
from unweave.weights.mapping import rapidun_weights
from unweave.weights.signed import signed_weights

FILES = ("f2f", "f2r", "r2f", "r2r")
MOST_ROWS = 10_000_000
"""A list of one number a row for each query is made: a broken index must not fill the memory."""


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
    files = [getattr(config, name) for name in FILES]
    if config.store is not None:
        forget, retain = _from_store(config)
    elif all(file is not None for file in files):
        forget, retain = _from_files(config, [Path(file) for file in files])
    else:
        missing = [f"--{name}" for name, file in zip(FILES, files, strict=True) if file is None]
        raise ConfigError(
            "Weights need influence.",
            where=", ".join(missing),
            remedy="give --f2f, --f2r, --r2f and --r2r, or --store with --forget and --retain",
        )
    write_weights(config.output_forget, forget)
    write_weights(config.output_retain, retain)
    seconds = round(time.monotonic() - started, 3)
    return Weights(config.method, forget, retain, summarize(forget), summarize(retain), seconds)


def map_blocks(blocks: Blocks, config: WeighConfig, *, n_forget: int, n_retain: int) -> tuple[list[float], list[float]]:
    """Weights from influence blocks, by any method but `loreun`.

    Args:
        blocks: The four blocks.
        config: The method and its options.
        n_forget: Forget rows.
        n_retain: Retain rows.

    Returns:
        Forget and retain weights.

    Raises:
        ConfigError: For `loreun`, which needs losses and no influence.
    """
    if config.method == "loreun":
        raise ConfigError(
            "LoReUn weighs by losses, which influence files do not hold.",
            where="--method loreun",
            remedy="give --store",
        )
    if config.method == "uniform":
        return uniform_weights(n_forget), uniform_weights(n_retain)
    if config.method == "random":
        forget, retain = map_blocks(
            blocks, replace(config, method=config.random_of), n_forget=n_forget, n_retain=n_retain
        )
        return permuted_weights(forget, seed=config.seed), permuted_weights(retain, seed=config.seed + 1)
    if config.method == "signed":
        return signed_weights(blocks, n_forget=n_forget, n_retain=n_retain, config=config)
    mapping = replace(config, topk=None) if config.method == "rapidun-dense" else config
    return rapidun_weights(
        blocks.ff, blocks.fr, blocks.rf, blocks.rr, n_forget=n_forget, n_retain=n_retain, config=mapping
    )


def _from_files(config: WeighConfig, files: list[Path]) -> tuple[list[float], list[float]]:
    ff, fr, rf, rr = (read_influence_file(file) for file in files)
    # RapidUn names a file by query and row the other way round: its f2r holds queries R on rows F, its r2f queries F on rows R.
    n_forget = config.n_forget if config.n_forget is not None else _rows_named("forget", ff, fr)
    n_retain = config.n_retain if config.n_retain is not None else _rows_named("retain", rf, rr)
    return map_blocks(Blocks(ff=ff, fr=fr, rf=rf, rr=rr), config, n_forget=n_forget, n_retain=n_retain)


def _rows_named(kind: str, *files: Sequence[InfluenceEntry]) -> int:
    """One more than the largest row index in any list."""
    indices = (
        index
        for entries in files
        for entry in entries
        for pairs in (entry.helpful, entry.harmful)
        for index, _ in pairs
    )
    last = max(indices, default=-1)
    if last < 0:
        raise DataError(
            f"The influence files name no {kind} row: all their lists are empty.",
            where="--f2f, --f2r" if kind == "forget" else "--r2f, --r2r",
            remedy="give the files of a run that kept some rows of each query",
        )
    if last >= MOST_ROWS:
        raise DataError(
            f"The influence files name the {kind} row {last}: that is hardly the index of a row.",
            where="--f2f, --f2r" if kind == "forget" else "--r2f, --r2r",
            remedy=f"write the files anew, or say with --n-{kind} how many rows there are",
        )
    return 1 + last


def _from_store(config: WeighConfig) -> tuple[list[float], list[float]]:
    if config.store is None or config.forget is None or config.retain is None:
        raise ConfigError(
            "Weighing from a store needs both sets of rows.", where="--forget, --retain", remedy="give both files"
        )
    store = GradientStore.open(config.store)
    forget, retain = (
        read_remembering(path, config, remembered_columns(config.store)).rows for path in (config.forget, config.retain)
    )
    store.require_texts([*forget, *retain])
    forget_ids, retain_ids = ([row.id for row in rows] for rows in (forget, retain))
    if config.method == "loreun":
        return loreun_weights(store.column("losses", forget_ids).tolist(), config), uniform_weights(len(retain_ids))
    blocks = blocks_from_store(store, forget_ids, retain_ids)
    return map_blocks(blocks, config, n_forget=len(forget_ids), n_retain=len(retain_ids))
