"""The sketches by name."""

from math import prod

from unweave.sketch.base import Shapes, Sketch
from unweave.sketch.config import SketchConfig
from unweave.sketch.fold import FoldSketch
from unweave.sketch.gaussian import GaussianSketch
from unweave.sketch.identity import IdentitySketch
from unweave.sketch.kronecker import KroneckerSketch
from unweave.sketch.oporp import OporpSketch
from unweave.sketch.rapidgrad import RapidGradSketch
from unweave.sketch.tensorsketch import TensorSketch

SKETCHES = {
    "fold": FoldSketch,
    "rapidgrad": RapidGradSketch,
    "oporp": OporpSketch,
    "tensorsketch": TensorSketch,
    "kronecker": KroneckerSketch,
    "gaussian": GaussianSketch,
    "none": IdentitySketch,
}
"""Name to sketch; a new one is one file and one line here."""


def make_sketch(config: SketchConfig, shapes: Shapes) -> Sketch:
    """Make the sketch that a config asks for.

    Args:
        config: Kind, dimension and seed.
        shapes: Shape of each gradient tensor, in the order of the model's parameters.

    Returns:
        The sketch.
    """
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    return SKETCHES[config.sketch].for_sizes(sizes, dimension=config.dimension, seed=config.sketch_seed, shapes=shapes)
