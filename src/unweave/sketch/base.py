"""What a sketch is: a linear map R^D -> R^K that takes a gradient tensor by tensor and keeps inner products in expectation."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Sketch(Protocol):
    """A compression of per-sample gradients.

    Attributes:
        name: Its name in the registry.
        dimension: K, the length of a sketch.
    """

    name: str
    dimension: int

    def add(
        self, out: Float[Tensor, "B K"], tensor: str, piece: Float[Tensor, "B D"], scale: Float[Tensor, " B"]
    ) -> None:
        """Add `scale` times the sketch of one tensor's gradients to `out`, in place.

        Args:
            out: The sketches under construction, float32.
            tensor: The tensor's name in the model.
            piece: Its gradients, flattened, float32.
            scale: A factor for each example.
        """
        ...


@runtime_checkable
class FactorSketch(Sketch, Protocol):
    """A sketch that takes the gradient of a linear weight as its factors, without the weight-shaped gradient itself."""

    def add_factors(
        self,
        out: Float[Tensor, "B K"],
        tensor: str,
        left: Float[Tensor, "B T rows"],
        right: Float[Tensor, "B T columns"],
        *,
        normalize: bool,
    ) -> Float[Tensor, " B"]:
        """Add the sketch of sum_t left_t right_t^T to `out`, in place.

        Args:
            out: The sketches under construction.
            tensor: The tensor's name.
            left: One factor of each token, zero on padding.
            right: The other.
            normalize: Divide by the gradient's norm, or by that of its sketch: the sketch says which.

        Returns:
            The squared norm of each example's gradient, or an unbiased estimate of it.
        """
        ...


Shapes = Mapping[str, tuple[int, ...]]
"""Name of a gradient tensor to its shape."""

Sizes = Mapping[str, int]
"""Name of a gradient tensor to its number of coordinates, in the order of the model's parameters."""


def reciprocal_root(squares: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """1 / sqrt of squared norms: what normalises a gradient.

    Args:
        squares: Squared norms.

    Returns:
        One factor an example; a zero gradient gets 0, not infinity.
    """
    return squares.rsqrt().nan_to_num_(posinf=0.0)


def starts_of(sizes: Sizes) -> dict[str, int]:
    """Where each tensor begins in the concatenation of all.

    Args:
        sizes: Coordinates of each tensor.

    Returns:
        Name to first coordinate.
    """
    starts, position = {}, 0
    for name, size in sizes.items():
        starts[name] = position
        position += size
    return starts
