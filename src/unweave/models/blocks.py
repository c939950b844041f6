"""Several padded batches in one pass: their tokens stand end to end in one sequence, and only attention keeps them apart.

A pass through a small model costs as much as some hundred tokens before the first is computed (weights are read, kernels launched), and a step cut into
groups of like length pays that for each. Attention is the one place where the tokens of a sequence meet; there each group, a slice of the joined sequence,
is a batch of its own again, under the model's own attention. Padding is on the right, where causal attention does not look.
"""

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from unweave.data.batches import Batch, collate, join
from unweave.data.encoding import Example
from unweave.models.quiet import quiet_transformers

NAME = "unweave_blocks"
# What configs call the number of tokens that a layer looks back.
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size", "attention_window_size")

_CURRENT: ContextVar[tuple[str, tuple[tuple[int, int], ...]]] = ContextVar("unweave_blocks")


def run_batch(model: Any, batch: Batch, **options: Any) -> Any:
    """Run a model over a batch.

    Args:
        model: A Hugging Face causal model; for a joined batch, one that `can_join`.
        batch: The batch, on the model's device.
        options: Further keyword arguments of the model.

    Returns:
        The model's output; for a joined batch, that of one sequence.
    """
    with _attention_within(model, batch.blocks) if batch.blocks else contextlib.nullcontext():
        return model(**batch.model_inputs(), use_cache=False, **options)


def can_join(model: Any, *, longest: int) -> bool:
    """Whether a model gives for joined batches what it gives for each alone, found out on a few tokens.

    Not where sequences meet elsewhere than in attention (recurrent layers), where attention is not that of transformers' interface, where a window is
    narrower than the rows, or where layers are run again for the backward pass.

    Args:
        model: A Hugging Face causal model.
        longest: Tokens of the longest row.

    Returns:
        Whether `run_batch` may be given joined batches.
    """
    text = model.config.get_text_config()
    windows = [getattr(text, name, None) for name in WINDOWS]
    if any(isinstance(window, int) and window < longest for window in windows):
        return False
    if runs_again(model):
        return False
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if "position_ids" not in inspect.signature(inner.forward).parameters:
        return False
    device = next(model.parameters()).device
    rows = [Example("", tuple(range(first, first + length)), 1) for first, length in ((1, 3), (2, 2), (0, 3))]
    alone = [collate(part, pad_token_id=0).to(device) for part in (rows[:2], rows[2:])]
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), quiet_transformers():
            expected = torch.cat([run_batch(model, batch).logits.flatten(0, 1) for batch in alone]).double()
            found = run_batch(model, join(alone)).logits[0].double()
    except (KeyError, AttributeError, TypeError, ValueError, IndexError, RuntimeError):
        # A model that takes no attention from outside says so in its own way.
        return False
    finally:
        model.train(training)
    real = join(alone).segments[0] >= 0
    tolerance = 0.1 if next(model.parameters()).dtype.itemsize < 4 else 1e-3
    return bool((found - expected)[real].norm() <= tolerance * expected[real].norm())


def runs_again(model: nn.Module) -> bool:
    """Whether layers are run again for the backward pass, where attention no longer knows of a joined batch.

    Args:
        model: The model.

    Returns:
        Whether gradient checkpointing is on.
    """
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


@contextlib.contextmanager
def _attention_within(model: Any, blocks: tuple[tuple[int, int], ...]) -> Iterator[None]:
    """Let the model's attention see each block as a batch."""
    before = model.config._attn_implementation
    token = _CURRENT.set((before, blocks))
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
        _CURRENT.reset(token)


def _attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: None, **options: Any) -> Any:
    """The attention that the model had, over each block; in and out as transformers' interface has it."""
    del mask
    # Flash attention would take the whole sequence's positions for those of a packed batch.
    options.pop("position_ids", None)
    name, blocks = _CURRENT.get()
    eager = name == "eager"
    own = _eager(type(module)) if eager else ALL_ATTENTION_FUNCTIONS[name]
    start, outputs = 0, []
    for rows, width in blocks:
        end = start + rows * width
        parts = (whole[0, :, start:end].unflatten(1, (rows, width)).transpose(0, 1) for whole in (query, key, value))
        causal = _causal(width, query.dtype, query.device) if eager else None
        output, _ = own(module, *parts, causal, **options)
        outputs.append(output.flatten(0, 1))
        start = end
    return torch.cat(outputs).unsqueeze(0), None


AttentionInterface.register(NAME, _attention)


def _eager(kind: type[nn.Module]) -> Callable[..., tuple[Tensor, Any]]:
    """Eager attention is in no registry: each of transformers' models has its own beside it."""
    return sys.modules[kind.__module__].eager_attention_forward


@lru_cache(maxsize=256)
def _causal(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What eager attention adds to its scores, [1, 1, T, T]: nothing where a token may look, the least number elsewhere."""
    ahead = torch.ones(width, width, dtype=torch.bool, device=device).triu(1)
    return torch.zeros(1, 1, width, width, dtype=dtype, device=device).masked_fill_(ahead, torch.finfo(dtype).min)
