"""What a certificate says against what follows from the events that bind: made again, it must come out the same."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unweave import __version__
from unweave.ledger.adding import model_files
from unweave.ledger.certificate import PROSE, derive_certificate
from unweave.ledger.history import training_history
from unweave.ledger.job import Job
from unweave.ledger.materials import before, started_from
from unweave.ledger.page import render_certificate_page
from unweave.ledger.sampling import sampled_rows, staying_copies
from unweave.ledger.shown import named
from unweave.ledger.verify_files import Check
from unweave.store.store import GradientStore
from unweave.store.texts import texts_by_id

SHOWN = 60
NOT_BOUND = frozenset({"environment", "ledger.event", "measured.files", "model", "method", "not_measured", "commands"})
"""What nothing bound before materials were recorded."""


def derived(job: Job, certificate: Mapping[str, Any], materials: Mapping[str, Any] | None) -> Iterator[Check]:
    """Every field of a certificate against what the journal binds, and what the end of the request says.

    Args:
        job: The request.
        certificate: As it lies in the request's folder.
        materials: What the request was carried out on; `None` for one of before that was recorded.

    Yields:
        A check a field that is wrong, or one that all are right.
    """
    expected = json.loads(json.dumps(derive_certificate(job)))
    skipped = set(PROSE) if materials is None or materials["unweave"] != __version__ else set()
    if materials is None:
        yield from _legacy(job, certificate)
        skipped |= NOT_BOUND
        expected = {name: value for name, value in expected.items() if name in certificate}
    wrong = list(differences(expected, dict(certificate), skipped=skipped))
    for name, fault in wrong:
        yield Check(f"the certificate: {name}", fault)
    if not wrong:
        other = f" (by unweave {materials['unweave']}: its sentences are not compared)" if materials and skipped else ""
        yield Check(f"every field of the certificate follows from what the journal binds{other}", None)
    if not skipped:
        shown = (job.folder / "certificate.html").read_text(encoding="utf-8")
        same = shown == render_certificate_page(expected)
        yield Check("the page", None if same else "it does not show what follows from what the journal binds")
    done = job.bound().done
    assert done is not None, "a request that is done says so"
    for name in ("class", "shown", "drift"):
        if name in done.content and done.content[name] != expected.get(name, done.content[name]):
            yield Check(
                f"the journal: {name}",
                f"event {done.number} says {_short(done.content[name])}, what came before it gives {_short(expected[name])}",
            )


def differences(expected: Any, found: Any, *, skipped: set[str], place: str = "") -> Iterator[tuple[str, str]]:
    """How a certificate differs from what it should be.

    Args:
        expected: What follows from what is bound.
        found: What the certificate says.
        skipped: Places that are not compared.
        place: Where this stands.

    Yields:
        A place, and what is wrong there.
    """
    if place in skipped:
        return
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in [*expected, *(name for name in found if name not in expected)]:
            own = f"{place}.{name}" if place else name
            if own in skipped:
                continue
            if name not in found:
                yield own, f"the certificate lacks it; what the journal binds gives {_short(expected[name])}"
            elif name not in expected:
                yield own, f"nothing binds this field: the certificate says {_short(found[name])}"
            else:
                yield from differences(expected[name], found[name], skipped=skipped, place=own)
    elif expected != found or type(expected) is not type(found):
        yield place, f"the certificate says {_short(found)}; what the journal binds gives {_short(expected)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _legacy(job: Job, certificate: Mapping[str, Any]) -> Iterator[Check]:
    """What a certificate of before materials were recorded binds by itself."""
    hashes = {event.hash for event in job.ledger.journal.events()}
    found = certificate["ledger"]["event"] in hashes
    yield Check(
        "the certificate's event",
        None if found else "the journal lacks the event of this certificate: it was cut or rewritten",
    )
    places = {side: certificate["model"][side]["model"] for side in ("base", "origin")}
    for side, place in (places | {"before": before(job), "after": str(job.adapter)}).items():
        own, expected = model_files(place), certificate["model"][side]["files"]
        odd = sorted(name for name in expected if own.get(name) != expected[name])
        yield Check(
            "the base model" if side == "base" else f"the model {side}",
            f"{odd[0]} differs or is missing ({place})" if odd else None,
        )


def row_coverage(job: Job, certificate: Mapping[str, Any], materials: Mapping[str, Any] | None) -> Iterator[Check]:
    """Whether every row of the request was measured, and whether those beside them are the ones that its id selects.

    Args:
        job: The request.
        certificate: As it lies in the request's folder.
        materials: What the request was carried out on.

    Yields:
        The checks.
    """
    sets = certificate["measured"]["after"]["sets"]
    left = sorted(set(job.request.rows) - set(sets.get("forget", {}).get("losses", {})))
    yield Check(
        "every row was measured", f"{named(left)}: certified, but neither unlearned nor measured" if left else None
    )
    if materials is None:
        return
    copies = {copy["row_id"] for copy in certificate["copies"]}
    _, expected = sampled_rows(job, list(materials["data"]["rows"]), copies=copies)
    dropped = {one["row"] for one in certificate["lost"] if one["set"] == "test" and one["action"] == "dropped"}
    odd = sorted(set(expected).symmetric_difference({*sets["test"]["losses"], *dropped}))
    yield Check(
        "the other rows measured are those that the request's id selects",
        f"{named(odd)}: selected and not measured, or measured and not selected" if odd else None,
    )


def copies_and_store(job: Job, certificate: Mapping[str, Any], materials: Mapping[str, Any] | None) -> Iterator[Check]:
    """Whether copies, or what the base was trained on, belie the certificate; and whether the rows are in the store again.

    Args:
        job: The request.
        certificate: As it lies in the request's folder.
        materials: What the request was carried out on.

    Yields:
        The checks.
    """
    there = [row for row in job.rows if row.id in job.request.rows]
    partly = (
        f" ({len(job.request.rows) - len(there)} of the rows have left the data: copies of these can't be looked for)"
    )
    incomplete = len(there) < len(job.request.rows)
    suffix = partly if incomplete else ""
    # What came into the data later was not trained on.
    new = {row.id for row in job.rows} - set(materials["data"]["rows"]) if materials is not None else set()
    exact = certificate["class"] == "exact"
    listed = set() if exact else {copy["row_id"] for copy in certificate.get("copies", [])}
    found = [copy.row_id for copy in staying_copies(job) if copy.row_id not in listed | new]
    beside = ", beside the class exact" if exact else ", and the certificate does not name them"
    yield Check(
        f"no copies of the rows but those that are named{suffix}",
        f"{named(found)}: copies that stayed in the training data{beside}" if found else None,
        partly=incomplete,
    )
    if materials is not None:
        recorded = {(one["row"], one["model"]) for one in materials["history"]["seen"]}
        seen = training_history(job, started_from(job), there).seen
        more = sorted({one["row"] for one in seen if (one["row"], one["model"]) not in recorded})
        yield Check(
            f"what the base was trained on{suffix}",
            f"{named(more)}: the base was trained on it, and the certificate does not say so" if more else None,
            partly=incomplete,
        )
    own = certificate["store"]["store"]
    for store in (*([own] if own is not None else []), *certificate["store"].get("stores", ())):
        opened = GradientStore.open(Path(store))
        stored = opened.names() | set(texts_by_id(opened.folder))
        left = sorted(row_id for row_id in stored if job.ledger.name_of(row_id) in job.request.rows)
        yield Check("the gradient store", f"row '{left[0]}' is in {store} again" if left else None)
