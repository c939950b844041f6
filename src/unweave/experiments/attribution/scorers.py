"""The scorers of the suite: how each name is asked, through the same store and search as `unweave trace`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unweave.attribution.registry import ESTIMATORS, PRECONDITIONERS, SCORERS
from unweave.sketch.config import Normalize


@dataclass(frozen=True)
class Way:
    """How a scorer is asked.

    Attributes:
        normalize: Of the store's gradients.
        options: Of the search.
        reads: What it reads of the disk: the `store`, the `record` of the training, or neither (`texts`).
        sees_model: Whether its scores are of the model.
    """

    normalize: Normalize = "none"
    options: Mapping[str, Any] = field(default_factory=dict)
    reads: str = "store"
    sees_model: bool = True


def ways() -> dict[str, Way]:
    """Every scorer that there is, those registered since the import among them.

    Returns:
        Name to how it is asked.
    """
    found = {
        "gradient": Way(),
        "cosine": Way(options={"similarity": "cosine"}),
        "rapidin": Way(normalize="tensor"),
        "trak": Way(options={"preconditioner": "trak"}),
    }
    found |= {name: Way(options={"preconditioner": name}) for name in PRECONDITIONERS}
    found |= {name: Way(options={"estimator": name}, reads="record") for name in ESTIMATORS}
    for name in SCORERS:
        gradients = name == "gradnorm"
        found[name] = Way(options={"scorer": name}, reads="store" if gradients else "texts", sees_model=gradients)
    return found


def is_baseline(name: str) -> bool:
    """Whether a scorer knows nothing of gradients' directions.

    Args:
        name: Its name.

    Returns:
        The answer.
    """
    return name in SCORERS
