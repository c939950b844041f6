"""Weights of forget and retain rows from influence blocks, a gradient store, or an index."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, Unpack

import numpy as np
from jaxtyping import Float

from unweave.arguments import quoted
from unweave.attribution.index import GradientIndex
from unweave.data.reading import load_rows
from unweave.errors import ConfigError, nearest
from unweave.ranges import require_in_range
from unweave.store.base import Store
from unweave.weights.blocks import Blocks, blocks_from_store, require_weighable
from unweave.weights.checks import INFLUENCE, row_weights
from unweave.weights.config import WEIGHTS, MappingConfig, MappingOptions, WeightConfig, WeightMethod, WeightOptions
from unweave.weights.controls import loreun_weights, permuted_weights, uniform_weights
from unweave.weights.files import WeightSummary, summarize
from unweave.weights.mapping import rapidun_weights
from unweave.weights.signed import signed_weights

Config = TypeVar("Config", bound=MappingConfig)
SIGNED = ("signed_ridge", "signed_precision")
RAPIDUN = tuple(field.name for field in fields(MappingConfig) if field.name not in SIGNED)
LOREUN = ("loreun_tau", "loreun_wmin", "loreun_wmax", "loreun_direction")
USED: dict[str, tuple[str, ...]] = {
    "rapidun": RAPIDUN,
    "rapidun-dense": tuple(name for name in RAPIDUN if name != "topk"),
    "signed": (*SIGNED, "tau_r", "wmin_r", "wmax_r"),
    "uniform": (),
    "random": tuple(field.name for field in fields(WeightConfig) if field.name not in LOREUN),
    "loreun": LOREUN,
}
"""Method to the options that it depends on."""


@dataclass(frozen=True)
class WeightSummaries:
    """How far the weights of both sides are from uniform.

    Attributes:
        forget: Of the forget rows.
        retain: Of the retain rows.
    """

    forget: WeightSummary
    retain: WeightSummary


@dataclass(frozen=True, eq=False)
class RowWeights:
    """A weight for each forget and each retain row, in the order of the rows.

    Example:
        >>> import unweave as uw
        >>> weights = uw.weights.RowWeights(uw.weights.loreun([0.1, 2.0]), uw.weights.uniform(6))
        >>> weights.summary.retain.effective_sample_size
        6.0

    Attributes:
        forget: Float64; mean 1 where unweave made them. Can't be written to.
        retain: The same, but for rows that change sides, which have -1.

    Raises:
        DataError: When weights are no list of numbers, not finite, or all zero.
    """

    forget: Float[np.ndarray, " f"]
    retain: Float[np.ndarray, " r"]

    def __post_init__(self) -> None:
        for name in ("forget", "retain"):
            own = row_weights(getattr(self, name), where=quoted(name), name=f"{name} weights", remedy=INFLUENCE)
            own.flags.writeable = False
            object.__setattr__(self, name, own)

    @property
    def summary(self) -> WeightSummaries:
        """Saturation and effective sample size of both sides."""
        return WeightSummaries(summarize(self.forget.tolist()), summarize(self.retain.tolist()))


def from_index(
    index: GradientIndex,
    forget: Any,
    retain: Any,
    *,
    method: WeightMethod = "rapidun",
    config: WeightConfig | None = None,
    **options: Unpack[WeightOptions],
) -> RowWeights:
    """Weigh rows of an index.

    Example:
        >>> import unweave as uw
        >>> index = uw.GradientIndex.build(model, rows, dimension=4096)
        >>> weights = uw.weights.from_index(index, forget, retain, method="rapidun", topk=None)
        >>> weights.forget.shape, weights.retain.shape
        ((2,), (6,))
        >>> control = uw.weights.from_index(index, forget, retain, method="random", seed=1)
        >>> sorted(control.retain) == sorted(uw.weights.from_index(index, forget, retain).retain)
        True

    Args:
        index: It holds all these rows.
        forget: The forget rows: anything that `load_rows` takes, or their ids.
        retain: The retain rows; the same.
        method: `rapidun`, `rapidun-dense` (no truncation), `signed` (retain rows that belong to the forget rows by their influence change sides), `loreun`
            (from the losses that the index holds), or the controls `uniform` and `random`.
        config: The options together.
        options: Some of them: fields of `WeightConfig` that the method depends on.

    Returns:
        The weights, in the order of the rows.

    Raises:
        StoreError: When a row is not in the index, or is another than the index has under its id.
        DataError: When a row is on both sides.
        ConfigError: When an option is out of range, or none of the method's.
    """
    found = with_options(config or WeightConfig(), options, method)
    return weigh_store(index.store, _ids(index, forget), _ids(index, retain), method, found)


def _ids(index: GradientIndex, rows: Any) -> list[str]:
    if isinstance(rows, list | tuple) and rows and all(isinstance(own, str) for own in rows):
        return [str(own) for own in rows]
    read = load_rows(rows)
    index.store.require_texts(read)
    return [row.id for row in read]


def with_options(config: Config, options: MappingOptions, method: str) -> Config:
    """The options that a call has.

    Args:
        config: All of them.
        options: Those that are given beside.
        method: The method.

    Returns:
        Them together.

    Raises:
        ConfigError: When one is out of range, or the method does not depend on one that is given beside.
    """
    if method not in WEIGHTS:
        raise ConfigError(f"There are no weights '{method}'.", where="`method`", remedy=nearest(method, WEIGHTS))
    for name in options:
        if name not in USED[method]:
            raise ConfigError(
                f"{name} is no option of {method} weights.",
                where=quoted(name),
                remedy=nearest(name, USED[method]) if USED[method] else "leave it out",
            )
    found = replace(config, **options)
    require_in_range(found)
    return found


def weigh_store(
    store: Store, forget_ids: Sequence[str], retain_ids: Sequence[str], method: WeightMethod, config: WeightConfig
) -> RowWeights:
    """Weights of rows whose sketches and losses a store holds.

    Args:
        store: The store.
        forget_ids: The forget rows.
        retain_ids: The retain rows.
        method: The method.
        config: Its options.

    Returns:
        The weights.
    """
    if method != "loreun":
        return weigh_blocks(blocks_from_store(store, forget_ids, retain_ids), method, config)
    require_weighable(forget_ids, retain_ids)
    forget = loreun_weights(store.column("losses", forget_ids).tolist(), config)
    return RowWeights(np.array(forget), np.array(uniform_weights(len(retain_ids))))


def weigh_blocks(blocks: Blocks, method: WeightMethod, config: WeightConfig) -> RowWeights:
    """Weights from influence, by any method but `loreun`.

    Args:
        blocks: The four blocks.
        method: The method.
        config: Its options.

    Returns:
        The weights.

    Raises:
        ConfigError: For `loreun`, which needs losses and no influence.
    """
    forget, retain = _lists(blocks, method, config)
    return RowWeights(np.array(forget), np.array(retain))


def _lists(blocks: Blocks, method: WeightMethod, config: WeightConfig) -> tuple[list[float], list[float]]:
    if method == "loreun":
        raise ConfigError(
            "LoReUn weighs by losses, and influence holds none.",
            where="`method`",
            remedy="weigh rows of a gradient store, or give their losses to unweave.weights.loreun",
        )
    if method == "uniform":
        return uniform_weights(blocks.n_forget), uniform_weights(blocks.n_retain)
    if method == "random":
        forget, retain = _lists(blocks, config.random_of, config)
        return permuted_weights(forget, seed=config.seed), permuted_weights(retain, seed=config.seed + 1)
    if method == "signed":
        return signed_weights(blocks, config)
    return rapidun_weights(blocks, replace(config, topk=None) if method == "rapidun-dense" else config)
