"""Checking a certificate against everything that it speaks of: files, journal, data, store, and the metrics, measured anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from unweave.audit.ledger import work
from unweave.audit.ledger.config import VerifyConfig
from unweave.audit.ledger.job import Job, recorded_config
from unweave.audit.ledger.ledger import Ledger, Request, content_hash, model_files
from unweave.audit.ledger.measure import measure
from unweave.audit.ledger.shown import named
from unweave.errors import DataError, UnweaveError
from unweave.files import file_digest, read_record
from unweave.models.loading import ModelConfig, load
from unweave.store.store import GradientStore
from unweave.store.texts import texts_by_id

Check = tuple[str, str | None]
"""What was checked, and what is wrong; `None` when nothing is."""


def verify_request(config: VerifyConfig) -> dict[str, Any]:
    """Check a request that was carried out.

    Args:
        config: Which.

    Returns:
        `ok`, and each check with what is wrong.

    Raises:
        DataError: When the request was not carried out: there is nothing to verify.
    """
    ledger = Ledger(config.ledger)
    checks: list[Check] = [("the journal's chain", "; ".join(ledger.journal.check()) or None)]
    request = ledger.request(config.request)
    if not request.is_done:
        raise DataError(
            f"The request '{request.id}' is {request.state}: there is nothing to verify.",
            where=str(config.ledger),
            remedy="run it first",
        )
    folder = ledger.request_folder(request.id)
    checks += _files(request, folder)
    certificate = _certificate(folder)
    if certificate is not None:
        checks += _told("the certificate", _certified(ledger, request, folder, certificate))
        checks += _told("every row was measured", _covered(ledger, request, folder, certificate))
        checks += _told("metrics", _metrics(ledger, request, folder, certificate, config))
    faults = [f"{name}: {fault}" for name, fault in checks if fault]
    return {
        "request": request.id,
        "state": request.state,
        "ok": not faults,
        "checks": [{"check": name, "ok": fault is None, "fault": fault} for name, fault in checks],
    }


def _certificate(folder: Path) -> dict[str, Any] | None:
    try:
        return read_record(folder / "certificate.json", what="The certificate")
    except DataError:
        return None


def _told(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    """The checks, up to what keeps the rest from being made: a certificate that lacks what is to be checked, data or a store that is gone."""
    try:
        yield from checks
    except UnweaveError as error:
        yield name, f"it can't be checked: {error.sentence}" + (f" ({error.where})" if error.where else "")
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        yield name, f"it can't be checked, since the certificate lacks or holds what can't be: {error!r}"


def _files(request: Request, folder: Path) -> Iterator[Check]:
    """Every file that a step left and that outlives the run, against the digest in the journal."""
    done, started = request.last("done"), request.last("started")
    assert done is not None, "a request that is done says so"
    if started is None:
        yield "the journal", "it lacks the start of this request"
        return
    expected = {"certificate.json": done.content["certificate"], "certificate.html": done.content["page"]}
    for event in request.events:
        if event.kind == "step" and event.number > started.number:
            expected |= {
                name: digest for name, digest in event.content["files"].values() if not name.startswith("work/")
            }
    left = (folder / "work").exists()
    yield (
        "no text is kept",
        "the run left the rows' texts in work/: run the request again to remove them" if left else None,
    )
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            yield name, "the file is missing"
        else:
            yield name, None if file_digest(path) == digest else "the file differs from the journal's digest"


def _certified(ledger: Ledger, request: Request, folder: Path, certificate: dict[str, Any]) -> Iterator[Check]:
    hashes = {event.hash for event in ledger.journal.events()}
    found = certificate["ledger"]["event"] in hashes
    yield (
        "the certificate's event",
        None if found else "the journal lacks the event of this certificate: it was cut or rewritten",
    )
    if certificate["request"]["rows"] != request.rows:
        yield "the request's rows", "the certificate names other rows than the request"
    places = {side: certificate["model"][side]["model"] for side in ("base", "origin", "before")}
    for side, place in (places | {"after": str(folder / "adapter")}).items():
        own, expected = model_files(place), certificate["model"][side]["files"]
        if not expected:
            continue
        odd = sorted(name for name in expected if own.get(name) != expected[name])
        yield (
            "the base model" if side == "base" else f"the model {side}",
            f"{odd[0]} differs or is missing ({place})" if odd else None,
        )
    store = certificate["store"]["store"]
    if store is not None:
        opened = GradientStore.open(Path(store))
        left = sorted((opened.names() | set(texts_by_id(opened.folder))) & set(request.rows))
        yield "the gradient store", f"row '{left[0]}' is in {store} again" if left else None


def _covered(ledger: Ledger, request: Request, folder: Path, certificate: dict[str, Any]) -> Iterator[Check]:
    """Whether the certificate speaks of every row that it names, and whether copies belie its class."""
    measured = certificate["measured"]["after"]["sets"].get("forget", {}).get("losses", {})
    if left := sorted(set(request.rows) - set(measured)):
        fault = f"{named(left)}: certified, but neither unlearned nor measured"
        yield "every row was measured", fault
    else:
        yield "every row was measured", None
    if certificate["class"] == "exact":
        recorded = recorded_config(certificate["method"]["options"], ledger=ledger.folder)
        job = Job(ledger, request, recorded, folder, certificate["model"]["before"]["model"])
        copies = work.staying_copies(job)
        yield (
            "no copies of the rows",
            f"{named([copy.row_id for copy in copies])}: copies that stayed in the training data, beside the class exact"
            if copies
            else None,
        )


def _metrics(
    ledger: Ledger, request: Request, folder: Path, certificate: dict[str, Any], config: VerifyConfig
) -> Iterator[Check]:
    """The losses after forgetting, measured anew on the rows as the data has them now."""
    recorded = recorded_config(certificate["method"]["options"], ledger=config.ledger)
    job = Job(ledger, request, recorded, folder, certificate["model"]["before"]["model"])
    sources = {row.id: row for row in ledger.rows()}
    extra = {"replacement": ledger.new_rows(request), "holdout": work.held_out_rows(job)}
    sets = {}
    for name, own in certificate["measured"]["after"]["sets"].items():
        known = {row.id: row for row in extra[name]} if extra.get(name) else sources
        missing = sorted(set(own["losses"]) - set(known))
        if name == "forget" and missing:
            # What was forgotten may leave the data; what is left of it is measured anew.
            yield (
                f"metrics, {name} ({len(missing)} of the rows have left the data: their loss can't be measured anew)",
                None,
            )
        elif missing:
            yield f"metrics, {name}", f"row '{missing[0]}' is no longer in the data: its loss can't be measured anew"
            continue
        if rows := [known[row_id] for row_id in own["losses"] if row_id in known]:
            sets[name] = rows
    for row_id, digest in request.rows.items():
        if row_id in sources and content_hash(sources[row_id]) != digest:
            yield "the request's rows", f"row '{row_id}' has changed since"
    try:
        loaded = load(ModelConfig(model=str(job.adapter), dtype=job.config.dtype, device=job.config.device))
        found = measure(loaded, sets, work.encoding_of(job))
    except (UnweaveError, SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        # Whatever keeps the metrics from being measured is a failed verification, not a crash of it.
        yield "metrics", f"they can't be measured: {' '.join(str(error).split())}"
        return
    same = found["model"] == certificate["model"]["after"]["fingerprint"]
    yield "the model's fingerprint", None if same else "the adapter's weights are not those that were certified"
    for name, own in found["sets"].items():
        expected = certificate["measured"]["after"]["sets"][name]["losses"]
        expected = {row.id: expected[row.id] for row in sets[name]}
        worst = max(expected, key=lambda row_id: abs(own["losses"].get(row_id, float("inf")) - expected[row_id]))
        gap = abs(own["losses"].get(worst, float("inf")) - expected[worst])
        fault = f"the loss of row '{worst}' is off by {gap:.3g} nats a token, {config.tolerance:g} are allowed"
        yield f"metrics, {name}", fault if not gap <= config.tolerance else None
