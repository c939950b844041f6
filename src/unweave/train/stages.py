"""Training in shards, stage by stage. A stage that was trained before, here or in another folder, is not trained again.

What a stage computes follows from the base, the options, the rows that it sees and the stage before it, and from nothing else: a digest of all that is its
identity. Where a folder holds a stage of the same identity, whole, it is what training would give, bit for bit on a machine and with libraries like those
that made it, and it is taken over. So training without some rows repeats only the stages that saw them.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import load_file

from unweave import progress
from unweave.data.encoding import Example
from unweave.digests import content_digest
from unweave.errors import DataError
from unweave.files import read_record_if_any, write_json
from unweave.models.adapters import WEIGHTS
from unweave.models.fingerprint import model_fingerprint
from unweave.models.loading import Loaded
from unweave.outputs import SHARDS, STAGE
from unweave.replacing import link_or_copy, replacing_folder
from unweave.run.identity import identity_digest, libraries
from unweave.temporary import remove_folder
from unweave.train.adapters import save_adapter
from unweave.train.combining import adapter_state, combine, put_state, require_combinable
from unweave.train.config import TrainConfig
from unweave.train.loop import LoopResult
from unweave.train.shards import Stage, plan_stages, stage_epochs

FORMAT = 1
COUNTED = (
    "lora_r", "lora_alpha", "lora_dropout", "lora_targets", "batch_size", "learning_rate", "lr_scheduler", "warmup_ratio", "weight_decay", "max_grad_norm",
    "seed", "quantization",
)  # fmt: skip
"""Options that change what a stage computes. How many shards there are is in its rows, how many slices in its epochs."""

Made = Literal["trained", "reused"]
TrainStage = Callable[[Sequence[Example], float, dict[str, Any], str], tuple[LoopResult, int]]
"""Trains the model on examples for so many epochs, under an identity and a description; gives what the loop did and its tokens."""


@dataclass(frozen=True)
class StageRecord:
    """What a stage's folder says of it, without any row's id or text.

    Attributes:
        identity: A digest of all that it follows from.
        weights: A digest of its weights.
        made: Whether the run that the folder is of trained it, or took it over.
        rows: How many rows it saw.
        tokens: Tokens of all its steps.
        steps: Optimizer steps.
        seconds: What training it took.
        loss: Mean loss of the last tenth of the steps.
        libraries: Versions that it was trained with.
    """

    identity: str
    weights: str
    made: Made
    rows: int
    tokens: int
    steps: int
    seconds: float
    loss: float
    libraries: dict[str, str | None]


@dataclass(frozen=True)
class Elsewhere:
    """Where stages may lie that need not be trained again.

    Attributes:
        folders: Folders of trainings in shards; one of anything else has none.
        called: What a stage's identity may be called there instead: a ledger keeps no digest of rows that could be guessed.
    """

    folders: tuple[Path, ...] = ()
    called: Callable[[str], str] = str


@dataclass(frozen=True)
class Sharded:
    """What a training in shards gave.

    Attributes:
        model: A `PeftModel` with the one adapter that the shards' were combined to.
        stages: Name of each stage to what is recorded of it.
        final_loss: Mean over shards of their last stages' losses.
    """

    model: Any
    stages: dict[str, StageRecord]
    final_loss: float


def train_stages(
    model: Any,
    examples: Sequence[Example],
    config: TrainConfig,
    loaded: Loaded,
    *,
    base: str,
    train: TrainStage,
    elsewhere: Elsewhere,
) -> Sharded:
    """Train an adapter a shard, stage by stage, and combine them.

    Args:
        model: A `PeftModel` with a fresh adapter; it is taken apart.
        examples: The rows.
        config: The training.
        loaded: The base, and the tokenizer.
        base: A fingerprint of the base, from before the adapter was put on it: see `base_fingerprint`.
        train: Trains a stage.
        elsewhere: Other trainings, whose stages are taken over where they are the same.

    Returns:
        The model and its stages.
    """
    require_combinable(model)
    stages = plan_stages([example.row_id for example in examples], config)
    names = _identities(stages, examples, config, base)
    _remove_others(config.output_dir, stages, names)
    shards = {stage.shard for stage in stages}
    if len(shards) < config.shards:
        progress.say(f"{config.shards - len(shards)} of {config.shards} shards have no rows, and are left out")
    fresh, last, records = adapter_state(model), {}, {}
    for stage in stages:
        put_state(model, last.get(stage.shard, fresh))
        records[stage.name] = _make(stage, names[stage.name], model, examples, config, loaded, train, elsewhere)
        last[stage.shard] = load_file(stage.place(config.output_dir) / WEIGHTS)
    made = [record.made for record in records.values()]
    if taken := made.count("reused"):
        progress.say(f"{taken} of {len(made)} stages never saw what is left out, and were taken over as they are")
    if any(record.libraries != libraries() for record in records.values()):
        progress.say(
            "some stages were trained with other versions of the libraries: bit for bit training anew may differ"
        )
    losses = [records[name].loss for name in {stage.shard: stage.name for stage in stages}.values()]
    return Sharded(combine(model, list(last.values()), config), records, sum(losses) / len(losses))


def base_fingerprint(loaded: Loaded) -> str:
    """What a stage's identity has of the base.

    Args:
        loaded: The base, without an adapter.

    Returns:
        A digest of its weights, and of how it computes.
    """
    model = loaded.model
    attention = getattr(model.config, "_attn_implementation", None)
    return f"{model_fingerprint(model)} {model.dtype} {attention} {loaded.tokenizer.pad_token_id}"


def _identities(stages: Sequence[Stage], examples: Sequence[Example], config: TrainConfig, base: str) -> dict[str, str]:
    """Name of a stage to its identity."""
    options = {name: getattr(config, name) for name in COUNTED}
    before: dict[int, str] = {}
    found: dict[str, str] = {}
    for stage in stages:
        rows = hashlib.blake2b(digest_size=16)
        for index in stage.rows:
            example = examples[index]
            rows.update(json.dumps([example.input_ids, example.prompt_length, example.labelled]).encode())
        found[stage.name] = before[stage.shard] = identity_digest(
            {
                "format": FORMAT,
                "base": base,
                "options": options,
                "epochs": stage_epochs(config),
                "rows": rows.hexdigest(),
                "before": before.get(stage.shard),
            }
        )
    return found


def _remove_others(folder: Path, stages: Sequence[Stage], names: dict[str, str]) -> None:
    """Take away stages that are none of this training: they may have learned rows that are left out now."""
    own = {stage.place(folder): names[stage.name] for stage in stages}
    for place in sorted((folder / SHARDS).glob("*/*")):
        if place.is_dir() and (place not in own or read_stage(place, own[place]) is None):
            remove_folder(place)


def read_stage(place: Path, identity: str | None = None) -> StageRecord | None:
    """What is recorded of a stage.

    Args:
        place: Its folder.
        identity: The identity that it is to have, its weights whole; by default any.

    Returns:
        The record; `None` where there is none, or it is of another stage, or the weights are not those that were trained.
    """
    try:
        kept = read_record_if_any(place / STAGE, what="The record of a stage")
        record = None if kept is None else StageRecord(**kept)
    except (DataError, TypeError):
        # Of another version, or damaged: it is trained again.
        return None
    if record is None or identity is None:
        return record
    weights = place / WEIGHTS
    same = record.identity == identity and weights.is_file() and content_digest(weights) == record.weights
    return record if same else None


def seconds_of_stages(folder: Path) -> float | None:
    """What all stages of a training took together, wherever they were trained.

    Args:
        folder: The folder of the training run.

    Returns:
        Seconds; `None` where it was no training in shards.
    """
    found = [read_stage(path.parent) for path in sorted((folder / SHARDS).glob(f"*/*/{STAGE}"))]
    return sum(record.seconds for record in found if record is not None) if found else None


def _make(
    stage: Stage,
    identity: str,
    model: Any,
    examples: Sequence[Example],
    config: TrainConfig,
    loaded: Loaded,
    train: TrainStage,
    elsewhere: Elsewhere,
) -> StageRecord:
    """Train a stage, which begins with what the model's adapter is now, or take it over."""
    place = stage.place(config.output_dir)
    if (done := read_stage(place, identity)) is not None:
        return done
    for folder in elsewhere.folders:
        other = stage.place(folder)
        if (done := read_stage(other, identity) or read_stage(other, elsewhere.called(identity))) is not None:
            put_state(model, load_file(other / WEIGHTS))
            facts = {**done.__dict__, "identity": identity, "made": "reused"}
            return _save(model, place, loaded, facts, link=other / WEIGHTS)
    described = f"train {config.output_dir.name}, shard {stage.shard + 1} of {config.shards}, slice {stage.slice} of {config.slices}"
    started = time.monotonic()
    done_loop, tokens = train(
        [examples[index] for index in stage.rows], stage_epochs(config), {"stage": identity}, described
    )
    facts = {
        "identity": identity,
        "made": "trained",
        "rows": len(stage.rows),
        "tokens": tokens,
        "steps": done_loop.steps,
        "seconds": round(time.monotonic() - started, 3),
        "loss": done_loop.final_loss,
        "libraries": libraries(),
    }
    return _save(model, place, loaded, facts)


def _save(model: Any, place: Path, loaded: Loaded, facts: dict[str, Any], *, link: Path | None = None) -> StageRecord:
    """Write a stage's folder, whole or not at all."""
    with replacing_folder(place) as folder:
        save_adapter(model, None, folder, base=loaded.base, revision=loaded.revision, place=place)
        if link is not None:
            link_or_copy(link, folder / WEIGHTS)
        record = StageRecord(**{**facts, "weights": content_digest(folder / WEIGHTS)})
        write_json(folder / STAGE, record.__dict__)
    return record
