"""Caching: the sketches of all rows, into the store, resumable at any kill.

The work is cut into *units*: rows of like length, one commit each, numbered from the start. A unit may be done by any process, and twice does no harm:
what is committed already is skipped. Engines only decide who does which.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from unweave import progress
from unweave.attribution.config import CachingConfig
from unweave.attribution.model import loading_record
from unweave.data.config import DataConfig
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.reading import Problem
from unweave.data.remembered import remember_columns
from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.errors import DataError
from unweave.models.fingerprint import model_fingerprint, tokenizer_fingerprint
from unweave.models.loading import Loaded, load
from unweave.models.vocabulary import require_tokens
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_value, rows_digest
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.store.format import StoreSpec, names_hash
from unweave.store.maintenance import take_out
from unweave.store.store import GradientStore
from unweave.store.texts import same_text, texts_by_id, write_texts


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


@dataclass(frozen=True)
class Unit:
    """Rows that are committed together.

    Attributes:
        number: Its number in the store; scans go by it.
        examples: The rows.
    """

    number: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class CacheJob:
    """A store that is open for caching, and what goes into it.

    Attributes:
        config: The options.
        loaded: The model.
        sketcher: Makes the sketches.
        store: The store.
        rows: All rows that were asked for.
        examples: Those with room, encoded.
        problems: What was dropped or cut.
    """

    config: CachingConfig
    loaded: Loaded
    sketcher: Sketcher
    store: GradientStore
    rows: list[Row]
    examples: list[Example]
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
        if outgrown := self.outgrown:
            progress.say(
                f"cache: {len(outgrown)} row(s) have changed under their ids since they were cached, and have no room now: "
                "their old sketches leave the store"
            )
            take_out(self.store, outgrown)
        changed = self.replacing
        contents = {example.row_id: content_of(example) for example in self.examples}
        # A row of a store that kept no digests is what it was when its text is.
        unknown = {row_id for row_id, own in self.store.contents().items() if own is None} - changed
        write_texts(
            self.config.store, self.rows, {row_id: own for row_id, own in contents.items() if row_id not in unknown}
        )
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

    def units(self) -> list[Unit]:
        """What is left to do, longest rows first, so that a machine that is too small fails at once."""
        changed = self.replacing
        pending = set(self.store.pending([example.row_id for example in self.examples])) | changed
        pending -= self.store.deleted()
        if changed:
            progress.say(
                f"cache: {len(changed)} row(s) have changed under their ids since they were cached, and are computed anew"
            )
        todo = sorted(
            (example for example in self.examples if example.row_id in pending),
            key=lambda example: (-len(example), example.row_id),
        )
        if len(todo) < len(self.examples):
            done = len(self.examples) - len(todo)
            progress.say(
                f"cache: {done} of {len(self.examples)} rows are in the store already, or were deleted from it"
            )
        first, step = self.store.next_unit(), self.config.commit_rows
        return [
            Unit(first + index, tuple(todo[start : start + step]))
            for index, start in enumerate(range(0, len(todo), step))
        ]

    @cached_property
    def replacing(self) -> set[str]:
        """Rows that are in the store with another content."""
        held = self.store.contents()
        known = {row_id: own for row_id, own in held.items() if own is not None}
        changed = {
            example.row_id for example in self.examples if known.get(example.row_id, own := content_of(example)) != own
        }
        texts = texts_by_id(self.store.folder, held) if len(known) < len(held) else {}
        older = held.keys() - known.keys()
        return changed | {
            row.id for row in self.rows if row.id in older and row.id in texts and not same_text(texts[row.id], row)
        }

    @property
    def outgrown(self) -> set[str]:
        """Rows that are in the store with another text, and are left out as they are now: a sketch of what they were is none of theirs."""
        made = {example.row_id for example in self.examples}
        held = self.store.contents()
        dropped = [row for row in self.rows if row.id not in made and row.id in held]
        texts = texts_by_id(self.store.folder, held) if dropped else {}
        return {
            row.id
            for row in dropped
            # Without its text it is known by the digest alone, and as it is now it has none.
            if (row.id in texts and not same_text(texts[row.id], row))
            or (row.id not in texts and held[row.id] is not None)
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
    """
    loaded = loaded or load(config)
    config = dated_as_stored(config, loaded)
    rows, examples, problems = open_examples(config.data, config, loaded, rows=rows)
    require_tokens(loaded.model, examples, tokenizer=loaded.tokenizer)
    sketcher = Sketcher(loaded.model, pad_token_id=loaded.tokenizer.pad_token_id, config=config)
    there = GradientStore.open(config.store).spec if (config.store / "store.json").is_file() else None
    spec = store_spec(loaded, sketcher, config, encoding=config, number_format=config.number_format, like=there)
    store = GradientStore.create(config.store, spec)
    return CacheJob(config, loaded, sketcher, store, rows, examples, problems)


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
        All rows, those with room as examples, and what was dropped or cut.

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


def do_unit(
    sketcher: Sketcher, store: GradientStore, unit: Unit, *, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Sketch a unit and commit it, unless a commit of it is there.

    Args:
        sketcher: Makes the sketches.
        store: The store.
        unit: The unit.
        advance: Called with the number of rows just done.
    """
    ids = [example.row_id for example in unit.examples]
    contents = [content_of(example) for example in unit.examples]
    if not store.pending(ids, contents):
        advance(len(ids))
        return
    done = sketcher.sketch_all(unit.examples, advance=advance)
    store.commit(ids, done.sketches, done.norms, done.losses, unit=unit.number, contents=contents)


def content_of(example: Example) -> str:
    """What a row's gradient depends on, beside the model: its tokens, and which of them carry loss.

    Args:
        example: The row, encoded.

    Returns:
        24 hexadecimal digits.
    """
    text = json.dumps([list(example.input_ids), list(example.label_positions)])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


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


def store_spec(
    loaded: Loaded,
    sketcher: Sketcher,
    config: GradientConfig,
    *,
    encoding: EncodingConfig,
    number_format: str,
    like: StoreSpec | None = None,
) -> StoreSpec:
    """How this model and these options sketch.

    Args:
        loaded: The model.
        sketcher: Its sketcher.
        config: The options of gradients and sketch.
        encoding: Template and lengths.
        number_format: How sketches are stored.
        like: That of a store to compare with, whose fingerprint may be of an older kind.

    Returns:
        The spec that a store of them has.
    """
    fields = {name: getattr(encoding, name) for name in ("template", "system_prompt", "max_length", "loss")}
    if encoding.date is not None:
        fields["date"] = encoding.date
    return StoreSpec(
        model=loaded.base,
        adapter=loaded.adapter,
        model_fingerprint=model_fingerprint(loaded.model, like=like.model_fingerprint if like else None),
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
        loading=loading_record(loaded),
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
            loaded,
            sketcher,
            config,
            encoding=EncodingConfig(**spec.encoding),
            number_format=spec.number_format,
            like=spec,
        ),
        where=str(store.folder),
    )
    return sketcher
