"""A request as a file of data protection asks about it: questions of GDPR and the EU AI Act, each with the fields that answer it, or "not recorded".

The questions are this project's reading of what such a file usually holds, no legal advice. A value is copied from the certificate, from the report of a
request that was not carried out, or from the journal; nothing is concluded from it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unweave import markdown
from unweave.errors import ConfigError
from unweave.files import file_digest, read_record_if_any, write_json, write_text
from unweave.ledger.config import ExportConfig
from unweave.ledger.ledger import Ledger
from unweave.ledger.request import Request
from unweave.ledger.states import NOT_FORGOTTEN
from unweave.names import fault_of

FORMAT = 1
NOT_RECORDED = "not recorded"
NOTICE = (
    "This is no legal advice, and no statement that anything is lawful or complete. It copies what the ledger recorded; it claims nothing that was not "
    "measured. What is not recorded has to come from elsewhere. The file was not verified when it was written: `unweave request verify` does that."
)
LONGEST = 300
"""Characters of a value in Markdown; the JSON file has all of it."""


@dataclass(frozen=True)
class Question:
    """Something that such a file asks for.

    Attributes:
        text: The question.
        articles: Where it comes from.
        places: The fields that answer it, with dots: of the certificate, of `journal` or of `signature`. None where unweave does not know.
    """

    text: str
    articles: tuple[str, ...]
    places: tuple[str, ...] = ()


QUESTIONS = (
    Question("Which request is it, and of what kind?", ("GDPR 17(1)", "GDPR 5(2)"), ("request.id", "request.kind")),
    Question("Who asked, and was their identity checked?", ("GDPR 12(6)", "GDPR 17(1)")),
    Question("Why was it asked for, in the words of who recorded it?", ("GDPR 17(1)",), ("request.reason",)),
    Question("On which of the grounds of Article 17(1), and does an exception of 17(3) apply?", ("GDPR 17(1)", "GDPR 17(3)")),
    Question("When was it recorded, begun and done?", ("GDPR 12(3)", "GDPR 5(2)"), ("request.added", "journal.started", "journal.done")),
    Question("When did the person ask, and when were they answered?", ("GDPR 12(3)",)),
    Question(
        "Which rows of the training data, by name and keyed hash, and how were they found?",
        ("GDPR 17(1)", "GDPR 30(1)(c)", "AI Act 10(2)"),
        ("request.rows", "request.selection"),
    ),
    Question(
        "Which data was the model trained on: file, digest, number of rows?",
        ("AI Act 10(2)(b)", "AI Act 11 / Annex IV 2(d)", "AI Act 53(1)(a) / Annex XI"),
        ("data.file", "data.fingerprint", "data.rows", "data.read.digest"),
    ),
    Question("Where does the data come from, and for what purpose was it collected?", ("GDPR 30(1)(b)", "AI Act 10(2)(b)")),
    Question(
        "Which model held the rows, and which one is it now, by digest?",
        ("AI Act 11 / Annex IV 2", "AI Act 53(1)(a) / Annex XI"),
        ("model.base.model", "model.base.digest", "model.before.digest", "model.after.digest"),
    ),
    Question("What is known of the base model's own training on these rows?", ("AI Act 10(2)", "GDPR 17(1)"), ("model.base.training",)),
    Question(
        "What was done, by which method, with which options?",
        ("GDPR 17(1)", "AI Act 11 / Annex IV 2(a)"),
        ("method.name", "method.paper", "method.options"),
    ),
    Question(
        "What was named beforehand as forgotten, and was it reached?",
        ("GDPR 5(2)", "AI Act 11 / Annex IV 2(g)"),
        ("criteria.told", "criteria.outcomes", "state", "shown"),
    ),
    Question("What kind of evidence is it?", ("GDPR 5(2)",), ("class", "meaning")),
    Question(
        "What was measured before and after, on the rows and on others?",
        ("GDPR 5(2)", "AI Act 11 / Annex IV 2(g)"),
        ("measured.before.sets.forget.perplexity", "measured.after.sets.forget.perplexity", "measured.changes"),
    ),
    Question("What speaks against it?", ("GDPR 5(2)",), ("findings",)),
    Question("What was not measured?", ("GDPR 5(2)", "AI Act 11 / Annex IV 3"), ("not_measured",)),
    Question("Which copies of the rows stayed in the training data?", ("GDPR 17(1)", "AI Act 10(2)"), ("copies",)),
    Question("Which rows were cut or dropped when they were measured?", ("AI Act 10(2)",), ("lost",)),
    Question("From which gradient stores were the rows removed?", ("GDPR 17(1)",), ("store.store", "store.stores", "store.removed")),
    Question("What remains elsewhere, within what unweave knows of?", ("GDPR 17(1)", "GDPR 17(2)"), ("store.not_reached",)),
    Question("What remains in backups, snapshots, copies and models handed on?", ("GDPR 17(2)", "GDPR 19")),
    Question("Which recipients were informed?", ("GDPR 17(2)", "GDPR 19")),
    Question("How far has the model come from the one before all requests?", ("AI Act 11 / Annex IV 2(f)", "AI Act 12"), ("drift",)),
    Question(
        "What was done when, event by event?",
        ("GDPR 5(2)", "AI Act 12(1)", "AI Act 12(2)"),
        ("journal.events", "ledger.event"),
    ),
    Question("With which software and on which machine?", ("AI Act 11 / Annex IV 1", "AI Act 12"), ("environment",)),
    Question(
        "What protects the record from being changed?",
        ("GDPR 5(1)(f)", "GDPR 30(1)(g)", "AI Act 12"),
        ("journal.certificate_digest", "signature.key", "signature.head", "files"),
    ),
    Question("How can all of it be checked and repeated?", ("GDPR 5(2)", "AI Act 11"), ("commands.verify", "commands.replay")),
    Question("Who is the controller, the provider, the data protection officer?", ("GDPR 30(1)(a)", "AI Act 53(1)")),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A field and what it says.

    Attributes:
        field: Its place.
        value: What stands there; `not recorded` where nothing does.
    """

    field: str
    value: Any


def export_request(config: ExportConfig) -> dict[str, str]:
    """Write the table.

    Args:
        config: Of which request, and where.

    Returns:
        The request, its state, the file, and how many questions have no answer.

    Raises:
        ConfigError: When the file's name ends with neither `.json` nor `.md`.
    """
    if config.output.suffix not in (".json", ".md"):
        raise ConfigError(
            "The file is neither JSON nor Markdown.", where="`output`", remedy="let its name end with .json or .md"
        )
    ledger = Ledger(config.ledger)
    request = ledger.request(config.request)
    record, source = _record(ledger, request)
    answers = [(question, answers_to(question, record)) for question in QUESTIONS]
    if config.output.suffix == ".json":
        rows = [
            {"question": one.text, "articles": one.articles, "answers": [asdict(own) for own in found]}
            for one, found in answers
        ]
        own = {
            "unweave export": FORMAT,
            "notice": NOTICE,
            "request": request.id,
            "state": request.state,
            "source": source,
            "questions": rows,
        }
        write_json(config.output, own)
    else:
        write_text(config.output, as_markdown(request, source, answers))
    open_ones = sum(all(own.value == NOT_RECORDED for own in found) for _, found in answers)
    return {
        "request": request.id,
        "state": request.state,
        "file": str(config.output),
        "questions not recorded": str(open_ones),
    }


def _record(ledger: Ledger, request: Request) -> tuple[dict[str, Any], dict[str, str | None]]:
    """All that there is about a request: the certificate's fields (or the report's), the journal's and the signature's."""
    bound = request.bound
    name = "certificate" if bound.done else "report" if request.state == NOT_FORGOTTEN else None
    path = ledger.request_folder(request.id) / f"{name}.json" if name and fault_of(request.id) is None else None
    found = read_record_if_any(path, what=f"The {name}") if path is not None else None
    asked = {
        "id": request.id,
        "kind": request.kind,
        "reason": request.reason,
        "rows": request.rows,
        "selection": request.selection,
    }
    digest = file_digest(path) if path is not None and path.is_file() else None
    record: dict[str, Any] = {"request": asked | ({"added": bound.added.time} if bound.added else {})} | (found or {})
    record["journal"] = {
        "started": bound.started.time if bound.started else None,
        "done": bound.done.time if bound.done else None,
        "events": [
            {
                "number": one.number,
                "time": one.time,
                "event": " ".join([one.kind, *([one.content["step"]] if "step" in one.content else [])]),
            }
            for one in request.events
        ],
        "certificate_digest": digest,
    }
    record["signature"] = bound.signed.content if bound.signed else {}
    return record, {"document": path.name if path is not None and found is not None else None, "digest": digest}


def answers_to(question: Question, record: Mapping[str, Any]) -> list[Answer]:
    """What a record says to a question.

    Args:
        question: The question.
        record: The certificate's fields, and those of `journal` and `signature`.

    Returns:
        A field and a value each; one without a field where unweave records nothing of the kind.
    """
    if not question.places:
        return [Answer("", NOT_RECORDED)]
    return [Answer(place, _value(record, place)) for place in question.places]


def _value(record: Any, place: str) -> Any:
    for name in place.split("."):
        if not isinstance(record, Mapping) or name not in record:
            return NOT_RECORDED
        record = record[name]
    return NOT_RECORDED if record is None or record == "" else record


def as_markdown(
    request: Request, source: Mapping[str, str | None], answers: Sequence[tuple[Question, Sequence[Answer]]]
) -> str:
    """The table for people.

    Args:
        request: The request.
        source: The document that it is from, and its digest.
        answers: Each question with its answers.

    Returns:
        Markdown.
    """
    document = f"{source['document']} (BLAKE2b {source['digest']})" if source["document"] else "the journal alone"
    lines = [
        f"# Request {markdown.plain(request.id)}: {markdown.plain(request.state)}", "", NOTICE, "", f"From {markdown.plain(document)}.", "",
        "| asked | by | field | recorded |", "|---|---|---|---|",
    ]  # fmt: skip
    for question, found in answers:
        for number, own in enumerate(found):
            cells = [question.text, ", ".join(question.articles)] if not number else ["", ""]
            field = markdown.code(own.field, cell=True) if own.field else ""
            lines.append(f"| {cells[0]} | {cells[1]} | {field} | {markdown.plain(_shown(own.value))} |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters; the JSON file has all)"
