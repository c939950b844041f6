"""The preconditioners and the scorers by name."""

from typing import Any

PRECONDITIONERS: dict[str, Any] = {
    "adam": "unweave.curvature.adam:adam",
    "datainf": "unweave.curvature.datainf:datainf",
    "ekfac": "unweave.curvature.ekfac:ekfac",
    "cg": "unweave.curvature.cg:cg",
}
"""Name to a `Preconditioner` of gradients, or where it is; a new one is one file and one line here."""

NOT_OF_GRADIENTS = ("none", "trak")
"""Choices beside them: nothing, and TRAK's kernel, which works on sketches."""

SCORERS: dict[str, Any] = {
    "bm25": "unweave.attribution.scorers:bm25",
    "embedding": "unweave.attribution.scorers:embedding",
    "gradnorm": "unweave.attribution.scorers:gradnorm",
    "random": "unweave.attribution.scorers:random",
}
"""Name to a `Scorer` that knows nothing of gradients' directions, or where it is; a new one is one function and one line here."""

ESTIMATORS: dict[str, Any] = {
    "unrolled": "unweave.attribution.unrolled:estimate",
    "trajectory": "unweave.attribution.trajectory:estimate",
    "segments": "unweave.attribution.segments:estimate",
}
"""Name to an `Estimator` of attribution through training, or where it is; a new one is one file and one line here."""

NOT_THROUGH_TRAINING = ("store", "auto")
"""Choices beside them: the sketches of one checkpoint, and whichever fits what is there."""

INFLUENCE = "influence"
"""The scorer that they are compared with."""
