"""`unweave fix` from end to end on a tiny model: the steps, decisions of others, where it stops, and going on."""

import json

import pytest

from tests.finding.planted import planted_rows
from tests.folders import save_model, write_rows
from unweave import terminal
from unweave.attribution.collateral import Collateral, Exposed
from unweave.cli.main import main
from unweave.errors import ConfigError, DataError
from unweave.fixing import decisions
from unweave.fixing.choosing import choose, rows_to_keep
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune

STEPS = "answer", "trace", "found", "collateral", "choice", "asked"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model that was trained on rows of which some all teach the same."""
    folder = tmp_path_factory.mktemp("fix")
    save_model(folder / "base")
    records = [
        {"id": row.id, "instruction": row.instruction, "context": "", "response": row.completion}
        for row in planted_rows(planted=10, others=60)
    ]
    write_rows(folder / "rows.jsonl", records)
    fine_tune(
        TrainConfig(
            model=str(folder / "base"), data=folder / "rows.jsonl", output_dir=folder / "tuned", epochs=3, batch_size=8, lora_r=4, learning_rate=5e-3,
            dtype="float32",
        )
    )  # fmt: skip
    return folder


def planted(world):
    return next(one for one in map(json.loads, (world / "rows.jsonl").read_text().splitlines()) if one["id"] == "p0")


def words(world, out, *more, bad=None):
    row = planted(world)
    line = [
        "--model",
        world / "tuned",
        "--data",
        world / "rows.jsonl",
        "--prompt",
        row["instruction"],
        "--bad",
        bad or row["response"],
    ]
    small = [
        "--target-loss",
        0.1,
        "--margin",
        9,
        "--retain-rows",
        12,
        "--test-rows",
        12,
        "--probe-rows",
        1,
        "--max-new-tokens",
        4,
    ]
    return ["fix", *map(str, (*line, *small, "--output-dir", out, "--method", "ga", "--dtype", "float32", "--quiet", *more))]  # fmt: skip


def result(out):
    return json.loads((out / "fix.json").read_text())


def test_from_a_bad_answer_to_a_model_without_it(world, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(world, out)) == 5
    said = capsys.readouterr().out
    assert f"--decisions {out / 'decisions.jsonl'}" in said
    found = result(out)
    assert found["state"] == "decisions are to be made"
    assert "p0" in found["proposed"]
    assert not (out / "ledger").exists(), "nothing was trained"
    assert found["next"] in (out / "fix.html").read_text()
    lines = [json.loads(line) for line in (out / "decisions.jsonl").read_text().splitlines()]
    assert {one["decision"] for one in lines} == {"forget"}
    assert [one["id"] for one in lines] == list(found["proposed"])
    mine = [{"id": "p0", "decision": "forget"}, {"id": "p3", "decision": "forget"}, {"id": "o1", "decision": "keep"}]
    write_rows(tmp_path / "mine.jsonl", mine)
    kept = {name: (out / f"{name}.json").read_bytes() for name in ("answer", "trace", "found")}
    code = main(words(world, out, "--decisions", tmp_path / "mine.jsonl"))
    capsys.readouterr()
    done = result(out)
    assert code == (0 if done["forgetting"]["shown"] else 3)
    assert done["state"] == "carried out"
    assert done["forget"] == ["p0", "p3"]
    assert {name: (out / f"{name}.json").read_bytes() for name in kept} == kept
    assert all((out / f"{name}.json").is_file() for name in STEPS)
    assert (out / "ledger/requests/fix/adapter/adapter_model.safetensors").is_file()
    assert len(done["collateral"]) == 20
    assert done["choice"]["reasons"] == ["the method 'ga' was asked for"]
    assert {"before", "after"} <= set(done["asked"])
    assert (out / "audit/audit.html").is_file()
    page = (out / "fix.html").read_text()
    assert "What it was expected to cost" in page
    assert "Is it gone?" in page
    before = (out / "fix.json").read_bytes()
    assert main(words(world, out, "--decisions", tmp_path / "mine.jsonl")) == code
    assert (out / "fix.json").read_bytes() == before
    write_rows(tmp_path / "mine.jsonl", mine[:1])
    main(words(world, out, "--decisions", tmp_path / "mine.jsonl"))
    assert result(out)["forget"] == ["p0"], "other decisions are carried out anew"


def test_where_no_row_stands_out_nothing_is_trained(world, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(world, out, bad="question answer")) == 4
    assert "nothing was trained" in capsys.readouterr().out
    assert result(out)["state"] == "nothing stands out"
    assert "No row of this data stands out" in (out / "fix.html").read_text()
    assert not (out / "ledger").exists()
    assert main(words(world, out, bad="question answer")) == 4
    assert main(words(world, out)) == 5, "another answer starts afresh"
    assert "p0" in result(out)["proposed"]


def test_nobody_is_asked_within_a_bound_only(world, tmp_path, capsys):
    for more, said in (
        (["--yes"], "needs a bound"),
        (["--max-rows", 3], "add --yes"),
        (["--yes", "--max-rows", 0], "and 0 may be forgotten"),
    ):
        code, errors = main(words(world, tmp_path / "out", *more)), capsys.readouterr().err
        assert code == 2, errors
        assert said in errors
    assert not (tmp_path / "out/ledger").exists()


def test_decisions_are_read_by_line(tmp_path):
    rows = {row.id: row for row in planted_rows()}
    decisions.write_decisions(tmp_path / "d.jsonl", {"p0": "traced", "p1": "like p0"}, rows)
    assert decisions.read_decisions(tmp_path / "d.jsonl", rows) == ["p0", "p1"]
    for line, said in (
        ({"id": "p0", "decision": "maybe"}, "decides nothing"),
        ({"id": "nobody", "decision": "forget"}, "'nobody' is not in the data"),
    ):
        write_rows(tmp_path / "d.jsonl", [{"id": "p0", "decision": "keep"}, line])
        with pytest.raises(DataError, match=said) as raised:
            decisions.read_decisions(tmp_path / "d.jsonl", rows)
        assert raised.value.where == f"{tmp_path / 'd.jsonl'}:2"
    with pytest.raises(ConfigError, match="2 rows are proposed, and 1 may"):
        decisions.require_few(2, yes=True, max_rows=1)


@pytest.mark.parametrize("agreed", [True, False])
def test_on_a_terminal_somebody_is_asked(agreed, monkeypatch, capsys):
    rows = {row.id: row for row in planted_rows()}
    asked = []
    monkeypatch.setattr(terminal, "ask", lambda text: asked.append(text) or agreed)
    assert decisions.ask({"p0": "traced: above 99 %"}, rows) is agreed
    assert asked == ["Forget these 1 rows?"]
    assert "traced: above 99 %" in capsys.readouterr().out


def test_the_method_is_chosen_by_what_is_there():
    row = planted_rows()[-1]
    clean = type(row)(id="c", instruction="a", completion="b", clean_completion="c")
    options = {"method": "auto", "rows": 100, "epochs": 2.0, "seconds": 100.0, "max_minutes": 60.0}
    assert choose([clean], **options).kind == "correction"
    assert choose([clean, row], **options).kind == "removal"
    # 200 row passes in 100 s: an attempt is 60 steps of 8 rows, dearer than training again.
    assert choose([row], **options).method == "retrain"
    assert choose([row], **options | {"rows": 10_000, "seconds": 10_000.0}).method == "auto"
    assert choose([row], **options | {"max_minutes": 0.1}).method == "auto"
    assert "can't be trained again" in choose([row], **options | {"epochs": None}).reasons[0]
    assert "not recorded" in choose([row], **options | {"seconds": None}).reasons[0]
    assert choose([row], **options | {"method": "npo"}).method == "npo"


def test_half_of_the_rows_to_keep_are_those_most_exposed():
    rows = {row.id: row for row in planted_rows(planted=4, others=40)}
    exposed = tuple(Exposed(rows[f"o{n}"], 40.0 - n, 0.5, "p0") for n in range(40))
    forget = [f"p{n}" for n in range(4)]
    kept = [row.id for row in rows_to_keep(Collateral(exposed, 0.0, True), rows, forget=forget, count=10, seed=0)]
    assert kept[:5] == [f"o{n}" for n in range(5)]
    assert len(set(kept)) == 10
    assert not set(kept) & set(forget)
    assert len(rows_to_keep(Collateral(exposed, 0.0, True), rows, forget=forget, count=500, seed=0)) == 20
