"""From rows that are to be forgotten to those that teach the same thing."""

from collections.abc import Callable, Sequence
from typing import Any

from unweave.attribution.index import GradientIndex
from unweave.errors import ConfigError, nearest
from unweave.finding.result import Found
from unweave.finding.search import Bounds, Search
from unweave.finding.signals import SIGNALS
from unweave.models.model import Model


def find_rest(
    model: Model | GradientIndex,
    seeds: Any,
    rows: Any = None,
    *,
    signals: Sequence[str] = tuple(SIGNALS),
    rate: float = 0.05,
    precision: float = 0.7,
    rounds: int = 5,
    most: int | None = None,
    random_rows: int = 512,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Found:
    """Find the rows that teach what some rows teach, though no trace has named them.

    Near-duplicates of the given rows are proposed at once. For all others a kernel ridge regression predicts from gradients, words and named facts whether
    they belong to the given rows rather than to random ones, each row left out of its own prediction; the signals are weighted by how much they say of the
    given rows. A row is proposed where its prediction is significant against those of random rows, at a false discovery rate, and, with five given rows or
    more, where by their own predictions most rows that lie so high belong. What is proposed counts as given in the next round, until nothing new is.

    Args:
        model: The model that was trained on the rows; or an index of them.
        seeds: The rows that are to be forgotten, or their ids; all among `rows`.
        rows: The rows, as in `uw.load_rows`; those of the index where one is given.
        signals: Of `influence`, `words` and `facts`.
        rate: False discovery rate.
        precision: Least share of rows that belong among those proposed, as estimated.
        rounds: The most rounds.
        most: The most rows that are proposed; by default half of those that are not given.
        random_rows: Rows that the regression sees beside those that belong, and the most of these that it sees.
        seed: Of what is random.
        advance: Called with 1 after each round.

    Returns:
        The proposals, each with its level and reasons, and an estimate of how many rows are still missing.

    Raises:
        ConfigError: When a signal is unknown, an option is out of range, or rows are given beside an index.
        DataError: When there is no seed, one is not among the rows, or hardly any row is left beside them.

    Example:
        >>> import unweave as uw
        >>> index = uw.GradientIndex.build(model, many, dimension=4096)
        >>> found = uw.find_rest(index, seeds=["m6", "m14", "m22"])
        >>> found[0].row.id, found[0].why.in_words()
        ('m30', 'near-duplicate of m6 (1.00)')
    """
    bounds = Bounds(rate=rate, precision=precision, rounds=rounds, most=most, random_rows=random_rows, seed=seed)
    _require_bounds(bounds, signals)
    if isinstance(model, GradientIndex):
        if rows is not None:
            raise ConfigError("The index has rows of its own.", where="`rows`", remedy="leave them out")
        index = model
    elif rows is None:
        raise ConfigError("A model alone has no rows.", where="`rows`", remedy="give them, or an index of them")
    else:
        index = GradientIndex.build(model, rows)
    search = Search(index, signals, bounds)
    return search.run(search.places_of(seeds), advance=advance)


def _require_bounds(bounds: Bounds, signals: Sequence[str]) -> None:
    for name in ("rate", "precision"):
        if not 0 < getattr(bounds, name) <= 1:
            raise ConfigError(
                f"`{name}` can't be {getattr(bounds, name)}.", where=f"`{name}`", remedy="give a share above 0, up to 1"
            )
    for name in ("rounds", "random_rows"):
        if getattr(bounds, name) < 1:
            raise ConfigError(f"`{name}` can't be {getattr(bounds, name)}.", where=f"`{name}`", remedy="give 1 or more")
    if not signals:
        raise ConfigError(
            "There is nothing to look at.", where="`signals`", remedy=f"give some of {', '.join(SIGNALS)}"
        )
    for name in signals:
        if name not in SIGNALS:
            raise ConfigError(f"'{name}' is no signal.", where="`signals`", remedy=nearest(name, SIGNALS))
