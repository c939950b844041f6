"""The four influence blocks: matrices, or what the lists of influence files hold of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from unweave.arguments import quoted
from unweave.data.sides import require_apart
from unweave.errors import DataError
from unweave.store.base import Store

Kind = Literal["helpful", "harmful"]
Ranking = tuple[Int[np.ndarray, " _"], Float[np.ndarray, " _"]]
"""What a query's list holds: indices of rows and, in float64, their influence."""


@dataclass(frozen=True, eq=False)
class MatrixBlock:
    """A block with every value.

    Attributes:
        values: Float32 or float64; a line a query, a column a row.
    """

    values: Float[np.ndarray, "q n"]

    @property
    def shape(self) -> tuple[int, int]:
        """Queries and rows."""
        queries, rows = self.values.shape
        return queries, rows

    def rankings(self, kind: Kind, *, in_order: bool) -> Iterator[Ranking]:
        """A list for each query.

        Args:
            kind: `helpful` begins with the largest influence, `harmful` with the smallest.
            in_order: Whether more of the order matters than that of equal values.

        Yields:
            Rows and their influence.
        """
        everything = np.arange(self.values.shape[1])
        for line in self.values:
            values = line.astype(np.float64)
            # Equal values stay in the order of the rows.
            order = np.argsort(-values if kind == "helpful" else values, kind="stable") if in_order else everything
            yield order, values[order]

    def matrix(self) -> Float[np.ndarray, "q n"]:
        """All influence in float64."""
        return self.values.astype(np.float64)


@dataclass(frozen=True, eq=False)
class ListBlock:
    """A block of which each query lists some rows.

    Attributes:
        helpful: Each query's list, as it stands: its order decides among equal values. Indices that are no row's are allowed, and count where lists are cut.
        harmful: The same from the other side.
        rows: Number of rows.
    """

    helpful: Sequence[Ranking]
    harmful: Sequence[Ranking]
    rows: int

    @property
    def shape(self) -> tuple[int, int]:
        """Queries and rows."""
        return len(self.helpful), self.rows

    def rankings(self, kind: Kind, *, in_order: bool) -> Iterator[Ranking]:  # noqa: ARG002
        """A list for each query.

        Args:
            kind: `helpful` begins with the largest influence, `harmful` with the smallest.
            in_order: Makes no difference here: lists stand in their order.

        Yields:
            Rows and their influence.
        """
        yield from getattr(self, kind)

    def matrix(self) -> Float[np.ndarray, "q n"]:
        """Influence in float64, 0 where a query's lists do not name a row."""
        table = np.zeros(self.shape)
        for line, *rankings in zip(table, self.harmful, self.helpful, strict=True):
            for indices, values in rankings:
                inside = indices < self.rows
                line[indices[inside]] = values[inside]
        return table


Block = MatrixBlock | ListBlock
"""Influence of some rows on some queries."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Influence of rows on queries, both being the forget rows F and the retain rows R. The first letter is of the rows, as in RapidUn's formulas.

    Attributes:
        ff: Queries F on rows F.
        fr: Queries R on rows F.
        rf: Queries F on rows R.
        rr: Queries R on rows R.
    """

    ff: Block
    fr: Block
    rf: Block
    rr: Block

    @property
    def n_forget(self) -> int:
        """Forget rows."""
        return self.ff.shape[1]

    @property
    def n_retain(self) -> int:
        """Retain rows."""
        return self.rr.shape[1]


def blocks_of_arrays(*, ff: Any, fr: Any, rf: Any, rr: Any) -> Blocks:
    """The blocks of four matrices.

    Args:
        ff: Queries F on rows F, `[queries, rows]`: numpy, torch, or nested lists.
        fr: Queries R on rows F.
        rf: Queries F on rows R.
        rr: Queries R on rows R.

    Returns:
        The blocks.

    Raises:
        DataError: Naming the matrix that is none, is empty, is not finite, or does not fit the others.
    """
    found = {name: _matrix(name, own) for name, own in {"ff": ff, "fr": fr, "rf": rf, "rr": rr}.items()}
    (queries_f, rows_f), (queries_r, rows_r) = found["ff"].shape, found["rr"].shape
    wanted = {"fr": (queries_r, rows_f), "rf": (queries_f, rows_r)}
    for name, shape in wanted.items():
        if found[name].shape != shape:
            other = next(other for other in wanted if other != name)
            swapped = found[name].shape == wanted[other] and found[other].shape == shape
            raise DataError(
                f"{name} has the shape {list(found[name].shape)}; with ff {list(found['ff'].shape)} and rr {list(found['rr'].shape)} it must be {list(shape)}.",
                where=quoted(name),
                remedy="swap fr and rf: fr is of queries R on rows F, rf of queries F on rows R"
                if swapped
                else f"give a matrix [queries {name[1].upper()}, rows {name[0].upper()}]",
            )
    return Blocks(**{name: MatrixBlock(own) for name, own in found.items()})


def blocks_from_store(store: Store, forget_ids: Sequence[str], retain_ids: Sequence[str]) -> Blocks:
    """Compute all four blocks by one product of the forget and retain sketches with themselves.

    Args:
        store: A store that holds all the rows.
        forget_ids: F.
        retain_ids: R.

    Returns:
        The blocks; a query's own row is among its rows, as in RapidUn.

    Raises:
        DataError: When a row is in both sets, or twice in one.
    """
    require_weighable(forget_ids, retain_ids)
    sketches = store.read([*forget_ids, *retain_ids])
    gram = (sketches @ sketches.T).numpy()
    f, r = slice(None, len(forget_ids)), slice(len(forget_ids), None)
    parts = {"ff": gram[f, f], "fr": gram[r, f], "rf": gram[f, r], "rr": gram[r, r]}
    return Blocks(**{name: MatrixBlock(own) for name, own in parts.items()})


def require_weighable(forget_ids: Sequence[str], retain_ids: Sequence[str]) -> None:
    """Refuse sets of rows that a weight each can't be given to.

    Args:
        forget_ids: F.
        retain_ids: R.

    Raises:
        DataError: When a row is in both sets, or twice in one, or a set is empty.
    """
    for name, own in (("forget", forget_ids), ("retain", retain_ids)):
        if not own:
            raise DataError(f"There are no {name} rows.", where=quoted(name), remedy="give at least one")
        if len(set(own)) != len(own):
            twice = min(row_id for row_id in own if own.count(row_id) > 1)
            raise DataError(f"The row '{twice}' is given twice.", where=quoted(name), remedy="give each row once")
    require_apart(forget_ids, retain_ids)


def _matrix(name: str, values: Any) -> Float[np.ndarray, "q n"]:
    """Float32 stays: every number of it is one of float64 too."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.numpy() if values.dtype == torch.float64 else values.float().numpy()
    try:
        array = np.asarray(values)
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64, casting="same_kind")
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} is no matrix of numbers: {error}.", where=quoted(name), remedy="give [queries, rows]"
        ) from error
    if array.ndim != 2 or not array.size:
        raise DataError(f"{name} has the shape {list(array.shape)}.", where=quoted(name), remedy="give [queries, rows]")
    if not np.isfinite(array).all():
        raise DataError(
            f"{name} holds {int((~np.isfinite(array)).sum())} numbers that are not finite.",
            where=quoted(name),
            remedy="compute the influence anew, in float32 or float64",
        )
    return array
