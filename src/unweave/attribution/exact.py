"""Exact influence from the factors, with the token-by-token matrix, and no gradient of any row in memory.

A weight's gradient is a sum over positions, G = sum_t l_t r_t^T, so the inner product of a row's and a query's is

    <G_x, G_q> = sum_{s,t} (l_qs . l_xt) (r_qs . r_xt):

summed over tensors, each divided by its norms where the store normalises, that is the matrix of position s of the query against position t of the
row, and its sum is the influence. Biases and norms have one factor a position (r = 1); embeddings have the token's id in place of r. A tensor whose
gradient is no sum over positions that hooks can see (`gradients/routes.py`) counts as a whole: it is part of the score, and of no position.

Two token-level meanings. *Position*: the share of the gradient that flows through a position, this matrix's. *Loss token*: the
gradient of one token's own loss; a row's gradient is the mean of these over its completion. `one_token_each` makes the examples for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unweave.data.batches import Batch
from unweave.data.encoding import Example
from unweave.errors import ConfigError, ModelError
from unweave.gradients.passes import frozen_in_evaluation
from unweave.gradients.pieces import gradient_piece, is_added, weight_factors
from unweave.models.selection import SelectedParameter, Use, is_linear
from unweave.sketch.sketcher import Sketcher


@dataclass(frozen=True)
class Factors:
    """One tensor's factors for a batch of examples.

    Attributes:
        left: One vector a position.
        right: The other vector; token ids for an embedding; `None` for 1.
        placed: Whether there is a vector for each position; else `left` is the whole gradient, as if at one.
    """

    left: Float[Tensor, "B T rows"]
    right: Tensor | None
    placed: bool = True

    def minus(self, other: "Factors") -> "Factors":
        """The factors of a difference of gradients: the positions of both, those of the second with the sign turned.

        Args:
            other: Factors of the same tensor for other examples.

        Returns:
            The factors.
        """
        right = None
        if self.right is not None and other.right is not None:
            right = torch.cat([self.right, other.right], dim=1)
        return Factors(torch.cat([self.left, -other.left], dim=1), right, self.placed)

    def products(self, other: "Factors") -> Float[Tensor, "B S T"]:
        """The inner products of every position of `other` (one example) with every position of these.

        Args:
            other: Factors of a single example.

        Returns:
            [B, positions of other, positions of these].
        """
        dots = torch.matmul(other.left[0].to(self.left.dtype), self.left.mT)
        if self.right is None or other.right is None:
            return dots
        if not self.right.is_floating_point():
            return dots * (other.right[0][None, :, None] == self.right[:, None, :])
        return dots * torch.matmul(other.right[0].to(self.right.dtype), self.right.mT)

    def squares(self) -> Float[Tensor, " B"]:
        """Squared norm of each example's gradient."""
        dots = torch.bmm(self.left, self.left.mT)
        if self.right is not None and self.right.is_floating_point():
            dots = dots * torch.bmm(self.right, self.right.mT)
        elif self.right is not None:
            dots = dots * (self.right[:, :, None] == self.right[:, None, :])
        return dots.sum(dim=(1, 2)).clamp(min=0)


@dataclass(frozen=True)
class TensorNorms:
    """What examples' gradients are divided by.

    Attributes:
        by_tensor: Name to the norm of each example's gradient of that tensor.
        whole: Norm of the whole vector after division by tensor, as cosine and `row` need it.
    """

    by_tensor: dict[str, Float[Tensor, " n"]]
    whole: Float[Tensor, " n"]


@dataclass(frozen=True)
class Exact:
    """Exact influence of rows on one query.

    Attributes:
        scores: One a row.
        matrices: For each row, [positions of the query, positions of the row]; with `unplaced` they sum to the score.
        unplaced: For each row, the share of tensors whose gradients have no positions.
        norms: Of the rows.
    """

    scores: Float[Tensor, " n"]
    matrices: list[Float[Tensor, "S _"]]
    unplaced: Float[Tensor, " n"]
    norms: TensorNorms


@dataclass(frozen=True)
class PreparedQuery:
    """A query's factors and norms, ready to meet rows.

    Attributes:
        example: The query.
        factors: Tensor to its factors.
        norms: Of the query.
        against: The other answer, where the query is the difference of two; its positions stand behind the query's own.
    """

    example: Example
    factors: dict[str, Factors]
    norms: TensorNorms
    against: Example | None = None

    @property
    def input_ids(self) -> tuple[int, ...]:
        """The tokens of all positions."""
        return self.example.input_ids + (() if self.against is None else self.against.input_ids)


def prepare_query(
    sketcher: Sketcher, example: Example, *, against: Example | None = None, norms: TensorNorms | None = None
) -> PreparedQuery:
    """Capture a query's factors.

    Args:
        sketcher: The model, and how the store was made.
        example: The query.
        against: The other answer, where what is traced is the difference of two.
        norms: Norms to divide by, where they are not the query's own: a single token's share is divided by its answer's.

    Returns:
        The query.
    """
    found: dict[str, Factors] = {}
    other: dict[str, Factors] = {}
    with frozen_in_evaluation(sketcher.model):
        _visit(sketcher, sketcher.source.batch([example]), found.__setitem__)
        if against is not None:
            _visit(sketcher, sketcher.source.batch([against]), other.__setitem__)
            found = {name: _alike(name, factors, other[name]).minus(other[name]) for name, factors in found.items()}
    squares = {name: factors.squares() for name, factors in found.items()}
    return PreparedQuery(example, found, norms or _norms(sketcher, squares), against)


def exact_influence(
    sketcher: Sketcher,
    query: PreparedQuery,
    rows: Sequence[Example],
    *,
    similarity: str = "dot",
    norms: TensorNorms | None = None,
) -> Exact:
    """The influence of rows on a query, without a sketch.

    Args:
        sketcher: The model, and how the store was made.
        query: The query.
        rows: The rows.
        similarity: `dot` or `cosine`.
        norms: Norms to divide by, where they are not the rows' own.

    Returns:
        Scores and matrices, in the order of the rows.
    """
    normalize = sketcher.config.normalize
    matrices: list[Tensor | None] = [None] * len(rows)
    unplaced = torch.zeros(len(rows), dtype=torch.float64)
    squares: dict[str, Tensor] = {}

    def work(places: list[int], batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        shape = (len(batch), len(query.input_ids), batch.input_ids.shape[1])
        total, apart = torch.zeros(shape, device=sketcher.device, dtype=torch.float64), unplaced[places]
        found: dict[str, Tensor] = {}

        def add(name: str, factors: Factors) -> None:
            own = factors.squares()
            found[name] = own.cpu()
            products = factors.products(_alike(name, query.factors[name], factors))
            if normalize == "tensor":
                lengths = own.sqrt() if norms is None else norms.by_tensor[name][places].to(own.device)
                products = (
                    products * _inverse(lengths)[:, None, None] * _inverse(query.norms.by_tensor[name]).to(own.device)
                )
            if factors.placed:
                total.add_(products.to(total.dtype))
            else:
                apart.add_(products.double().sum(dim=(1, 2)).cpu())

        _visit(sketcher, batch, add)
        return total.cpu(), apart, found

    with frozen_in_evaluation(sketcher.model):
        for places, (total, apart, found) in sketcher.source.each(rows, work):
            unplaced[places] = apart
            for name, own in found.items():
                squares.setdefault(name, torch.zeros(len(rows), dtype=own.dtype))[places] = own
            for place, matrix in zip(places, total, strict=True):
                matrices[place] = matrix[:, : len(rows[place])]
    own = norms or _norms(sketcher, squares)
    found = [matrix for matrix in matrices if matrix is not None]
    if similarity == "cosine" or normalize == "row":
        scale = _inverse(own.whole) * _inverse(query.norms.whole)
        found = [matrix * factor for matrix, factor in zip(found, scale, strict=True)]
        unplaced = unplaced * scale
    scores = torch.stack([matrix.sum() for matrix in found]) + unplaced if found else torch.zeros(0)
    return Exact(scores.float(), [matrix.float() for matrix in found], unplaced.float(), own)


def one_token_each(example: Example) -> list[Example]:
    """Copies of an example, each with its loss on one token only.

    With `reduction = mean` an example's gradient is the mean of its copies', with `sum` their sum.

    Args:
        example: The example.

    Returns:
        One copy a labelled token.
    """
    return [replace(example, labelled=(position,)) for position in example.label_positions]


def _visit(sketcher: Sketcher, batch: Batch, take: Callable[[str, Factors], None]) -> None:
    places = {item.name: len(item.uses) for item in sketcher.parameters}

    def intercept(item: SelectedParameter, use: Use, values: Tensor, grads: Tensor) -> bool:
        factors = _factors(use, values, grads)
        if placed := factors.left.shape[1] == batch.input_ids.shape[1]:
            take(item.name, factors)
        return placed

    def consume(name: str, piece: Tensor) -> None:
        if places[name] > 1:
            raise ConfigError(
                f"{name} is used in {places[name]} places, so its gradient has no single pair of factors.",
                where="`rerank`",
                remedy="leave tied embeddings out of `parameters`, or trace without `rerank`",
            )
        take(name, Factors(_wide(piece.flatten(1)[:, None]), None, placed=False))

    sketcher.source.differentiate(batch, consume, intercept=intercept)


def _factors(use: Use, values: Tensor, grads: Tensor) -> Factors:
    grads = _wide(grads)
    if is_added(use):
        # Dimensions between the positions and the parameter's own, as those of heads, are summed over.
        own = use.module.get_parameter(use.attribute).ndim
        return Factors(grads.unsqueeze(2).flatten(2, -1 - own).sum(dim=2).flatten(2), None)
    if is_linear(use.module):
        return Factors(*weight_factors(use, values.to(grads.dtype), grads))
    if isinstance(use.module, nn.Embedding):
        ids = values.squeeze(-1)
        if use.module.padding_idx is not None:
            grads = grads * (ids != use.module.padding_idx).unsqueeze(-1)
        return Factors(grads, ids)
    pieces = gradient_piece(use, values.flatten(0, 1)[:, None], grads.flatten(0, 1)[:, None])
    return Factors(pieces.flatten(1).view(*grads.shape[:2], -1), None)


def _alike(name: str, query: Factors, row: Factors) -> Factors:
    if query.placed == row.placed:
        return query
    raise ModelError(
        f"The gradients of {name} have positions for some rows, and none for others.",
        where="`rerank`",
        remedy="trace without `rerank`, or leave it out of `parameters`",
    )


def _wide(tensor: Tensor) -> Tensor:
    # Terms of single positions are large and cancel: where the model is exact enough for it to matter, products are in float64.
    return tensor.to(torch.float32 if tensor.dtype in (torch.bfloat16, torch.float16) else torch.float64)


def _norms(sketcher: Sketcher, squares: dict[str, Tensor]) -> TensorNorms:
    stacked = torch.stack(list(squares.values()))
    whole = (stacked > 0).sum(dim=0).to(stacked.dtype) if sketcher.config.normalize == "tensor" else stacked.sum(dim=0)
    return TensorNorms({name: square.sqrt() for name, square in squares.items()}, whole.sqrt().cpu())


def _inverse(lengths: Tensor) -> Tensor:
    return lengths.reciprocal().nan_to_num(posinf=0.0)
