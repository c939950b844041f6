"""A sketch for a model's gradients, by the options."""

from math import prod

from unweave.registry import entry
from unweave.sketch.base import Shapes, Sketch
from unweave.sketch.config import SketchConfig
from unweave.sketch.registry import SKETCHES


def make_sketch(config: SketchConfig, shapes: Shapes) -> Sketch:
    """Make the sketch that a config asks for.

    Args:
        config: Kind, dimension and seed.
        shapes: Shape of each gradient tensor, in the order of the model's parameters.

    Returns:
        The sketch.

    Raises:
        ConfigError: When there is no such sketch.
    """
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    kind = entry(SKETCHES, config.sketch, option="sketch")
    return kind.for_sizes(sizes, dimension=config.dimension, seed=config.sketch_seed, shapes=shapes)
