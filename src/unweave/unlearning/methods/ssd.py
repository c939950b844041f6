"""SSD, selective synaptic dampening: parameters that matter far more to the forget rows than to the others are scaled down."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from unweave.unlearning.methods.base import Edit

if TYPE_CHECKING:
    from unweave.unlearning.context import Context


@dataclass(frozen=True, kw_only=True)
class SSD(Edit):
    """`theta_i *= min(lambda F_D / F_F, 1)` where `F_F > a F_D`; F_F and F_D are the diagonal Fisher information of the forget and of the retain rows.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.SSD()).method
        'ssd'

    Attributes:
        selection: a: how much more a parameter must matter to the forget rows; with a target the value from which it is lowered.
        dampening: lambda: a smaller one scales down more strongly.
    """

    name: ClassVar = "ssd"
    summary: ClassVar = "scales down parameters that matter far more to the forget rows than to the retain rows"
    paper: ClassVar = "Foster et al., arXiv 2308.07707"
    cost: ClassVar = "one pass of gradients over all rows"
    ignores: ClassVar = ("seed",)
    search: ClassVar = {"selection": (2.0, 5.0, 10.0), "dampening": (0.3, 1.0)}

    selection: float = 10.0
    dampening: float = 1.0

    def edit(self, context: "Context") -> dict[str, Any]:
        """Scale parameters down.

        Args:
            context: The model and rows.

        Returns:
            What there is to say of it.
        """
        from unweave.unlearning.edits.ssd import dampen

        return dampen(self, context)
