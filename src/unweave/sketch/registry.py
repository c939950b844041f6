"""The sketches by name."""

from typing import Any

SKETCHES: dict[str, Any] = {
    "fold": "unweave.sketch.fold:Fold",
    "rapidgrad": "unweave.sketch.rapidgrad:RapidGrad",
    "oporp": "unweave.sketch.oporp:Oporp",
    "tensorsketch": "unweave.sketch.tensorsketch:TensorSketch",
    "kronecker": "unweave.sketch.kronecker:Kronecker",
    "gaussian": "unweave.sketch.gaussian:Gaussian",
    "none": "unweave.sketch.identity:Identity",
}
"""Name to a `Sketch`, or where it is; a new one is one file and one line here."""
