"""The attacks by name, in the order in which they run: those that change the model come last."""

from typing import Any

ATTACKS: dict[str, Any] = {
    "lens": "unweave.audit.attacks.lens:ATTACK",
    "sampling": "unweave.audit.attacks.sampling:ATTACK",
    "prompts": "unweave.audit.attacks.prompts:ATTACK",
    "relearn": "unweave.audit.attacks.relearn:ATTACK",
    "quantise": "unweave.audit.attacks.quantise:ATTACK",
}
"""Name to an `Attack`, or where it is; a new one is one file and one line here."""

DEFAULTS = tuple(ATTACKS)
"""Those that an audit makes unless it is told others."""
