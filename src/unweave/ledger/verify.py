"""Checking a certificate against everything that it speaks of: journal, files, data, store, what follows from them, and the metrics, measured anew.

Nothing is believed of the certificate, nor of events that came after those that bind: the certificate is made again from what the journal binds, and
must come out the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from unweave.errors import DataError, UnweaveError
from unweave.files import read_record
from unweave.ledger.bound import repeated
from unweave.ledger.config import VerifyConfig
from unweave.ledger.job import Job, recorded_config
from unweave.ledger.ledger import Ledger
from unweave.ledger.materials import read_materials
from unweave.ledger.request import Request
from unweave.ledger.signing_keys import read_public_key
from unweave.ledger.verify_claims import copies_and_store, derived, row_coverage
from unweave.ledger.verify_files import (
    Check,
    data_as_it_was,
    files_of_request,
    ledger_files,
    models_as_they_were,
)
from unweave.ledger.verify_numbers import metrics
from unweave.ledger.verify_signature import signature_checks

LEGACY = "made before certificates bound all files (tokenizer, templates, configs, data by row): it binds less, and less is checked"
WITHOUT_KEY = "that the data's rows are those of the request, by their hashes; rows whose ids are hashes of their content, in data and store"
"""What the ledger's key is needed for."""


def verify_requests(config: VerifyConfig) -> list[dict[str, Any]]:
    """Check a request, or all that were carried out.

    Args:
        config: Which.

    Returns:
        What `verify_request` says of each.

    Raises:
        DataError: When none was carried out: there is nothing to verify.
    """
    if config.request:
        return [verify_request(config)]
    done = Ledger(config.ledger).carried_out()
    if not done:
        raise DataError(
            "No request was carried out: there is nothing to verify.", where=str(config.ledger), remedy="run one first"
        )
    return [verify_request(replace(config, request=request.id)) for request in done]


def verify_request(config: VerifyConfig) -> dict[str, Any]:
    """Check a request that was carried out.

    Args:
        config: Which.

    Returns:
        `ok`, each check with what is wrong, and `gone`: those that could be made only partly, since forgotten rows have left the data.

    Raises:
        DataError: When the request was not carried out: there is nothing to verify.
    """
    public = read_public_key(config.public_key) if config.public_key is not None else None
    ledger = Ledger(config.ledger, key=config.key, without_key=config.without_key)
    checks = [Check("the journal's chain", "; ".join(ledger.journal.check()) or None)]
    request = ledger.request(config.request)
    late = repeated(ledger.journal.events())
    checks.append(Check("every event says something new", "; ".join(late) or None))
    ledger.require_key()
    if ledger.is_blind:
        checks.append(Check(f"not checked without the key: {WITHOUT_KEY}", partly=True))
    if not request.is_done:
        raise DataError(
            f"The request '{request.id}' is {request.state}: there is nothing to verify.",
            where=str(config.ledger),
            remedy="run it first",
        )
    checks += _guarded("the ledger's folder", ledger_files(ledger))
    checks += _guarded("the request's files", files_of_request(ledger, request))
    checks += _guarded("the signature", signature_checks(ledger, request, public))
    checks += _guarded("the request's record", _checks(ledger, request, config))
    return {
        "request": request.id,
        "state": request.state,
        "ok": not any(check.fault for check in checks),
        "gone": [check.name for check in checks if check.partly],
        "checks": [{"check": check.name, "ok": check.fault is None, "fault": check.fault} for check in checks],
    }


def _checks(ledger: Ledger, request: Request, config: VerifyConfig) -> Iterator[Check]:
    """What is checked of a request whose journal says how it was carried out."""
    started, folder = request.bound.started, ledger.request_folder(request.id)
    if started is None:
        yield Check("the journal", "it lacks the start of this request")
        return
    # As the journal has it, and where the ledger lies now.
    job = Job(ledger, request, recorded_config(started.content["config"]), folder, started.content["before"])
    materials = read_materials(job)
    if materials is None:
        yield Check(f"the certificate's format ({LEGACY})", None)
    else:
        yield from _guarded("the models", models_as_they_were(job, materials))
        yield from _guarded("the data", data_as_it_was(job, materials))
    certificate = _certificate(folder)
    if certificate is None:
        yield Check("the certificate", "certificate.json can't be read")
        return
    yield from _guarded("the certificate", derived(job, certificate, materials))
    yield from _guarded("every row was measured", row_coverage(job, certificate, materials))
    yield from _guarded("copies and store", copies_and_store(job, certificate, materials))
    if config.metrics:
        yield from _guarded("metrics", metrics(job, certificate, config, materials))
    else:
        yield Check("metrics (not measured anew: `metrics` is off)", None)


def _certificate(folder: Path) -> dict[str, Any] | None:
    try:
        return read_record(folder / "certificate.json", what="The certificate")
    except DataError:
        return None


def _guarded(name: str, checks: Iterable[Check]) -> Iterator[Check]:
    """The checks, up to what keeps the rest from being made: a record that lacks what is to be checked, data or a store that is gone."""
    try:
        yield from checks
    except UnweaveError as error:
        yield Check(name, f"it can't be checked: {error.sentence}" + (f" ({error.where})" if error.where else ""))
    except OSError as error:
        yield Check(name, f"it can't be checked: {error.strerror} ({error.filename})")
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, AssertionError, TemplateError) as error:
        yield Check(
            name, f"it can't be checked, since the certificate or a record lacks or holds what can't be: {error!r}"
        )
