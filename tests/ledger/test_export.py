"""What a file of data protection asks for, answered by fields of the certificate, or not at all."""

import json
from pathlib import Path

import pytest

from tests.folders import write_rows
from tests.ledger.ledgers import RECORDS, World
from unweave.cli.main import main
from unweave.ledger.export import NOT_RECORDED, QUESTIONS

UNKNOWN = [question.text for question in QUESTIONS if not question.places]


@pytest.fixture(scope="module")
def world(trained, tmp_path_factory):
    world = World(trained, tmp_path_factory.mktemp("export"))
    write_rows(world.folder / "train.jsonl", RECORDS)
    world.add("r1", "r2", request_id="one", reason="a | b <script>", store=None)
    world.add("r7", request_id="open")
    world.run("one")
    return world


def export(world, name, file):
    assert main(["request", "export", name, "--ledger", str(world.ledger), "--output", str(world.folder / file)]) == 0
    return (world.folder / file).read_text()


def test_every_value_is_the_certificates_own(world):
    found = json.loads(export(world, "one", "one.json"))
    certificate = json.loads((world.result("one") / "certificate.json").read_text())
    assert "no legal advice" in found["notice"]
    answers = {own["field"]: own["value"] for one in found["questions"] for own in one["answers"]}
    for place, value in answers.items():
        first = place.split(".")[0]
        if not place or first in ("journal", "signature"):
            continue
        expected = certificate
        for part in place.split("."):
            expected = expected.get(part, NOT_RECORDED) if isinstance(expected, dict) else NOT_RECORDED
        assert value == (NOT_RECORDED if expected in (None, "") else expected), place
    for place in (
        "request.rows",
        "data.read.digest",
        "model.after.digest",
        "criteria.outcomes",
        "not_measured",
        "drift",
        "commands.verify",
        "class",
    ):
        assert answers[place] != NOT_RECORDED, place
    assert answers["signature.key"] == NOT_RECORDED
    assert [one["event"] for one in answers["journal.events"]][::100] == ["added"]


def test_what_unweave_does_not_know_is_not_recorded(world):
    found = json.loads(export(world, "one", "one.json"))
    own = {one["question"]: one["answers"] for one in found["questions"]}
    assert len(UNKNOWN) >= 5
    for text in UNKNOWN:
        assert own[text] == [{"field": "", "value": NOT_RECORDED}]


def test_of_a_request_that_was_not_run_only_the_asking_is_recorded(world):
    found = json.loads(export(world, "open", "open.json"))
    recorded = {own["field"] for one in found["questions"] for own in one["answers"] if own["value"] != NOT_RECORDED}
    assert recorded == {
        "request.id",
        "request.kind",
        "request.rows",
        "request.selection",
        "request.added",
        "journal.events",
    }
    assert found["source"] == {"document": None, "digest": None}


def test_markdown_has_a_line_an_answer_and_no_markup_of_the_rows(world):
    text = export(world, "one", "one.md")
    assert "no legal advice" in text
    assert "a \\| b \\<script\\>" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| asked")]
    assert len(rows) == sum(max(1, len(question.places)) for question in QUESTIONS)


def test_another_name_of_file_is_refused(world):
    assert (
        main(["request", "export", "one", "--ledger", str(world.ledger), "--output", str(world.folder / "one.pdf")])
        == 2
    )


def test_the_documentation_has_every_question():
    page = (Path(__file__).parents[2] / "docs" / "certificates.md").read_text(encoding="utf-8")
    for one in QUESTIONS:
        fields = ", ".join(f"`{place}`" for place in one.places) or "*not recorded*"
        assert f"| {one.text} | {', '.join(one.articles)} | {fields} |" in page
