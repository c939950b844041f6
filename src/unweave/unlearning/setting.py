"""What a method works on. It stands outside of `methods`, so that what methods are made of does not import them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unweave.models.loading import Loaded
from unweave.unlearning.steps import ForgetRow


@dataclass(frozen=True)
class Setting:
    """What a method knows before it begins.

    Attributes:
        loaded: The model, its trainable parameters marked.
        rows: All forget and retain rows.
        prepared: What the method's own `prepare` has found out.
    """

    loaded: Loaded
    rows: Sequence[ForgetRow]
    prepared: Any = None
