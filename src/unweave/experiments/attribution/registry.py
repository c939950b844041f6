"""The measures and the scenes by name."""

from typing import Any

_MEASURES, _SCENES = "unweave.experiments.attribution.measures", "unweave.experiments.attribution.scenes"

MEASURES: dict[str, Any] = {
    "lds": f"{_MEASURES}.lds:Lds",
    "qld": f"{_MEASURES}.qld:Qld",
    "tail-patch": f"{_MEASURES}.tail_patch:TailPatch",
    "recall": f"{_MEASURES}.recall:Recall",
    "mislabeled": f"{_MEASURES}.mislabeled:Mislabeled",
    "backdoor": f"{_MEASURES}.backdoor:Backdoor",
    "error": f"{_MEASURES}.error:ErrorTracing",
    "removal": f"{_MEASURES}.removal:Removal",
    "sanity": f"{_MEASURES}.sanity:Sanity",
    "date-lm-toxicity": f"{_MEASURES}.date_lm_toxicity:Toxicity",
    "date-lm-factual": f"{_MEASURES}.date_lm_factual:Factual",
}
"""Name to a class of `Measure` without arguments, or where it is; a new one is one file and one line here."""

SCENES: dict[str, Any] = {
    "facts": f"{_SCENES}.facts:make",
    "mislabeled": f"{_SCENES}.mislabeled:make",
    "backdoor": f"{_SCENES}.backdoor:make",
    "swapped": f"{_SCENES}.swapped:make",
    "toxicity": f"{_SCENES}.toxicity:make",
    "counterfact": f"{_SCENES}.counterfact:make",
}
"""Name to a function of config and seed that makes a `Scene`, or where it is: the rows that a measure trains on, and what it asks."""
