"""The families of probes by name, in the order in which they are shown."""

from typing import Any

PROBES: dict[str, Any] = {
    "paraphrase": "unweave.evaluation.probes.paraphrase:PROBE",
    "first_words": "unweave.evaluation.probes.first_words:PROBE",
    "spelling": "unweave.evaluation.probes.spelling:PROBE",
    "language": "unweave.evaluation.probes.language:PROBE",
    "alias": "unweave.evaluation.probes.alias:PROBE",
    "reversed": "unweave.evaluation.probes.reversal:PROBE",
    "two_hop": "unweave.evaluation.probes.two_hop:PROBE",
    "multiple_choice": "unweave.evaluation.probes.multiple_choice:PROBE",
}
"""Name to a function of a row and of what there is beside it, or where it is; a new one is one file and one line here."""

DEFAULTS = tuple(PROBES)
"""Those that an evaluation makes unless it is given others."""
