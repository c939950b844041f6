"""The sketches by name."""

from unweave.sketch.base import Sizes, Sketch
from unweave.sketch.config import SketchConfig
from unweave.sketch.fold import FoldSketch
from unweave.sketch.identity import IdentitySketch
from unweave.sketch.rapidgrad import RapidGradSketch

SKETCHES = {"fold": FoldSketch, "rapidgrad": RapidGradSketch, "none": IdentitySketch}
"""Name to sketch; a new one is one file and one line here."""


def make_sketch(config: SketchConfig, sizes: Sizes) -> Sketch:
    """Make the sketch that a config asks for.

    Args:
        config: Kind, dimension and seed.
        sizes: Coordinates of each gradient tensor, in the order of the model's parameters.

    Returns:
        The sketch.
    """
    return SKETCHES[config.sketch].for_sizes(sizes, dimension=config.dimension, seed=config.sketch_seed)
