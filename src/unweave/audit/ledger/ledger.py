"""A ledger: its requests with their states, folded from the journal, and which model is the current one."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unweave.audit.ledger.bound import Bound, bind, said_before
from unweave.audit.ledger.config import AddConfig, ListConfig
from unweave.audit.ledger.journal import Event, Journal
from unweave.audit.ledger.selection import require_meant, select_rows
from unweave.config import part_of, to_plain
from unweave.data.config import ReadingConfig, read_configured
from unweave.data.copies import find_copies
from unweave.data.remembered import read_beside, remembered_columns, with_remembered
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError, nearest
from unweave.files import file_digest, read_json
from unweave.names import alike, inside, require_name
from unweave.runs import rows_fingerprint

FILE, LOCK = "ledger.db", "ledger.lock"
NEAR_COPY = 0.8
DONE, NOT_SHOWN = "done", "done, not shown"
STATES = {"added": "open", "started": "running", "step": "running", "done": "done", "rolled back": "rolled back"}


@dataclass(frozen=True)
class Request:
    """One request, as the journal tells it.

    Attributes:
        id: Its name.
        kind: `removal`, `modification` or `correction`.
        rows: Row id to the hash of the content that is to be forgotten.
        replacement: File of the new rows; `None` for a removal.
        reason: Why.
        state: `open`, `running`, `done`, `done, not shown` (carried out, but the measurements do not show that the rows were forgotten) or `rolled back`.
        events: All its events, in order.
        reading: The options that the new rows are read with.
    """

    id: str
    kind: str
    rows: dict[str, str]
    replacement: str | None
    reason: str
    state: str
    events: list[Event] = field(default_factory=list)
    reading: dict[str, Any] | None = None

    @property
    def is_done(self) -> bool:
        """Whether it was carried out and not rolled back, whatever the measurements show."""
        return self.state in (DONE, NOT_SHOWN)

    @property
    def bound(self) -> Bound:
        """The events that count."""
        return bind(self.events)

    def last(self, kind: str) -> Event | None:
        """The newest event of a kind.

        Args:
            kind: The kind.

        Returns:
            The event, or `None`.
        """
        return next((event for event in reversed(self.events) if event.kind == kind), None)


@dataclass(frozen=True)
class Origin:
    """What a ledger is about.

    Attributes:
        data: File of the training rows.
        data_fingerprint: Of their ids and contents.
        rows: How many.
        model: The model before any request.
        model_files: Its files to their digests, where it is a folder.
        base: The base of an adapter, or the model itself.
        base_files: Its files to their digests, where it is a folder.
        store: Gradient store of the rows, or `None`.
        max_perplexity_change: Drift budget.
        max_removed_share: Drift budget.
        reading: The options that the data is read with; `None` in old ledgers, whose data is in a known layout.
    """

    data: str
    data_fingerprint: str
    rows: int
    model: str
    model_files: dict[str, str]
    base: str
    base_files: dict[str, str]
    store: str | None
    max_perplexity_change: float
    max_removed_share: float
    reading: dict[str, Any] | None = None


class Ledger:
    """A ledger's folder.

    Args:
        folder: Where it is.
        create: Whether to make it where it is missing.
    """

    def __init__(self, folder: Path, *, create: bool = False):
        self.folder = folder
        if not create and not (folder / FILE).is_file():
            raise DataError("There is no ledger here.", where=str(folder), remedy="add a request first")
        self.journal = Journal(folder / FILE)

    def origin(self) -> Origin:
        """What the ledger is about.

        Returns:
            Data, model, store, budget.

        Raises:
            DataError: When the first event is missing.
        """
        first = next((event for event in self.journal.events() if event.kind == "created"), None)
        if first is None:
            raise DataError(
                "The ledger is empty.", where=str(self.folder), remedy="add a request with --data and --model"
            )
        try:
            return Origin(**first.content)
        except TypeError as error:
            raise self._broken(first) from error

    def requests(self, *, until: int | None = None) -> dict[str, Request]:
        """All requests by id, in the order in which they were added.

        Args:
            until: As the journal stood after this event; by default as it stands.

        Returns:
            The requests.
        """
        found: dict[str, Request] = {}
        for event in self.journal.events()[:until]:
            try:
                if event.request in found:
                    request = found[event.request]
                    # Who can write to the file can append: what an earlier event has bound stays as it is.
                    state = request.state if said_before(request.events, event) else _state_after(event)
                    found[event.request] = replace(request, state=state, events=[*request.events, event])
                elif event.kind == "added":
                    request = _request(event)
                    found[event.request] = replace(request, state=_state_after(event), events=[event])
            except (KeyError, TypeError) as error:
                raise self._broken(event) from error
        return found

    def _broken(self, event: Event) -> DataError:
        return DataError(
            f"Event {event.number} of the ledger ({event.kind}) lacks or holds what can't be.",
            where=str(self.journal.path),
            remedy="restore it from a backup",
        )

    def request(self, name: str) -> Request:
        """A request.

        Args:
            name: Its id.

        Returns:
            The request.

        Raises:
            DataError: When there is none of that name.
        """
        requests = self.requests()
        # Accents typed as letters of their own are the same name; ids of before names were checked are found as they are.
        name = name if name in requests else unicodedata.normalize("NFC", name)
        if name not in requests:
            raise DataError(
                f"There is no request '{name}'.",
                where=str(self.folder),
                remedy=nearest(name, requests) if requests else "add one first",
            )
        return requests[name]

    def carried_out(self, *, until: int | None = None) -> list[Request]:
        """The requests that are done and not rolled back, in the order in which they were done.

        Args:
            until: As the journal stood after this event; by default as it stands.

        Returns:
            The requests.
        """
        done = [request for request in self.requests(until=until).values() if request.is_done]
        return sorted(done, key=lambda request: request.bound.done.number)  # type: ignore[union-attr]

    def request_folder(self, name: str) -> Path:
        """Where a request's adapter and certificate lie.

        Args:
            name: Its id.

        Returns:
            The folder, right in the ledger's; the id of an old ledger that would lead elsewhere is an error.
        """
        return inside(self.folder / "requests", name, what="The request's id")

    def model(self) -> str:
        """The current model: that of the last request carried out, or the one before all of them."""
        done = self.carried_out()
        return str(self.request_folder(done[-1].id) / "adapter") if done else self.origin().model

    def rows(self) -> list[Row]:
        """The training rows.

        Returns:
            The rows as the data file has them now.
        """
        return read_configured(self.origin().data, self.reading()).rows

    def reading(self) -> ReadingConfig:
        """The options that the data is read with.

        Returns:
            As they were given when the ledger was made.
        """
        return ReadingConfig(**(self.origin().reading or {}))

    def new_rows(self, request: Request) -> list[Row]:
        """The rows that a request puts in the place of others.

        Args:
            request: The request.

        Returns:
            The rows as their file has them now; none for a removal.
        """
        if request.replacement is None:
            return []
        return read_beside(request.replacement, ReadingConfig(**(request.reading or {})), self.reading()).rows


def _request(event: Event) -> Request:
    """The request that was added.

    Args:
        event: Its first event.

    Returns:
        The request, open.

    Raises:
        TypeError: When the event holds something else.
    """
    request = Request(event.request, state="open", **event.content["asked"])
    hashes = request.rows.values() if isinstance(request.rows, dict) else [None]
    if not all(isinstance(text, str) for text in (request.kind, request.reason, *hashes)):
        raise TypeError("values of the wrong kind")
    return request


def _state_after(event: Event) -> str:
    """The state that an event leaves a request in; events of before the verdict was recorded say nothing of it."""
    return NOT_SHOWN if event.kind == "done" and event.content.get("shown") is False else STATES[event.kind]


def add_request(config: AddConfig) -> dict[str, Any]:
    """Add a request. The same request again is recognised, and nothing is added.

    Args:
        config: Rows, kind, reason.

    Returns:
        Its id, its rows, whether it is new, and the copies of its rows that are not in it.

    Raises:
        ConfigError: When a new ledger is given no data or model, or a ledger's are to be changed.
        DataError: When a row is unknown, is in another request already, or a replacement does not fit.
    """
    given = None
    if config.request_id is not None:
        given = require_name(config.request_id, what="The request's id", where="--request-id")
    there = (config.ledger / FILE).is_file() and bool(Ledger(config.ledger).journal.events())
    if there:
        _require_same(config, Ledger(config.ledger).origin())
    elif config.data is None or config.model is None:
        raise ConfigError("A new ledger needs data and a model.", where="--data, --model", remedy="give both")
    reading = Ledger(config.ledger).reading() if there else _reading(config)
    rows = Ledger(config.ledger).rows() if there else read_configured(config.data, reading).rows
    chosen = select_rows(rows, config, reading=reading)
    copies = find_copies(chosen, rows, similarity=NEAR_COPY)
    if config.with_copies and copies:
        wanted = {row.id for row in chosen} | {copy.row_id for copy in copies}
        chosen, copies = [row for row in rows if row.id in wanted], []
    require_meant(chosen, rows, config)
    replacement = _replacement(config, chosen, reading)
    content = {
        "kind": config.kind,
        "rows": {row.id: content_hash(row) for row in chosen},
        "replacement": str(config.replacement.resolve()) if config.replacement else None,
        "reason": config.reason,
    }
    if config.replacement is not None:
        content["reading"] = to_plain(part_of(ReadingConfig, config))
    # The reason is not part of what is asked for: the same rows again are the same request.
    identity = [content["kind"], content["rows"], replacement]
    name = given or hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=6).hexdigest()
    ledger = Ledger(config.ledger, create=True)
    if not there:
        ledger.journal.append_if(lambda events: not events, "created", **_origin(config, rows, reading).__dict__)
    _refuse_overlap(ledger, name, content)
    added = ledger.journal.append_if(
        lambda events: not any(event.kind == "added" and event.request == name for event in events),
        "added",
        name,
        asked=content,
        replacement_rows=replacement,
    )
    return {
        "id": name,
        "added": added is not None,
        "kind": config.kind,
        "rows": sorted(content["rows"]),
        "copies": [copy.__dict__ for copy in copies],
    }


def list_requests(config: ListConfig) -> list[dict[str, Any]]:
    """The requests of a ledger.

    Args:
        config: The ledger.

    Returns:
        Id, kind, rows, state, reason and times of each, and the class of its certificate.
    """
    found = []
    for request in Ledger(config.ledger).requests().values():
        done = request.bound.done
        found.append(
            {
                "id": request.id,
                "kind": request.kind,
                "rows": len(request.rows),
                "state": request.state,
                "class": done.content["class"] if done else None,
                "added": request.events[0].time,
                "done": done.time if done else None,
                "reason": request.reason,
            }
        )
    return found


def content_hash(row: Row) -> str:
    """A hash of what is to be forgotten, so that the ledger need not keep it.

    Args:
        row: The row.

    Returns:
        32 hexadecimal digits.
    """
    return rows_fingerprint([row])


def model_files(model: str) -> dict[str, str]:
    """Digests of a model folder's weights and configs.

    Args:
        model: A folder, or a name.

    Returns:
        File name to digest; empty for a name that is no folder.
    """
    folder = Path(model)
    if not folder.is_dir():
        return {}
    kept = (*folder.glob("*.safetensors"), *folder.glob("*config.json"))
    return {path.name: file_digest(path) for path in sorted(kept)}


def _reading(config: AddConfig) -> ReadingConfig:
    """The options that a new ledger's data is read with; the columns may be those that the store remembers."""
    remembered = remembered_columns(config.store) if config.store else []
    return with_remembered(config.data, part_of(ReadingConfig, config), remembered)


def _origin(config: AddConfig, rows: Sequence[Row], reading: ReadingConfig) -> Origin:
    model = str(Path(config.model or "").resolve()) if Path(config.model or "").is_dir() else str(config.model)
    config_file = Path(model) / "adapter_config.json"
    base = (
        read_json(config_file, what="The adapter's config")["base_model_name_or_path"]
        if config_file.is_file()
        else model
    )
    return Origin(
        # The id of a data set on the hub is no path.
        data=str(config.data.resolve() if config.data and config.data.exists() else config.data),
        data_fingerprint=rows_fingerprint(rows),
        rows=len(rows),
        model=model,
        model_files=model_files(model),
        base=base,
        base_files=model_files(base),
        store=str(config.store.resolve()) if config.store else None,
        max_perplexity_change=config.max_perplexity_change,
        max_removed_share=config.max_removed_share,
        reading=to_plain(reading),
    )


def _require_same(config: AddConfig, origin: Origin) -> None:
    """A ledger is about one data set and one model."""
    given = {"data": config.data, "model": config.model, "store": config.store}
    for name, value in given.items():
        known = getattr(origin, name)
        if value is None or str(value) == known or (known is not None and str(Path(value).resolve()) == known):
            continue
        raise ConfigError(
            f"The ledger is about {name} '{known}', not '{value}'.",
            where=f"--{name}",
            remedy="leave it out, or use another ledger",
        )


def _replacement(config: AddConfig, chosen: Sequence[Row], reading: ReadingConfig) -> dict[str, str] | None:
    """The hashes of the new rows, by id."""
    if (config.replacement is None) != (config.kind == "removal"):
        raise ConfigError(
            f"A {config.kind} {'takes no' if config.kind == 'removal' else 'needs'} new rows.",
            where="--replacement",
            remedy="leave it out" if config.kind == "removal" else "give a file of rows with the same ids",
        )
    if config.replacement is None:
        return None
    new = {row.id: row for row in read_beside(config.replacement, config, reading)}
    if set(new) != {row.id for row in chosen}:
        odd = min(set(new) ^ {row.id for row in chosen})
        raise DataError(
            f"The new rows are not those of the request: '{odd}' is in one of the two only.",
            where=str(config.replacement),
            remedy="give a new row for each row of the request, with the same id",
        )
    for row in chosen:
        if config.kind == "correction" and new[row.id].conversation[:-1] != row.conversation[:-1]:
            raise DataError(
                f"A correction changes the answer, not the prompt, of '{row.id}'.",
                where=new[row.id].place,
                remedy="use --kind modification",
            )
        if content_hash(new[row.id]) == content_hash(row):
            raise DataError(f"The new row '{row.id}' is the old one.", where=new[row.id].place, remedy="change it")
    return {row_id: content_hash(row) for row_id, row in new.items()}


def _refuse_overlap(ledger: Ledger, name: str, content: dict[str, Any]) -> None:
    requests = ledger.requests()
    if name not in requests and (other := alike(name, requests)):
        raise DataError(
            f"The id '{name}' can't be told from the request '{other}' everywhere: they differ in case or width only.",
            where="--request-id",
            remedy="choose another name",
        )
    for other in requests.values():
        if other.id == name:
            if other.rows != content["rows"] or other.kind != content["kind"]:
                raise DataError(
                    f"There is another request '{name}' already.", where="--request-id", remedy="choose another name"
                )
            continue
        if other.state != "rolled back" and (shared := sorted(set(other.rows) & set(content["rows"]))):
            raise DataError(
                f"The row '{shared[0]}' is in the request '{other.id}' already.",
                where=str(ledger.folder),
                remedy="leave it out, or roll that request back",
            )
