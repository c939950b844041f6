"""Putting folders on the hub, what its refusals mean, and what can be done about them."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from unweave.errors import ModelError


def gated_remedy(error: BaseException, name: str) -> str | None:
    """What to do about a model that the hub gives only to those whom its owners let in.

    Args:
        error: Of the hub, or of transformers because of it.
        name: The model's id.

    Returns:
        The remedy; `None` where it is about something else.
    """
    from huggingface_hub.errors import GatedRepoError

    own: BaseException | None = error
    while own is not None:
        if isinstance(own, GatedRepoError) or "gated repo" in str(own):
            return (
                f"ask for access on https://huggingface.co/{name}, then log in here with `hf auth login` as who was let in, or put a token into the "
                "environment variable HF_TOKEN"
            )
        own = own.__cause__ or own.__context__
    return None


@contextlib.contextmanager
def writing_to(name: str) -> Iterator[None]:
    """Say what a refusal means while something is put on the hub.

    Args:
        name: The repository, `owner/name`.

    Yields:
        Nothing.

    Raises:
        ModelError: When the hub refuses, or is not there.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise ModelError("The hub has no repository of such a name.", where=name, remedy="give owner/name") from error
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise ModelError(
                f"The hub does not let this token write here (status {status}).",
                where=name,
                remedy="log in with `hf auth login` and a token that may write, and check the owner's name",
            ) from error
        raise ModelError(
            f"The hub refuses it (status {status}).", where=name, remedy="try again later, or see status.huggingface.co"
        ) from error


def upload_folder(
    folder: Path,
    name: str,
    *,
    kind: Literal["model", "dataset"] = "model",
    private: bool | None,
    token: str | None,
    commit_message: str,
) -> Any:
    """Put a folder on the hub, in a repository that is made where it is not there.

    Args:
        folder: The folder; all of it goes up.
        name: The repository, `owner/name`.
        kind: Of the repository.
        private: Whether a repository that is made is private; `None`: as the hub has it.
        token: Of the hub; by default the one that was logged in with.
        commit_message: Of the commit.

    Returns:
        What the hub says of the commit: `oid`, `commit_url`.

    Raises:
        ModelError: When the hub refuses it; with what can be done about it.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with writing_to(name):
        api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        return api.upload_folder(repo_id=name, repo_type=kind, folder_path=folder, commit_message=commit_message)


def upload_made(
    make: Callable[[Path], None],
    name: str,
    *,
    kind: Literal["model", "dataset"] = "model",
    private: bool | None,
    token: str | None,
    commit_message: str,
) -> str:
    """Put what is written for the occasion on the hub.

    Args:
        make: Writes it into an empty folder, which is gone afterwards.
        name: The repository, `owner/name`.
        kind: Of the repository.
        private: Whether a repository that is made is private; `None`: as the hub has it.
        token: Of the hub; by default the one that was logged in with.
        commit_message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        ModelError: When the hub refuses it; with what can be done about it.
    """
    with tempfile.TemporaryDirectory(prefix="unweave-") as temporary:
        folder = Path(temporary)
        make(folder)
        pushed = upload_folder(folder, name, kind=kind, private=private, token=token, commit_message=commit_message)
    return str(pushed.commit_url)
