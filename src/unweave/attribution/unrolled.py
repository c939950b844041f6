"""Differentiation through training (MAGIC; Ilyas and Engstrom, arXiv 2504.16430): the derivative of what a run's end gives by the weight of each row.

The run is repeated from its record, and then gone through backwards, from the last step to the first. With a step's gradient g, clipped to c g, and

    m' = b1 m + (1 - b1) c g,   v' = b2 v + (1 - b2) (c g)^2,   x' = (1 - lr wd) x - lr / (1 - b1^t) m' / (sqrt(v' / (1 - b2^t)) + eps)

the adjoints of (x', m', v') give those of (x, m, v) and of g; the adjoint u of g meets the batch's loss in one double backward pass, which gives H u, and
<u, g_i> for each of its rows at once. Nothing is approximated but by rounding. What a derivative can't say is how far a row's absence is from a small change of
its weight.

Of the backward way's states only as many are held as the memory allows; those between are made again, piece by piece, and pieces of pieces where they are long.

Left open by the paper, and chosen here: a row's weight multiplies its share of each step's loss and leaves the number that the loss is divided by as it is
(`fixed`); with `weighted` that number is weighted too, so that what counts is a row against its batch. Clipping and weight decay are differentiated as
they are.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from unweave import progress
from unweave.attribution.targets import Target, target_gradients
from unweave.attribution.trained import Trained
from unweave.errors import ConfigError
from unweave.gradients.loss import differentiable_losses
from unweave.train.replay import CLIP_EPSILON, Replay, Run, departure
from unweave.train.states import State, Tensors

GIB = 2**30
HELD = 4
"""Tensors of each parameter that a held step takes: parameters, two moments, gradient."""
ADJOINTS = 5
"""Of each parameter and target: three adjoints, and what a step makes of them."""

Denominator = Literal["fixed", "weighted"]


def unrolled(
    run: Run,
    targets: Sequence[Target],
    *,
    denominator: Denominator = "fixed",
    smoothing: float = 0.0,
    memory_gib: float = 1.0,
    note: Callable[[float], None] = lambda _: None,
    advance: Callable[[int], None] = lambda _: None,
) -> Float[Tensor, "q n"]:
    """Minus the derivative of each target at the run's end by the weight of each row.

    Args:
        run: The run; its model stands at the end of training afterwards.
        targets: Functions of the model, evaluated with dropout off.
        denominator: What a step's loss is divided by: a `fixed` number, or the `weighted` one.
        smoothing: What is added to the root of the second moments on the way back, relative to each tensor's mean root. 0 gives the derivative itself, which
            for numbers whose gradients are near zero is steep and holds no further than they are: AdamW steps by their signs.
        memory_gib: For states and adjoints together; one step and one target are held in any case.
        note: Called with how far the repeated run ended from the recorded one, the largest difference of a parameter.
        advance: Called with 1 for each step gone back.

    Returns:
        float64: positive where more weight on a row lowers the target.
    """
    numbers = sum(own.numel() * max(own.element_size(), 4) for own in run.start.parameters.values())
    half = memory_gib * GIB / 2 / max(numbers, 1)
    at_once, slots = max(1, int(half / ADJOINTS)), max(2, int(half / HELD))
    starts, end = _forward(run, slots)
    note(departure(run, end))
    found = torch.zeros(len(targets), len(run.examples), dtype=torch.float64)
    for first in range(0, len(targets), at_once):
        some = slice(first, first + at_once)
        run.load(end)
        back = _Backward(run, target_gradients(run.model, run.parameters, targets[some]), denominator, smoothing)
        for state, gradient in _reversed(run, list(starts), len(run.steps), slots):
            found[some] -= back.step(state, gradient)
            advance(1)
    run.load(end)
    return found


def estimate(trained: Trained, targets: Sequence[Target]) -> Float[Tensor, "q n"]:
    """`unrolled`, of what a training left.

    Args:
        trained: What it left.
        targets: Functions of the model.

    Returns:
        Scores of the run's rows.

    Raises:
        ConfigError: When it left no record.
    """
    if not trained.recorded:
        raise ConfigError(
            "Unrolling repeats each step of a training, and this one left no record of them.",
            where="`estimator`",
            remedy="train with `record`; or use `estimator` segments or trajectory, which take checkpoints",
        )
    apart: list[float] = []
    with progress.task("unrolled", len(trained.run.steps)) as advance:
        found = unrolled(
            trained.run,
            targets,
            smoothing=trained.damping or 0.0,
            memory_gib=trained.memory_gib,
            note=apart.append,
            advance=advance,
        )
    if apart[0] > 0:
        progress.say(
            f"unrolled: the repeated training ended up to {apart[0]:.1e} from the recorded one: another machine, or other versions"
        )
    return found


def _forward(run: Run, slots: int) -> tuple[list[State], State]:
    """The whole run: the states that pieces of it begin with, and the end."""
    replay, total = Replay(run), len(run.steps)
    length = max(1, -(-total // slots))
    starts = [replay.until(step) for step in range(0, total, length)]
    return starts, replay.until(total)


def _reversed(run: Run, starts: list[State], last: int, slots: int) -> Iterator[tuple[State, Tensors]]:
    """Each step's state and gradient before it was clipped, from the last to the first."""
    while starts:
        state = starts.pop()
        replay = Replay(run, state)
        if last - state.step <= slots:
            held = []
            while replay.step < last:
                before = replay.state()
                held.append((before, replay.advance(keep=True)))
            while held:
                yield held.pop()
        else:
            length = -(-(last - state.step) // slots)
            inner = [replay.until(step) for step in range(state.step, last, length)]
            yield from _reversed(run, inner, last, slots)
        last = state.step


class _Backward:
    """The adjoints of a run's state, a stack of them, on their way back.

    Args:
        run: The run.
        gradients: Of the targets at its end.
        denominator: As in `unrolled`.
        smoothing: As in `unrolled`.
    """

    def __init__(self, run: Run, gradients: Tensors, denominator: Denominator, smoothing: float):
        self.run, self.denominator, self.smoothing = run, denominator, smoothing
        self.by_parameters = gradients
        self.by_first = {name: torch.zeros_like(own) for name, own in gradients.items()}
        self.by_second = {name: torch.zeros_like(own) for name, own in gradients.items()}

    def step(self, state: State, gradient: Tensors) -> Float[Tensor, "q n"]:
        """Go back over one step.

        Args:
            state: Before it.
            gradient: Of its loss, before it was clipped.

        Returns:
            The derivatives by the weights of the rows, as far as they act in this step.
        """
        options, rate, made = self.run.options, self.run.rates[state.step], state.step + 1
        first_share, second_share = 1 - options.beta1**made, 1 - options.beta2**made
        wide = {name: own.to(state.parameters[name]) for name, own in gradient.items()}
        scale, norm = _clipping(wide, options.max_grad_norm)
        by_clipped: Tensors = {}
        for name, plain in wide.items():
            own = plain * scale
            mean = state.first[name].lerp(own, 1 - options.beta1)
            square = options.beta2 * state.second[name] + (1 - options.beta2) * own * own
            root = (square / second_share).sqrt()
            below = root + (options.epsilon + self.smoothing * float(root.mean()))
            pull = self.by_parameters[name] * (rate / first_share)
            # Where no gradient ever was, the root's slope is infinite and what it multiplies is zero.
            slope = torch.where(root > 0, 0.5 / (second_share * root.clamp(min=torch.finfo(root.dtype).tiny)), 0.0)
            by_first = self.by_first[name] - pull / below
            by_second = self.by_second[name] + pull * (mean / below.square() * slope)
            by_clipped[name] = (1 - options.beta1) * by_first + 2 * (1 - options.beta2) * own * by_second
            self.by_first[name] = options.beta1 * by_first
            self.by_second[name] = options.beta2 * by_second
            self.by_parameters[name] = self.by_parameters[name] * (1 - rate * options.weight_decay)
        by_gradient = _through_clipping(by_clipped, wide, scale, norm, options.max_grad_norm)
        self.run.load(state)
        products, by_rows = self._double(state.step, by_gradient)
        for name, own in products.items():
            self.by_parameters[name] = self.by_parameters[name] + own
        return by_rows

    def _double(self, step: int, by_gradient: Tensors) -> tuple[Tensors, Float[Tensor, "q n"]]:
        """H u for each adjoint u of the gradient, and <u, g_i> for each row of the step."""
        run, model, count = self.run, self.run.model, len(next(iter(by_gradient.values())))
        names, own = list(by_gradient), [run.parameters[name] for name in by_gradient]
        places, shares = list(run.steps[step]), run.shares(step)
        total = {name: torch.zeros_like(stack) for name, stack in by_gradient.items()}
        by_rows = torch.zeros(count, len(places), dtype=torch.float64)
        model.train()
        run.seed(step)
        # Fused attention has no second derivative.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            batch = run.batch(step)
            sums = differentiable_losses(model, batch).sums()
            weights = torch.ones_like(sums, requires_grad=True)
            loss = (sums * shares.to(sums) * weights).sum()
            gradients = torch.autograd.grad(loss, own, create_graph=True)
            for index in range(count):
                seeds = [
                    by_gradient[name][index].to(gradient.dtype) for name, gradient in zip(names, gradients, strict=True)
                ]
                *second, rows = torch.autograd.grad(
                    gradients, [*own, weights], grad_outputs=seeds, retain_graph=index + 1 < count, allow_unused=True
                )
                by_rows[index] = rows.detach().double().cpu()
                for name, value in zip(names, second, strict=True):
                    if value is not None:
                        total[name][index] += value.to(total[name])
        if self.denominator == "weighted":
            counts = torch.tensor([run.examples[place].completion_length for place in places], dtype=torch.float64)
            own_share = counts / counts.sum() if run.mean == "tokens" else torch.full_like(counts, 1 / len(counts))
            by_rows = by_rows - by_rows.sum(dim=1, keepdim=True) * own_share
        found = torch.zeros(count, len(run.examples), dtype=torch.float64)
        return total, found.index_add_(1, torch.tensor(places), by_rows)


def _clipping(gradient: Tensors, most: float) -> tuple[float, float]:
    """The factor of a gradient, and its norm."""
    norm = float(torch.stack([own.double().square().sum() for own in gradient.values()]).sum().sqrt())
    return (min(1.0, most / (norm + CLIP_EPSILON)) if most > 0 else 1.0), norm


def _through_clipping(by_clipped: Tensors, gradient: Tensors, scale: float, norm: float, most: float) -> Tensors:
    """From the adjoint of the clipped gradient to that of the gradient itself."""
    if scale == 1.0:
        return by_clipped
    inner = torch.stack(
        [(own * gradient[name]).flatten(1).double().sum(dim=1) for name, own in by_clipped.items()]
    ).sum(dim=0)
    factor = inner * (most / ((norm + CLIP_EPSILON) ** 2 * norm))
    return {
        name: scale * own - factor.to(own).view(-1, *[1] * gradient[name].ndim) * gradient[name]
        for name, own in by_clipped.items()
    }
