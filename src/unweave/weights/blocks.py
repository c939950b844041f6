"""The four influence blocks from one pass over a store: one product of the forget and retain sketches with themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from unweave.attribution.formats.rapidin import InfluenceEntry
from unweave.errors import DataError
from unweave.store.store import GradientStore


@dataclass(frozen=True)
class Blocks:
    """Influence of rows on queries, both being the forget and the retain rows.

    Attributes:
        ff: Queries F on rows F.
        fr: Queries R on rows F.
        rf: Queries F on rows R.
        rr: Queries R on rows R.
    """

    ff: list[InfluenceEntry]
    fr: list[InfluenceEntry]
    rf: list[InfluenceEntry]
    rr: list[InfluenceEntry]


def blocks_from_store(store: GradientStore, forget_ids: Sequence[str], retain_ids: Sequence[str]) -> Blocks:
    """Compute all four blocks.

    Args:
        store: A store that holds all the rows.
        forget_ids: F.
        retain_ids: R.

    Returns:
        The blocks; a query's own row is among its rows, as in RapidUn.

    Raises:
        DataError: When a row is in both sets.
    """
    if shared := set(forget_ids) & set(retain_ids):
        raise DataError(f"The row '{min(shared)}' is to be forgotten and retained.", remedy="keep the two sets apart")
    sketches = store.read([*forget_ids, *retain_ids])
    gram = sketches @ sketches.T
    cut = len(forget_ids)
    return Blocks(
        ff=_entries(gram[:cut, :cut]),
        fr=_entries(gram[cut:, :cut]),
        rf=_entries(gram[:cut, cut:]),
        rr=_entries(gram[cut:, cut:]),
    )


def _entries(block: Float[Tensor, "q n"]) -> list[InfluenceEntry]:
    """A list for each query, most helpful first and most harmful first; ties in the order of the rows."""
    entries = []
    for row in block.tolist():
        helpful = sorted(enumerate(row), key=lambda pair: (-pair[1], pair[0]))
        harmful = sorted(enumerate(row), key=lambda pair: (pair[1], pair[0]))
        entries.append(InfluenceEntry(helpful, harmful))
    return entries
