"""Whether measurements show forgetting: beyond the margin, beyond chance, no longer word for word, no longer told from like rows."""

import pytest

from unweave.ledger.measure import changes
from unweave.ledger.shown import judge, named

OTHERS = {f"o{i}": 2.0 + 0.1 * (i % 5) for i in range(30)}


def measured(forget, others, *, verbatim=(), membership=None, lost=()):
    sets = {
        "forget": {"losses": forget, "rows": len(forget), "verbatim": list(verbatim)},
        "test": {"losses": others, "rows": len(others)},
    }
    return {"sets": sets, "lost": list(lost), **({"membership": membership} if membership else {})}


def shift(losses, by, *, noise=0.0):
    return {
        row_id: value + by + noise * (1 if index % 2 else -1) for index, (row_id, value) in enumerate(losses.items())
    }


def doubts(before, after, copies=(), margin=0.05):
    return judge(before, after, changes(before, after, margin=margin), copies=copies, margin=margin)


@pytest.mark.parametrize(
    ("rows", "rise", "drift", "noise", "shown"),
    [
        (1, 1.5, 0.0, 0.05, True),
        (2, 1.5, 0.0, 0.05, True),
        (12, 1.5, 0.0, 0.05, True),
        (1, 0.02, 0.0, 0.0, False),
        (1, -1.5, 0.0, 0.05, False),
        (1, 0.1, 0.0, 0.5, False),
        (1, 1.5, 1.5, 0.2, False),
        (1, 3.0, 1.5, 0.2, True),
        (12, 1.5, 1.5, 0.2, True),
    ],
)
def test_a_rise_is_shown_beyond_margin_and_chance(rows, rise, drift, noise, shown):
    forget = {f"f{i}": 1.0 + 0.1 * i for i in range(rows)}
    before, after = (
        measured(forget, OTHERS),
        measured(shift(forget, rise, noise=0.01), shift(OTHERS, drift, noise=noise)),
    )
    assert (not doubts(before, after).doubts) == shown


def test_an_answer_that_still_comes_out_word_for_word_is_named():
    forget = {"f0": 0.01, "f1": 0.02}
    after = measured(shift(forget, 1.0), OTHERS, verbatim=["f1"])
    (doubt,) = doubts(measured(forget, OTHERS), after).doubts
    assert "'f1'" in doubt
    assert "first choice" in doubt


@pytest.mark.parametrize(("low", "shown"), [(0.4, True), (0.55, False)])
def test_rows_that_are_still_told_from_like_rows_are_not_forgotten(low, shown):
    forget = {"f0": 0.1, "f1": 0.2}
    attack = {"loss": {"auc": low + 0.1, "interval": [low, low + 0.2], "members": 2, "others": 9}}
    found = doubts(measured(forget, OTHERS), measured(shift(forget, 1.0), OTHERS, membership=attack))
    assert (not found.doubts) == shown


def test_lost_rows_and_copies_are_findings():
    forget = {"f0": 0.1, "f1": 0.2}
    lost = [{"set": "forget", "row": "f0", "place": "d.jsonl:1", "reason": "9 tokens, 8 allowed", "action": "cut"}]
    copies = [{"row_id": "c", "of": "f1", "place": "d.jsonl:7", "similarity": 1.0, "exact": True}]
    found = doubts(measured(forget, OTHERS, lost=lost), measured(shift(forget, 1.0), OTHERS), copies)
    assert found.doubts == []
    assert any("'f0'" in one and "d.jsonl:1" in one and "9 tokens" in one for one in found.findings)
    assert any("'c' (d.jsonl:7) is a copy of 'f1'" in one for one in found.findings)


def test_long_lists_are_cut():
    assert named([str(i) for i in range(50)]).endswith("and 30 more")
