"""From rows that are decided on to a model without them, and the audit of it: a request in the run's own ledger, and an audit from rows alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.config import part_of
from unweave.data.config import ReadingConfig
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.evaluation.config import AuditConfig
from unweave.files import read_json, write_json, write_jsonl
from unweave.fixing.config import FixConfig
from unweave.jobs.audit import audit_models
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, RunConfig
from unweave.ledger.ledger import FILE as LEDGER_FILE
from unweave.ledger.ledger import Ledger
from unweave.ledger.run import run_request
from unweave.temporary import remove_folder

REQUEST = "fix"


def model_of(config: FixConfig) -> str:
    """The model without the rows.

    Args:
        config: The run's.

    Returns:
        Its folder, in the run's ledger.
    """
    return str(Ledger(config.output_dir / "ledger").request_folder(REQUEST) / "adapter")


def forget(
    config: FixConfig,
    rows_by_id: Mapping[str, Row],
    chosen: Sequence[str],
    choice: Mapping[str, Any],
    *,
    keep: Sequence[str],
    digest: str,
) -> dict[str, Any]:
    """Forget rows by a request in the run's own ledger: it goes on where it was killed, and is done once.

    Args:
        config: The run's.
        rows_by_id: The data.
        chosen: Ids of the rows to forget.
        choice: Kind and method, as a `Choice` in JSON.
        keep: Ids of the rows to keep.
        digest: The run's.

    Returns:
        How the request ended, by which method and criteria.
    """
    folder, ledger = config.output_dir, config.output_dir / "ledger"
    _require_same_request(folder, ledger, {"forget": list(chosen), "choice": choice, "kept": digest})
    parts = {"retain": [rows_by_id[row_id] for row_id in keep]}
    if choice["kind"] == "correction":
        rows = [rows_by_id[row_id] for row_id in chosen]
        parts["clean"] = [row.with_completion(row.clean_completion or "") for row in rows]
    for name, rows in parts.items():
        path = folder / f"{name}.jsonl"
        if not path.is_file():
            write_jsonl(path, [replace(row, clean_completion=None).to_record() for row in rows])
    reading: Any = part_of(ReadingConfig, config).__dict__
    add_request(
        AddConfig(
            ledger=ledger,
            data=config.data,
            model=config.model,
            store=config.store or folder / "store",
            kind=choice["kind"],
            row_ids=tuple(chosen),
            replacement=folder / "clean.jsonl" if choice["kind"] == "correction" else None,
            reason=f"unweave fix: {config.prompt}",
            request_id=REQUEST,
            **reading,
        )
    )
    certificate = run_request(
        RunConfig(
            request=REQUEST,
            ledger=ledger,
            method=choice["method"],
            target_loss=config.target_loss,
            margin=config.margin,
            max_minutes=config.max_minutes,
            retain=config.retain or folder / "retain.jsonl",
            test_rows=config.test_rows,
            retain_rows=config.retain_rows,
            dtype=config.dtype,
            device=config.device,
            seed=config.seed,
            **reading,
        )
    )
    return {
        "state": certificate["state"],
        "class": certificate["class"],
        "shown": certificate["shown"],
        "method": certificate["method"]["name"],
        "criteria": [one["words"] for one in certificate.get("criteria", {}).get("outcomes", {}).values()],
        "findings": list(certificate["findings"]),
    }


def _require_same_request(folder: Path, ledger: Path, wanted: Mapping[str, Any]) -> None:
    """A ledger of other rows, of an earlier decision, goes: it is this folder's own."""
    note = folder / "request.json"
    if note.is_file() and read_json(note, what="What was asked of the ledger") == wanted:
        return
    if (ledger / LEDGER_FILE).is_file():
        progress.say("the decisions are others than those of the earlier run: its ledger is replaced")
    remove_folder(ledger)
    for name in ("ledger.key", "retain.jsonl", "clean.jsonl"):
        (folder / name).unlink(missing_ok=True)
    write_json(note, wanted)


def audit(config: FixConfig, rows: Mapping[str, Row], chosen: Sequence[str]) -> dict[str, Any]:
    """Audit the model without the rows, from rows alone.

    Args:
        config: The run's.
        rows: The data.
        chosen: Ids of the rows to forget.

    Returns:
        The conclusion, its reasons, and what came of the probes.
    """
    write_jsonl(config.output_dir / "forget.jsonl", [rows[row_id].to_record() for row_id in chosen])
    going = set(chosen)
    test = [row for row_id, row in rows.items() if row_id not in going][: config.test_rows]
    write_jsonl(config.output_dir / "others.jsonl", [row.to_record() for row in test])
    encoding: Any = part_of(EncodingConfig, config).__dict__
    metrics = audit_models(
        AuditConfig(
            before=config.model,
            after=model_of(config),
            forget=config.output_dir / "forget.jsonl",
            retain=config.output_dir / "others.jsonl",
            retrained=config.retrained,
            output_dir=config.output_dir / "audit",
            probe_rows=config.probe_rows,
            gradnorm_rows=0,
            dtype=config.dtype,
            device=config.device,
            seed=config.seed,
            **encoding,
        )
    )
    return {
        "conclusion": metrics["verdict"]["conclusion"],
        "reasons": metrics["verdict"]["reasons"],
        "probes": {
            name: {label: own["value"] for label, own in one["rates"].items()}
            for name, one in metrics["probes"].items()
            if one["rates"]
        },
    }
