"""Approximate unrolling (SOURCE; Bae et al., arXiv 2405.12186): training in a few segments, in each of which gradients and curvature stand still.

In a segment of steps with the sizes e_t (`unweave.attribution.visits`), T their sum, the optimizer's preconditioner P and the Gauss-Newton matrix H,

    a target's gradient q at its end is     exp(-T H P) q                      at its beginning,
    and a row's share in it is worth        <P phi(H P) q, g>,                 phi(s) = (1 - exp(-T s)) / s,

so that directions which training has settled count as influence functions have them, and those it has not as single steps do: T takes the place of damping.

The paper has plain gradient descent and EK-FAC. Here P is AdamW's own, and H is made of the gradients f of rows under labels sampled from the model, of which H
is the covariance: with S = P^(1/2) H P^(1/2) = sum_j s_j s_j^T, s_j = P^(1/2) f_j, every function of it needs but the inner products of the s_j. These are of
whole gradients where they fit in memory, and of their sketches where not. What sampled labels have not shown is S's null space, where a step is a step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.attribution.targets import Target, target_gradients
from unweave.attribution.trained import Trained
from unweave.attribution.visits import add_products, visit_rows
from unweave.curvature.ekfac import sampled_labels
from unweave.sketch.config import SketchConfig
from unweave.sketch.make import make_sketch
from unweave.train.replay import Run
from unweave.train.states import State, Tensors

GIB = 2**30


@dataclass(frozen=True)
class Segment:
    """A part of a run in which gradients and curvature stand still.

    Attributes:
        state: Where its gradients are taken.
        time: The sum of the steps' effective sizes.
        shares: What the gradient of each row's summed token losses is of the segment's mean step: the sum of its shares weighted by the sizes, over `time`.
    """

    state: State
    time: float
    shares: Float[Tensor, " n"]


def make_segments(
    snapshots: Sequence[State], factors: Float[Tensor, "s n"], rates: Float[Tensor, " s"]
) -> list[Segment]:
    """A segment around each snapshot.

    Args:
        snapshots: States after at least one step, in their order.
        factors: As for `trajectory`.
        rates: The sum of the effective step sizes for which each snapshot stands.

    Returns:
        The segments, without those of no length.
    """
    found = []
    for state, own, rate in zip(snapshots, factors, rates.tolist(), strict=True):
        if rate > 0:
            found.append(Segment(state, rate, own / rate))
    return found


def segments(
    run: Run,
    targets: Sequence[Target],
    parts: Sequence[Segment],
    *,
    fit_rows: int = 1024,
    dimension: int = 65_536,
    memory_gib: float = 1.0,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Float[Tensor, "q n"]:
    """Influence by segments, from the last to the first.

    Args:
        run: Model, rows and options of the optimizer.
        targets: Functions of the model; their gradients are those at the last segment's state.
        parts: The segments, in their order.
        fit_rows: Rows whose sampled gradients make the curvature.
        dimension: Of the sketches of these, where whole ones do not fit.
        memory_gib: For the whole gradients of the fitted rows.
        seed: Of the sampled labels, and of which rows are fitted.
        advance: Called with 1 for each segment done.

    Returns:
        float64: positive where a row lowers the target.
    """
    found = torch.zeros(len(targets), len(run.examples), dtype=torch.float64)
    run.load(parts[-1].state)
    gradients = target_gradients(run.model, run.parameters, targets)
    for number, part in enumerate(reversed(parts)):
        curvature = _Curvature(run, part, fit_rows, dimension, memory_gib, seed + number)
        inner = curvature.products(gradients)
        steps, inside = coefficients(curvature.gram, inner, part.time)
        forward = curvature.combined(inside, {name: own * part.time for name, own in gradients.items()})
        wanted = {name: own * curvature.preconditioner[name].to(own) for name, own in forward.items()}
        add_products(run, part.state, wanted, part.shares, found)
        gradients = curvature.combined(steps, gradients)
        advance(1)
    return found


def estimate(trained: Trained, targets: Sequence[Target]) -> Float[Tensor, "q n"]:
    """`segments`, of what a training left: one around each snapshot.

    Args:
        trained: What it left.
        targets: Functions of the model.

    Returns:
        Scores of the run's rows.
    """
    parts = make_segments(trained.snapshots, trained.factors, trained.times)
    options = {"memory_gib": trained.memory_gib, "fit_rows": trained.fit_rows, "seed": trained.seed}
    with progress.task("segments", len(parts)) as advance:
        return segments(trained.run, targets, parts, advance=advance, **options)


def coefficients(
    gram: Float[Tensor, "m m"], products: Float[Tensor, "m q"], time: float
) -> tuple[Float[Tensor, "m q"], Float[Tensor, "m q"]]:
    """What the curvature adds to a target's gradient q, as combinations of the fitted gradients f.

    exp(-T H P) q = q + sum_j a_j f_j,     phi(H P) q = T q + sum_j b_j f_j.

    Args:
        gram: <f_j, P f_k>.
        products: <f_j, P q> of each target.
        time: T.

    Returns:
        a and b, in float64.
    """
    values, vectors = torch.linalg.eigh(gram.double())
    # Below rounding a direction's curvature is taken as zero: both functions have a limit there.
    scaled = values.clamp(min=0) * time
    small = scaled < 1e-6
    safe = torch.where(small, 1.0, scaled)
    steps = torch.where(small, -1.0 + scaled / 2, torch.expm1(-safe) / safe) * time
    inside = torch.where(small, -0.5 + scaled / 6, (-torch.expm1(-safe) - safe) / safe.square()) * time**2
    turned = vectors.T @ products.double()
    return vectors @ (steps[:, None] * turned), vectors @ (inside[:, None] * turned)


class _Curvature:
    """Fitted gradients of a segment: their inner products with each other and with targets, and sums of them.

    Args:
        run: The run.
        part: The segment.
        fit_rows: The most rows.
        dimension: Of sketches.
        memory_gib: For whole gradients.
        seed: Of labels and rows.
    """

    def __init__(self, run: Run, part: Segment, fit_rows: int, dimension: int, memory_gib: float, seed: int):
        self.run, self.part, self.seed = run, part, seed
        self.preconditioner = part.state.preconditioner(beta=run.options.beta2, epsilon=run.options.epsilon)
        generator = torch.Generator().manual_seed(seed)
        self.places = sorted(torch.randperm(len(run.examples), generator=generator)[:fit_rows].tolist())
        self.rows = {place: index for index, place in enumerate(self.places)}
        shares = part.shares[self.places]
        # Of rows that a segment never saw, or saw twice, as of its mean step; of a sample, as if it were all.
        self.roots = (shares * (float(part.shares.sum()) / max(float(shares.sum()), 1e-300))).sqrt()
        shapes = {name: tuple(own.shape) for name, own in run.parameters.items()}
        self.sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        whole = sum(self.sizes.values()) * len(self.places) * 8 <= memory_gib * GIB
        self.sketch = None if whole else make_sketch(SketchConfig(dimension=dimension), shapes)
        self._rows: Tensors = {}
        self._fit()
        self.gram = torch.stack([(own @ own.T).double() for own in self._scaled().values()]).sum(dim=0)

    def _gradients(self, take: Callable[[list[int], str, Tensor], None]) -> None:
        """The fitted gradients, under the same sampled labels each time, times the root of their share."""
        generator = torch.Generator(device=next(self.run.model.parameters()).device).manual_seed(self.seed)

        def consume(places: list[int], name: str, piece: Tensor) -> None:
            rows = [self.rows[place] for place in places]
            take(rows, name, piece * self.roots[rows].to(piece)[:, None])

        relabel = sampled_labels(self.run.model, generator)
        visit_rows(self.run, self.part.state, consume, relabel=relabel, places=self.places)

    def _fit(self) -> None:
        if self.sketch is None:
            dtype = next(iter(self.preconditioner.values())).dtype
            self._rows = {name: torch.zeros(len(self.places), size, dtype=dtype) for name, size in self.sizes.items()}

            def keep(rows: list[int], name: str, piece: Tensor) -> None:
                self._rows[name][rows] = piece.to(self._rows[name])

            self._gradients(keep)
            return
        sketches, sketch = torch.zeros(len(self.places), self.sketch.dimension), self.sketch

        def add(rows: list[int], name: str, piece: Tensor) -> None:
            scaled = (piece * self.preconditioner[name].flatten().to(piece).sqrt()).float().cpu()
            own = torch.zeros(len(rows), sketch.dimension)
            sketch.add(own, name, scaled, torch.ones(len(rows)))
            sketches[rows] += own

        self._gradients(add)
        self._rows = {"": sketches}

    def _scaled(self) -> Tensors:
        if self.sketch is not None:
            return self._rows
        return {name: own * self.preconditioner[name].flatten().to(own).sqrt() for name, own in self._rows.items()}

    def products(self, gradients: Tensors) -> Float[Tensor, "m q"]:
        """<f_j, P q> of each fitted gradient and target.

        Args:
            gradients: Of the targets.

        Returns:
            float64.
        """
        if self.sketch is None:
            each = [
                own @ (gradients[name] * self.preconditioner[name].to(gradients[name])).flatten(1).to(own).T
                for name, own in self._rows.items()
            ]
            return torch.stack([own.double() for own in each]).sum(dim=0)
        count = len(next(iter(gradients.values())))
        sketched = torch.zeros(count, self.sketch.dimension)
        for name, own in gradients.items():
            scaled = (own * self.preconditioner[name].to(own).sqrt()).flatten(1).float().cpu()
            self.sketch.add(sketched, name, scaled, torch.ones(count))
        return (self._rows[""] @ sketched.T).double()

    def combined(self, weights: Float[Tensor, "m q"], start: Tensors) -> Tensors:
        """Targets' gradients and sums of the fitted ones.

        Args:
            weights: Of each fitted gradient in each target's sum.
            start: What they are added to.

        Returns:
            Name to one a target.
        """
        total = {name: own.clone() for name, own in start.items()}

        def add(rows: list[int], name: str, piece: Tensor) -> None:
            own = total[name]
            own += (weights[rows].T.to(piece) @ piece).view_as(own).to(own)

        if self.sketch is None:
            everything = list(range(len(self.places)))
            for name, own in self._rows.items():
                add(everything, name, own)
        else:
            self._gradients(add)
        return total
