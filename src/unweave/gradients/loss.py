"""Token losses of a causal model, computed only where there is a label.

The output head is a fifth of a small model's work, and its logits (batch x length x vocabulary) most of its memory. A hook in front of the
head keeps just the positions whose next token is labelled, and the cross-entropy goes over them in chunks, so that no more than one
chunk exists in float32 and the logits of prompts and padding are never made.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from unweave.data.batches import IGNORE, Batch
from unweave.errors import ModelError
from unweave.models.blocks import run_batch

CHUNK = 256


@dataclass(frozen=True)
class TokenLosses:
    """Negative log-likelihoods of the labelled tokens of a batch.

    Attributes:
        nll: -log p(token | what is before it) in nats, float32, for each labelled token; float64 for a float64 model.
        segments: Which example of the batch each belongs to.
        size: Examples in the batch.
    """

    nll: Float[Tensor, " N"]
    segments: Int[Tensor, " N"]
    size: int

    def sums(self) -> Float[Tensor, " B"]:
        """The summed loss of each example."""
        return torch.zeros(self.size, dtype=self.nll.dtype, device=self.nll.device).index_add(
            0, self.segments, self.nll
        )

    def counts(self) -> Int[Tensor, " B"]:
        """The labelled tokens of each example."""
        return torch.bincount(self.segments, minlength=self.size)

    def means(self) -> Float[Tensor, " B"]:
        """The loss l(z) of each example: the mean over its labelled tokens."""
        return self.sums() / self.counts().clamp(min=1)


def token_losses(model: nn.Module, batch: Batch) -> TokenLosses:
    """Run a model over a batch and score its labelled tokens.

    Args:
        model: A Hugging Face causal model, with or without an adapter.
        batch: The batch, on the model's device.

    Returns:
        The losses, attached to the graph when gradients are on.
    """
    logits, targets, segments = labelled_logits(model, batch)
    return TokenLosses(cross_entropies(logits, targets, first=batch.row_ids[0]), segments, len(batch))


def differentiable_losses(model: nn.Module, batch: Batch) -> TokenLosses:
    """Token losses that can be differentiated twice; the chunked cross-entropy of training can be once.

    Args:
        model: The model.
        batch: The batch.

    Returns:
        The losses, attached to the graph.
    """
    logits, targets, segments = labelled_logits(model, batch)
    wide = torch.promote_types(logits.dtype, torch.float32)
    nll = functional.cross_entropy(logits.to(wide), targets, reduction="none")
    return TokenLosses(nll, segments, len(batch))


def cross_entropies(logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"], *, first: str) -> Float[Tensor, " N"]:
    """-log softmax(logits)[target] of each labelled token.

    Args:
        logits: From `labelled_logits`.
        targets: The tokens that they predict.
        first: The first row that they are of, for a message.

    Returns:
        Nats, in float32 or wider, attached to the graph when gradients are on.

    Raises:
        ModelError: When one is not finite.
    """
    nll = chunked_losses(logits, targets)
    if not torch.isfinite(nll.detach()).all():
        raise ModelError(
            f"A loss is not finite, in the batch of row {first}.",
            remedy="use `dtype` float32, and check the weights for NaN",
        )
    return nll


def chunked_losses(logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """As `cross_entropies`, and not looked at: the logits may have no values.

    Args:
        logits: From `labelled_logits`.
        targets: The tokens that they predict.

    Returns:
        Nats, attached to the graph.
    """
    nll = _ChunkedCrossEntropy.apply(logits, targets)
    assert isinstance(nll, Tensor)
    return nll


def labelled_logits(
    model: nn.Module, batch: Batch
) -> tuple[Float[Tensor, "N V"], Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Run a model over a batch and keep the logits that predict its labelled tokens.

    Args:
        model: A Hugging Face causal model.
        batch: The batch, on the model's device.

    Returns:
        The logits, the token that each predicts, and the example that each belongs to.
    """
    positions, targets, segments = predicting_positions(batch)
    with head_sees_only(model, positions):
        output = run_batch(model, batch)
    return output.logits.reshape(-1, output.logits.shape[-1]), targets, segments


def grouped_token_losses(model: nn.Module, groups: Sequence[Batch]) -> TokenLosses:
    """Score the labelled tokens of several batches as one: examples are numbered on from batch to batch.

    Args:
        model: A Hugging Face causal model.
        groups: Batches of like length each, which together hold less padding than one batch would.

    Returns:
        The losses, attached to the graph when gradients are on.
    """
    parts = [token_losses(model, batch) for batch in groups]
    starts = [sum(part.size for part in parts[:index]) for index in range(len(parts))]
    segments = [part.segments + start for part, start in zip(parts, starts, strict=True)]
    return TokenLosses(torch.cat([part.nll for part in parts]), torch.cat(segments), sum(part.size for part in parts))


def predicting_positions(batch: Batch) -> tuple[Bool[Tensor, "B T"], Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Where the model predicts an answer's token: the position before it.

    Args:
        batch: The batch.

    Returns:
        The mask of these positions, the token that each predicts, and the example that each belongs to, both in the mask's order.
    """
    answers = answer_tokens(batch)
    return answers.roll(-1, dims=1), batch.labels[answers], batch.segments[answers]


def answer_tokens(batch: Batch) -> Bool[Tensor, "B T"]:
    """Which tokens a loss or a score looks at: the labelled ones that something of their own row stands before.

    The first token of a row is never among them. Nothing predicts it, and its state is that of an attention sink in many models, hundreds of times as
    large as any other.

    Args:
        batch: The batch.

    Returns:
        A mask.
    """
    mask = (batch.labels != IGNORE) & (batch.segments >= 0) & (batch.segments.roll(1, dims=1) == batch.segments)
    mask[:, 0] = False
    return mask


@contextlib.contextmanager
def head_sees_only(model: nn.Module, positions: Bool[Tensor, "B T"]) -> Iterator[None]:
    """Let the output head compute logits at the given positions only, as [1, N, V].

    Args:
        model: A Hugging Face causal model.
        positions: Where.

    Yields:
        Nothing.

    Raises:
        ModelError: When the model has no output head.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is None:
        raise ModelError(
            "The model has no output head.", where=type(model).__name__, remedy="use a causal language model"
        )

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        return (inputs[0][positions].unsqueeze(0),)

    handle = head.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()


class _ChunkedCrossEntropy(torch.autograd.Function):
    """-log softmax(logits)[target], accumulated in float32 over chunks of rows, forward and backward."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        normalizers = torch.empty(len(logits), dtype=wide, device=logits.device)
        for start in range(0, len(logits), CHUNK):
            normalizers[start : start + CHUNK] = torch.logsumexp(logits[start : start + CHUNK].to(wide), dim=-1)
        ctx.save_for_backward(logits, targets, normalizers)
        return normalizers - logits.gather(1, targets[:, None]).squeeze(1).to(wide)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        logits, targets, normalizers = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        for start in range(0, len(logits), CHUNK):
            rows = slice(start, start + CHUNK)
            chunk = (logits[rows].to(normalizers.dtype) - normalizers[rows, None]).exp_()
            chunk.scatter_add_(1, targets[rows, None], torch.full_like(chunk[:, :1], -1.0))
            gradient[rows] = chunk.mul_(grad_outputs[0][rows, None]).to(gradient.dtype)
        return gradient, None
