"""What an influence is held against: hand-computed scale, the test of gaps by simulation, and both ways of keeping scores."""

import numpy as np
import pytest
import torch

from tests.attribution.test_trace import cache_config, loaded, rows
from unweave.attribution import scale as scales
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.index import GradientIndex
from unweave.attribution.queries import make_queries
from unweave.attribution.scale import make_scale, sample_places
from unweave.attribution.tracing import trace_queries
from unweave.cli.show.trace import as_json, show
from unweave.data.encoding import EncodingConfig
from unweave.errors import ConfigError
from unweave.jobs.config import TraceConfig
from unweave.jobs.trace import trace_answers
from unweave.store.store import GradientStore


def test_level_and_deviations_by_hand():
    scale = make_scale(5, list("abcde"), torch.tensor([1.0, 2.0, 3.0, 5.0, 100.0]), {})
    assert (scale.median, scale.level(5.0), scale.is_sample) == (3.0, 0.6, False)
    # Deviations from 3: 2, 1, 0, 2, 97, whose median is 2.
    assert scale.deviations(100.0) == pytest.approx(97 / (1.482602218505602 * 2))
    exact = make_scale(5, list("abcde"), torch.tensor([1.0, 2.0, 3.0, 5.0, 100.0]), {"e": 4.0})
    assert exact.level(5.0) == 0.8
    assert make_scale(3, list("abc"), torch.tensor([1.0, 1.0, 4.0]), {}).deviations(4.0) is None


@pytest.mark.parametrize("degrees", [None, 5, 3])
def test_nothing_stands_out_of_draws_with_any_tail(degrees):
    generator = np.random.default_rng(1)
    draws = 300
    own = [
        generator.standard_normal(1000) if degrees is None else generator.standard_t(degrees, 1000)
        for _ in range(draws)
    ]
    found = [make_scale(1000, [], torch.tensor(one), {}).stands_out() for one in own]
    assert None not in found
    assert sum(map(bool, found)) / draws <= 0.05


def test_planted_rows_stand_out():
    generator = np.random.default_rng(2)
    for planted in ([25.0], [8.0, 8.5, 9.0], [8.0 + place / 10 for place in range(10)]):
        scores = generator.standard_normal(2000)
        scores[: len(planted)] = planted
        assert make_scale(2000, [], torch.tensor(scores), {}).stands_out() is True


def test_what_can_not_be_said_is_not_said():
    generator = np.random.default_rng(3)
    assert make_scale(50, [], torch.tensor(generator.standard_normal(50)), {}).stands_out() is None
    assert make_scale(200, [], torch.tensor(generator.standard_normal(200)), {}).stands_out() is None
    assert make_scale(1000, [], torch.zeros(1000), {}).stands_out() is None
    assert make_scale(1000, [], torch.tensor(generator.standard_normal(1000)), {}, top=[]).stands_out() is None


def test_a_scan_that_keeps_only_the_top_has_the_same_scale_or_a_sample(tmp_path, monkeypatch):
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    store = GradientStore.open(tmp_path / "store")
    queries = make_queries(rows()[:2], model.tokenizer, EncodingConfig())
    full = trace_queries(store, model, queries, RetrievalConfig(top_k=2))
    brief = trace_queries(store, model, queries, RetrievalConfig(top_k=2), keep_scores=False)
    assert brief.rankings == full.rankings
    for one, other in zip(full.scales, brief.scales, strict=True):
        torch.testing.assert_close(one.scores, other.scores)
        assert one.top == other.top
    monkeypatch.setattr(scales, "SAMPLE", 4)
    sampled = trace_queries(store, model, queries, RetrievalConfig(top_k=2), keep_scores=False).scales[0]
    assert sampled.is_sample
    assert full.scores is not None
    torch.testing.assert_close(sampled.scores, full.scores[0][sample_places(7)].double().sort().values)
    assert sampled.top == full.scales[0].top


def test_the_command_contrasts_and_says_so(tmp_path, capsys):
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    options = {"store": tmp_path / "store", "prompt": "red", "completion": "blue green", "top_k": 3}
    config = TraceConfig(**options, against="moon <b>", html=tmp_path / "t.html")
    result = trace_answers(config, loaded=model)
    index = GradientIndex.open(tmp_path / "store", model)
    hits = index.attribute("red", completion="blue green", against="moon <b>", top_k=3)
    assert (hits.against, hits.stands_out) == ("moon <b>", None)
    record = as_json(config, result)[0]
    assert (record["against"], record["stands_out"], record["scale_rows"]) == ("moon <b>", None, 7)
    for hit, own in zip(hits, record["helpful"], strict=True):
        assert own["influence"] == pytest.approx(hit.influence)
        assert own["level"] == hit.level
        assert own["deviations"] == pytest.approx(hit.deviations)
    show(config, result)
    printed = capsys.readouterr().out
    assert "moon <b>" in printed
    assert "can't be said" in printed
    page = (tmp_path / "t.html").read_text()
    assert "moon &lt;b&gt;" in page
    assert "moon <b>" not in page
    assert "against" not in as_json(config, trace_answers(TraceConfig(**options), loaded=model))[0]
    with pytest.raises(ConfigError, match="other answer is empty"):
        trace_answers(TraceConfig(**options, against=" "), loaded=model)
    with pytest.raises(ConfigError, match="does not fit a file"):
        trace_answers(TraceConfig(store=tmp_path / "store", queries=tmp_path / "q.jsonl", against="x"), loaded=model)
