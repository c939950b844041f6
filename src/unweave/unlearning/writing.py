"""Writing what unlearning gave: a standard PEFT adapter and its base where that lies nowhere else, or a whole model, with a card; here or on the hub."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from unweave.errors import ConfigError
from unweave.models.hub import upload_folder
from unweave.models.model import IN_MEMORY, Model
from unweave.models.quiet import quiet_transformers
from unweave.models.saving import save_model
from unweave.train.adapters import save_adapter, write_card
from unweave.unlearning.copying import working_copy
from unweave.unlearning.merging import BASE_FOLDER, OWN_BASE, save_base

ABOUT = (
    "An adapter from which the influence of some training rows was taken out. The evidence for that is empirical and approximate: see the audit "
    "that belongs to it; this card claims nothing."
)
NOWHERE = (OWN_BASE, IN_MEMORY)
"""Bases that lie in no folder."""


class Written(Protocol):
    """What is written: see `Unlearned`."""

    @property
    def model(self) -> Model:
        """The model."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Lines of the card."""
        ...


def write_unlearned(
    result: Written, folder: Path, *, base: str | None = None, with_base: bool = False, repeatable: bool = False
) -> None:
    """Write model and card.

    Args:
        result: What was made.
        folder: Where to.
        base: Folder or hub id of the base, for one that lies in memory only.
        with_base: Write the base in any case.
        repeatable: Whether a job's files lie beside it.

    Raises:
        ConfigError: When a base is named for weights that are the run's own.
    """
    _require_free(result.model, base)
    folder.mkdir(parents=True, exist_ok=True)
    named, revision = base or result.model.base, result.model.revision if base is None else None
    if not is_whole(result.model) and (with_base or named in NOWHERE):
        write_base(result.model, folder / BASE_FOLDER)
        named, revision = str(folder / BASE_FOLDER), None
    _write_own(result.model, folder, base=named, revision=revision)
    write_card(
        folder, title=folder.resolve().name, description=ABOUT, base=named, facts=result.facts, repeatable=repeatable
    )


def push(
    result: Written, repo_id: str, *, base: str | None, private: bool | None, token: str | None, commit_message: str
) -> str:
    """Put model and card on the hub; see `Unlearned.push_to_hub`.

    Args:
        result: What was made.
        repo_id: `owner/name`.
        base: Hub id of the base.
        private: Whether new repositories are private.
        token: Of the hub.
        commit_message: Of the commits.

    Returns:
        The address of the commit.
    """
    _require_free(result.model, base)

    def upload(folder: Path, name: str) -> Any:
        return upload_folder(folder, name, private=private, token=token, commit_message=commit_message)

    with tempfile.TemporaryDirectory(prefix="unweave-") as temporary:
        folder, below = Path(temporary) / "adapter", Path(temporary) / BASE_FOLDER
        folder.mkdir()
        named, revision = base or result.model.base, result.model.revision if base is None else None
        if not is_whole(result.model) and (named in NOWHERE or Path(named).exists()):
            write_base(result.model, below)
            named = f"{repo_id}-base"
            revision = upload(below, named).oid
        _write_own(result.model, folder, base=named, revision=revision)
        title = repo_id.rpartition("/")[2]
        write_card(
            folder, title=title, description=ABOUT, base=named, facts=result.facts, repeatable=False, place=repo_id
        )
        return str(upload(folder, repo_id).commit_url)


def is_whole(model: Model) -> bool:
    """Whether a model is a whole one, and no adapter on a base.

    Args:
        model: The model.

    Returns:
        The answer.
    """
    return not hasattr(model.model, "get_base_model")


def write_base(model: Model, folder: Path) -> None:
    """Write the base of a model with an adapter.

    Args:
        model: The model.
        folder: Where to.
    """
    with quiet_transformers():
        if model.base == OWN_BASE:
            save_base(model, folder)
        else:
            # Adapters of every kind are taken off by PEFT itself.
            save_model(working_copy(model, whole=False).model.unload(), model.tokenizer, folder)


def _write_own(model: Model, folder: Path, *, base: str, revision: str | None) -> None:
    """The adapter, or the whole model."""
    with quiet_transformers():
        if is_whole(model):
            save_model(model.model, model.tokenizer, folder)
        else:
            save_adapter(model.model, model.tokenizer, folder, base=base, revision=revision)


def _require_free(model: Model, base: str | None) -> None:
    if base is not None and (model.base == OWN_BASE or is_whole(model)):
        raise ConfigError(
            "The weights below the adapter are the run's own: no other base fits.",
            where="`base`",
            remedy="leave it out: the base is written beside the adapter",
        )
