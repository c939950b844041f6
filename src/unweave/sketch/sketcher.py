"""From examples to sketches: per-sample gradients, normalised and compressed as they arrive."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.data.batches import Batch
from unweave.data.encoding import Example
from unweave.gradients.passes import frozen_in_evaluation
from unweave.gradients.pieces import gradient_piece, weight_factors
from unweave.gradients.source import GradientSource
from unweave.models.selection import SelectedParameter, Use, gradient_shape, is_linear_weight, select_parameters
from unweave.sketch.base import FactorSketch, Sketch, reciprocal_root
from unweave.sketch.config import GradientConfig
from unweave.sketch.kernels.dispatch import kernel
from unweave.sketch.make import make_sketch

PIECE_VALUES = 1 << 22


@dataclass(frozen=True)
class Sketched:
    """Sketches of examples, in their order.

    Attributes:
        sketches: float32.
        norms: Norm of each whole gradient before normalisation.
        losses: l(z) in nats a token.
    """

    sketches: Float[Tensor, "n K"]
    norms: Float[Tensor, " n"]
    losses: Float[Tensor, " n"]


class Sketcher:
    """Sketches the gradients of one model.

    Args:
        model: A Hugging Face causal model.
        pad_token_id: What to pad with.
        config: Which gradients, which sketch.
    """

    def __init__(self, model: Any, *, pad_token_id: int, config: GradientConfig):
        self.model = model
        self.pad_token_id = pad_token_id
        self.config = config
        parameters = select_parameters(model, config.parameters)
        shapes = {item.name: gradient_shape(item) for item in parameters}
        self.sizes = {name: prod(shape) for name, shape in shapes.items()}
        self.source = GradientSource(
            model, pad_token_id, parameters, reduction=config.reduction, token_budget=config.token_budget
        )
        self.sketch: Sketch = make_sketch(config, shapes)
        self._takes_factors = isinstance(self.sketch, FactorSketch)

    @property
    def parameters(self) -> Sequence[SelectedParameter]:
        """Whose gradients are sketched."""
        return self.source.parameters

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.source.device

    def sketch_gradients(self, gradients: Mapping[str, Float[Tensor, "n ..."]]) -> Float[Tensor, "n K"]:
        """Sketch gradients that are there as tensors, as they are: a preconditioner makes such.

        Args:
            gradients: Tensor's name to one gradient a query.

        Returns:
            Their sketches, on the CPU.
        """
        count = len(next(iter(gradients.values())))
        out = torch.zeros(count, self.sketch.dimension)
        for name, gradient in gradients.items():
            self.sketch.add(out, name, gradient.flatten(1).float().cpu(), torch.ones(count))
        return out

    def sketch_batch(self, examples: Sequence[Example], *, frozen: bool = False) -> Sketched:
        """Sketch the examples of one batch.

        Args:
            examples: The examples.
            frozen: Whether the model is in `frozen_in_evaluation` already.

        Returns:
            Their sketches, on the CPU.
        """
        return self._sketch(self.source.batch(examples), frozen=frozen)

    def _sketch(self, batch: Batch, *, frozen: bool = True) -> Sketched:
        device = self.device
        out = torch.zeros(len(batch), self.sketch.dimension, device=device)
        squares = torch.zeros(len(batch), device=device)

        def consume(name: str, piece: Tensor, rows: slice = slice(None)) -> None:
            flat = piece.flatten(1)
            square = kernel("row_squares", flat.device)(flat)
            squares[rows] += square
            scale = reciprocal_root(square) if self.config.normalize == "tensor" else torch.ones_like(square)
            self.sketch.add(out[rows], name, flat, scale)

        def intercept(item: SelectedParameter, use: Use, values: Tensor, grads: Tensor) -> bool:
            if len(item.uses) > 1 or not is_linear_weight(use):
                return False
            left, right = weight_factors(use, values, grads)
            if self._by_factors(left, right):
                sketch: Any = self.sketch
                squares.add_(
                    sketch.add_factors(out, item.name, left, right, normalize=self.config.normalize == "tensor")
                )
                return True
            # A few examples at a time, so that their gradients are still in the cache when they are added up.
            step = max(1, PIECE_VALUES // self.sizes[item.name])
            for start in range(0, len(values), step):
                rows = slice(start, start + step)
                consume(item.name, gradient_piece(use, values[rows], grads[rows]), rows)
            return True

        losses = self.source.differentiate(batch, consume, intercept=intercept, frozen=frozen)
        if self.config.normalize == "row":
            out *= reciprocal_root(out.square().sum(dim=1))[:, None]
        return Sketched(out.cpu(), squares.sqrt().cpu(), losses.means().float().cpu())

    def sketch_difference(self, first: Example, second: Example) -> Float[Tensor, " K"]:
        """The sketch of one example's gradient minus another's, normalised as that of one gradient.

        Args:
            first: The example.
            second: What is taken from it.

        Returns:
            The sketch, on the CPU.
        """
        out = torch.zeros(1, self.sketch.dimension, device=self.device)

        def consume(name: str, piece: Tensor) -> None:
            wide = piece.flatten(1).to(torch.promote_types(piece.dtype, torch.float32))
            flat = wide[:1] - wide[1:]
            square = flat.square().sum(dim=1)
            scale = reciprocal_root(square) if self.config.normalize == "tensor" else torch.ones_like(square)
            self.sketch.add(out, name, flat, scale)

        self.source.differentiate(self.source.batch([first, second]), consume, frozen=False)
        if self.config.normalize == "row":
            out *= reciprocal_root(out.square().sum(dim=1))[:, None]
        return out[0].cpu()

    def _by_factors(self, left: Tensor, right: Tensor) -> bool:
        if not self._takes_factors:
            return False
        choose = getattr(self.sketch, "prefers_factors", None)
        return choose is None or choose(left.shape[1], left.shape[2], right.shape[2])

    def sketch_all(self, examples: Sequence[Example], *, advance: Callable[[int], None] = lambda _: None) -> Sketched:
        """Sketch any number of examples, in batches of like length.

        Args:
            examples: The examples.
            advance: Called with the number of examples just done.

        Returns:
            Their sketches, in the order given.
        """
        sketches = torch.empty(len(examples), self.sketch.dimension)
        norms, losses = torch.empty(len(examples)), torch.empty(len(examples))
        with frozen_in_evaluation(self.model):
            for rows, done in self.source.each(examples, lambda _, batch: self._sketch(batch), advance=advance):
                sketches[rows], norms[rows], losses[rows] = done.sketches, done.norms, done.losses
        return Sketched(sketches, norms, losses)
