"""What goes into the modules that hold chosen parameters, and what comes back to their outputs.

A forward hook keeps a module's input; a hook on its output gets the gradient as the backward pass arrives there. Of an embedding it is the look-up
itself that is seen, wherever its module scales or shifts: the ids and the output of `torch.nn.functional.embedding`. A call that can't be taken
apart by example makes its parameters *lost*: whoever asked has to get their gradients in another way.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unweave.devices import is_out_of_memory
from unweave.gradients.layout import ExampleLayout
from unweave.gradients.pieces import gradient_piece
from unweave.models.selection import SelectedParameter, Use, is_linear, is_linear_weight

Consumer = Callable[[str, Float[Tensor, "B ..."]], None]
Interceptor = Callable[[SelectedParameter, Use, Tensor, Tensor], bool]
"""Sees the inputs and output gradients of a parameter's only call in example layout [B, T, features], and says whether it has dealt with them."""
Piece = Callable[[Use, Tensor, Tensor], Tensor]


class Collector:
    """Makes gradients of the parts that a backward pass brings, and hands them on as soon as a parameter has all of its parts.

    Args:
        consume: Gets complete gradients.
        intercept: May deal with the factors of a parameter that has one part only.
        piece: Makes the gradient of a part.
    """

    def __init__(self, consume: Consumer, *, intercept: Interceptor | None = None, piece: Piece = gradient_piece):
        self.done: set[str] = set()
        self._consume, self._intercept, self._piece = consume, intercept, piece
        self._lost: set[str] = set()
        self._calls: Counter[str] = Counter()
        self._parts: dict[str, list[tuple[SelectedParameter, Use, Tensor, Tensor]]] = {}
        self._in_backward = False

    def called(self, held: Iterable[tuple[SelectedParameter, Use]]) -> None:
        """A module that holds parameters has run.

        Args:
            held: The parameters.
        """
        # What gradient checkpointing runs again during the backward pass is no further call.
        if not self._in_backward:
            self._calls.update(item.name for item, _ in held)

    def lose(self, held: Iterable[tuple[SelectedParameter, Use]]) -> None:
        """A part has a gradient that can't be made.

        Args:
            held: The parameters.
        """
        self._lost.update(item.name for item, _ in held)

    def arrived(self, item: SelectedParameter, use: Use, values: Tensor, grads: Tensor) -> None:
        """A part has its gradient.

        Args:
            item: The parameter.
            use: Where it is used.
            values: What went in, in example layout.
            grads: The gradient of what came out.
        """
        parts = self._parts.setdefault(item.name, [])
        parts.append((item, use, values, grads))
        if len(parts) == self._calls[item.name]:
            self._complete(self._parts.pop(item.name))

    def begin_backward(self) -> None:
        """The forward pass is over: all calls have been seen."""
        self._in_backward = True

    def finish(self) -> None:
        """The backward pass is over: calls that got no gradient had no part in the loss."""
        for parts in list(self._parts.values()):
            self._complete(parts)
        self._parts.clear()

    def _complete(self, parts: list[tuple[SelectedParameter, Use, Tensor, Tensor]]) -> None:
        name = parts[0][0].name
        if name in self._lost:
            return
        if len(parts) > 1 or not (self._intercept and self._intercept(*parts[0])):
            total = None
            for part in parts:
                if (piece := self._attempt(*part)) is None:
                    return
                if len(parts) > 1:
                    piece = piece.to(torch.promote_types(piece.dtype, torch.float32))
                total = piece if total is None else total.add_(piece)
            assert total is not None
            self._consume(name, total)
        self.done.add(name)

    def _attempt(self, item: SelectedParameter, use: Use, values: Tensor, grads: Tensor) -> Tensor | None:
        """The gradient of a part; `None` where a module is not of the form that it is taken for, so that it can't be computed."""
        try:
            return self._piece(use, values, grads)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            self.lose([(item, use)])
            return None


@contextlib.contextmanager
def captured(
    parameters: Sequence[SelectedParameter], layout: ExampleLayout, head: nn.Module | None, collector: Collector
) -> Iterator[None]:
    """Hooks on every module that holds a chosen parameter.

    Args:
        parameters: The parameters.
        layout: Of the batch.
        head: The output head.
        collector: Gets what arrives.

    Yields:
        Nothing.
    """
    by_module: dict[nn.Module, list[tuple[SelectedParameter, Use]]] = {}
    for item in parameters:
        for use in item.uses:
            by_module.setdefault(use.module, []).append((item, use))
    inside_head = set() if head is None else set(head.modules())
    with contextlib.ExitStack() as stack:
        for module, held in by_module.items():
            capture = _Capture(held, layout, collector, of_head=module in inside_head)
            if isinstance(module, nn.Embedding):
                stack.enter_context(_forward_within(module, lambda capture=capture: _Lookups(capture)))
            else:
                handle = module.register_forward_hook(capture.forward, with_kwargs=True)
                stack.callback(handle.remove)
        yield


@contextlib.contextmanager
def observed(
    parameters: Sequence[SelectedParameter], took: Callable[[SelectedParameter, Tensor], None]
) -> Iterator[None]:
    """Let autograd differentiate parameters, and hand their gradients on instead of keeping them.

    Args:
        parameters: The parameters.
        took: Called, in the backward pass, for each that the loss depends on.

    Yields:
        Nothing.
    """
    before = [(item.parameter, item.parameter.requires_grad, item.parameter.grad) for item in parameters]

    def hook(item: SelectedParameter) -> Callable[[Tensor], None]:
        def arrived(parameter: Tensor) -> None:
            gradient, parameter.grad = parameter.grad, None
            assert gradient is not None
            took(item, gradient.detach())

        return arrived

    handles = []
    try:
        for item in parameters:
            item.parameter.grad = None
            item.parameter.requires_grad_(True)
            handles.append(item.parameter.register_post_accumulate_grad_hook(hook(item)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter, flag, gradient in before:
            parameter.requires_grad_(flag)
            parameter.grad = gradient


class _Capture:
    """The calls of one module."""

    def __init__(
        self,
        held: list[tuple[SelectedParameter, Use]],
        layout: ExampleLayout,
        collector: Collector,
        *,
        of_head: bool,
    ):
        self.held, self.layout, self.collector, self.of_head = held, layout, collector, of_head
        self._only_products = all(is_linear_weight(use) for _, use in held)
        self._rerunning = False

    def forward(self, module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
        """The hook: may replace the output by an equal one, at which the graph begins."""
        # Pieces of norms run their module again, for its derivative.
        if self._rerunning:
            return output
        given = [*inputs, *options.values()]
        plain = isinstance(output, Tensor) and bool(given) and isinstance(given[0], Tensor)
        if plain and (is_linear(module) or (len(given) == 1 and not options)):
            return self.seen(given[0].detach(), output)
        self.collector.called(self.held)
        self.collector.lose(self.held)
        return output

    def seen(self, values: Tensor, output: Tensor) -> Tensor:
        """One call: what went in, and what came out.

        Args:
            values: The input.
            output: The output.

        Returns:
            The output, part of a graph.
        """
        self.collector.called(self.held)
        values, output = (self.layout.per_example(tensor, of_head=self.of_head) for tensor in (values, output))
        # The lowest chosen modules get inputs outside the graph: the graph begins at their output, which models may change in place.
        if not output.requires_grad:
            output = output.detach().requires_grad_().clone()

        def backward(gradient: Tensor) -> None:
            self._rerunning = True
            try:
                with torch.no_grad():
                    self._arrived(values, gradient)
            finally:
                self._rerunning = False

        output.register_hook(backward)
        return output

    def _arrived(self, values: Tensor, gradient: Tensor) -> None:
        tokens = [self.layout.tokens(tensor, of_head=self.of_head) for tensor in (values, gradient)]
        if tokens[0] is None or tokens[1] is None:
            self.collector.lose(self.held)
            return
        # One of two factors without padding is enough for their product, and for all else it must be the gradients.
        narrow_inputs = self._only_products and values.shape[-1] < gradient.shape[-1]
        grads = self.layout.examples(tokens[1], zero=not narrow_inputs)
        inputs = self.layout.examples(tokens[0], zero=narrow_inputs)
        for item, use in self.held:
            self.collector.arrived(item, use, inputs, grads)


class _Lookups(TorchFunctionMode):
    """Sees the look-ups of one embedding, inside its module."""

    def __init__(self, capture: _Capture):
        super().__init__()
        self._capture = capture
        self._parameters = [item.parameter for item, _ in capture.held]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        output = func(*args, **options)
        if func is not nn.functional.embedding:
            return output
        names = ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
        given = {**dict(zip(names, args, strict=False)), **options}
        if not any(given["weight"] is parameter for parameter in self._parameters):
            return output
        # A gradient that is divided by how often a token occurs in the batch is no sum over tokens.
        if given.get("scale_grad_by_freq"):
            self._capture.collector.called(self._capture.held)
            self._capture.collector.lose(self._capture.held)
            return output
        return self._capture.seen(given["input"].unsqueeze(-1), output)


@contextlib.contextmanager
def _forward_within(module: nn.Module, context: Callable[[], contextlib.AbstractContextManager[Any]]) -> Iterator[None]:
    """Let a module's own forward run within a context."""
    forward, own = module.forward, module.__dict__.get("forward")

    def within(*inputs: Any, **options: Any) -> Any:
        with context():
            return forward(*inputs, **options)

    module.forward = within  # type: ignore[method-assign]
    try:
        yield
    finally:
        if own is None:
            del module.__dict__["forward"]
        else:
            module.forward = own  # type: ignore[method-assign]
