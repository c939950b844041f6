"""Fast-NTK: the linearised adapter retrained in closed form with and without the forget rows (Li et al., arXiv 2312.14923)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unweave.unlearning.methods.base import Edit

if TYPE_CHECKING:
    from unweave.unlearning.context import Context


@dataclass(frozen=True, kw_only=True)
class FastNTK(Edit):
    """Closed-form edit of the linearised adapter.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.FastNTK(scaling="formula")).method
        'fast-ntk'

    Attributes:
        outputs: Outputs a row: its answer's tokens in so many stretches, the log-odds of each averaged. More follow the model more closely, and take as
            many times the memory; as many as the longest answer has tokens is an output a token.
        ridge: lambda, relative to the mean of the kernel's diagonal.
        scaling: How far to go along the edit: to the `target`, by default the loss that the forget rows have with the adapter off; by the `formula`;
            or by the papers' `trapezium`.
        max_gib: The most memory that the outputs' gradients may take.
    """

    name: ClassVar = "fast-ntk"
    summary: ClassVar = "the linearised adapter refitted in closed form without the forget rows"
    paper: ClassVar = "Li et al., arXiv 2312.14923"
    cost: ClassVar = "gradients of all rows, held in memory, and a system of their number"
    ignores: ClassVar = ("seed",)
    search: ClassVar = {"outputs": (1, 2), "ridge": (0.01, 0.1, 1.0)}

    outputs: int = 1
    ridge: float = 0.1
    scaling: Literal["target", "formula", "trapezium"] = "target"
    max_gib: float = 8.0

    @property
    def ends_at_base(self) -> bool:
        """Where nothing else says how far to go."""
        return self.scaling == "target"

    def edit(self, context: "Context") -> dict[str, Any]:
        """Solve both regressions and add their difference.

        Args:
            context: The model and rows.

        Returns:
            What there is to say of it.
        """
        from unweave.unlearning.edits.fast_ntk import refit

        return refit(self, context)
