"""A model as it is, without dropout, for as long as it is looked at."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from unweave.models.placing import MARK


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off within the block, gradient checkpointing as it was; each module gets its own mode back afterwards.

    Where no graph is made, nothing is to be computed again: layers then keep what they generate with.

    Args:
        model: The model.

    Yields:
        Nothing.
    """
    modes = [(module, module.training) for module in model.modules()]
    with contextlib.ExitStack() as stack:
        try:
            model.eval()
            for module, mode in modes:
                asked = mode or getattr(module, MARK, False)
                if asked and getattr(module, "gradient_checkpointing", False) and torch.is_grad_enabled():
                    stack.enter_context(_checkpointing(module))
            yield
        finally:
            for module, mode in modes:
                module.training = mode


@contextlib.contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Nothing is dropped within the block, in training mode either and in what checkpoints compute again; the rates are put back afterwards.

    Args:
        model: The model.

    Yields:
        Nothing.
    """
    with contextlib.ExitStack() as stack:
        for module in model.modules():
            stack.enter_context(_changed(module, _no_rates(module)))
        yield


def _no_rates(module: nn.Module) -> dict[str, Any]:
    """The rates of dropout that a module holds, at zero: those of its own, and that of one that is nothing else."""
    names = [name for name, value in vars(module).items() if "drop" in name and isinstance(value, float)]
    return dict.fromkeys([*names, "p"] if isinstance(module, nn.modules.dropout._DropoutNd) else names, 0.0)


@contextlib.contextmanager
def _checkpointing(module: nn.Module) -> Iterator[None]:
    """Gradient checkpointing works only in training mode: the layer gets it back, without dropout; what is inside it stays in evaluation."""
    values = _no_rates(module)
    if vars(module).get("_gradient_checkpointing_func") is not None:
        # Reentrant checkpoints pass on no gradient to what is inside when their inputs need none.
        values["_gradient_checkpointing_func"] = _checkpoint
    module.training = True
    with _changed(module, values):
        yield


@contextlib.contextmanager
def _changed(module: nn.Module, values: dict[str, Any]) -> Iterator[None]:
    """A module with other attributes, for a while."""
    before = {name: getattr(module, name) for name in values}
    try:
        for name, value in values.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def _checkpoint(function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    return checkpoint(function, *inputs, use_reentrant=False, **options)
