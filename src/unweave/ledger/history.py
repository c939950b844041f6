"""What the base of an adapter was trained on, so far as any record says: a retraining is exact for what entered through the adapter only.

A folder that `unweave train` or `unweave forget` made says which rows it saw, and what it was made from. A base that was itself trained on the rows, or
into which an adapter was merged that was, still knows them. A base without any record may have been trained on anything: that is said, and no more.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unweave.config import load_yaml, read_value
from unweave.data.config import ReadingConfig
from unweave.data.copies import find_copies
from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.errors import UnweaveError
from unweave.files import read_record
from unweave.models import packaged
from unweave.models.adapters import is_adapter, read_adapter
from unweave.models.origin import named_base
from unweave.outputs import run_folders
from unweave.run.folder import rows_fingerprint
from unweave.run.model_inputs import hub_folder
from unweave.train.recipe import read_recipe
from unweave.unlearning.config import config_of

if TYPE_CHECKING:
    from unweave.ledger.job import Job

UNKNOWN = "the base's own training data is not known"


@dataclass
class History:
    """What the records say of the training of some models.

    Attributes:
        seen: Requested rows, or copies of them, that one of the models was trained on: row, model, place, whether it is a copy word for word.
        unclear: Why a record does not say whether the rows were seen, in words.
        unknown: Models without any record.
    """

    seen: list[dict[str, Any]] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class _Record:
    """What a run says that it was trained on.

    Attributes:
        models: What it started from.
        data: The files of its rows, with how they are read and what was left out.
        fingerprint: Of its rows.
        unclear: Why it does not say which rows these were, where it does not.
    """

    models: tuple[str, ...]
    data: tuple[tuple[Path, ReadingConfig, Path | None], ...] = ()
    fingerprint: str | None = None
    unclear: str | None = None


def training_history(job: "Job", names: Sequence[str], wanted: Sequence[Row]) -> History:
    """Look whether models were trained on rows, and what they were made from.

    Args:
        job: The request.
        names: Models: folders, or names.
        wanted: The rows.

    Returns:
        What their records say, and those of the models that these were made from.
    """
    history, left, done = History(), list(names), set()
    ledger = job.ledger
    # A run's record knows the rows by their own ids.
    whole = {rows_fingerprint([replace(row, id=ledger.own_id(row.id)) for row in job.rows])}
    first = ledger.origin().data_fingerprint
    while left:
        name = left.pop(0)
        if name in done:
            continue
        done.add(name)
        record = _record_of(Path(name))
        if record is None:
            history.unknown.append(name)
            continue
        left += record.models
        own = record.fingerprint
        if own is not None and (own in whole or ledger.hidden(own, purpose="rows") == first):
            history.seen += [
                {"row": row.id, "of": row.id, "place": row.place, "model": name, "exact": True} for row in wanted
            ]
            continue
        if record.unclear is not None:
            history.unclear.append(f"{name}: {record.unclear}")
        _look(history, record, name, wanted, job=job)
    return history


def _look(history: History, record: _Record, name: str, wanted: Sequence[Row], *, job: "Job") -> None:
    """Look for rows, and copies of them, among those that a model was trained on."""
    for data, reading, without in record.data:
        try:
            rows = read_training_rows(data, reading, without=without).rows
        except (UnweaveError, OSError) as error:
            reason = error.sentence if isinstance(error, UnweaveError) else str(error)
            history.unclear.append(f"{name}: it was trained on {data}, which can't be read any more ({reason})")
            continue
        if record.fingerprint not in (None, rows_fingerprint(rows)):
            history.unclear.append(f"{name}: it was trained on {data}, which has changed since")
        # An id means nothing in other data.
        others = [replace(row, id=f"{index}:{job.ledger.name_of(row.id)}") for index, row in enumerate(rows)]
        for copy in find_copies(wanted, others, similarity=job.config.near_copies):
            history.seen.append(
                {
                    "row": copy.of,
                    "of": copy.row_id.partition(":")[2],
                    "place": copy.place,
                    "model": name,
                    "exact": copy.exact,
                }
            )


def _record_of(folder: Path) -> _Record | None:
    """What the run that made a folder says, with what the folder names besides; `None` where nothing says anything."""
    if not folder.is_dir():
        return None if folder.is_file() or _is_name(str(folder)) else _Record((), unclear="it is nowhere any more")
    own: list[str] = []
    if is_adapter(folder):
        try:
            own.append(named_base(read_adapter(folder)))
        except UnweaveError as error:
            return _Record((), unclear=f"its adapter can't be read ({error.sentence})")
    for place in run_folders(folder):
        if _is_run(place):
            found = _read(place)
            return replace(found, models=(*found.models, *own))
    if folder.name == "base" and _is_run(folder.parent):
        # What a run merged its model into, before it trained a fresh adapter on it.
        return replace(_read(folder.parent), data=(), fingerprint=None)
    # An adapter that nothing is said of may have been trained on anything; so may its base.
    return (
        _Record(tuple(own), unclear="it is an adapter, and nothing says which rows it was trained on") if own else None
    )


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() or (folder / "run.json").is_file()


def _is_name(name: str) -> bool:
    """Whether a model that is no folder is one of the hub's, or the packaged one."""
    return name == packaged.NAME or hub_folder(name) is not None


def _read(folder: Path) -> _Record:
    try:
        path = folder / "config.yaml"
        command = read_value(path, "command") if path.is_file() else None
        fingerprint = _fingerprint(folder)
        if command == "train":
            recipe = read_recipe(folder)
            data = (_found(recipe.data, folder), recipe, _found(recipe.without, folder) if recipe.without else None)
            return _Record(_models(recipe, folder), (data,), fingerprint)
        if command == "forget":
            kind = config_of(read_value(path, "method") or "rapidun")
            config = load_yaml(kind, path, command="forget")
            retain = ((_found(config.retain, folder), config, None),) if config.retain else ()
            return _Record(_models(config, folder), retain)
    except UnweaveError as error:
        return _Record((), unclear=f"how it was made can't be read ({error.sentence})")
    return _Record(
        (), fingerprint=fingerprint, unclear="the record of its run does not say which rows it was trained on"
    )


def _models(config: Any, folder: Path) -> tuple[str, ...]:
    named = [str(config.model), *([str(config.adapter)] if config.adapter else [])]
    return tuple(name if _is_name(name) else str(_found(Path(name), folder)) for name in named)


def _found(path: Path, folder: Path) -> Path:
    """A path as a run was given it: from here, or from a folder above that run's, where it may have been typed."""
    places = [path, *(above / path for above in folder.resolve().parents)]
    return next((place for place in places if place.exists()), path)


def _fingerprint(folder: Path) -> str | None:
    if not (folder / "run.json").is_file():
        return None
    rows = read_record(folder / "run.json", what="The record of a run").get("rows")
    return str(rows["fingerprint"]) if isinstance(rows, dict) and "fingerprint" in rows else None


def sentences(history: dict[str, Any]) -> list[str]:
    """What a history speaks of against an *exact* retraining.

    Args:
        history: As JSON holds it.

    Returns:
        Findings; empty where nothing speaks against it.
    """
    found = [
        f"row '{one['row']}' is {'' if one['exact'] else 'nearly '}what the model {one['model']} was trained on ('{one['of']}', {one['place']}): "
        "what that model knows of it was not taken out"
        for one in history["seen"]
    ]
    return [*found, *(f"whether the base saw the rows is not known: {reason}" for reason in history["unclear"])]
