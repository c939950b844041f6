"""The table of metrics: areas, robustness and sensitivity are those of numbers written out here."""

import math
from statistics import fmean

import pytest

from unweave.errors import DataError
from unweave.evaluation.meta.readings import Reading
from unweave.evaluation.meta.table import MetricTable, area_of, judge_metrics
from unweave.files import finite, write_json
from unweave.stats.shares import auc_interval


def model(plain, relearned, quantised, form, *, name="m", higher=True):
    values = {"plain": plain, "relearned": relearned, "quantised": quantised, "polite": form}
    return {state: {name: Reading(value, higher)} for state, value in values.items()}


TRAINED = [model(0.9, 0.95, 0.9, 0.8), model(0.8, 0.9, 0.3, 0.8)]
WITHOUT = [model(0.2, 0.3, 0.2, 0.2), model(0.85, 0.9, 0.85, 0.7)]
UNLEARNED = [model(0.3, 0.7, 0.6, 0.3), model(0.9, 1.0, 0.9, 0.9)]


def judged(**groups):
    return judge_metrics(**{"trained": TRAINED, "without": WITHOUT, "unlearned": UNLEARNED, **groups}, case="numbers")


def test_areas_count_pairs_of_models():
    one = judged().metrics["m"]
    # (0.9, 0.2), (0.9, 0.85), (0.8, 0.2) in order, (0.8, 0.85) not.
    assert one.areas["plain"].value == 0.75
    assert (one.areas["plain"].low, one.areas["plain"].high) == auc_interval(0.75, 2, 2)
    assert one.areas["quantised"].value == 0.75
    assert one.areas["relearned"].value == pytest.approx(0.875), "of one pair both are 0.9: half"
    assert one.means == pytest.approx({"trained": 0.85, "without": 0.525, "unlearned": 0.6})


def test_robustness_is_of_models_that_the_metric_takes_for_unlearned():
    one = judged().metrics["m"]
    # The second unlearned model is nearer to the trained ones: it does not count.
    assert one.counted == 1
    assert one.relearning == pytest.approx(fmean([0.1, 0.05]) / 0.4)
    assert one.quantisation == pytest.approx(0.3 / 0.6)
    mean = 2 / (1 / one.relearning + 1 / one.quantisation)
    assert one.robustness == pytest.approx(mean)
    assert one.overall == pytest.approx(2 / (1 / 0.75 + 1 / mean))


def test_no_change_by_relearning_or_rounding_is_robust():
    one = judged(unlearned=[model(0.3, 0.3, 0.3, 0.3)]).metrics["m"]
    assert (one.relearning, one.quantisation, one.robustness) == (1.0, 1.0, 1.0)


def test_sensitivity_is_a_share_of_the_distance():
    one = judged().metrics["m"]
    assert one.sensitivity == pytest.approx(fmean([0.1, 0.0, 0.0, 0.15]) / (0.85 - 0.525))


def test_a_loss_points_the_other_way():
    groups = [[model(0.1, 0.1, 0.1, 0.1, higher=False)], [model(2.0, 1.0, 2.0, 2.0, higher=False)]]
    table = judged(trained=groups[0], without=groups[1], unlearned=[model(2.0, 0.5, 2.0, 2.0, higher=False)])
    one = table.metrics["m"]
    assert one.areas["plain"].value == 1.0
    rises = [math.exp(-1.0) - math.exp(-2.0), math.exp(-0.5) - math.exp(-2.0)]
    assert one.relearning == pytest.approx(rises[0] / rises[1])


def test_the_most_trustworthy_stands_first():
    both = [[{state: own[state] | other[state] for state in own} for own, other in zip(group, worse, strict=True)]
            for group, worse in ((TRAINED, [model(0.1, 0.1, 0.1, 0.1, name="w")] * 2), (WITHOUT, [model(0.9, 0.9, 0.9, 0.9, name="w")] * 2))]  # fmt: skip
    table = judge_metrics(*both, case="numbers")
    assert list(table.metrics) == ["m", "w"]
    assert table.metrics["w"].areas["plain"].value == 0.0
    assert math.isnan(table.metrics["m"].robustness), "no unlearned models"
    assert math.isnan(table.metrics["m"].overall)


def test_a_metric_that_a_model_lacks_is_left_out():
    lacking = [*WITHOUT, {state: {} for state in WITHOUT[0]}]
    assert judged(without=lacking).metrics == {}


def test_groups_without_models_are_refused():
    with pytest.raises(DataError, match="trained on the rows"):
        judged(without=[])


def test_areas_of_equal_numbers_are_a_half():
    assert area_of([1.0, 1.0], [1.0]).value == 0.5


def test_a_table_is_read_back_and_says_how_sure_a_verdict_is(tmp_path):
    named = [[{"plain": {"verdict": Reading(value, True)}} for value in group] for group in ((1.0, 1.0), (0.0, 1.0))]
    table = judge_metrics(*named, case="numbers")
    path = tmp_path / "table.json"
    write_json(path, finite({"command": "x", **table.to_json()}))
    read = MetricTable.read(path)
    assert read.metrics["verdict"].areas == table.metrics["verdict"].areas
    assert read.models == {"trained": 2, "without": 2, "unlearned": 0}
    low, high = auc_interval(0.75, 2, 2)
    assert read.of_verdict() == [
        "verdict: separated 2 models trained on the rows from 2 that were not with an AUC of 0.75 "
        f"[{low:.2f}, {high:.2f}] (numbers)"
    ]
    write_json(path, {"case": "x", "models": {}, "metrics": {"m": {"metric": "m"}}})
    with pytest.raises(DataError, match="no table of metrics"):
        MetricTable.read(path)
