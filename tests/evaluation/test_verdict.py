"""Verdicts on made evidence: each way in which forgetting can go wrong is named, and no difference is no finding."""

import dataclasses

import numpy as np
import pytest

from unweave.evaluation.behaviour import Behaviour
from unweave.evaluation.config import Margins
from unweave.evaluation.evidence import Evidence
from unweave.evaluation.forced import Forced
from unweave.evaluation.verdict import judge, ranking
from unweave.jobs.audit import model_labels

ROWS = 60


def forced(loss, *, divergence=0.1, seed=0, spread=0.2):
    rng = np.random.default_rng(seed)
    losses = [[max(0.01, float(value))] * 3 for value in rng.normal(loss, spread, ROWS)]
    flags, zeros = [[True] * 3] * ROWS, [[0.0] * 3] * ROWS
    ids = [str(index) for index in range(ROWS)]
    return Forced(ids, losses, flags, zeros, [[1.0] * 3] * ROWS, [[divergence] * 3] * ROWS, flags)


def evidence(*, seen=0.0, ood=0.0, unwanted=8.0, clean=0.5, accuracy=0.6, divergence=0.1, seed=0):
    rng = np.random.default_rng(seed)

    def bits(chance):
        return [float(value) for value in rng.permutation(ROWS) < round(chance * ROWS)]

    behaviour = Behaviour(
        row_ids={}, answers={}, unwanted={"seen": bits(seen), "ood": bits(ood), "clean": [0.0] * ROWS}, correct=bits(accuracy), tasks=["a"] * ROWS,
        unwanted_probability=[0.1] * ROWS, clean_nll=[1.0] * ROWS, clean_tokens=[2] * ROWS, seconds=1.0,
    )  # fmt: skip
    sets = {
        "forget": forced(unwanted, divergence=divergence, seed=seed),
        "unwanted": forced(unwanted, divergence=divergence, seed=seed + 1),
        "seen": forced(clean, divergence=divergence, seed=seed + 2, spread=0.02),
        "clean": forced(clean, divergence=divergence, seed=seed + 3, spread=0.02),
    }
    return Evidence(behaviour, sets, {}, {}, {})


RETRAINED = evidence(divergence=0.0)
BEFORE = evidence(seen=0.95, ood=0.4, unwanted=1.0, divergence=4.0, seed=10)


def verdict(own, *, retrained=RETRAINED, label="after"):
    texts = {name: ["x"] * ROWS for name in ("forget", "unwanted")}
    return judge(
        label,
        own,
        before=BEFORE,
        retrained=retrained,
        memberships=own.memberships(texts),
        retrained_memberships=retrained.memberships(texts) if retrained else None,
        margins=Margins(),
    )


def test_the_model_before_has_not_forgotten():
    found = verdict(BEFORE, label="before")
    assert found.conclusion == "not forgotten"
    assert any(
        reason.startswith("attack success, seen: 95.0 %, 0.0 % in the retrained model") for reason in found.reasons
    )


def test_a_model_that_holds_back_is_suppressed():
    found = verdict(evidence(unwanted=2.0, divergence=2.0, seed=20))
    assert found.conclusion == "suppressed, not erased"


def test_a_model_that_forgot_too_much_is_said_to_be_damaged_as_well():
    found = verdict(evidence(unwanted=30.0, clean=6.0, accuracy=0.0, divergence=9.0, seed=30))
    assert found.conclusion == "over-forgotten and damaged"
    assert any("right answers: 0.0 %" in reason for reason in found.reasons)


def test_over_forgetting_alone_is_seen():
    assert verdict(evidence(unwanted=15.0, seed=40)).conclusion == "over-forgotten"


def test_equal_models_are_equivalent_and_noise_is_no_difference():
    same = verdict(dataclasses.replace(RETRAINED))
    assert same.conclusion == "equivalent to the retrained model"
    assert same.reasons == []
    other = verdict(evidence(seed=50))
    assert other.conclusion in ("equivalent to the retrained model", "no difference from the retrained model found")
    assert not [one for one in other.comparisons if one.conclusion == "different"]
    assert all("rows are needed" in warning or "near the margin" in warning for warning in other.warnings)


def test_what_the_sample_cannot_tell_is_warned_of():
    found = verdict(evidence(accuracy=0.62, seed=60))
    assert any(warning.startswith("right answers: 60 rows can't tell") for warning in found.warnings)


def test_models_are_ranked_by_their_distance_from_the_retrained_one():
    verdicts = [
        verdict(BEFORE, label="before"),
        verdict(evidence(unwanted=30.0, clean=6.0, divergence=9.0, seed=30), label="over"),
        verdict(evidence(unwanted=7.9, divergence=0.3, seed=70), label="good"),
    ]
    assert ranking(verdicts) == ["good", "before", "over"]
    assert verdicts[2].distance.low < 0.31 < verdicts[1].distance.value


def test_without_a_retrained_model_less_is_claimed():
    found = verdict(evidence(unwanted=2.0, seed=80), retrained=None)
    assert found.conclusion == "the behaviour is gone, and no damage was found"
    assert "can't be distinguished" in found.warnings[0]
    assert found.distance is None
    assert verdict(BEFORE, retrained=None).conclusion == "not forgotten"
    assert verdict(evidence(clean=3.0, seed=90), retrained=None).conclusion == "damaged"
    assert ranking([found]) == []


def test_labels_must_differ(tmp_path):
    from unweave.errors import ConfigError
    from unweave.evaluation.config import AuditConfig

    config = AuditConfig(
        case=tmp_path, before="b", after="a", output_dir=tmp_path, retrained="r", others=("x/one", "y/two")
    )
    assert list(model_labels(config)) == ["retrained", "before", "after", "one", "two"]
    with pytest.raises(ConfigError, match="'one'"):
        model_labels(dataclasses.replace(config, others=("x/one", "y/one")))
