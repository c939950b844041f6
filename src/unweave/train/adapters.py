"""Making and saving adapters: standard PEFT folders with a model card, safetensors only."""

from pathlib import Path
from typing import Any

from unweave.errors import ConfigError
from unweave.files import write_text
from unweave.models.loading import quiet_transformers
from unweave.train.config import LoraOptions

CARD = """---
base_model: {base}
library_name: peft
tags:
- unweave
- lora
---

# {title}

{description}

## How it was made

| | |
|---|---|
{rows}

Made with [unweave](https://pypi.org/project/unweave/) {version}. `run.json` beside this file holds the versions, seeds and fingerprints, and
`unweave run config.yaml` repeats the run.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "{folder}")
```
"""


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

    targets: str | list[str] = options.lora_targets
    if targets != "all-linear":
        targets = [target.strip() for target in options.lora_targets.split(",")]
    torch.manual_seed(seed)
    config = LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        with quiet_transformers():
            return get_peft_model(model, config, adapter_name=name, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ConfigError(
            f"The adapter can't be made: {error}",
            where="--lora-targets, --lora-r",
            remedy="use all-linear, or names of the model's modules",
        ) from error


def save_adapter(model: Any, tokenizer: Any, folder: Path, *, base: str) -> None:
    """Save the active adapter as a PEFT folder that names its base, with the tokenizer beside it.

    Args:
        model: The `PeftModel`.
        tokenizer: Its tokenizer.
        folder: Where to.
        base: Folder or hub id of the base model.
    """
    model.peft_config[model.active_adapter].base_model_name_or_path = base
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def write_card(folder: Path, *, title: str, description: str, base: str, facts: dict[str, Any]) -> None:
    """Write the model card.

    Args:
        folder: The adapter's folder.
        title: Its heading.
        description: What the adapter is.
        base: The base model.
        facts: Rows of the table.
    """
    from unweave import __version__

    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    text = CARD.format(base=base, title=title, description=description, rows=rows, version=__version__, folder=folder)
    write_text(folder / "README.md", text)
