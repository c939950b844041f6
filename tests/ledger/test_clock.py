"""A chat template that writes day and time: whatever is made with it on one day can be repeated, continued and verified on another."""

import json

import pytest
import yaml

from tests.folders import ROWS, save_model, write_rows
from tests.ledger.ledgers import EASY
from tests.tiny import TEMPLATE, TinyTokenizer
from unweave.attribution.caching import cache_rows
from unweave.config import dump_yaml
from unweave.data import dates
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.reading import read_rows
from unweave.engines.config import CacheConfig
from unweave.jobs.config import DoctorConfig, TraceConfig
from unweave.jobs.doctor import examine
from unweave.jobs.trace import trace_answers
from unweave.jobs.value_score import score_rows
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, RunConfig, VerifyConfig
from unweave.ledger.run import run_request
from unweave.ledger.verify import verify_request
from unweave.models.loading import ModelConfig, tokenizer_of
from unweave.store.store import GradientStore
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.config import config_of
from unweave.valuation.config import ScoreConfig

CLOCK = "{% for letter in strftime_now('%d %b %Y %H:%M:%S') %}{{ letter + ' ' }}{% endfor %}" + TEMPLATE
"""One token a digit, so that every day and second is seen."""
FIRST = "2026-01-01"
RECORDS = [
    {"id": f"r{index}", "instruction": f"add {index % 10} and {index // 10}", "response": f"{index * 3 % 10} yes"}
    for index in range(24)
]


@pytest.fixture
def another_day(monkeypatch):
    """Moves the clock."""
    days = iter(f"2026-02-{day:02d}" for day in range(1, 29))
    monkeypatch.setattr(dates, "today", lambda: FIRST)

    def move():
        day = next(days)
        monkeypatch.setattr(dates, "today", lambda: day)

    return move


@pytest.fixture
def base(tmp_path):
    save_model(tmp_path / "base")
    tokenizer = TinyTokenizer.make()
    tokenizer.chat_template = CLOCK
    tokenizer.save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


@pytest.fixture
def data(tmp_path):
    return write_rows(tmp_path / "rows.jsonl", RECORDS)


@pytest.fixture
def tuned(base, data, tmp_path, another_day):
    """A model trained on the first day; what follows happens later."""
    fine_tune(
        TrainConfig(model=base, data=data, output_dir=tmp_path / "tuned", epochs=1, batch_size=8, learning_rate=5e-3, lora_r=4, dtype="float32")
    )  # fmt: skip
    another_day()
    return str(tmp_path / "tuned")


def cache_config(model, data, store):
    return CacheConfig(model=model, data=data, store=store, dimension=64, dtype="float32", parameters="linear")


def cached(model, data, store):
    return cache_rows(cache_config(model, data, store))


def test_a_certificate_holds_on_every_other_day(tuned, data, tmp_path, another_day):
    ledger = tmp_path / "ledger"
    cached(tuned, data, tmp_path / "store")
    ga = config_of("ga")(forget=data, retain=data, output_dir=tmp_path, epochs=0.2, batch_size=4, learning_rate=5e-3, stop_loss=1e9)  # fmt: skip
    (tmp_path / "ga.yaml").write_text(dump_yaml("forget", ga))
    another_day()
    place = {"ledger": ledger, "data": data, "model": tuned, "store": tmp_path / "store"}
    add_request(
        AddConfig(**place, row_ids=("r1",), request_id="one", max_removed_share=0.2, max_perplexity_change=10.0)
    )
    another_day()
    config = {"request": "one", "ledger": ledger, "method": "ga", "forget_config": tmp_path / "ga.yaml"}
    config |= {"retain_rows": 8, "test_rows": 8, "dtype": "float32", **EASY}
    run_request(RunConfig(**config))
    assert measured_date(ledger) == FIRST
    another_day()
    checks = verify_request(VerifyConfig(request="one", ledger=ledger))["checks"]
    assert [check for check in checks if not check["ok"]] == []
    another_day()
    assert run_request(RunConfig(**config, replay=tmp_path / "again"))["same"]


def measured_date(ledger):
    kept = json.loads((ledger / "requests" / "one" / "measured.before.json").read_text())
    return kept["encoding"]["options"]["date"]


def test_a_store_goes_on_and_is_traced_on_any_day(base, data, tmp_path, another_day):
    store = tmp_path / "store"
    assert cached(base, data, store).computed == len(RECORDS)
    before = dict(GradientStore.open(store).contents())
    query = TraceConfig(store=store, prompt="add 1 and 1", completion="3 yes", dtype="float32")
    traced = trace_answers(query)
    another_day()
    assert cached(base, data, store).computed == 0
    assert GradientStore.open(store).contents() == before
    assert GradientStore.open(store).spec.encoding["date"] == FIRST
    assert trace_answers(query).rankings == traced.rankings


def test_what_reads_a_tuned_model_reads_the_day_of_its_training(tuned, base, data, tmp_path):
    assert yaml.safe_load((tmp_path / "tuned" / "config.yaml").read_text())["date"] == FIRST
    cached(tuned, data, tmp_path / "tuned_store")
    cached(base, data, tmp_path / "base_store")
    assert GradientStore.open(tmp_path / "tuned_store").spec.encoding["date"] == FIRST
    assert GradientStore.open(tmp_path / "base_store").spec.encoding["date"] == dates.today() != FIRST


def test_values_are_the_same_on_another_day(tuned, data, tmp_path, another_day):
    tasks = f"sums={write_rows(tmp_path / 'tasks.jsonl', ROWS[3:5])}"
    score = {"model": tuned, "data": data, "tasks": (tasks,), "dtype": "float32"}
    first = score_rows(ScoreConfig(**score, output=tmp_path / "first.parquet"))
    another_day()
    assert score_rows(ScoreConfig(**score, output=tmp_path / "second.parquet")).columns == first.columns


def test_nothing_that_encodes_reads_the_time_of_day(base, data, monkeypatch):
    rows, tokenizer = read_rows(data).rows[:2], tokenizer_of(ModelConfig(model=base))
    monkeypatch.setattr(dates, "today", lambda: FIRST)
    undated = encode_rows(rows, tokenizer, EncodingConfig()).examples
    told = " ".join(tokenizer.decode(undated[0].input_ids).split())
    assert told.startswith("0 1 <unk> a <unk> 2 0 2 6 0 0 : 0 0 : 0 0 <|im_start|>")
    assert undated == encode_rows(rows, tokenizer, EncodingConfig(date=FIRST)).examples


def test_doctor_says_that_the_template_reads_the_clock(tuned, base, data, tmp_path):
    named = [one for one in examine(DoctorConfig(model=tuned, data=data, dtype="float32")) if one.check == "template"]
    assert [one.verdict for one in named] == ["warning"]
    assert "reads the clock" in named[0].detail
    assert FIRST in named[0].detail
    plain = DoctorConfig(model=base, data=data, dtype="float32", template="alpaca")
    assert [one.verdict for one in examine(plain) if one.check == "template"] == ["ok"]
