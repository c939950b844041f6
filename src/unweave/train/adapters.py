"""Making and saving adapters: standard PEFT folders with a model card, safetensors only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.errors import ConfigError
from unweave.files import write_text
from unweave.markdown import front_matter, literal, plain
from unweave.models.origin import absolute, record_base
from unweave.models.pretrained import read_pretrained
from unweave.models.quiet import quiet_transformers
from unweave.models.saving import save_model
from unweave.models.vocabulary import vocabulary_size
from unweave.train.config import LoraOptions

CARD = """{front}
# {title}

{description}

## How it was made

| | |
|---|---|
{rows}

Made with [unweave](https://pypi.org/project/unweave/) {version}.{repeat}

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base}), {folder})
```
"""

REPEAT = """ `run.json` beside this file holds the versions, seeds and fingerprints, and
`unweave run config.yaml` repeats the run."""

# These models' kernels take the weights of some linear layers, and do not call the layers. PEFT refuses adapters on out_proj.
MAMBA = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")


def add_lora(model: Any, options: LoraOptions, *, seed: int, name: str = "default") -> Any:
    """Put a fresh LoRA adapter on a model.

    Args:
        model: A Hugging Face causal model.
        options: Rank, scale, dropout, targets.
        seed: Of A's first values; B starts at zero.
        name: The adapter's name.

    Returns:
        A `PeftModel` whose adapter is trainable and in the model's own dtype.

    Raises:
        ConfigError: When no module has one of the names, or the rank is not positive.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    from unweave.models.text import idle_on_text, pattern_of

    targets: str | list[str] = options.lora_targets
    if targets != "all-linear":
        targets = [target.strip() for target in options.lora_targets.split(",")]
    if idle := idle_on_text(model):
        progress.say(f"no adapter goes on {', '.join(idle)}: they do not run on text")
    left_out = pattern_of(idle)
    if targets == "all-linear" and model.config.model_type in MAMBA:
        progress.say("no adapter goes on Mamba's out_proj and dt_proj: their weights are read past it")
        left_out = r".*\.(?:out|dt)_proj"
    config = LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=targets,
        exclude_modules=left_out,
        task_type="CAUSAL_LM",
    )
    if options.lora_dropout and not _takes_dropout(model, config):
        progress.say(
            "experts' weights are adapted in one tensor, which takes no dropout: `lora_dropout` is 0 in this run"
        )
        config.lora_dropout = 0.0
    torch.manual_seed(seed)
    try:
        with quiet_transformers():
            return get_peft_model(model, config, adapter_name=name, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ConfigError(
            f"The adapter can't be made: {error}",
            where="`lora_targets`, `lora_r`",
            remedy="use all-linear, or names of the model's modules",
        ) from error


def _takes_dropout(model: Any, config: Any) -> bool:
    """Whether every module that an adapter is for can have dropout in front of it, tried on an empty copy of a model with experts."""
    import copy

    import torch
    from peft import get_peft_model

    if not any(parameter.ndim > 2 and name.split(".")[-2] == "experts" for name, parameter in model.named_parameters()):
        return True
    with torch.device("meta"), torch.random.fork_rng(devices=[]), quiet_transformers():
        empty = type(model)(copy.deepcopy(model.config))
        try:
            get_peft_model(empty, copy.deepcopy(config), autocast_adapter_dtype=False)
        except ValueError as error:
            return "dropout" not in str(error)
    return True


def save_adapter(
    model: Any, tokenizer: Any, folder: Path, *, base: str, revision: str | None = None, place: Path | None = None
) -> None:
    """Save the active adapter as a PEFT folder that names its base, with the tokenizer beside it.

    A base on this disk is named by its absolute path, and its weights by their digests in `base.json`.

    Args:
        model: The `PeftModel`.
        tokenizer: Its tokenizer.
        folder: Where to.
        base: Folder or hub id of the base model.
        revision: Of a base from the hub.
        place: Where the folder will lie; by default it stays where it is.
    """
    base = absolute(base)
    config = model.peft_config[model.active_adapter]
    config.base_model_name_or_path, config.revision = base, revision
    resized = _base_vocabulary(base, revision) not in (None, vocabulary_size(model))
    # PEFT's own look at the base knows no revision, and no models of several parts.
    save_model(model, tokenizer, folder, save_embedding_layers=True if resized else "auto")
    record_base(folder, base, place=place or folder)


def _base_vocabulary(base: str, revision: str | None) -> int | None:
    from transformers import AutoConfig

    try:
        config = read_pretrained(AutoConfig, base, revision=revision)
    except (OSError, ValueError):
        return None
    return getattr(config.get_text_config(), "vocab_size", None)


def write_card(
    folder: Path,
    *,
    title: str,
    description: str,
    base: str,
    facts: Mapping[str, Any],
    repeatable: bool = True,
    place: Path | str | None = None,
) -> None:
    """Write the model card.

    Args:
        folder: The adapter's folder.
        title: Its heading.
        description: What the adapter is.
        base: The base model.
        facts: Rows of the table.
        repeatable: Whether the folder holds what repeats the run.
        place: Where the adapter will be loaded from; by default the folder.
    """
    from unweave import __version__

    base = absolute(base)
    text = CARD.format(
        front=front_matter({"base_model": base, "library_name": "peft", "tags": ["unweave", "lora"]}),
        base=literal(base),
        title=plain(title),
        description=plain(description),
        rows="\n".join(f"| {plain(key)} | {plain(value)} |" for key, value in facts.items()),
        version=__version__,
        folder=literal(place or folder),
        repeat=REPEAT if repeatable else "",
    )
    write_text(folder / "README.md", text)
