"""From examples to sketches: per-sample gradients, normalised and compressed as they arrive."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.data.batches import collate, plan_batches
from unweave.data.encoding import Example
from unweave.errors import ModelError
from unweave.gradients.loss import TokenLosses
from unweave.gradients.per_sample import per_sample_gradients
from unweave.models.selection import SelectedParameter, select_parameters
from unweave.sketch.base import Sketch
from unweave.sketch.registry import make_sketch
from unweave.trace.config import GradientConfig


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
        self.parameters: list[SelectedParameter] = select_parameters(model, config.parameters)
        self.sizes = {item.name: item.parameter.numel() for item in self.parameters}
        self.sketch: Sketch = make_sketch(config, self.sizes)

    def sketch_batch(self, examples: Sequence[Example]) -> Sketched:
        """Sketch the examples of one batch.

        Args:
            examples: The examples.

        Returns:
            Their sketches, on the CPU.
        """
        device = next(self.model.parameters()).device
        batch = collate(examples, pad_token_id=self.pad_token_id).to(device)
        out = torch.zeros(len(examples), self.sketch.dimension, device=device)
        squares = torch.zeros(len(examples), device=device)

        def consume(name: str, piece: Tensor) -> None:
            flat = piece.flatten(1).float()
            square = flat.square().sum(dim=1)
            squares.add_(square)
            self.sketch.add(out, name, flat, tensor_scale(square, self.config.normalize))

        losses: TokenLosses = per_sample_gradients(
            self.model, batch, self.parameters, consume, reduction=self.config.reduction
        )
        if self.config.normalize == "row":
            out *= tensor_scale(out.square().sum(dim=1), "tensor")[:, None]
        return Sketched(out.cpu(), squares.sqrt().cpu(), losses.means().float().cpu())

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
        for chosen in plan_batches([len(example) for example in examples], token_budget=self.config.token_budget):
            for part, done in self._shrinking([examples[index] for index in chosen]):
                rows = [chosen[index] for index in part]
                sketches[rows], norms[rows], losses[rows] = done.sketches, done.norms, done.losses
                advance(len(rows))
        return Sketched(sketches, norms, losses)

    def _shrinking(self, examples: list[Example]) -> list[tuple[list[int], Sketched]]:
        """Sketch a batch; when the device's memory runs out, its halves."""
        try:
            return [(list(range(len(examples))), self.sketch_batch(examples))]
        except torch.OutOfMemoryError:
            if len(examples) == 1:
                raise ModelError(
                    f"Out of memory on the single row {examples[0].row_id} of {len(examples[0])} tokens.",
                    remedy="lower --max-length, use --quantization 4bit, or a larger device",
                ) from None
        torch.cuda.empty_cache()
        middle = len(examples) // 2
        first, second = self._shrinking(examples[:middle]), self._shrinking(examples[middle:])
        return [*first, *(([index + middle for index in part], done) for part, done in second)]


def tensor_scale(squares: Float[Tensor, " B"], normalize: str) -> Float[Tensor, " B"]:
    """The factor that a tensor's gradients are multiplied by.

    Args:
        squares: Their squared norms.
        normalize: `tensor` divides by the norm; else 1.

    Returns:
        One factor an example; a zero gradient gets 0, not infinity.
    """
    if normalize != "tensor":
        return torch.ones_like(squares)
    return torch.where(
        squares > 0, squares.clamp(min=torch.finfo(squares.dtype).tiny).rsqrt(), torch.zeros_like(squares)
    )
