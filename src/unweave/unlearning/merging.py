"""A model whose adapter has become part of its weights, as the base of what is trained next."""

from unweave.models.loading import Loaded
from unweave.models.merging import merged_model
from unweave.unlearning.config import ForgetConfig


def merged_base(config: ForgetConfig, loaded: Loaded, *, save: bool = True) -> Loaded:
    """Merge the adapter, where there is one, and save the result as `base/` in the output folder.

    Args:
        config: With the output folder.
        loaded: The model; it is changed in place.
        save: Whether to write the merged model now.

    Returns:
        The merged model; its `base` is where it lies, or the base that it always had.
    """
    return merged_model(loaded, config.output_dir / "base", save=save)
