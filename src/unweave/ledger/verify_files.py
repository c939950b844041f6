"""The files of a request, of the models that it started from, and of its data, against their digests."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from unweave.arguments import quoted
from unweave.digests import all_files
from unweave.files import file_digest
from unweave.ledger.job import Job
from unweave.ledger.journal import files_of_journal
from unweave.ledger.ledger import FILE, LOCK, Ledger
from unweave.ledger.materials import changed_files, models_of, options_of
from unweave.ledger.request import Request
from unweave.ledger.shown import named
from unweave.ledger.statement import ENVELOPE
from unweave.temporary import TEMPORARY_PREFIX


class Check(NamedTuple):
    """Something that was checked.

    Attributes:
        name: What.
        fault: What is wrong; `None` when nothing is.
        partly: Whether it could be checked only partly, since rows that were forgotten are no longer in the data.
    """

    name: str
    fault: str | None = None
    partly: bool = False


def ledger_files(ledger: Ledger) -> Iterator[Check]:
    """Whether the ledger's folder holds anything that the journal does not speak of.

    Args:
        ledger: The ledger.

    Yields:
        The check.
    """
    expected = {LOCK, *files_of_journal(FILE)}
    names = sorted(path.name for path in ledger.folder.iterdir() if not path.name.startswith(TEMPORARY_PREFIX))
    odd = [name for name in names if name not in expected and name != "requests"]
    folder = ledger.folder / "requests"
    places = {ledger.request_folder(name).name for name in ledger.requests()}
    odd += (
        sorted(f"requests/{path.name}" for path in folder.iterdir() if path.name not in places)
        if folder.is_dir()
        else []
    )
    yield Check("the ledger's folder", f"{', '.join(odd)}: the journal does not speak of it" if odd else None)


def files_of_request(ledger: Ledger, request: Request) -> Iterator[Check]:
    """Every file that a step left and that outlives the run, against the digest in the journal; and files that no step left.

    Args:
        ledger: The ledger.
        request: The request.

    Yields:
        A check a file.
    """
    bound, folder = request.bound, ledger.request_folder(request.id)
    assert bound.done is not None, "a request that is done says so"
    expected = {name: digest for name, digest in bound.files.items() if not name.startswith("work/")}
    expected |= {"certificate.json": bound.done.content["certificate"], "certificate.html": bound.done.content["page"]}
    if bound.signed is not None:
        expected[ENVELOPE] = bound.signed.content["signature"]
    left = (folder / "work").exists()
    yield Check(
        "no text is kept",
        "the run left the rows' texts in work/: run the request again to remove them" if left else None,
    )
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            yield Check(name, "the file is missing")
        else:
            yield Check(name, None if file_digest(path) == digest else "the file differs from the journal's digest")
    # A request of before all files were bound has others beside its adapter.
    whole = "materials.json" in expected
    there = {path.relative_to(folder).as_posix() for path in all_files(folder)} if folder.is_dir() else set()
    odd = sorted(name for name in there - set(expected) if not name.startswith("work/"))
    yield Check("no other files", f"{', '.join(odd)}: no step of the request left it" if odd and whole else None)
    for other in ledger.carried_out(until=bound.done.number - 1):
        path = ledger.request_folder(other.id) / "certificate.json"
        same = (
            path.is_file()
            and other.bound.done is not None
            and file_digest(path) == other.bound.done.content["certificate"]
        )
        yield Check(
            f"the certificate of {other.id}, which came before",
            None if same else "it differs from the journal's digest or is missing",
        )


def models_as_they_were(job: Job, materials: Mapping[str, Any]) -> Iterator[Check]:
    """Every file of the models that the request started from, and of its options.

    Args:
        job: The request.
        materials: What it was carried out on.

    Yields:
        A check a model and an option.
    """
    now = models_of(job)
    for part, then in materials["models"].items():
        name = "the base model" if part == "base" else f"the model {part}"
        if part not in now:
            yield Check(name, f"it is named nowhere any more ({then['model']})")
            continue
        odd = list(changed_files(then["files"], now[part]["files"]))
        if then["commit"] != now[part]["commit"]:
            odd.append(f"it is of the commit {now[part]['commit']}, it was of {then['commit']}")
        yield Check(name, f"{'; '.join(odd)} ({now[part]['model']})" if odd else None)
    if odd := sorted(set(now) - set(materials["models"])):
        yield Check("the models", f"the request starts from {odd[0]} {now[odd[0]]['model']} now, and did not")
    # Without the ledger's key its digests can't be compared.
    options = options_of(job) if not job.ledger.is_blind else dict(materials["options"])
    for name in sorted({*materials["options"], *options}):
        same = materials["options"].get(name) == options.get(name)
        yield Check(
            f"the file of {quoted(name)}",
            None if same else "it differs from what was read, or is missing",
        )


def forgotten(ledger: Ledger) -> set[str]:
    """The rows that may have left the data: those of requests that were carried out.

    Args:
        ledger: The ledger.

    Returns:
        Their ids.
    """
    return {row_id for request in ledger.carried_out() for row_id in request.rows}


def data_as_it_was(job: Job, materials: Mapping[str, Any]) -> Iterator[Check]:
    """The rows of the data against their hashes, and its files against their digests, so far as they are still there.

    Args:
        job: The request.
        materials: What it was carried out on.

    Yields:
        The checks.
    """
    if job.ledger.is_blind:
        yield Check("the data (not without the ledger's key)", partly=True)
        return
    then, now = materials["data"]["rows"], {row.id: job.ledger.row_hash(row) for row in job.rows}
    asked = {row_id: then.get(row_id) for row_id in job.request.rows}
    yield Check(
        "the request's rows",
        None if asked == job.request.rows else "the data that was read had other rows than the request",
    )
    changed = [row_id for row_id in now if row_id in then and now[row_id] != then[row_id]]
    gone, new = [row_id for row_id in then if row_id not in now], [row_id for row_id in now if row_id not in then]
    may_leave = forgotten(job.ledger)
    lost = [row_id for row_id in gone if row_id not in may_leave]
    kept = [row_id for row_id in then if row_id in now]
    same_order = kept == [row_id for row_id in now if row_id in then]
    if changed:
        yield Check("the data", f"{named(changed)} has changed since")
    elif lost:
        yield Check("the data", f"{named(lost)} is no longer in the data, and no request forgot it")
    elif gone and new:
        yield Check(
            "the data",
            f"{named(new)} is new since: what came into the data while rows left it can't be distinguished from these",
        )
    elif not same_order:
        yield Check("the data", "its rows stand in another order")
    elif gone:
        yield Check(
            f"the data ({len(gone)} forgotten row(s) have left it: the file as it was is no longer there; the {len(kept)} others are as they were)",
            partly=True,
        )
    elif new:
        yield Check(f"the data ({len(new)} row(s) are new since; the {len(kept)} that were read are as they were)")
    else:
        same = job.ledger.hidden_content(job.data_content()) == materials["data"]["files"]
        yield Check(
            "the data",
            None
            if same
            else f"its rows are as they were, but the bytes of {Path(job.ledger.origin().data).name} are not",
        )
