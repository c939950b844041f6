"""A store's model is loaded again as it was when the store was made, unless an option says otherwise."""

import json
from dataclasses import replace

import peft
import pytest

from tests.folders import save_model, write_rows
from tests.models.test_adapters import LORA, save_adapter
from unweave.attribution.caching import cache_rows
from unweave.attribution.model import loading_record, store_model
from unweave.cli.main import main
from unweave.engines.config import CacheConfig
from unweave.jobs import trace as stage
from unweave.jobs.config import TraceConfig
from unweave.jobs.trace import trace_answers
from unweave.models.loading import ModelConfig, load
from unweave.store.store import GradientStore

QUESTION = {"prompt": "add 1 and 2", "completion": "3"}


@pytest.fixture
def cached(tmp_path):
    """A store of an adapter whose base is given by hand."""
    base = save_model(tmp_path / "base")
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA), named="/mnt/elsewhere/model")
    config = CacheConfig(
        model=str(base),
        adapter=tmp_path / "adapter",
        data=write_rows(tmp_path / "d.jsonl"),
        store=tmp_path / "store",
        dtype="float64",
        dimension=256,
        max_length=700,
    )
    cache_rows(config)
    return config


def test_the_record_is_what_was_asked_for(cached):
    loaded = load(ModelConfig(model=str(cached.model), dtype="bfloat16"))
    loaded.revision, loaded.quantization = "v1.2", "4bit"
    assert loading_record(loaded) == {"revision": "v1.2", "quantization": "4bit", "dtype": "bfloat16"}
    spec = GradientStore.open(cached.store).spec
    assert spec.loading == {"revision": None, "quantization": "none", "dtype": "float64"}


def test_a_trace_loads_the_model_as_the_store_was_made(cached, monkeypatch):
    seen = []
    monkeypatch.setattr(stage, "load", lambda config: seen.append(config) or load(config))
    trace_answers(TraceConfig(store=cached.store, **QUESTION))
    assert (seen[0].model, seen[0].adapter, seen[0].dtype) == (cached.model, cached.adapter, "float64")
    assert seen[0].max_length == 700


def test_options_come_before_the_record(cached):
    spec = GradientStore.open(cached.store).spec
    quantised = replace(spec, loading={"revision": "v1.2", "quantization": "4bit", "dtype": "bfloat16"})
    found = store_model(quantised, TraceConfig(store=cached.store))
    assert (found.revision, found.quantization, found.dtype) == ("v1.2", "4bit", "bfloat16")
    options = {"revision": "main", "quantization": "none", "dtype": "float32", "attn_implementation": "sdpa"}
    found = store_model(quantised, TraceConfig(store=cached.store, **options))
    assert {name: getattr(found, name) for name in options} == options
    found = store_model(quantised, TraceConfig(store=cached.store, model="other", adapter=None))
    assert (found.model, found.adapter) == ("other", None)


def test_a_store_of_before_has_no_record(cached):
    path = cached.store / "store.json"
    said = json.loads(path.read_text())
    del said["loading"], said["log"]
    (cached.store / "log.jsonl").unlink()
    path.write_text(json.dumps(said))
    store = GradientStore.open(cached.store)
    assert store.spec.loading == {}
    assert store_model(store.spec, TraceConfig(store=cached.store, dtype="float64")).quantization == "none"
    assert len(trace_answers(TraceConfig(store=cached.store, dtype="float64", **QUESTION)).rankings) == 1
    # Rows of the same model go on into it.
    cache_rows(replace(cached, limit=3))


def test_trace_offers_the_options(capsys):
    with pytest.raises(SystemExit):
        main(["trace", "--help"])
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--quantization", "--revision", "--attn-implementation"))


def test_a_record_of_another_dtype_is_no_option(cached):
    spec = replace(GradientStore.open(cached.store).spec, loading={"dtype": "float8_e4m3fn"})
    assert store_model(spec, TraceConfig(store=cached.store)).dtype == "auto"
