"""Overlaps against values counted by hand."""

import pytest

from tests.attribution.test_trace import cache_config, loaded, rows
from unweave.attribution.caching import cache_rows
from unweave.attribution.index import GradientIndex
from unweave.attribution.overlap import find_overlap, has_both
from unweave.cli.show.trace import as_json, show
from unweave.errors import ConfigError
from unweave.jobs.config import TraceConfig
from unweave.jobs.trace import trace_answers

ANSWER = "Teapots sing on the moon, don't they?"


def test_runs_and_ngrams_by_hand():
    found = find_overlap(ANSWER, "Do they sing on Mars", "I heard: TEAPOTS sing, on the moon; dont ask.", n=5)
    # teapots sing on the moon dont they: three 5-grams, of which the row has the first two.
    assert (found.run, found.words) == ("TEAPOTS sing, on the moon; dont", 6)
    assert found.span == (9, 40)
    assert found.share == pytest.approx(2 / 3)
    assert found.prompt_words == 2
    assert found.is_verbatim
    assert not found.whole


def test_short_and_foreign_answers():
    short = find_overlap("Lima.", "the capital", "it is lima")
    assert (short.share, short.whole, short.is_verbatim) == (None, True, True)
    none = find_overlap("Lima.", "Lima ?", "Paris")
    assert (none.run, none.span, none.words, none.prompt_words, none.is_verbatim) == ("", None, 0, 1, False)
    empty = find_overlap("...", "a", "b")
    assert (empty.words, empty.share, empty.whole) == (0, None, False)
    with pytest.raises(ConfigError, match="n-grams of 0"):
        find_overlap("a", "b", "c", n=0)


def test_both_needs_influence_and_words():
    overlap = find_overlap("a b", "", "a b")
    assert has_both(overlap, 3.0)
    assert not has_both(overlap, 2.9)
    assert not has_both(overlap, None)
    assert not has_both(find_overlap("a b", "", "b a"), 9.0)


def test_hits_and_the_command_show_the_words(tmp_path, capsys):
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    asked = {"prompt": "ahoy answer", "completion": "teapots sing on the moon", "top_k": 7}
    config = TraceConfig(store=tmp_path / "store", html=tmp_path / "t.html", **asked)
    result = trace_answers(config, loaded=model)
    record = {hit["row_id"]: hit for hit in as_json(config, result)[0]["helpful"]}
    assert record["r5"]["overlap"]["words"] == 5
    assert record["r5"]["overlap"]["share"] == 1.0
    assert record["r0"]["overlap"]["words"] == 0
    hits = GradientIndex.open(tmp_path / "store", model).attribute(**asked)
    own = next(hit for hit in hits if hit.row.id == "r5")
    assert (own.overlap.run, own.overlap.whole) == ("teapots sing on the moon", True)
    show(config, result)
    assert "5 words, 100%" in capsys.readouterr().out
    assert "moon <mark>teapots sing on the moon</mark>" in (tmp_path / "t.html").read_text()
