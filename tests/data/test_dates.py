"""Dates in chat templates: fixed when a run is made, found again when it is repeated, and recorded only where the template reads the clock."""

import datetime

from tests.data import bytelevel
from tests.data.bytelevel import byte_tokenizer
from unweave.config import dump_yaml
from unweave.data.dates import dated, dated_template, recorded
from unweave.data.encoding import EncodingConfig
from unweave.store.format import StoreSpec
from unweave.train.recipe import read_recipe


def test_a_date_is_fixed_only_where_the_template_reads_the_clock():
    clock, none = byte_tokenizer(bytelevel.DATED), byte_tokenizer()
    assert dated(EncodingConfig(), clock).date == datetime.date.today().isoformat()
    assert dated(EncodingConfig(date="2020-01-02"), clock).date == "2020-01-02"
    assert dated(EncodingConfig(), none).date is None
    assert dated(EncodingConfig(template="plain"), clock).date is None
    assert dated_template("{{ 1 }}", "2020-01-02") == "{{ 1 }}"


def test_any_format_of_the_clock_stands_still():
    tokenizer = byte_tokenizer(
        "{% set day = '%A %-d %B' %}{{ strftime_now(day) + strftime_now(' %Y-%m-%d %H:%M') }}"
        "{% for m in messages %}{{ m['content'] + '<|im_end|>' }}{% endfor %}"
    )
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "x"}],
        chat_template=dated_template(tokenizer.chat_template, "2024-02-03"),
        tokenize=False,
    )
    assert text.startswith("Saturday 3 February 2024-02-03 00:00x")


def test_a_rerun_on_another_day_keeps_the_date_of_the_first(tmp_path):
    config = EncodingConfig(max_length=64)
    (tmp_path / "config.yaml").write_text(dump_yaml("train", EncodingConfig(max_length=64, date="2020-01-02")))
    assert recorded(config, tmp_path).date == "2020-01-02"
    assert recorded(EncodingConfig(max_length=65), tmp_path).date is None
    assert recorded(config, tmp_path / "none").date is None


def test_what_was_made_before_learned_the_last_answer(tmp_path):
    fields = {
        "model": "m",
        "adapter": None,
        "model_fingerprint": "f",
        "tokenizer_fingerprint": "t",
        "parameters": "lora",
    }
    sketch = {"sketch": "fold", "dimension": 8, "sketch_seed": 0, "normalize": "tensor", "reduction": "mean"}
    encoding = {"template": "chat", "system_prompt": None, "max_length": 512}
    spec = StoreSpec(encoding=encoding, parameter_names="n", number_format="float16", **fields, **sketch)
    encoding = StoreSpec.from_json(spec.to_json(), where="s").encoding
    assert EncodingConfig(**encoding) == EncodingConfig(loss="last-turn")
    (tmp_path / "config.yaml").write_text("command: train\ndata: rows.jsonl\noutput_dir: out\n")
    assert read_recipe(tmp_path).loss == "last-turn"
    (tmp_path / "config.yaml").write_text("command: train\ndata: rows.jsonl\noutput_dir: out\nloss: all-turns\n")
    assert read_recipe(tmp_path).loss == "all-turns"
