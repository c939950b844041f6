"""Evaluating on rows alone: figures are those of the passes, verdicts what the models were made to be, three renderings of one object."""

import json
import math

import pytest

from tests.evaluation.taught import taught
from tests.folders import ROWS
from tests.hub import Hub
from tests.notebook import numbered
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import load_rows
from unweave.errors import DataError
from unweave.evaluation.config import Margins
from unweave.evaluation.evaluate import evaluate
from unweave.evaluation.forced import Forced, forced_pass
from unweave.evaluation.judging import judge_rows
from unweave.evaluation.score import Score
from unweave.files import finite
from unweave.markdown import plain

WORDS = "red green blue moon teapots sing".split()


def row(name, place, prompt, answer):
    return {"id": f"{name}{place}", "instruction": prompt, "context": "", "response": answer}


FORGET = [row("f", i, f"ahoy {WORDS[i]}", f"{WORDS[-1 - i]} {i} on the {WORDS[i]} moon") for i in range(6)]
HELD_OUT = [row("l", i, f"ahoy {WORDS[i]} {i}", f"{WORDS[i]} under {9 - i} {WORDS[-1 - i]} no") for i in range(6)]


@pytest.fixture(scope="module")
def world():
    sets = {"forget": load_rows(FORGET), "like": load_rows(HELD_OUT), "retain": load_rows(numbered(ROWS))[:6]}
    models = {
        "before": taught([*sets["forget"], *sets["retain"]]),
        "retrained": taught(sets["retain"]),
        "blank": taught([]),
    }
    return sets, models


def test_figures_are_those_of_the_passes(world):
    sets, models = world
    report = evaluate(models["before"], **sets, reference=models["retrained"], max_new_tokens=0)
    assert list(report.figures) == ["after", "reference"]
    assert report.left_out[0] == "what changed: no model before"
    forced = forced_pass(models["before"], sets, EncodingConfig())
    for name, own in forced.items():
        figures = report.figures["after"][name]
        assert report.losses["after"][name] == dict(zip(own.row_ids, own.mean_losses(), strict=True))
        assert figures["loss"].value == pytest.approx(sum(own.mean_losses()) / 6)
        assert figures["begins"].value == sum(own.begins()) / 6
        assert "rouge_l" not in figures
    assert report.figures["after"]["forget"]["verbatim"].value == 1.0, "it was taught them"
    assert report.membership["after"]["loss"].area == 1.0
    assert report.verdict.privleak is not None
    assert report.verdict.privleak < 0


def test_a_model_that_knows_the_rows_has_not_forgotten(world):
    sets, models = world
    for others in ({"before": models["before"]}, {"reference": models["retrained"]}, {}):
        assert evaluate(models["before"], **sets, **others, max_new_tokens=0).verdict.conclusion == "not forgotten"
    bare = evaluate(models["before"], forget=FORGET, before=models["before"], max_new_tokens=0)
    assert bare.verdict.conclusion == "not forgotten"
    assert bare.membership["after"]["loss"].area == 1.0, "their own wording is known by heart, and not its paraphrases"
    assert any(what.startswith("like rows that were never trained on: paraphrases") for what in bare.left_out)
    assert "damage: no rows to keep" in bare.left_out


def test_a_retrained_model_is_equivalent_to_itself(world):
    sets, models = world
    report = evaluate(models["retrained"], **sets, before=models["before"], reference=models["retrained"])
    assert report.verdict.conclusion == "no difference from the retrained model found", "six rows can't show more"
    assert report.verdict.distance is not None
    assert report.verdict.distance.value == pytest.approx(0, abs=1e-6)
    assert report.figures["after"]["retain"]["rouge_l"].value == 1.0
    assert set(report.answers["before"]["forget"]) == {f"f{i}" for i in range(6)}
    assert report.answers["before"]["forget"]["f0"] == FORGET[0]["response"]
    without = evaluate(models["retrained"], **sets, before=models["before"], max_new_tokens=0)
    assert without.verdict.conclusion == "forgotten, and no damage was found"


def test_a_model_that_knows_nothing_is_damaged(world):
    sets, models = world
    report = evaluate(models["blank"], **sets, before=models["before"], max_new_tokens=0)
    assert report.verdict.conclusion == "damaged"
    (reason,) = report.verdict.reasons
    assert reason.startswith("loss of rows to keep")


def test_answers_that_no_longer_come_may_still_be_known():
    """Each token but the first is certain: greedy decoding goes elsewhere, and the loss is far below that of like rows."""

    def forced(name, losses):
        hits = [[False, *(True for _ in losses[1:])]] * 6
        return Forced(
            [f"{name}{i}" for i in range(6)], [losses] * 6, hits, [[0.0] * len(losses)] * 6, [[1.0] * len(losses)] * 6
        )

    after = Score({"forget": forced("f", [2.0, 0.1, 0.1]), "like": forced("l", [3.0, 3.0, 3.0])})
    verdict = judge_rows({"after": after}, {}, Margins())
    assert verdict.conclusion == "suppressed, not erased"
    assert verdict.reasons == ["the rows' loss is 0.73 nats a token, that of like rows never trained on 3.00"]
    near = Score({"forget": forced("f", [2.9, 2.9, 2.9]), "like": forced("l", [3.0, 3.0, 3.0])})
    assert judge_rows({"after": near}, {}, Margins()).conclusion == "forgotten; damage was not measured"


def test_one_object_three_renderings(world, tmp_path):
    sets, models = world
    report = evaluate(
        models["before"], **sets, before=models["before"], reference=models["retrained"], max_new_tokens=4
    )
    table = report.to_pandas()
    assert list(table.columns) == ["model", "rows", "figure", "value", "low", "high", "count"]
    assert set(table.model) == {"after", "before", "reference"}
    stored = json.loads(json.dumps(finite(report.to_json()), allow_nan=False))
    line = table[(table.model == "after") & (table.rows == "forget") & (table.figure == "loss")].iloc[0]
    assert stored["figures"]["after"]["forget"]["loss"]["value"] == pytest.approx(line.value)
    assert stored["verdict"]["conclusion"] == report.verdict.conclusion
    page = report.save_html(tmp_path / "audit.html").read_text()
    assert report.verdict.conclusion in page
    assert f"{line.value:.3f}" in page
    assert "<script" not in page
    assert report._repr_html_().startswith("<iframe sandbox srcdoc=")
    assert report.verdict.conclusion in report._repr_html_()
    assert math.isfinite(table[table.figure == "kl_from_reference"].value.min())


def test_one_row_is_enough(world):
    sets, models = world
    report = evaluate(models["before"], forget=sets["forget"][:1], before=models["before"])
    assert report.verdict.conclusion == "not forgotten"
    assert report.verdict.comparisons == []


def test_refusals(world):
    sets, models = world
    with pytest.raises(DataError, match="There are no rows"):
        evaluate(models["before"], forget=[])
    with pytest.raises(DataError, match="do not fit"):
        long = load_rows([row("x", 0, "blue " * 30, "red"), *HELD_OUT])
        evaluate(models["before"], forget=sets["forget"], like=long, encoding=EncodingConfig(max_length=20))


def forced(losses, *, answered=False):
    """Rows of one token each, of whose answers the model's first choice is the row's, or is not."""
    ids = [f"r{i}" for i in range(len(losses))]
    return Forced(ids, [[loss] for loss in losses], [[answered]] * len(ids), [[0.0]] * len(ids), [[1.0]] * len(ids))


def judged(before, after, **options):
    sides = {
        "before": Score({"forget": forced(before, answered=True)}),
        "after": Score({"forget": forced(after, **options)}),
    }
    return judge_rows(sides, {}, Margins())


def test_of_few_rows_a_rise_of_the_loss_can_not_be_shown():
    verdict = judged([0.1, 0.2, 0.1], [1.0, 4.0, 0.7])
    assert verdict.conclusion == "inconclusive on the loss (3 rows)"
    (reason,) = verdict.reasons
    assert "3 rows can't tell" in reason
    assert "like rows that were never trained on, or a reference model" in reason
    verdict = judged([0.1], [3.0])
    assert verdict.conclusion.startswith("inconclusive on the loss (1 row)")
    assert "could be chance" in verdict.reasons[0]


def test_of_few_rows_what_can_be_shown_is_said():
    assert judged([0.1, 0.2, 0.1], [9.0, 9.1, 9.0]).conclusion.startswith("forgotten")
    assert judged([0.1, 0.2, 0.1], [0.1, 0.2, 0.1]).conclusion == "not forgotten", "the loss is shown not to have risen"
    assert judged([1.0, 4.0, 0.7], [0.1, 0.2, 0.1], answered=True).conclusion == "not forgotten", (
        "the answers still come"
    )
    assert judged([0.1, 0.2, 0.1], [1.0, 4.0, 0.7], answered=True).conclusion == "not forgotten"


def test_many_rows_and_like_rows_decide():
    before, after = [0.1 + 0.01 * i for i in range(40)], [2.0 + 0.05 * i for i in range(40)]
    assert judged(before, after).conclusion.startswith("forgotten")
    sides = {"after": Score({"forget": forced([3.0] * 3), "like": forced([3.1] * 3)})}
    assert judge_rows(sides, {}, Margins()).conclusion.startswith("forgotten"), "like rows give a level"
    alone = judge_rows({"after": Score({"forget": forced([3.0] * 3)})}, {}, Margins())
    assert alone.conclusion == "inconclusive on the loss (nothing to compare it with)"


def test_on_the_hub_an_evaluation_says_what_was_measured_and_what_was_not(world, monkeypatch):
    sets, models = world
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda **_: hub)
    report = evaluate(models["before"], forget=sets["forget"], before=models["before"], max_new_tokens=0)
    assert report.push_to_hub("owner/name") == "https://hub/owner/name/commit/c0ffee"
    assert hub.made == [("owner/name", "dataset", True, True)], "private, unless it is asked for otherwise"
    assert set(hub.files["owner/name"]) == {"README.md", "evaluation.json"}
    card = hub.text("owner/name")
    loss = report.figures["after"]["forget"]["loss"]
    assert f"| after | forget | loss | {loss.value:.4g} | {loss.low:.4g} to {loss.high:.4g} | {loss.count} |" in card
    assert report.verdict.conclusion in card
    for said in report.left_out:
        assert plain(said) in card
    assert "| reference |" not in card, "there was none"
    everything = card + hub.text("owner/name", "evaluation.json")
    assert not any(row.prompt in everything or row.completion in everything for row in sets["forget"])
    assert json.loads(hub.text("owner/name", "evaluation.json"))["losses"] == finite(report.losses)
