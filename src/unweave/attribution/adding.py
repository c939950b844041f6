"""Adding rows to a store: their sketches, resumable at any kill.

The work is cut into *units*: rows of like length, one commit each, numbered from the start. A unit may be done by any process, and twice does no harm:
what is committed already is skipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from unweave import progress
from unweave.attribution.model import loading_record
from unweave.data.encoding import EncodingConfig, Example, content_of
from unweave.data.rows import Row
from unweave.models.fingerprint import model_fingerprint, tokenizer_fingerprint
from unweave.models.model import Model
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.store.base import Store
from unweave.store.format import StoreSpec, names_hash
from unweave.store.memory import MemoryStore
from unweave.store.store import GradientStore
from unweave.store.texts import same_text

COMMIT_ROWS = 128


@dataclass(frozen=True)
class Unit:
    """Rows that are committed together.

    Attributes:
        number: Its number in the store; scans go by it.
        examples: The rows.
    """

    number: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Addition:
    """Rows that go into a store.

    Attributes:
        sketcher: Makes the sketches.
        store: The store.
        rows: All rows that were asked for.
        examples: Those that fit, encoded.
        commit_rows: Rows a commit: what a kill can lose at most.
    """

    sketcher: Sketcher
    store: Store
    rows: Sequence[Row]
    examples: Sequence[Example]
    commit_rows: int = COMMIT_ROWS

    def prepare(self) -> None:
        """Take out what the rows were before they changed, where they do not fit now, and keep their texts; the store must be held for writing."""
        if outgrown := self.outgrown:
            progress.say(
                f"cache: {len(outgrown)} row(s) have changed under their ids since they were cached, and do not fit now: "
                "their old sketches leave the store"
            )
            self.store.take_out(outgrown)
        changed = self.replacing
        contents = {example.row_id: content_of(example) for example in self.examples}
        # A row of a store that kept no digests is what it was when its text is.
        unknown = {row_id for row_id, own in self.store.contents().items() if own is None} - changed
        self.store.keep_texts(self.rows, {row_id: own for row_id, own in contents.items() if row_id not in unknown})

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
        first, step = self.store.next_unit(), self.commit_rows
        return [
            Unit(first + index, tuple(todo[start : start + step]))
            for index, start in enumerate(range(0, len(todo), step))
        ]

    @cached_property
    def replacing(self) -> set[str]:
        """Rows that are in the store with another content."""
        held = self.store.contents()
        digests = {row_id: own for row_id, own in held.items() if own is not None}
        changed = {
            example.row_id
            for example in self.examples
            if digests.get(example.row_id, own := content_of(example)) != own
        }
        texts = self.store.texts() if len(digests) < len(held) else {}
        older = held.keys() - digests.keys()
        return changed | {
            row.id for row in self.rows if row.id in older and row.id in texts and not same_text(texts[row.id], row)
        }

    @property
    def outgrown(self) -> set[str]:
        """Rows that are in the store with another text, and are left out as they are now: a sketch of what they were is none of theirs."""
        made = {example.row_id for example in self.examples}
        held = self.store.contents()
        dropped = [row for row in self.rows if row.id not in made and row.id in held]
        texts = self.store.texts() if dropped else {}
        return {
            row.id
            for row in dropped
            # Without its text it is known by the digest alone, and as it is now it has none.
            if (row.id in texts and not same_text(texts[row.id], row))
            or (row.id not in texts and held[row.id] is not None)
        }


def do_unit(sketcher: Sketcher, store: Store, unit: Unit, *, advance: Callable[[int], None] = lambda _: None) -> None:
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


def open_store(
    folder: Path | None, loaded: Model, config: GradientConfig, *, encoding: EncodingConfig, number_format: str
) -> tuple[Store, Sketcher]:
    """Open a store for adding rows, making it where there is none.

    Args:
        folder: Where it is, or will be; `None` for one in memory.
        loaded: The model.
        config: The options of gradients and sketch.
        encoding: Template and lengths.
        number_format: How sketches are stored.

    Returns:
        The store, and what makes its sketches.

    Raises:
        StoreError: When there is a store that was made in another way: each field that differs is named.
    """
    sketcher = Sketcher(loaded.model, pad_token_id=loaded.tokenizer.pad_token_id, config=config)
    there = GradientStore.open(folder).spec if folder is not None and (folder / "store.json").is_file() else None
    spec = store_spec(loaded, sketcher, config, encoding=encoding, number_format=number_format, like=there)
    return (MemoryStore(spec) if folder is None else GradientStore.create(folder, spec)), sketcher


def store_spec(
    loaded: Model,
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


def sketcher_for(store: Store, loaded: Model) -> Sketcher:
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
        where=store.place,
    )
    return sketcher
