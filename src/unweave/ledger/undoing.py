"""Giving requests up, and undoing what was carried out."""

from typing import Any

from unweave.errors import DataError
from unweave.ledger.config import UndoConfig
from unweave.ledger.holding import alone
from unweave.ledger.ledger import WORK, Ledger
from unweave.ledger.request import Request
from unweave.ledger.run import JUDGED, remove
from unweave.ledger.states import CANCEL, CANCELLED, ROLL_BACK, STEP, after
from unweave.names import fault_of

BEFORE_STORE = JUDGED
"""The step before the store is cleaned: once it is recorded, the store may lack the rows."""


def roll_back(config: UndoConfig) -> dict[str, Any]:
    """Make the model before the last request the current one again.

    Args:
        config: The request.

    Returns:
        The model that is current now, and what the gradient store lacks since.

    Raises:
        DataError: When the request is not the last one carried out.
    """
    ledger = Ledger(config.ledger)
    with alone(ledger):
        request, done = ledger.request(config.request), ledger.carried_out()
        if after(request.state, ROLL_BACK) is None:
            raise DataError(
                f"The request '{request.id}' is {request.state}.",
                remedy="only what is done can be undone"
                + ("; give it up with `unweave request cancel`" if after(request.state, CANCEL) else ""),
            )
        if done[-1].id != request.id:
            raise DataError(
                f"Later requests build on '{request.id}', the last of them '{done[-1].id}'.",
                remedy=f"roll '{done[-1].id}' back first",
            )
        ledger.record(ROLL_BACK, request.id, reason=config.reason)
        if fault_of(request.id) is None:
            remove(ledger.request_folder(request.id) / WORK)
    return {"request": request.id, "model": ledger.model(), **_lacking(ledger, request)}


def cancel_request(config: UndoConfig) -> dict[str, Any]:
    """Give up a request that is not done, and remove what its run has left: the rows' texts among it.

    Args:
        config: The request.

    Returns:
        What was removed, and what the gradient store may lack since.

    Raises:
        DataError: When the request is done, or was given up before.
    """
    ledger = Ledger(config.ledger)
    with alone(ledger):
        request = ledger.request(config.request)
        # An id of before ids were names may lead anywhere: nothing is removed there.
        folder = ledger.request_folder(request.id) if fault_of(request.id) is None else None
        if request.state != CANCELLED and after(request.state, CANCEL) is None:
            raise DataError(
                f"The request '{request.id}' is {request.state}.",
                where=str(config.ledger),
                remedy="undo it with `unweave request rollback`" if request.is_done else "there is nothing to cancel",
            )
        left = folder is not None and folder.exists()
        if folder is not None:
            # First, so that what is cancelled has left nothing.
            remove(folder)
        if request.state != CANCELLED:
            ledger.record(CANCEL, request.id, reason=config.reason)
    begun = any(event.kind == STEP and event.content.get("step") == BEFORE_STORE for event in request.events)
    lacking = _lacking(ledger, request) if begun else {"rows_to_cache_again": [], "store": ledger.origin().store}
    return {"request": request.id, "state": CANCELLED, "removed": str(folder) if left else None, **lacking}


def _lacking(ledger: Ledger, request: Request) -> dict[str, Any]:
    """What the gradient store lacks since a request took its rows out."""
    store = ledger.origin().store
    return {"rows_to_cache_again": ledger.own_ids(request.rows) if store else [], "store": store}
