"""The examples in the docstrings of the public names: each runs as it stands, and prints what it says."""

import doctest

import pytest
import torch
from peft import LoraConfig, get_peft_model

import unweave
from tests.folders import save_model, write_rows
from tests.tiny import TinyTokenizer, tiny_model
from unweave.models.loading import quiet_transformers

OF_JOBS = {
    "load", "read_rows", "fine_tune", "GradientStore", "cache_rows", "trace_answers", "trace_rows", "weigh_rows", "forget_rows", "audit_models",
}  # fmt: skip
"""Names from before the library tier, which have no example."""

NAMES = sorted(set(unweave.__all__) - OF_JOBS)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with what the examples name: `tuned`, a tiny model with an adapter, and `rows.jsonl`."""
    folder = tmp_path_factory.mktemp("desk")
    base = save_model(folder / "base")
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = get_peft_model(tiny_model("llama", dtype=torch.float32), config, autocast_adapter_dtype=False)
    for adapter_config in adapted.peft_config.values():
        adapter_config.base_model_name_or_path = str(base)
    with quiet_transformers():
        adapted.save_pretrained(folder / "tuned")
    write_rows(folder / "rows.jsonl")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_example_prints_what_it_says(name, desk, monkeypatch):
    monkeypatch.chdir(desk)
    found = getattr(unweave, name)
    tests = [test for test in doctest.DocTestFinder(recurse=True).find(found, name) if test.examples]
    assert tests, f"{name} has no example"
    for test in tests:
        test.globs |= {"hf_model": tiny_model("llama", dtype=torch.float32), "tokenizer": TinyTokenizer.make()}
        report: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=report.append)
        assert runner.failures == 0, "".join(report)
