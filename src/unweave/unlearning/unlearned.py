"""What unlearning in memory gives: the model, what happened on the way, and how both are kept."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unweave.data.reading import Problem
from unweave.models.model import Model
from unweave.unlearning.writing import push, write_unlearned


@dataclass(frozen=True)
class UnlearnStep:
    """What a step did.

    Attributes:
        step: Its number, from 1.
        loss: The method's loss.
        forget_loss: Mean loss of the step's unwanted answers, nats a token; NaN in a step that has none, and of a method that looks at hidden states alone.
    """

    step: int
    loss: float
    forget_loss: float


@dataclass(frozen=True)
class Unlearned:
    """A model that has unlearned rows.

    Example:
        >>> import unweave as uw
        >>> result = uw.unlearn(model, forget, method=uw.methods.Fisher(noise=0.05), retain=retain)
        >>> result.forget_rows, result.history, sorted(result.details["effect"])[:2]
        (2, (), ['forget_begins', 'forget_loss'])
        >>> uw.load_model(result.save("noisy")).adapter
        'noisy'

    Attributes:
        model: The model. Where its weights are not changed it shares them with the one that was given.
        method: The method's name.
        history: What each step did; empty for a method that makes none.
        forget_rows: Rows to forget.
        retain_rows: Rows to keep.
        steps: Optimizer steps made.
        planned_steps: Optimizer steps planned; 0 for a method that edits.
        tokens: Tokens of all sequences, padding apart.
        seconds: Wall time.
        stopped: Why it ended early; `None` when all steps were made.
        kept_step: The step that the model is of: the last one, or the best of a run that diverged while it was measured.
        details: What else there is to say. `cautions`: sentences on what had no effect, or could not have; `effect`: losses of forget and retain rows
            before and after; `never_drawn`: how many rows to forget and to keep were in no step.
        problems: Rows that were cut or dropped.
        notes: What was said on the way.
        facts: Lines of the model card.
    """

    model: Model
    method: str
    history: tuple[UnlearnStep, ...]
    forget_rows: int
    retain_rows: int
    steps: int
    planned_steps: int
    tokens: int
    seconds: float
    stopped: str | None = None
    kept_step: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def cautions(self) -> list[str]:
        """What whoever takes the model for one without the rows should know."""
        return list(self.details.get("cautions", ()))

    @property
    def forget_losses(self) -> list[float]:
        """Mean loss of the unwanted answers in each step that had one, nats a token."""
        return [own.forget_loss for own in self.history if not math.isnan(own.forget_loss)]

    def __repr__(self) -> str:
        losses = self.details.get("effect", {}).get("forget_loss")
        change = f", forget loss {losses[0]:.3f} -> {losses[1]:.3f}" if losses else ""
        made = f"{self.steps} of {self.planned_steps} steps" if self.planned_steps else "an edit"
        said = "".join(f"\n  caution: {caution}" for caution in self.cautions)
        return f"Unlearned({self.method}, {self.forget_rows} rows, {made}{change}){said}"

    def save(self, path: str | Path, *, base: str | Path | None = None, with_base: bool = False) -> Path:
        """Write the model with a card: a standard PEFT adapter with its tokenizer, or the whole model where the method makes one.

        An adapter is worth nothing without the base that it is for. One whose weights are the run's own (the old adapter was merged into them), or lie
        in memory only, is written beside it, into `base/`; any other is named.

        Args:
            path: The folder.
            base: Folder or hub id of the base model, for one that lies in memory only: it is named, and not written.
            with_base: Write the base beside the adapter in any case, as for weights that were changed since they were loaded.

        Returns:
            The folder.

        Raises:
            ConfigError: When a base is named for weights that are the run's own.
        """
        folder = Path(path)
        write_unlearned(self, folder, base=None if base is None else str(base), with_base=with_base)
        return folder

    def push_to_hub(
        self,
        repo_id: str,
        *,
        base: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Unlearned with unweave",
    ) -> str:
        """Put the model on the Hugging Face hub, with its card.

        A base that no hub id names, because the run changed it or because it lies on this disk or in memory, goes into a repository of its own,
        `OWNER/NAME-base`, whose commit the adapter names.

        Args:
            repo_id: `owner/name`; it is made where it is not there.
            base: Hub id of the base, where it lies on this disk or in memory, and the hub has it.
            private: Whether repositories that are made are private; by default as the hub has it.
            token: Of the hub; by default the one that was logged in with.
            commit_message: Of the commits.

        Returns:
            The address of the commit.

        Raises:
            ConfigError: When a base is named for weights that are the run's own.
            ModelError: When the hub refuses it; with what can be done about it.
        """
        return push(self, repo_id, base=base, private=private, token=token, commit_message=commit_message)
