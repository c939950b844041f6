"""LLMEraser's step taken again and again, with gradients and curvature of where it has led: Newton's path to the model without the rows.

An influence step is infinitesimal: it is right where the loss is quadratic between both models. What it aims at is the point where the rows that stay, and
those that come in, have the gradient that all rows had when training ended. With theta_0 the parameters before and N the rows that stay, round k solves

    H(theta_k) d = sum_F g(theta_0) + sum_R (g(theta_0) - g(theta_k)) - sum_new g(theta_k) + l2 (n theta_0 - N theta_k),   theta_k+1 = theta_k + d / N,

of which the first round's right side is the paper's. Where it is zero the path ends: for a convex loss in the model retrained without the rows. Damping and
unsolved systems make rounds shorter and leave that point where it is.
"""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from unweave import progress
from unweave.curvature.gauss_newton import Vectors
from unweave.errors import TrainingError
from unweave.unlearning.applying import apply_edit, nothing_to_do
from unweave.unlearning.context import Context
from unweave.unlearning.edits import llmeraser
from unweave.unlearning.line_search import TOLERANCE
from unweave.unlearning.stopping import checked_rows, mean_loss

if TYPE_CHECKING:
    from unweave.unlearning.methods.llmeraser import LLMEraser

HALVINGS = 5
"""How often a step that leaves more to do is halved."""

SETTLED = 1e-8
"""The share of the first right side at which nothing is left to do."""


@dataclass(frozen=True)
class Round:
    """One step of the path.

    Attributes:
        remaining: The norm of the right side before the step, as a share of the first one's.
        residual: Of the linear system, relative.
        products: With the curvature.
        scale: The factor that was taken of the step.
        norm: Of the change.
        forget_loss: Mean l(z) of the forget rows after the step, nats a token.
        retain_loss: The same of the retain rows.
    """

    remaining: float
    residual: float
    products: int
    scale: float
    norm: float
    forget_loss: float
    retain_loss: float


def walk(method: "LLMEraser", context: Context) -> dict[str, Any]:
    """Take up to `rounds` steps: to the target, to where the path ends, or to where the retain rows stand no more.

    Args:
        method: Request, curvature, solver, rounds.
        context: Model and rows.

    Returns:
        As a single step, of the last round and of all; `rounds`, each of them; and `ended`: `target`, `stationary`, `harmful`, `stuck` or
        `rounds`.

    Raises:
        TrainingError: When the forget rows have the target's loss already, or the first round is harmful at every factor, or leaves more to do.
    """
    path = _Path(method, context)
    start = at = path.losses()
    target = context.target

    def reached() -> bool:
        return target is not None and at[0] >= target * (1 - TOLERANCE)

    if target is not None and reached():
        already = nothing_to_do(start[0], target)
        raise already
    margin = context.options.max_retain_increase
    rounds: list[Round] = []
    cautions: list[str] = []
    found: dict[str, Any] = {}
    ended, right = "rounds", path.right()
    first = norm = _norm(right)
    for number in range(method.rounds):
        forget, retain = at
        if reached():
            ended = "target"
            break
        if norm <= SETTLED * first:
            ended = "stationary"
            break
        progress.say(f"llmeraser: round {number + 1}, forget rows {forget:.3f} nats a token, others {retain:.3f}")
        # The margin is of the whole path.
        left = replace(context, options=replace(context.options, max_retain_increase=start[1] + margin - retain))
        try:
            solved, applied = path.step(left, right, target)
        except TrainingError as error:
            if not rounds:
                raise
            cautions.append(f"llmeraser: round {number + 1} was not taken. {error}")
            ended = "harmful"
            break
        share, right = path.nearer(norm) if target is None else (1.0, path.right())
        if not share:
            if not rounds:
                raise TrainingError(
                    f"The first round of llmeraser was not taken: {_WHY['stuck']}.",
                    where="`damping`, `curvature_rows`",
                    remedy="raise them, or use a method that trains",
                )
            cautions.append(f"llmeraser: round {number + 1} was not taken: {_WHY['stuck']}.")
            ended = "stuck"
            break
        found, scale, moved = solved | applied, share * applied["scale"], share * applied["norm"]
        at = path.losses()
        rounds.append(Round(norm / first, solved["residual"], solved["products"], scale, moved, *at))
        norm = _norm(right)
    if ended == "rounds" and reached():
        ended = "target"
    if target is not None and ended != "target":
        cautions.append(
            f"llmeraser: after {len(rounds)} rounds the forget rows' loss is {at[0]:.2f} nats a token, {target:.2f} was to be reached "
            f"({_WHY[ended]})."
        )
    if norm > first:
        cautions.append(
            "llmeraser: the path has led away from where a model retrained without the rows would be: what is left to do grew "
            f"{norm / first:.1f} times. Without a target, and with `stop_at_base` false, it never goes there."
        )
    details = {
        "ended": ended, "target": target, "rounds": [asdict(one) for one in rounds],
        "remaining": norm / first if first else 0.0, "products": sum(one.products for one in rounds),
        "norm": path.moved(), "watched": [{"scale": 0.0, "forget_loss": start[0], "retain_loss": start[1]}]
        + [{"scale": one.scale, "forget_loss": one.forget_loss, "retain_loss": one.retain_loss} for one in rounds],
    }  # fmt: skip
    own = [one for one in found.get("cautions", []) if "was to be reached" not in one]
    return found | details | {"cautions": [*llmeraser.idle(method), *own, *cautions]}


_WHY = {
    "stationary": "the rows that stay have the gradient that all rows had: the path ends here",
    "harmful": "the next round costs the rows to keep more than their margin",
    "stuck": "no factor of the step leaves less to do",
    "rounds": "raise `rounds`, or lower `damping`",
}


class _Path:
    """Where the parameters are, and what is left to do from there."""

    def __init__(self, method: "LLMEraser", context: Context):
        self.method, self.context = method, context
        self.leaving = [row for row in context.rows if row.is_forget]
        self.staying = [row for row in context.rows if not row.is_forget]
        self.coming = llmeraser.COMING[method.request](method, context, self.leaving)
        trained = method.training_rows or len(context.rows)
        self.count = llmeraser.rows_of_curvature(method, self.leaving, self.staying, self.coming)
        # Rows that are given as staying stand for all that stay.
        self.factor = (trained - len(self.leaving)) / len(self.staying)
        self.before = self._sums(self.leaving, self.staying)
        parameters = llmeraser.parameters_of(self._problem(self.staying))
        self.start = {name: own.detach().clone() for name, own in parameters.items()}

    def _problem(self, rows: Any) -> Any:
        return llmeraser.problem_of(self.context, self.method, rows)

    def _sums(self, once: Any, many: Any) -> Vectors:
        """The sum of gradients, the rows that stay counted as often as they stand for others."""
        total = llmeraser.summed(self._problem(many))
        total = {name: self.factor * own for name, own in total.items()}
        if once:
            other = llmeraser.summed(self._problem(once))
            total = {name: own + other[name] for name, own in total.items()}
        return total

    def right(self) -> Vectors:
        """The right side: what the gradients of all rows were, less those of the rows that are trained on from now on."""
        now = self._sums(self.coming, self.staying)
        weights = {name: sum(row.weight for row in rows) for name, rows in (("out", self.leaving), ("in", self.coming))}
        stay = self.factor * sum(row.weight for row in self.staying)
        found = {name: self.before[name] - own for name, own in now.items()}
        if not self.method.l2:
            return found
        parameters = llmeraser.parameters_of(self._problem(self.staying))
        for name, own in parameters.items():
            wide = found[name].dtype
            was, here = self.start[name].to(wide), own.detach().to(wide)
            found[name] = found[name] + self.method.l2 * ((stay + weights["out"]) * was - (stay + weights["in"]) * here)
        return found

    def step(self, context: Context, right: Vectors, target: float | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Solve and go: the whole step, or less of it where that is beyond the target or the margin."""
        method = self.method
        rows = [*self.leaving, *self.staying] if method.curvature_from == "all" else [*self.staying, *self.coming]
        problem = self._problem(llmeraser.spread(rows, method.curvature_rows))
        solution, solved = llmeraser.solved(method, problem, right, self.context.options.seed)
        delta = {name: value[0] / self.count for name, value in solution.items()}
        parameters = llmeraser.parameters_of(problem)
        self.last = kept = {name: own.detach().clone() for name, own in parameters.items()}
        options: dict[str, Any] = {"name": method.name, "first": method.scale}
        applied = apply_edit(context, parameters, delta, target=None, **options)
        if target is not None and self.losses()[0] > target * (1 + TOLERANCE):
            with torch.no_grad():
                for name, own in parameters.items():
                    own.copy_(kept[name])
            applied = apply_edit(context, parameters, delta, target=target, **options)
        cautions = [*solved["cautions"], *applied["cautions"]]
        return solved | {"curvature_rows": len(problem.rows)}, applied | {"cautions": cautions}

    def nearer(self, norm: float) -> tuple[float, Vectors]:
        """Halve the last step until less is left to do than before it: the share of it that was taken, 0 where none will do, and the right side there."""
        parameters = llmeraser.parameters_of(self._problem(self.staying))
        whole = {name: own.detach().clone() for name, own in parameters.items()}
        right: Vectors = {}
        for share in (*(2.0**-halvings for halvings in range(HALVINGS)), 0.0):
            with torch.no_grad():
                for name, own in parameters.items():
                    own.copy_(self.last[name] + share * (whole[name] - self.last[name]))
            right = self.right()
            if _norm(right) < norm:
                return share, right
        return 0.0, right

    def losses(self) -> tuple[float, float]:
        """Of the forget rows and of the retain rows, where the parameters are."""
        pad = self.context.loaded.tokenizer.pad_token_id
        forget, retain = (
            mean_loss(self.context.loaded.model, rows, pad_token_id=pad) for rows in checked_rows(self.context)
        )
        return forget, retain

    def moved(self) -> float:
        """How far the parameters are from where they began."""
        parameters = llmeraser.parameters_of(self._problem(self.staying))
        squares = [
            float((own.detach().double() - self.start[name].double()).square().sum())
            for name, own in parameters.items()
        ]
        return sum(squares) ** 0.5


def _norm(vectors: Vectors) -> float:
    return sum(float(own.double().square().sum()) for own in vectors.values()) ** 0.5
