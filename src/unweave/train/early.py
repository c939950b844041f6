"""Early adapters where only the final one is left: what tracing needs of an early snapshot, made afterwards.

At the end of training the gradients of what was learned have shrunk to nothing. Two ways back: the final adapter with its update scaled down, so that the
model is on the line from its start to its end and rows matter again; or a few steps of training from the base on a sample of the rows. Each is written as
an adapter like any other, with a record of what it was made from.
"""

import random
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from unweave import __version__, progress
from unweave.data.config import ReadingConfig
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.digests import matching, named_digests
from unweave.errors import ConfigError, ModelError
from unweave.files import read_json, write_json, write_jsonl
from unweave.replacing import replacing_folder
from unweave.train.config import TrainConfig
from unweave.train.recipe import read_recipe

Mode = Literal["final", "scaled", "retrained", "auto"]

AUTO: Literal["scaled", "retrained"] = "scaled"
"""What `auto` is: to be set to what `benchmarks/final_adapter.py` finds best; scaling costs nothing and needs no rows."""

SCALE = 0.1
"""The factor of the final update: of 0.05 to 0.3, where early snapshots lie, the middle by their ratio."""

SAMPLE = 256
"""Rows of the retraining: sixteen steps of sixteen rows."""

RECORD, WEIGHTS, CONFIG = "checkpoint.json", "adapter_model.safetensors", "adapter_config.json"
BESIDE_STORE = ".checkpoint"
"""Ends the name of a store's folder for its early adapter."""

COPIED = "*.json", "*.jinja", "*.txt", "*.model", "*.yaml"
LEFT = frozenset({"run.json", "result.json"})


@dataclass(frozen=True)
class EarlyOptions:
    """How an early adapter is made.

    Attributes:
        mode: `scaled` or `retrained`.
        scale: Factor of the final update, for `scaled`.
        sample: Rows of the retraining, for `retrained`.
        seed: Which rows these are, and the seed of the training.
    """

    mode: Literal["scaled", "retrained"]
    scale: float = SCALE
    sample: int = SAMPLE
    seed: int = 0


def chosen_mode(mode: Mode) -> Literal["final", "scaled", "retrained"]:
    """A mode with `auto` decided.

    Args:
        mode: What was asked for.

    Returns:
        The mode.
    """
    return AUTO if mode == "auto" else mode


def adapter_folder(model: str, adapter: Path | None) -> Path:
    """The folder of the final adapter.

    Args:
        model: A model: a base, or an adapter's folder.
        adapter: The adapter, where it is named apart.

    Returns:
        The folder.

    Raises:
        ConfigError: When there is no adapter in a folder: of a fully tuned model nothing says where it started.
    """
    folder = adapter if adapter is not None else Path(model)
    if not ((folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()):
        raise ConfigError(
            "An early checkpoint is made from an adapter in a folder.",
            where="`checkpoint_mode`",
            remedy="give an adapter's folder, or leave it at final",
        )
    return folder


def early_adapter(
    place: Path,
    final: Path,
    options: EarlyOptions,
    *,
    base: str | None = None,
    rows: Callable[[], Sequence[Row]] = list,
    encoding: EncodingConfig | None = None,
    holding: Mapping[str, Any] | None = None,
) -> Path:
    """Make an early adapter of a final one, unless it is there.

    Args:
        place: The folder that it goes into.
        final: The final adapter's folder.
        options: How.
        base: The base, where it is not where the adapter says.
        rows: The training rows; called where some are trained on.
        encoding: How they become tokens.
        holding: How the model is held in the training.

    Returns:
        The folder.

    Raises:
        ConfigError: When another one is there.
        ModelError: When an adapter of this kind can't be scaled.
    """
    identity = {
        "options": asdict(options),
        "adapter": named_digests(final, matching(final, ("*.safetensors", CONFIG))),
        "unweave": __version__,
    }
    if (place / RECORD).is_file():
        if read_json(place / RECORD, what="The record of the checkpoint").get("identity") != identity:
            raise ConfigError(
                "There is an early checkpoint already, made from another adapter or in another way.",
                where=str(place),
                remedy="use another store, or remove this folder and the store",
            )
        return place
    record = {"adapter": str(final.resolve()), "identity": identity}
    with replacing_folder(place) as folder:
        if options.mode == "scaled":
            scale_adapter(final, folder, options.scale)
        else:
            # Texts of rows stay nowhere: the sample lives as long as the training.
            with tempfile.TemporaryDirectory(prefix="unweave-") as scratch:
                trained = _retrained(Path(scratch), final, options, rows(), base, encoding, holding or {})
                _copy(trained, folder)
                shutil.copy(trained / WEIGHTS, folder)
        write_json(folder / RECORD, record)
    progress.say(f"checkpoint: {in_words(options)}, in {place}")
    return place


def in_words(options: EarlyOptions) -> str:
    """What was made, in words.

    Args:
        options: How.

    Returns:
        A few words.
    """
    if options.mode == "scaled":
        return f"the final adapter with its update scaled by {options.scale:g}"
    return f"an adapter retrained from the base on {options.sample} rows at most"


def final_of(adapter: str | Path | None) -> Path | None:
    """The final adapter that an early one was made from.

    Args:
        adapter: An adapter's folder.

    Returns:
        The final adapter's folder; `None` for an adapter that is one itself, or where it is gone.
    """
    if adapter is None or not (Path(adapter) / RECORD).is_file():
        return None
    final = Path(read_json(Path(adapter) / RECORD, what="The record of the checkpoint")["adapter"])
    return final if final.is_dir() else None


def scale_adapter(final: Path, folder: Path, scale: float) -> None:
    """Write a LoRA adapter whose update is a factor of another's: B, which starts at zero, times the factor.

    Args:
        final: The adapter's folder.
        folder: The folder to write into.
        scale: The factor.

    Raises:
        ModelError: When its update is not B times A alone.
    """
    from safetensors.torch import load_file, save_file

    described = read_json(final / CONFIG, what="The adapter's config")
    tensors = load_file(final / WEIGHTS)
    odd = sorted(name for name in tensors if not any(kind in name for kind in ("lora_A", "lora_B", "lora_embedding")))
    if described.get("peft_type") != "LORA" or odd:
        what = f"'{odd[0]}' is neither A nor B" if odd else f"it is {described.get('peft_type')}"
        raise ModelError(
            f"The adapter is not LoRA alone ({what}): its update can't be scaled by a factor.",
            where=str(final),
            remedy="use `checkpoint_mode` retrained, or final",
        )
    for name, tensor in tensors.items():
        if "lora_B" in name or "lora_embedding_B" in name:
            tensors[name] = (tensor.float() * scale).to(tensor.dtype)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    _copy(final, folder)


def _copy(source: Path, folder: Path) -> None:
    """What makes an adapter loadable beside its weights: its config, its tokenizer and the record of its base."""
    for path in matching(source, COPIED):
        if path.name not in LEFT:
            shutil.copy(path, folder)


def _retrained(
    scratch: Path,
    final: Path,
    options: EarlyOptions,
    rows: Sequence[Row],
    base: str | None,
    encoding: EncodingConfig | None,
    holding: Mapping[str, Any],
) -> Path:
    """Train from the base as the final adapter was, at a constant rate, once over a sample of the rows."""
    from unweave.train.sft import fine_tune

    described = read_json(final / CONFIG, what="The adapter's config")
    sample = random.Random(options.seed).sample(list(rows), min(options.sample, len(rows)))
    data, place = scratch / "rows.jsonl", scratch / "run"
    write_jsonl(data, [row.to_record() for row in sample])
    try:
        recipe = read_recipe(final)
    except ConfigError:
        targets = described.get("target_modules") or "all-linear"
        recipe = TrainConfig(
            data=data,
            output_dir=place,
            lora_r=described.get("r", TrainConfig.lora_r),
            lora_alpha=described.get("lora_alpha", TrainConfig.lora_alpha),
            lora_targets=targets if isinstance(targets, str) else ",".join(sorted(targets)),
        )
    config = replace(
        recipe,
        **asdict(ReadingConfig()),
        **(asdict(encoding) if encoding is not None else {}),
        data=data,
        output_dir=place,
        model=base or described["base_model_name_or_path"],
        adapter=None,
        without=None,
        snapshots=(),
        tuning="lora",
        epochs=1.0,
        lr_scheduler="constant",
        warmup_ratio=0.0,
        dp_epsilon=None,
        **holding,
        seed=options.seed,
    )
    fine_tune(config)
    return place
