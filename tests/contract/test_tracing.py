"""A sketch, an engine, a preconditioner and a scorer that a test registers work like those that the package brings."""

import json
import re

import pytest
import torch

from unweave.attribution.caching import cache_rows
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.registry import PRECONDITIONERS, SCORERS
from unweave.attribution.tracing import trace_rows
from unweave.data.rows import Row
from unweave.engines import cache
from unweave.engines.config import CacheConfig
from unweave.engines.registry import ENGINES
from unweave.errors import ConfigError
from unweave.models.loading import ModelConfig, load
from unweave.sketch.config import SketchConfig
from unweave.sketch.make import make_sketch
from unweave.sketch.registry import SKETCHES
from unweave.store.store import GradientStore

QUERY = {"prompt": "what is the capital of Japan ?", "completion": "Tokyo"}
IDS = [f"r{number}" for number in range(8)]
PLAIN = {"parameters": "all", "normalize": "none", "dtype": "float32"}


class Halves:
    """A sketch of two numbers: what the first tensor's first coordinate is, and the sum of all."""

    name = "halves"
    dimension = 2

    @classmethod
    def for_sizes(cls, sizes, **_):
        made = cls()
        made.first = next(iter(sizes))
        return made

    def add(self, out, tensor, piece, scale):
        out[:, 1] += piece.sum(dim=1) * scale
        if tensor == self.first:
            out[:, 0] += piece[:, 0] * scale


def cached(place, name, **options):
    config = CacheConfig(model=str(place.model), data=place.rows, store=place.folder / name, **{**PLAIN, **options})
    cache_rows(config)
    return config.store


def traced(place, capsys, store, **options):
    capsys.readouterr()
    assert place.run("trace", store=store, **QUERY, **options) == 0
    return shown(capsys)


def shown(capsys):
    """What is printed, without the seconds."""
    return re.sub(r"; [0-9.e-]+ s$", "", capsys.readouterr().out, flags=re.MULTILINE)


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.setitem(SKETCHES, "halves", Halves)


@pytest.mark.usefixtures("halves")
def test_a_sketch_in_python_in_yaml_and_on_the_command_line(place, helped, capsys):
    sketch = make_sketch(SketchConfig(sketch="halves"), {"a": (2, 3), "b": (4,)})
    out = torch.zeros(1, 2)
    sketch.add(out, "a", torch.ones(1, 6), torch.ones(1))
    sketch.add(out, "b", torch.ones(1, 4), torch.full((1,), 2.0))
    assert out.tolist() == [[1.0, 14.0]]
    options = {"model": place.model, "data": place.rows, **PLAIN, "sketch": "halves"}
    assert place.run("cache", **options, store=place.folder / "one") == 0
    assert place.replay("cache", **options, store=place.folder / "two") == 0
    one, two = (GradientStore.open(place.folder / name) for name in ("one", "two"))
    assert one.spec.sketch == "halves"
    assert torch.equal(one.read(IDS), two.read(IDS))
    assert "halves" in helped("cache")
    assert "r1" in traced(place, capsys, place.folder / "one")


def test_a_sketch_that_is_not_there(place, capsys):
    with pytest.raises(ConfigError, match="did you mean 'fold'"):
        make_sketch(SketchConfig(sketch="fould"), {"a": (2, 3)})
    path = place.folder / "c.yaml"
    path.write_text("command: cache\nsketch: halves\ndata: d\nstore: s\n")
    assert place.run("cache", config=path) == 2
    assert "line 2: sketch: 'halves' is not one of fold, rapidgrad" in capsys.readouterr().err


def test_an_engine(place, helped, monkeypatch):
    seen = []

    def engine(config):
        seen.append(config.store.name)
        return cache_rows(config)

    monkeypatch.setitem(ENGINES, "mine", engine)
    options = {"model": place.model, "data": place.rows, **PLAIN, "engine": "mine"}
    cache(CacheConfig(**{**options, "model": str(place.model)}, store=place.folder / "zero"))
    assert place.run("cache", **options, store=place.folder / "one") == 0
    assert place.replay("cache", **options, store=place.folder / "two") == 0
    assert seen == ["zero", "one", "two"]
    assert GradientStore.open(place.folder / "two").names() == set(IDS)
    assert "mine" in helped("cache")
    with pytest.raises(ConfigError, match="where: `engine`"):
        cache(CacheConfig(**{**options, "model": str(place.model), "engine": "ours"}, store=place.folder / "x"))


def traced_by(place, store, **options):
    opened = GradientStore.open(store)

    query = Row(id="q", instruction=QUERY["prompt"], completion=QUERY["completion"])
    return trace_rows(
        opened, load(ModelConfig(model=str(place.model), dtype="float32")), [query], RetrievalConfig(**options)
    )


def doubled(problem, queries):
    assert len(problem.rows) == 8
    return {name: 2 * gradients for name, gradients in queries.items()}


def test_a_preconditioner(place, helped, capsys, monkeypatch):
    monkeypatch.setitem(PRECONDITIONERS, "doubled", doubled)
    store = cached(place, "store", sketch="none")
    plain, twice = traced_by(place, store), traced_by(place, store, preconditioner="doubled")
    assert torch.allclose(twice.scores, 2 * plain.scores, rtol=1e-5)
    by_options = traced(place, capsys, store, preconditioner="doubled")
    assert (
        place.replay("trace", store=store, **{k: json.dumps(v) for k, v in QUERY.items()}, preconditioner="doubled")
        == 0
    )
    assert shown(capsys) == by_options
    assert "doubled" in helped("trace")
    assert "doubled" in helped("audit influence")
    with pytest.raises(ConfigError, match="did you mean 'doubled'"):
        traced_by(place, store, preconditioner="dobled")


def test_a_scorer(place, helped, capsys, monkeypatch):
    monkeypatch.setitem(
        SCORERS, "length", lambda corpus, queries: [[len(text) for text in corpus.documents] for _ in queries]
    )
    store = cached(place, "store")
    found = traced_by(place, store, scorer="length")
    assert found.row_ids[int(found.scores[0].argmax())] == "r7", "the longest row"
    by_options = traced(place, capsys, store, scorer="length")
    assert place.replay("trace", store=store, **{k: json.dumps(v) for k, v in QUERY.items()}, scorer="length") == 0
    assert shown(capsys) == by_options
    assert "r7" in by_options.split("r6")[0]
    assert "length" in helped("trace")
