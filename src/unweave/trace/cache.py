"""Caching: the sketches of all rows, into the store, resumable at any kill."""

import time
from dataclasses import dataclass
from pathlib import Path

from unweave import progress
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.models.fingerprint import model_fingerprint, tokenizer_fingerprint
from unweave.models.loading import Loaded, load
from unweave.runs import RunFolder
from unweave.store.format import StoreSpec, names_hash
from unweave.store.store import GradientStore
from unweave.store.texts import write_texts
from unweave.trace.config import CacheConfig, GradientConfig
from unweave.trace.sketching import Sketcher
from unweave.train.sft import read_training_rows


@dataclass(frozen=True)
class CacheResult:
    """What caching gave.

    Attributes:
        store: The store's folder.
        rows: Rows in the store.
        computed: Rows that this run added.
        tokens: Their tokens.
        seconds: Wall time, loading apart.
        bytes: Size of the shards.
    """

    store: Path
    rows: int
    computed: int
    tokens: int
    seconds: float
    bytes: int


def cache_rows(config: CacheConfig, *, loaded: Loaded | None = None, rows: list[Row] | None = None) -> CacheResult:
    """Sketch the gradients of rows and put them into a store; rows that are there already are skipped.

    Args:
        config: Model, rows, sketch, store.
        loaded: The model, where it is loaded already.
        rows: The rows, where they are read already.

    Returns:
        What was done.

    Raises:
        DataError: When two rows have the same id.
    """
    loaded = loaded or load(config)
    read = read_training_rows(config.data, config) if rows is None else None
    rows = rows if read is None else read.rows
    assert rows is not None
    encoded = encode_rows(rows, loaded.tokenizer, config)
    if len({example.row_id for example in encoded.examples}) != len(encoded.examples):
        raise DataError("Two rows have the same id.", where=str(config.data), remedy="give every row its own id")
    sketcher = Sketcher(loaded.model, pad_token_id=loaded.tokenizer.pad_token_id, config=config)
    spec = store_spec(loaded, sketcher, config, encoding=config, number_format=config.number_format)
    store = GradientStore.create(config.store, spec)
    started = time.monotonic()
    with store.writing():
        problems = [*(read.problems if read else []), *encoded.problems]
        RunFolder(config.store, "cache", config, key="cache").start(
            loaded, rows=rows, problems=problems, fingerprints=(spec.model_fingerprint, spec.tokenizer_fingerprint)
        )
        write_texts(config.store, rows)
        pending = set(store.pending([example.row_id for example in encoded.examples]))
        # Units go by length, so that a unit's batches hold little padding; each is one commit.
        todo = sorted(
            (example for example in encoded.examples if example.row_id in pending),
            key=lambda example: (-len(example), example.row_id),
        )
        if len(todo) < len(encoded.examples):
            progress.say(
                f"cache: {len(encoded.examples) - len(todo)} of {len(encoded.examples)} rows are in the store already"
            )
        with progress.task(f"cache {config.store.name}", len(todo)) as advance:
            for start in range(0, len(todo), config.commit_rows):
                unit = todo[start : start + config.commit_rows]
                done = sketcher.sketch_all(unit, advance=advance)
                store.commit([example.row_id for example in unit], done.sketches, done.norms, done.losses)
    seconds = round(time.monotonic() - started, 3)
    info = store.info()
    return CacheResult(config.store, info["rows"], len(todo), sum(map(len, todo)), seconds, info["bytes"])


def store_spec(
    loaded: Loaded, sketcher: Sketcher, config: GradientConfig, *, encoding: EncodingConfig, number_format: str
) -> StoreSpec:
    """How this model and these options sketch.

    Args:
        loaded: The model.
        sketcher: Its sketcher.
        config: The options of gradients and sketch.
        encoding: Template and lengths.
        number_format: How sketches are stored.

    Returns:
        The spec that a store of them has.
    """
    fields = {name: getattr(encoding, name) for name in ("template", "system_prompt", "max_length")}
    return StoreSpec(
        model=loaded.base,
        adapter=loaded.adapter,
        model_fingerprint=model_fingerprint(loaded.model),
        tokenizer_fingerprint=tokenizer_fingerprint(loaded.tokenizer),
        encoding=fields,
        parameters=config.parameters,
        parameter_names=names_hash(list(sketcher.sizes.items())),
        sketch=config.sketch,
        dimension=sketcher.sketch.dimension,
        sketch_seed=config.sketch_seed,
        normalize=config.normalize,
        reduction=config.reduction,
        number_format=number_format,
    )


def sketcher_for(store: GradientStore, loaded: Loaded) -> Sketcher:
    """A sketcher that makes sketches comparable with a store's.

    Args:
        store: The store.
        loaded: The model that it was made with.

    Returns:
        The sketcher; a model or tokenizer other than the store's is refused with the field that differs.
    """
    spec = store.spec
    names = ("sketch", "dimension", "sketch_seed", "normalize", "parameters", "reduction")
    config = GradientConfig(**{name: getattr(spec, name) for name in names})
    sketcher = Sketcher(loaded.model, pad_token_id=loaded.tokenizer.pad_token_id, config=config)
    spec.require(
        store_spec(
            loaded, sketcher, config, encoding=EncodingConfig(**spec.encoding), number_format=spec.number_format
        ),
        where=str(store.folder),
    )
    return sketcher
