"""What the explorer asks of the ledger, as runs of the command line: forget rows, verify, undo.

Options go to the command line in files of the run's folder, which name rows by their ids and hold no text of them.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from unweave.config import dump_yaml
from unweave.errors import ConfigError, DataError
from unweave.explorer.processes import Run
from unweave.explorer.workspace import Workspace
from unweave.files import write_text
from unweave.ledger.config import AddConfig, RunConfig, UndoConfig, VerifyConfig
from unweave.ledger.job import recorded_config
from unweave.ledger.ledger import Ledger
from unweave.ledger.request import Request
from unweave.ledger.states import CANCEL, ROLL_BACK, after
from unweave.names import require_name
from unweave.ranges import require_in_range
from unweave.unlearning.describe import describe_methods
from unweave.unlearning.methods import get_method

AUTO = "auto"


@dataclass(frozen=True)
class Asked:
    """What somebody asks for who wants rows to be forgotten.

    Attributes:
        reason: Why.
        request_id: A name; by default one is made.
        method: A method, or `auto`.
        max_minutes: No attempt is begun that would end later.
        target_loss: As of `unweave request run`.
        margin: As of `unweave request run`.
        retain_rows: As of `unweave request run`.
        test_rows: As of `unweave request run`.
        count: How many rows whoever asks has seen on the list; `None` does not compare.
    """

    reason: str = ""
    request_id: str = ""
    method: str = AUTO
    max_minutes: float = RunConfig.max_minutes
    target_loss: float | None = None
    margin: float = RunConfig.margin
    retain_rows: int = RunConfig.retain_rows
    test_rows: int = RunConfig.test_rows
    count: int | None = None


def how_choices() -> dict[str, Any]:
    """What a form offers that asks how to forget.

    Returns:
        `methods` and `defaults`.
    """
    return {
        "methods": [method for method in describe_methods() if "removal" in method["requests"]],
        "defaults": {field.name: field.default for field in fields(Asked)},
    }


def model_to_change(workspace: Workspace) -> str:
    """The model that forgets: the store's, or the final one where the store is of an early checkpoint; with earlier requests the ledger's.

    Args:
        workspace: What is explored.

    Returns:
        Its folder or name.
    """
    return Ledger(workspace.ledger).model() if workspace.has_ledger else _origin(workspace)


def _origin(workspace: Workspace) -> str:
    config, spec = workspace.config, workspace.spec
    named = config.adapter or config.model
    found = workspace.final_adapter or named or spec.adapter or spec.model
    return str(Path(found).resolve()) if Path(found).is_dir() else str(found)


def new_name(taken: Sequence[str]) -> str:
    """A name for a request.

    Args:
        taken: Names that there are.

    Returns:
        The day and a number.
    """
    day, number = time.strftime("%Y-%m-%d", time.gmtime()), 1
    while f"{day}-{number}" in taken:
        number += 1
    return f"{day}-{number}"


def start_forgetting(workspace: Workspace, row_ids: Sequence[str], asked: Asked) -> Run:
    """Start forgetting rows.

    Args:
        workspace: What is explored.
        row_ids: The rows.
        asked: How, and why.

    Returns:
        The run.

    Raises:
        ConfigError: When there is no row, or not as many as were seen; no data file; or a name or a method is none.
        BusyError: When another run is at work.
    """
    there, ledger = workspace.has_ledger, workspace.ledger.resolve()
    if not row_ids:
        raise ConfigError("There is no row to forget.", where="the review list", remedy="tick rows first")
    if asked.count not in (None, len(row_ids)):
        raise ConfigError(
            f"{len(row_ids)} rows are on the list by now, not {asked.count}.",
            where="the review list",
            remedy="look at it again",
        )
    if workspace.data is None and not there:
        raise ConfigError(
            "The rows that the model was trained on are in no file that is known.",
            where="`data`",
            remedy="begin with `unweave serve STORE --data FILE`",
        )
    taken = list(Ledger(ledger).requests()) if there else []
    name = require_name(asked.request_id or new_name(taken), what="The request's id", where="`request_id`")
    data, model, store = workspace.data, _origin(workspace), workspace.place.resolve()
    if there:
        # An old ledger may be about a data set that is no file, or have no store: what it is about stays.
        origin = Ledger(ledger).origin()
        data = data if data is not None and Path(origin.data).is_file() else None
        store = store if origin.store is not None else None
    add = AddConfig(
        ledger=ledger,
        data=data.resolve() if data is not None else None,
        model=model,
        store=store,
        row_ids=tuple(row_ids),
        reason=asked.reason,
        request_id=name,
        yes=True,
    )
    run = _how(workspace, name, asked)
    count = f"{len(row_ids)} row{'s' if len(row_ids) != 1 else ''}"
    return _start(
        workspace, f"Forget {count}: {name}", {"request add": add, "request run": run}, request=name, kind="forget"
    )


def start_again(workspace: Workspace, request: Request, asked: Asked | None = None) -> Run:
    """Carry out a request that was added, and is not done.

    Args:
        workspace: What is explored.
        request: The request.
        asked: How; by default as it was begun, so that it goes on.

    Returns:
        The run.

    Raises:
        ConfigError: When a method is none, or an option out of range.
    """
    started = request.bound.started
    if asked is None and started is not None:
        config = recorded_config(started.content["config"], ledger=workspace.ledger.resolve())
    else:
        config = _how(workspace, request.id, asked or Asked())
    return _start(workspace, f"Carry out {request.id}", {"request run": config}, request=request.id, kind="forget")


def _how(workspace: Workspace, name: str, asked: Asked) -> RunConfig:
    if asked.method != AUTO:
        get_method(asked.method)
    config = RunConfig(
        request=name,
        ledger=workspace.ledger.resolve(),
        method=asked.method,
        max_minutes=asked.max_minutes,
        target_loss=asked.target_loss,
        margin=asked.margin,
        retain_rows=asked.retain_rows,
        test_rows=asked.test_rows,
        dtype=workspace.config.dtype,
        device=workspace.config.device,
    )
    require_in_range(config)
    return config


def start_verifying(workspace: Workspace, request: Request) -> Run:
    """Start verifying a request.

    Args:
        workspace: What is explored.
        request: The request.

    Returns:
        The run.
    """
    config = VerifyConfig(request=request.id, ledger=workspace.ledger.resolve())
    return _start(workspace, f"Verify {request.id}", {"request verify": config}, request=request.id, kind="verify")


def undoing(request: Request) -> str | None:
    """How a request can be undone.

    Args:
        request: The request.

    Returns:
        `rollback` or `cancel`; `None` where it was given up.
    """
    return "rollback" if after(request.state, ROLL_BACK) else "cancel" if after(request.state, CANCEL) else None


def start_undoing(workspace: Workspace, request: Request, reason: str) -> Run:
    """Roll a request back, or cancel it.

    Args:
        workspace: What is explored.
        request: The request.
        reason: Why, for the record.

    Returns:
        The run.

    Raises:
        DataError: When it was given up already.
    """
    how = undoing(request)
    if how is None:
        raise DataError(f"The request is {request.state}.", where=request.id, remedy="there is nothing to undo")
    config = UndoConfig(request=request.id, ledger=workspace.ledger.resolve(), reason=reason)
    title = f"{'Roll back' if how == 'rollback' else 'Cancel'} {request.id}"
    return _start(workspace, title, {f"request {how}": config}, request=request.id, kind=how)


def _start(workspace: Workspace, title: str, configs: Mapping[str, Any], **about: str) -> Run:
    processes = workspace.processes
    processes.require_free()
    folder, commands = processes.new_folder(), []
    for command, config in configs.items():
        path = folder.resolve() / f"{command.replace(' ', '-')}.yaml"
        write_text(path, dump_yaml(command, config))
        commands.append(["run", str(path)])
    return processes.start(title, commands, about=about, folder=folder)
