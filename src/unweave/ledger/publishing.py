"""A request's evidence on the hub: its certificate, or the report of one whose criteria were not met, as a small data set with a card."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unweave.files import write_text
from unweave.ledger.statement import ENVELOPE as SIGNED
from unweave.ledger.states import NOT_FORGOTTEN
from unweave.markdown import code, front_matter, plain
from unweave.models.hub import upload_made

TAGS = ["machine-unlearning", "unweave"]
NOTICE = (
    "This card copies what the certificate says, and claims nothing beside it. Nothing was verified when it was written. These files alone don't show that "
    "they are true: `unweave request verify` checks them against the ledger that they come from, and a signature says whose key signed them."
)


def certificate_card(content: Mapping[str, Any], *, title: str, signed: bool) -> str:
    """The card of a certificate: its own words.

    Args:
        content: As `certificate.json` has it.
        title: The card's heading.
        signed: Whether a signed statement lies beside it.

    Returns:
        Markdown.
    """
    forgotten = content["state"] != NOT_FORGOTTEN
    kind = "certificate" if forgotten else "report"
    request, method = content["request"], content["method"]
    facts = {
        "request": f"{request['id']} ({request['kind']} of {len(request['rows'])} rows)",
        "state": content["state"],
        "class of the evidence": content["class"],
        "method": method["name"],
        "model after it": content["model"]["after"].get("fingerprint"),
        "signed": f"yes, `{SIGNED}`" if signed else "no",
    }
    lines = [
        front_matter({"pretty_name": title, "tags": TAGS}),
        f"# {plain(title)}",
        "",
        f"The {kind} of a request to forget rows.{'' if forgotten else ' Its criteria were not met: it certifies nothing.'} {NOTICE}",
        "",
        "| | |",
        "|---|---|",
        *[f"| {plain(name)} | {value if name == 'signed' else plain(value)} |" for name, value in facts.items()],
        "",
        plain(content["meaning"]),
        "",
        *_listed("What was found", content["findings"]),
        *_listed("What was not measured", content["not_measured"]),
        "## Files",
        "",
        f"- {code(f'{kind}.json')}: all of it: rows by id and keyed hash, measurements, method, drift, and the commands that verify and repeat it",
        f"- {code(f'{kind}.html')}: the same as a page",
        *([f"- {code(SIGNED)}: the signed statement (DSSE, in-toto)"] if signed else []),
        "",
    ]
    return "\n".join(lines)


def _listed(heading: str, sentences: Any) -> list[str]:
    return [f"## {heading}", "", *([f"- {plain(one)}" for one in sentences] or ["The certificate names nothing."]), ""]


def push_certificate(
    content: Mapping[str, Any],
    page: Path,
    repo_id: str,
    *,
    private: bool | None,
    token: str | None,
    commit_message: str,
) -> str:
    """Put a certificate on the hub; see `Certificate.push_to_hub`.

    Args:
        content: As its file has it.
        page: The page; the other files lie beside it.
        repo_id: `owner/name` of a data set.
        private: Whether a repository that is made is private.
        token: Of the hub.
        commit_message: Of the commit.

    Returns:
        The address of the commit.
    """
    files = [page.with_suffix(".json"), page]
    if page.stem == "certificate" and (statement := page.with_name(SIGNED)).is_file():
        files.append(statement)

    def make(folder: Path) -> None:
        for path in files:
            shutil.copyfile(path, folder / path.name)
        title = repo_id.rpartition("/")[2]
        write_text(folder / "README.md", certificate_card(content, title=title, signed=len(files) > 2))

    return upload_made(make, repo_id, kind="dataset", private=private, token=token, commit_message=commit_message)
