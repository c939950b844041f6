"""Caching: the sketches of all rows of a source into a store in a folder, with the record of the run. Engines decide who does which unit of the work."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unweave import progress
from unweave.attribution.adding import Addition, Unit, do_unit, open_store
from unweave.attribution.config import CachingConfig
from unweave.config import part_of
from unweave.data.config import DataConfig
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.reading import Problem
from unweave.data.remembered import remember_columns
from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.models.holding import holding_of
from unweave.models.loading import Loaded, load
from unweave.models.vocabulary import require_tokens
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_value, rows_digest
from unweave.store.store import GradientStore
from unweave.train.early import BESIDE_STORE, RECORD, EarlyOptions, adapter_folder, chosen_mode, early_adapter


@dataclass(frozen=True)
class CacheResult:
    """What caching gave.

    Attributes:
        store: The store's folder.
        rows: Rows in the store.
        computed: Rows that this run added.
        replaced: Those of them that were in the store with another text or other tokens.
        tokens: Their tokens.
        seconds: Wall time, loading apart.
        bytes: Size of the shards.
    """

    store: Path
    rows: int
    computed: int
    replaced: int
    tokens: int
    seconds: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class CacheJob(Addition):
    """A store in a folder that is open for caching, and what goes into it.

    Attributes:
        config: The options.
        loaded: The model.
        problems: What was dropped or cut.
    """

    store: GradientStore
    config: CachingConfig
    loaded: Loaded
    problems: list[Problem]

    def begin(self) -> None:
        """Record the run and keep the rows' texts; the store must be held for writing."""
        spec = self.store.spec
        RunFolder(self.config.store, "cache", self.config.recorded(), key="cache", inputs=self.inputs()).start(
            self.loaded,
            rows=self.rows,
            problems=self.problems,
            fingerprints=(spec.model_fingerprint, spec.tokenizer_fingerprint),
        )
        self.prepare()
        remember_columns(self.config.store, self.config.columns)

    def inputs(self) -> dict[str, Input]:
        """What caching reads."""
        return {
            # The store itself says what it was made with, and is asked before anything is added.
            "model": of_value([self.store.spec.model_fingerprint, self.store.spec.tokenizer_fingerprint]),
            "adapter": of_value(None),
            "revision": of_value(None),
            "store": of_value(None),
            "data": of_value(rows_digest(self.rows)),
        }

    def result(self, units: Sequence[Unit], seconds: float) -> CacheResult:
        """The summary of a run.

        Args:
            units: What was done.
            seconds: How long it took.

        Returns:
            The summary.
        """
        self.store.refresh()
        info = self.store.info()
        examples = [example for unit in units for example in unit.examples]
        tokens = sum(map(len, examples))
        return CacheResult(
            self.config.store,
            info["rows"],
            len(examples),
            sum(example.row_id in self.replacing for example in examples),
            tokens,
            round(seconds, 3),
            info["bytes"],
        )


def open_job(config: CachingConfig, *, loaded: Loaded | None = None, rows: list[Row] | None = None) -> CacheJob:
    """Load, read and encode, and open the store.

    Args:
        config: Model, rows, sketch, store.
        loaded: The model, where it is loaded already.
        rows: The rows, where they are read already.

    Returns:
        The job.

    Raises:
        ConfigError: When another checkpoint of a model that is loaded already is asked for.
    """
    if config.checkpoint_mode != "final" and loaded is not None:
        raise ConfigError(
            "The model is loaded already: another checkpoint of it can't be made.",
            where="`checkpoint_mode`",
            remedy="give the model by its place alone",
        )
    loaded = loaded or load(at_checkpoint(config, rows=rows))
    config = dated_as_stored(config, loaded)
    rows, examples, problems = open_examples(config.data, config, loaded, rows=rows)
    require_tokens(loaded.model, examples, tokenizer=loaded.tokenizer)
    store, sketcher = open_store(config.store, loaded, config, encoding=config, number_format=config.number_format)
    assert isinstance(store, GradientStore), "it has a folder"
    return CacheJob(
        config=config,
        loaded=loaded,
        sketcher=sketcher,
        store=store,
        rows=rows,
        examples=examples,
        problems=problems,
        commit_rows=config.commit_rows,
    )


def at_checkpoint(config: CachingConfig, *, rows: list[Row] | None = None) -> CachingConfig:
    """A config whose model is the checkpoint that its gradients are to be of, which is made where it is missing.

    Args:
        config: Model, mode, and the store that it is for.
        rows: The rows, where they are read already.

    Returns:
        The config with an early adapter in the place of the final one; as it is, where that is asked for.

    Raises:
        ConfigError: When there is no adapter, or several processes would train one.
    """
    mode = chosen_mode(config.checkpoint_mode)
    if mode == "final":
        return config
    place = config.store.with_name(f"{config.store.name}{BESIDE_STORE}")
    if mode == "retrained" and "WORLD_SIZE" in os.environ and not (place / RECORD).is_file():
        raise ConfigError(
            "Several processes cache together: each would train a checkpoint.",
            where="`checkpoint_mode`",
            remedy="cache a first time with `engine` local and `limit` 1, then with all processes",
        )
    made = early_adapter(
        place,
        adapter_folder(config.model, config.adapter),
        EarlyOptions(mode, config.checkpoint_scale, config.checkpoint_rows),
        base=config.model if config.adapter is not None else None,
        rows=lambda: rows if rows is not None else read_training_rows(config.data, config).rows,
        encoding=part_of(EncodingConfig, config),
        holding=holding_of(config),
    )
    own = {"model": str(made)} if config.adapter is None else {"adapter": made}
    return replace(config, **own)


def dated_as_stored(config: CachingConfig, loaded: Loaded) -> CachingConfig:
    """A config with a date, where the template reads the clock: the store's, so that rows may be added on any day; for a new store the training's.

    Args:
        config: Store, template and date.
        loaded: The model.

    Returns:
        The config.
    """
    if config.date is None and (config.store / "store.json").is_file():
        config = replace(config, date=GradientStore.open(config.store).spec.encoding.get("date"))
    return dated(config, loaded.tokenizer, loaded.adapter, loaded.base)


def open_examples(
    data: Path, config: DataConfig, loaded: Loaded, *, rows: list[Row] | None = None
) -> tuple[list[Row], list[Example], list[Problem]]:
    """Read and encode the rows of a config.

    Args:
        data: Where the rows are.
        config: Their layout, template and lengths.
        loaded: The model, for its tokenizer.
        rows: The rows, where they are read already.

    Returns:
        All rows, those that fit as examples, and what was dropped or cut.

    Raises:
        DataError: When two rows have the same id.
    """
    read = read_training_rows(data, config) if rows is None else None
    rows = rows if read is None else read.rows
    assert rows is not None
    encoded = encode_rows(rows, loaded.tokenizer, config)
    if len({example.row_id for example in encoded.examples}) != len(encoded.examples):
        raise DataError("Two rows have the same id.", where=str(data), remedy="give every row its own id")
    return rows, encoded.examples, [*(read.problems if read else []), *encoded.problems]


def cache_rows(config: CachingConfig, *, loaded: Loaded | None = None, rows: list[Row] | None = None) -> CacheResult:
    """Sketch the gradients of rows and put them into a store, in this process; rows that are there already are skipped.

    Args:
        config: Model, rows, sketch, store.
        loaded: The model, where it is loaded already.
        rows: The rows, where they are read already.

    Returns:
        What was done.
    """
    job = open_job(config, loaded=loaded, rows=rows)
    started = time.monotonic()
    with job.store.writing():
        job.begin()
        units = job.units()
        with progress.task(f"cache {config.store.name}", sum(len(unit.examples) for unit in units)) as advance:
            for unit in units:
                do_unit(job.sketcher, job.store, unit, advance=advance)
    return job.result(units, time.monotonic() - started)
