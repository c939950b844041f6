"""What a request ended with, as an object: its certificate, and what checking that found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.ledger.config import VerifyConfig
from unweave.ledger.publishing import push_certificate
from unweave.ledger.states import NOT_FORGOTTEN
from unweave.ledger.verify import verify_request


@dataclass(frozen=True)
class Verification:
    """What checking a certificate found.

    Attributes:
        ok: Whether everything holds.
        checks: Each check, with what is wrong, or `None`.
        partly: Checks that could be made only partly, since forgotten rows have left the data.
    """

    ok: bool
    checks: dict[str, str | None]
    partly: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class Certificate:
    """What a ledger certifies of a request, or reports of one whose criteria were not met.

    Attributes:
        ledger: The ledger's folder.
        request: The request's id.
        content: The certificate, as `certificate.json` has it.
        page: The same for people.
        key: The file of the ledger's key; `None` stands for the one beside the folder.
    """

    ledger: Path
    request: str
    content: Mapping[str, Any]
    page: Path
    key: Path | None = None

    @property
    def forgotten(self) -> bool:
        """Whether the criteria that were named beforehand are met."""
        return self.content["state"] != NOT_FORGOTTEN

    @property
    def kind(self) -> str:
        """What it is evidence of: *empirical*, *exact*, or a guarantee of differential privacy."""
        return str(self.content["class"])

    def verify(self, *, metrics: bool = True, public_key: str | Path | None = None) -> Verification:
        """Check the certificate against all that it speaks of: journal, files, data, what follows from them, and the metrics, measured anew.

        Args:
            metrics: Measure anew; else no model is run.
            public_key: The public half of the key that the certificate must be signed with; without it a signature is not checked.

        Returns:
            What was found.

        Raises:
            DataError: When the request was not carried out: there is nothing to verify.
        """
        public = None if public_key is None else Path(public_key)
        found = verify_request(
            VerifyConfig(request=self.request, ledger=self.ledger, key=self.key, metrics=metrics, public_key=public)
        )
        checks = {one["check"]: one["fault"] for one in found["checks"]}
        return Verification(found["ok"], checks, tuple(found["gone"]))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = True,
        token: str | None = None,
        commit_message: str = "A certificate, made with unweave",
    ) -> str:
        """Put the certificate on the Hugging Face hub, as a small data set: its file, its page, the signed statement where there is one, and a card.

        The files go up as they are, since a signature would not hold otherwise: they name the rows by id and keyed hash, the reason that was recorded, and
        the places of data, model and ledger on this machine. No text of a row is in them. The adapter is not among them.

        Args:
            repo_id: `owner/name` of the data set; it is made where it is not there.
            private: Whether a data set that is made is private; `None`: as the hub has it.
            token: Of the hub; by default the one that was logged in with.
            commit_message: Of the commit.

        Returns:
            The address of the commit.

        Raises:
            ModelError: When the hub refuses it; with what can be done about it.
        """
        return push_certificate(
            self.content, self.page, repo_id, private=private, token=token, commit_message=commit_message
        )
