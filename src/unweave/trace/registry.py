"""The preconditioners and the scorers by name."""

from typing import Any

PRECONDITIONERS: dict[str, Any] = {
    "adam": "unweave.trace.preconditioners.adam:adam",
    "datainf": "unweave.trace.preconditioners.datainf:datainf",
    "ekfac": "unweave.trace.preconditioners.ekfac:ekfac",
    "cg": "unweave.trace.preconditioners.cg:cg",
}
"""Name to a `Preconditioner` of gradients, or where it is; a new one is one file and one line here."""

NOT_OF_GRADIENTS = ("none", "trak")
"""Choices beside them: nothing, and TRAK's kernel, which works on sketches."""

SCORERS: dict[str, Any] = {
    "bm25": "unweave.trace.scorers:bm25",
    "embedding": "unweave.trace.scorers:embedding",
    "gradnorm": "unweave.trace.scorers:gradnorm",
    "random": "unweave.trace.scorers:random",
}
"""Name to a `Scorer` that knows nothing of gradients' directions, or where it is; a new one is one function and one line here."""

INFLUENCE = "influence"
"""The scorer that they are compared with."""
