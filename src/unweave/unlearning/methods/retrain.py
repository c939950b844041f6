"""Retraining: the same training without the forget rows. What all other methods are measured by."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unweave.unlearning.methods.base import ALL_REQUESTS, Described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unweave.train.sft import TrainResult


@dataclass(frozen=True, kw_only=True)
class Retrain(Described):
    """Train again without the forget rows, by the recipe of the model. Exact for what entered through the adapter.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.Retrain(), epochs=1.0).retain_rows
        6

    Attributes:
        recipe: config.yaml of the training run; by default the one beside the model.
        seed: In the place of the recipe's.
        dtype: In the place of the recipe's.
        device: In the place of the recipe's.
    """

    name: ClassVar = "retrain"
    summary: ClassVar = "the same training without the forget rows"
    paper: ClassVar = "exact for what entered through the adapter"
    cost: ClassVar = "a training run"
    requests: ClassVar = ALL_REQUESTS
    uses_retain: ClassVar = False
    takes_weights: ClassVar = False
    takes_target: ClassVar = False
    search: ClassVar = {}

    recipe: Path | None = None
    seed: int | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] | None = None
    device: str | None = None

    def train(
        self, model: str | Path, forget: Path, output_dir: Path, *, holding: "Mapping[str, Any] | None" = None
    ) -> "TrainResult":
        """Train.

        Args:
            model: The model, with its recipe beside it where none is given.
            forget: A file of the rows to leave out.
            output_dir: Where the model goes.
            holding: How the model is held, in the place of the recipe's.

        Returns:
            The result of the training run.
        """
        from unweave.train.recipe import read_recipe
        from unweave.train.sft import fine_tune
        from unweave.train.stages import Elsewhere

        changes: dict[str, Any] = {"without": forget, "output_dir": output_dir, "snapshots": ()}
        given = {"seed": self.seed, "dtype": self.dtype, "device": self.device}
        changes |= dict(holding or {})
        changes |= {name: value for name, value in given.items() if value is not None}
        # What never saw the rows is taken over, where the model was trained in shards.
        return fine_tune(replace(read_recipe(self.recipe or model), **changes), elsewhere=Elsewhere((Path(model),)))
