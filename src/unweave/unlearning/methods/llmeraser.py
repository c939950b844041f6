"""LLMEraser: edits of the adapter by influence functions (Ding et al., ICLR 2025, arXiv 2412.00383), for removals, corrections and modifications."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unweave.unlearning.methods.base import ALL_REQUESTS, Edit, RequestKind

if TYPE_CHECKING:
    from unweave.unlearning.context import Context


@dataclass(frozen=True, kw_only=True)
class LLMEraser(Edit):
    """Influence-function edit.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.LLMEraser(scale=0.5)).method
        'llmeraser'

    Attributes:
        training_rows: n, the rows that the adapter was trained on, those to forget among them; by default those given, forget and retain.
        request: `removal` takes the forget rows out; `correction` puts their clean answers in the place of the unwanted ones; `modification` puts the rows
            of `replacement` in their place.
        replacement: For a modification: a file of new rows with the ids of the forget rows.
        curvature: `gauss-newton`, which is positive semi-definite, or the `hessian` itself, for which conjugate gradients may fail.
        curvature_from: `retain` rows, with those that come in, stand for what is still trained on, and n is the number of those: a quadratic loss makes
            the edit exact (a Newton step). `all` counts the forget rows too, and all n, as the formula does: among few rows they weigh far more than
            among n, and hold the edit back.
        metric: What the damping keeps small: the `adam` distance, with the root of the second moments of each coordinate, as the optimizer that made the
            adapter had it, or the plain one (`identity`).
        damping: The metric's factor beside the curvature, relative to the mean eigenvalue over the directions that the rows span.
        solver: `cg`, or the paper's `adam` on the quadratic form.
        preconditioner: For `cg`: `ekfac` takes fewer, dearer-to-begin iterations; `none` takes the metric alone.
        iterations: The most products with the curvature (the paper's solver: 20 steps).
        tolerance: Relative residual at which to stop.
        max_residual: Above this the result is said to be unsolved.
        solver_rate: Step size of the paper's solver.
        curvature_rows: Rows that the curvature is made of, at most, evenly from all; 0 takes all. A product costs two passes over them.
        rounds: Steps, each with gradients and curvature of where the last one led: one is the paper's; more follow Newton's path, until the forget rows have
            the target's loss, the rows to keep stand no more, or, without a target and with `stop_at_base` false, nothing is left to do: for a convex
            loss that is the retrained model.
        l2: The training's own regularisation, l2 / 2 times the squared norm beside the mean loss of the rows; with several rounds alone.
        probes: Random vectors for the curvature's mean eigenvalue, which the damping is relative to; each costs a product.
    """

    name: ClassVar = "llmeraser"
    summary: ClassVar = "influence-function edit of the adapter"
    paper: ClassVar = "Ding et al., ICLR 2025, arXiv 2412.00383"
    cost: ClassVar = "gradients of the forget rows, and a curvature product over the curvature rows for each iteration (about one training step on them)"
    requests: ClassVar = ALL_REQUESTS
    search: ClassVar = {"scale": (1.0, 3.0, 10.0, 30.0), "curvature_rows": (16,)}
    uses_clean: ClassVar = True

    training_rows: int | None = None
    request: RequestKind = "removal"
    replacement: Path | None = None
    curvature: Literal["gauss-newton", "hessian"] = "gauss-newton"
    curvature_from: Literal["retain", "all"] = "retain"
    metric: Literal["adam", "identity"] = "adam"
    damping: float = 0.1
    solver: Literal["cg", "adam"] = "cg"
    preconditioner: Literal["none", "ekfac"] = "none"
    iterations: int = 40
    tolerance: float = 1e-2
    max_residual: float = 1e-2
    solver_rate: float = 1e-5
    curvature_rows: int = 16
    probes: int = 2
    rounds: int = 1
    l2: float = 0.0

    def edit(self, context: "Context") -> dict[str, Any]:
        """Solve, and add the solution.

        Args:
            context: The model and rows.

        Returns:
            What there is to say of it.
        """
        if self.rounds > 1:
            from unweave.unlearning.edits.newton_path import walk

            return walk(self, context)
        from unweave.unlearning.edits.llmeraser import step

        return step(self, context)
