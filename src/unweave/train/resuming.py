"""Going on from the last checkpoint of a run, and reporting its steps as if it had never stopped."""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers.trainer_utils import get_last_checkpoint

from unweave.files import read_json

STEP_LOSS, STEP_NOTES, STOPPED, RECORDED = "step_loss", "step_notes", "stopped", "recorded"


class StepRecord:
    """What is reported of a run's steps. It is kept in the log of each checkpoint, so that a run that goes on reports the same as one that was never stopped.

    Args:
        losses: The loss of each step.
        notes: What else was noted; a step may note nothing, or several values.
        *recorded: What is recorded of the run for attribution, one number of each step in each.
    """

    def __init__(self, losses: list[float], notes: list[float], *recorded: list[float]):
        self.losses, self.notes, self.recorded, self._kept = losses, notes, recorded, 0

    def keep(self, log: list[dict[str, Any]], *, stopped: bool) -> None:
        """Add a step to the log of a run.

        Args:
            log: The log.
            stopped: Whether the run ends with it, before its plan does.
        """
        own = {RECORDED: [values[-1] for values in self.recorded]} if self.recorded else {}
        log.append({STEP_LOSS: self.losses[-1], STEP_NOTES: self.notes[self._kept :], STOPPED: stopped, **own})
        self._kept = len(self.notes)

    def restore(self, log: list[dict[str, Any]]) -> None:
        """Begin with the steps of a log.

        Args:
            log: That of the checkpoint from which a run goes on; empty where one begins.
        """
        kept = [entry for entry in log if STEP_LOSS in entry]
        self.losses[:] = [entry[STEP_LOSS] for entry in kept]
        self.notes[:] = [note for entry in kept for note in entry[STEP_NOTES]]
        for place, values in enumerate(self.recorded):
            values[:] = [entry[RECORDED][place] for entry in kept]
        self._kept = len(self.notes)


def resumable(folder: Path, fingerprint: str) -> str | None:
    """The last checkpoint of the same run; those of another run are removed.

    Args:
        folder: The folder of checkpoints.
        fingerprint: What the run is of.

    Returns:
        The checkpoint's folder; `None` where there is none.
    """
    mark = folder / "identity.json"
    if mark.is_file() and read_json(mark, what="The mark of the checkpoints").get("fingerprint") == fingerprint:
        last = get_last_checkpoint(str(folder))
        # A checkpoint that was being written when the process died lacks its state, which is written last, or has a part of it.
        while last is not None and _state_of(last) is None:
            shutil.rmtree(last)
            last = get_last_checkpoint(str(folder))
        return last
    # Its mark first: half of what is left is gone on from by nobody.
    mark.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return None


def ended_at(checkpoint: str | None) -> int | None:
    """The step with which a run ended before its plan, where it was killed between that and its results.

    Args:
        checkpoint: From `resumable`.

    Returns:
        The step's number; `None` where the run goes on.
    """
    state = _state_of(checkpoint) if checkpoint is not None else None
    return state["global_step"] if state and any(entry.get(STOPPED) for entry in state["log_history"]) else None


def _state_of(checkpoint: str) -> dict[str, Any] | None:
    """The state of a run at a checkpoint; `None` where it is not there, or not all of it."""
    try:
        return json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
