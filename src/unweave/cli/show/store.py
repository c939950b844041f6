"""What became of a gradient store."""

from typing import Any

from unweave import terminal
from unweave.cli.show.plain import print_sentences
from unweave.jobs.store import DeleteRowsConfig, StoreCheck, StoreConfig, StoreRepair

CANNOT = (
    "remedy: what describes the store, and what was deleted from it, can't be made anew: restore it from a backup, "
    "or cache the rows that are to stay into a new store"
)


def show_check(config: StoreConfig, found: StoreCheck) -> None:
    """Print what is wrong with a store.

    Args:
        config: Which store.
        found: What is wrong.
    """
    from unweave.store.maintenance import mends

    well = f"{config.store}: all shards match their digests"
    if not found.faults:
        terminal.line(well if found.notes else f"{well}, and so do all other files")
    print_sentences(fault.text for fault in found.faults)
    print_sentences(found.notes, label="note: ")
    if any(mends(fault) for fault in found.faults):
        terminal.line("remedy: run `unweave store repair`, then cache the same rows again")
    if any(not mends(fault) for fault in found.faults):
        terminal.line(CANNOT)


def check_json(_: StoreConfig, found: StoreCheck) -> dict[str, Any]:
    """What is wrong with a store, as JSON.

    Args:
        found: What is wrong.

    Returns:
        A JSON object.
    """
    return {"ok": not found.faults, "faults": [fault.text for fault in found.faults], "notes": found.notes}


def check_code(found: StoreCheck) -> int:
    """The exit code of a check.

    Args:
        found: What is wrong.

    Returns:
        1 when something is.
    """
    return int(bool(found.faults))


def show_repair(_: StoreConfig, done: StoreRepair) -> None:
    """Print what a repair did.

    Args:
        done: That.
    """
    for line in [f"taken away: {text}" for text in done.taken_away] or ["nothing that could be repaired"]:
        terminal.line(line)
    if done.taken_away:
        terminal.line(f"{len(done.rows_to_cache)} row(s) withdrawn; cache the same rows again")
    if done.left:
        for text in done.left:
            terminal.line(f"not repaired: {text}")
        terminal.line(CANNOT)


def repair_code(done: StoreRepair) -> int:
    """The exit code of a repair.

    Args:
        done: What it did.

    Returns:
        1 when something is left.
    """
    return int(bool(done.left))


def show_deleted(config: DeleteRowsConfig, result: dict[str, list[str]]) -> None:
    """Print how many rows were deleted, and what comes next.

    Args:
        config: Of which store.
        result: Their ids.
    """
    terminal.line(
        f"{len(result['deleted'])} row(s) deleted; `unweave store compact {config.store}` takes their sketches and texts off the disk"
    )
