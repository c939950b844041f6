"""The attacks by name, in the order in which they run: those that change the model come last."""

from typing import Any

ATTACKS: dict[str, Any] = {
    "lens": "unweave.evaluation.attacks.lens:ATTACK",
    "sampling": "unweave.evaluation.attacks.sampling:ATTACK",
    "prompts": "unweave.evaluation.attacks.prompts:ATTACK",
    "relearn": "unweave.evaluation.attacks.relearn:ATTACK",
    "relearn_elsewhere": "unweave.evaluation.attacks.relearn_elsewhere:ATTACK",
    "relearn_syntax": "unweave.evaluation.attacks.relearn_syntax:ATTACK",
    "quantise": "unweave.evaluation.attacks.quantise:ATTACK",
}
"""Name to an `Attack`, or where it is; a new one is one file and one line here."""

DEFAULTS = "lens", "sampling", "prompts", "relearn", "quantise"
"""Those that an audit makes unless it is given others: `relearn` has the strongest of its kind, on the rows themselves."""
