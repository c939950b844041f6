"""A model as it is, without dropout, for as long as it is looked at."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off within the block, gradient checkpointing as it was; each module gets its own mode back afterwards.

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
                if mode and getattr(module, "gradient_checkpointing", False):
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
    rates = [(module, name, value) for module in model.modules() for name, value in _rates(module).items()]
    try:
        for module, name, _ in rates:
            setattr(module, name, 0.0)
        yield
    finally:
        for module, name, value in rates:
            setattr(module, name, value)


def _rates(module: nn.Module) -> dict[str, float]:
    """The rates of dropout that a module holds: those of its own, and that of one that is nothing else."""
    own = {name: value for name, value in vars(module).items() if "drop" in name and isinstance(value, float)}
    return own | ({"p": module.p} if isinstance(module, nn.modules.dropout._DropoutNd) else {})


@contextlib.contextmanager
def _checkpointing(module: nn.Module) -> Iterator[None]:
    """Gradient checkpointing works only in training mode: the layer gets it back, without dropout; what is inside it stays in evaluation."""
    changed: dict[str, Any] = dict(_rates(module))
    function = vars(module).get("_gradient_checkpointing_func")
    if function is not None:
        # Reentrant checkpoints pass on no gradient to what is inside when their inputs need none.
        changed["_gradient_checkpointing_func"] = function
    module.training = True
    try:
        for name in changed:
            setattr(module, name, 0.0)
        if function is not None:
            module._gradient_checkpointing_func = _checkpoint  # type: ignore[assignment]
        yield
    finally:
        for name, value in changed.items():
            setattr(module, name, value)


def _checkpoint(function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    return checkpoint(function, *inputs, use_reentrant=False, **options)
