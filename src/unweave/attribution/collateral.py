"""What forgetting will cost, before anything is trained: which other rows lose most by a step that unlearns some.

A step of size lr up the mean loss of the rows to forget, theta' = theta + lr mean_f g_f, changes the loss of another row r by lr mean_f <g_f, g_r>, up to
terms of second order: what the influence matrix holds of r, averaged. Rows whose change is large share a direction with the rows to forget. What a run of
many steps does to them is of a higher order, so it is the order of the rows that counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from jaxtyping import Float

from unweave.attribution.index import GradientIndex
from unweave.attribution.scan import scan
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.frames import frame
from unweave.store.texts import stored_rows

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Exposed:
    """A row that stays, and what a step that unlearns others does to it.

    Attributes:
        row: The row.
        change: Expected change of its loss, nats a token for a step of size 1.
        level: Share of the rows that stay whose change is smaller.
        by: Id of the row to forget that adds most to the change.
    """

    row: Row
    change: float
    level: float
    by: str


@dataclass(frozen=True, eq=False)
class Collateral(Sequence[Exposed]):
    """The rows that stay, the most exposed first.

    Example:
        >>> import unweave as uw
        >>> index = uw.GradientIndex.build(model, rows, sketch="none", normalize="none", number_format="float32")
        >>> harm = uw.predict_collateral(index, forget)
        >>> len(harm), harm[0].change >= harm[1].change, harm.is_exact
        (6, True, True)

    Attributes:
        exposed: What this is a sequence of.
        mean: Mean change of all of them.
        is_exact: Whether the index keeps gradients as they are, so that changes are in nats a token; where each tensor's gradient was divided by its norm, they
            are approximate, and the order of the rows is what they say.
    """

    exposed: tuple[Exposed, ...]
    mean: float
    is_exact: bool

    @property
    def changes(self) -> Mapping[str, float]:
        """Row id to expected change."""
        return {one.row.id: one.change for one in self}

    def __len__(self) -> int:
        return len(self.exposed)

    @overload
    def __getitem__(self, index: int) -> Exposed: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Exposed, ...]: ...

    def __getitem__(self, index: int | slice) -> Exposed | tuple[Exposed, ...]:
        return self.exposed[index]

    def to_pandas(self) -> "pandas.DataFrame":
        """The rows as a table.

        Returns:
            A line a row: id, change, level, by, prompt, completion.

        Raises:
            MissingExtraError: When pandas is not installed.
        """
        columns = {name: [getattr(one, name) for one in self] for name in ("change", "level", "by")}
        texts = {name: [getattr(one.row, name) for one in self] for name in ("prompt", "completion")}
        return frame({"id": [one.row.id for one in self], **columns, **texts})


def predict_collateral(index: GradientIndex, forget: Any, retain: Any = None) -> Collateral:
    """Predict which rows lose most when others are unlearned.

    Args:
        index: The index of the rows.
        forget: The rows to forget, or their ids; all in the index.
        retain: The rows that stay, or their ids; by default all others.

    Returns:
        The rows that stay, the most exposed first.

    Raises:
        DataError: When a side has no row.
        StoreError: When a row is not in the index.

    Example:
        >>> import unweave as uw
        >>> index = uw.GradientIndex.build(model, rows, dimension=4096)
        >>> harm = uw.predict_collateral(index, forget, retain[:3])
        >>> harm[0].by in ("r6", "r7"), harm[0].level
        (True, 0.6666666666666666)
    """
    wanted = _ids(index, forget, "forget")
    everything = index.row_ids
    going = set(wanted)
    staying = [
        row_id for row_id in (everything if retain is None else _ids(index, retain, "retain")) if row_id not in going
    ]
    if not staying:
        raise DataError("No row stays.", where="`retain`", remedy="give rows that are not to be forgotten")
    mean, largest = _products(index, wanted)
    place = {row_id: number for number, row_id in enumerate(everything)}
    chosen = [place[row_id] for row_id in staying]
    # |g_r| times the cosine with the weighted sum of the forget rows' directions: for plain gradients that is <g_r, mean g_f> itself.
    changes = mean[chosen] * index.store.column("norms", staying).double().numpy()
    order = np.argsort(-changes, kind="stable")
    below = np.searchsorted(np.sort(changes), changes, side="left") / len(changes)
    rows = stored_rows(index.store.texts(), staying, where=index.store.place)
    exposed = tuple(
        Exposed(rows[number], float(changes[number]), float(below[number]), wanted[largest[chosen[number]]])
        for number in order
    )
    return Collateral(exposed, float(changes.mean()), index.store.spec.normalize in ("none", "row"))


def _products(index: GradientIndex, forget: Sequence[str]) -> tuple[Float[np.ndarray, " n"], np.ndarray]:
    """For every row of the index the inner product of its direction with the mean gradient of some, and which of these adds most to it."""
    norms = index.store.column("norms", forget).double()
    blocks = scan(index.store, index.store.read(list(forget)), similarity="cosine")
    # Directions alone are compared, of rows as of queries: each row's length is put back.
    found = torch.cat([block.scores.double() * norms[:, None] for block in blocks], dim=1)
    return found.mean(dim=0).numpy(), found.argmax(dim=0).numpy()


def _ids(index: GradientIndex, rows: Any, name: str) -> list[str]:
    given = [rows] if isinstance(rows, str | Row) else list(rows)
    if not given:
        raise DataError(f"`{name}` has no rows.", where=f"`{name}`", remedy="give one at least")
    index.store.require_texts([row for row in given if isinstance(row, Row)])
    ids = list(dict.fromkeys(row if isinstance(row, str) else row.id for row in given))
    index.store.require_rows(ids)
    return ids
