"""Somebody who can write every file of a ledger, knows this code, and lacks the private key: whatever they change, all hashes fit again afterwards."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from unweave.files import file_digest, write_json, write_text
from unweave.ledger.certificate import derive_certificate
from unweave.ledger.job import Job, recorded_config
from unweave.ledger.journal import SCHEMA, SEALED, Event, Journal, _hash
from unweave.ledger.ledger import FILE, Ledger
from unweave.ledger.page import write_certificate_page


@dataclass
class Forged:
    """An event as the attacker will write it."""

    time: str
    request: str
    kind: str
    content: dict[str, Any] = field(default_factory=dict)


class Attacker:
    """Reads a ledger's events, changes events and files, and writes the journal anew.

    Args:
        folder: The ledger.
    """

    def __init__(self, folder):
        self.folder = folder
        events = Journal(folder / FILE).events()
        self.events = [Forged(one.time, one.request, one.kind, one.content) for one in events]

    def place(self, name="one"):
        return self.folder / "requests" / name

    def of(self, kind, name="one", step=None):
        """The event of a kind."""
        found = [one for one in self.events if (one.kind, one.request) == (kind, name)]
        return next(one for one in found if step is None or one.content.get("step") == step)

    def edit(self, file, change, name="one"):
        """Change a JSON file of a request."""
        path = self.place(name) / file
        value = json.loads(path.read_text())
        change(value)
        write_json(path, value)

    def rewrite(self, *, derive=True):
        """The journal with the events as they are now, digests of all files recomputed; certificates derived anew, or taken as they lie there."""
        (self.folder / FILE).unlink()
        Journal(self.folder / FILE)
        previous = ""
        for number, event in enumerate(self.events, start=1):
            self._recomputed(event, derive)
            text = json.dumps(event.content, sort_keys=True, ensure_ascii=False)
            own = _hash(number, event.time, event.request, event.kind, text, previous)
            with closing(sqlite3.connect(self.folder / FILE, isolation_level=None)) as connection:
                connection.executescript(SCHEMA)
                values = (number, event.time, event.request, event.kind, text, previous, own)
                connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", values)
                connection.execute(f"PRAGMA user_version = {SEALED}")
            previous = own
        Journal(self.folder / FILE)._write_seal(Event(len(self.events), "", "", "", {}, "", previous))
        assert Journal(self.folder / FILE).check() == []

    def _recomputed(self, event, derive):
        place = self.place(event.request) if event.request else None
        if event.kind == "step" and event.content["step"] == "certified" and derive:
            self._certify(event.request)
        if event.kind == "step":
            for own in event.content["files"].values():
                if (place / own[0]).is_file():
                    own[1] = file_digest(place / own[0])
        if event.kind == "done":
            certificate = json.loads((place / "certificate.json").read_text())
            event.content |= {name: certificate[name] for name in ("class", "shown", "drift")}
            event.content |= {
                "certificate": file_digest(place / "certificate.json"),
                "page": file_digest(place / "certificate.html"),
            }
        if event.kind == "signed" and (place / "certificate.intoto.jsonl").is_file():
            event.content["signature"] = file_digest(place / "certificate.intoto.jsonl")

    def _certify(self, name):
        ledger = Ledger(self.folder)
        request = ledger.request(name)
        started = request.bound.started.content
        job = Job(ledger, request, recorded_config(started["config"]), self.place(name), started["before"])
        certificate = derive_certificate(job)
        write_json(self.place(name) / "certificate.json", certificate)
        write_certificate_page(self.place(name) / "certificate.html", json.loads(json.dumps(certificate)))

    def drop(self, *events):
        self.events = [one for one in self.events if not any(one is other for other in events)]

    def write(self, file, text, name="one"):
        write_text(self.place(name) / file, text)

    def copy(self, source, file, name="one"):
        shutil.copyfile(source, self.place(name) / file)
