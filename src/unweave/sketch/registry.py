"""The sketches by name."""

from typing import Any

SKETCHES: dict[str, Any] = {
    "fold": "unweave.sketch.fold:FoldSketch",
    "rapidgrad": "unweave.sketch.rapidgrad:RapidGradSketch",
    "oporp": "unweave.sketch.oporp:OporpSketch",
    "tensorsketch": "unweave.sketch.tensorsketch:TensorSketch",
    "kronecker": "unweave.sketch.kronecker:KroneckerSketch",
    "gaussian": "unweave.sketch.gaussian:GaussianSketch",
    "none": "unweave.sketch.identity:IdentitySketch",
}
"""Name to a `Sketch`, or where it is; a new one is one file and one line here."""
