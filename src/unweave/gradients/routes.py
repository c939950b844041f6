"""How the per-sample gradients of a parameter are computed, proven once for each model.

Hooks see modules; nothing says that a module uses its parameters as it seems to. So the first batch of a model is preceded by a trial on two short
examples: autograd differentiates the loss of each, in the same passes in which the hooks are at work. Their gradients must agree, and none may stand
under the other example.

- *hooks*: they agree: from the factors, in a batch.
- *alone*: they differ, or no hook sees the parameter (experts, state space models, attention sinks): autograd, one example at a time. Exact for
  whatever a model does, and slower.
- *idle*: the loss does not depend on it, as on a vision tower where there is only text. The gradient is zero, and autograd watches that it stays so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from unweave import progress
from unweave.data.batches import Batch, collate
from unweave.data.encoding import Example
from unweave.gradients.capture import Collector
from unweave.gradients.passes import Pass
from unweave.gradients.pieces import is_added
from unweave.models.selection import SelectedParameter, Use

LENGTH = 24
TRIALS = 3
SLACK = 4
LOW_PRECISION, SINGLE, DOUBLE = 0.1, 1e-3, 1e-5
"""How far gradients may be apart, relative to their norm: models compute in part in float32, whatever their dtype."""


class Route(Enum):
    """The ways of the module's docstring."""

    HOOKS = "hooks"
    ALONE = "alone"
    IDLE = "idle"


@dataclass
class _Verdict:
    """What trials have found of a parameter.

    Attributes:
        route: How its gradients are computed.
        trials: Trials that are left: a gradient of zero, as of an untrained adapter, proves nothing.
    """

    route: Route
    trials: int = 0


_VERDICTS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()


def find_routes(model: nn.Module, batch: Batch, parameters: Sequence[SelectedParameter]) -> dict[str, Route]:
    """The routes of parameters, by a trial where there is no verdict yet.

    Args:
        model: The model, in `frozen_in_evaluation`.
        batch: A batch that follows, for its tokens.
        parameters: The parameters.

    Returns:
        Parameter's name to route.
    """
    verdicts = _VERDICTS.setdefault(model, WeakIdKeyDictionary())
    unproven = [item for item in parameters if item.parameter not in verdicts or verdicts[item.parameter].trials]
    if unproven:
        alone, idle = [], []
        for item, route, proven in _try(model, batch, unproven):
            before = verdicts.get(item.parameter)
            left = 0 if proven else (before.trials if before else TRIALS) - 1
            verdicts[item.parameter] = _Verdict(route, left)
            if route is Route.ALONE and (before is None or before.route is not route):
                alone.append(item.name)
            if route is Route.IDLE and item.of_group:
                idle.append(item.name)
        _announce(alone)
        if idle:
            progress.say(
                f"gradients: {len(idle)} of the chosen parameters ({_shown(idle)}) take no part in the loss of text: their gradient is zero"
            )
    return {item.name: verdicts[item.parameter].route for item in parameters}


def send_alone(model: nn.Module, items: Iterable[SelectedParameter]) -> None:
    """What the trial could not see showed in a batch: from now on these go one example at a time.

    Args:
        model: The model.
        items: The parameters.
    """
    names = []
    for item in items:
        _VERDICTS[model][item.parameter] = _Verdict(Route.ALONE)
        names.append(item.name)
    _announce(names)


def _announce(names: Sequence[str]) -> None:
    if names:
        progress.say(
            f"gradients: {len(names)} of the chosen parameters ({_shown(names)}) are used in a way that a batch can't be taken apart for; theirs "
            "come from autograd, one row at a time: exact, at about half the speed or less. A pattern as `parameters` can leave them out"
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _try(
    model: nn.Module, batch: Batch, items: Sequence[SelectedParameter]
) -> list[tuple[SelectedParameter, Route, bool]]:
    """Each parameter with its route, and whether that is proven."""
    # Quantised weights can't be differentiated; their layers are of kinds that have a formula, and what can't be seen of them is refused in the batch.
    trusted = [item for item in items if not item.parameter.is_floating_point()]
    tried = [item for item in items if item.parameter.is_floating_point()]
    sample = _sample(batch)
    outcomes = [_Trial(model, sample, tried, index).outcomes() for index in range(len(sample))]
    found = [(item, Route.HOOKS, True) for item in trusted]
    for item in tried:
        seen = {outcome[item.name] for outcome in outcomes}
        if seen == {None}:
            found.append((item, Route.IDLE, True))
        elif False in seen:
            found.append((item, Route.ALONE, True))
        else:
            found.append((item, Route.HOOKS, True in seen))
    return found


def _sample(batch: Batch) -> Batch:
    """Two short examples of different lengths, of the batch's own tokens."""
    ids = batch.input_ids[batch.segments >= 0].tolist()
    longer = (ids * 3)[: min(LENGTH, max(3, len(ids)))]
    shorter = longer[::-1][: max(2, len(longer) * 2 // 3)]
    examples = [Example(batch.row_ids[0], tuple(tokens), 1) for tokens in (longer, shorter)]
    return collate(examples, pad_token_id=ids[0]).to(batch.input_ids.device)


class _Trial:
    """Hooks against autograd for the loss of one of two examples."""

    def __init__(self, model: nn.Module, sample: Batch, items: Sequence[SelectedParameter], index: int):
        self._pass, self._items, self._index = Pass(model, sample), items, index
        self._pieces: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._bounds: dict[str, float] = {}
        self._found: dict[str, bool | str | None] = {item.name: None for item in items}

    def outcomes(self) -> dict[str, bool | str | None]:
        """Run the trial.

        Returns:
            Parameter's name to whether hooks and autograd agree; "zero" where both say that nothing comes, `None` where the loss does not depend on it.
        """
        collector = Collector(self._consume, intercept=self._intercept)
        self._pass.run(self._items, collector, differentiated=self._items, took=self._took, only=self._index)
        # Autograd had a gradient, hooks had none.
        self._found.update(dict.fromkeys(self._gradients, False))
        return self._found

    def _intercept(self, item: SelectedParameter, use: Use, values: Tensor, grads: Tensor) -> bool:
        """The largest that rounding can be: sums over positions may cancel, as those of key biases do."""
        lengths = grads.float().flatten(2).norm(dim=2)
        if values.is_floating_point() and not is_added(use):
            lengths = lengths * values.float().flatten(2).norm(dim=2)
        self._bounds[item.name] = float(lengths.sum())
        return False

    def _consume(self, name: str, piece: Tensor) -> None:
        self._pieces[name] = piece
        self._settle(name)

    def _took(self, item: SelectedParameter, gradient: Tensor) -> None:
        self._gradients[item.name] = gradient
        self._settle(item.name)

    def _settle(self, name: str) -> None:
        """Compare as soon as both are there, and let go of them."""
        if name not in self._pieces or name not in self._gradients:
            return
        piece, gradient = self._pieces.pop(name), self._gradients.pop(name)
        if piece.shape[1:] != gradient.shape:
            self._found[name] = False
            return
        wide = torch.promote_types(piece.dtype, torch.float32)
        own, others = piece[self._index].to(wide), piece[1 - self._index].to(wide)
        size = float(gradient.to(wide).norm())
        error = max(float((own - gradient.to(wide)).norm()), float(others.norm()))
        if size == 0 and error == 0:
            self._found[name] = "zero"
            return
        low = gradient.dtype.itemsize < 4
        tolerance = LOW_PRECISION if low else DOUBLE if gradient.dtype == torch.float64 else SINGLE
        rounding = max(torch.finfo(gradient.dtype).eps, torch.finfo(torch.float32).eps)
        self._found[name] = error <= tolerance * size + SLACK * rounding * self._bounds.get(name, 0.0)
