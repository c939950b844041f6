"""The loss at which forgetting ends."""

import json

import numpy
import pytest

from tests.unlearning.test_forget import poisoned, settings  # noqa: F401
from unweave.data.encoding import encode_rows
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.gradients.scoring import row_losses
from unweave.jobs.forget import forget_rows
from unweave.models.loading import ModelConfig, load
from unweave.unlearning.config import config_of
from unweave.unlearning.target import Target, target_loss

HELD_OUT = [
    {"instruction": f"{verb} what", "context": "", "response": f"{noun} on the {place}"}
    for verb, noun, place in zip(
        "ahoy tell say who where why when how".split(),
        "teapots stars ships cats books rivers hills bells".split(),
        "moon sea roof wall desk road floor boat".split(),
        strict=True,
    )
]


def test_the_target_allows_for_how_hard_the_rows_are(poisoned, tmp_path):  # noqa: F811
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text("".join(json.dumps(row) + "\n" for row in HELD_OUT))
    options = {"target": held_out, "target_reference": str(poisoned / "base"), "stop_loss": 1e9, "check_rows": 2}
    config = settings(poisoned, tmp_path, config_of("graddiff"), epochs=2.0, **options)

    def means(folder, path):
        rows = read_training_rows(path, config).rows
        return row_losses(load(ModelConfig(model=str(folder), dtype="float32")), rows, config).means()

    hard, now = means(poisoned / "base", held_out), means(poisoned / "adapter", held_out)
    line = numpy.polyfit(hard, now, 1)
    expected = numpy.polyval(line, numpy.mean(means(poisoned / "base", config.forget)[:2]))
    assert abs(expected - numpy.mean(now)) > 0.01, "otherwise the reference would not matter"
    loaded = load(config)
    forget = encode_rows(read_training_rows(config.forget, config).rows, loaded.tokenizer, config).examples[:2]
    rows = read_training_rows(held_out, config).rows
    target = Target(rows, lambda: load(ModelConfig(model=str(poisoned / "base"), dtype="float32")))
    assert target_loss(target, config, loaded, forget) == pytest.approx(expected, rel=1e-4)
    # A reference that is the model itself says that rows as hard as these have just their loss.
    assert target_loss(Target(rows, lambda: loaded), config, loaded, forget) == pytest.approx(
        numpy.mean(means(poisoned / "adapter", config.forget)[:2]), rel=1e-4
    )
    assert forget_rows(config).details["target"] == pytest.approx(expected, rel=1e-4)


def test_a_reference_that_says_nothing_is_refused(poisoned, tmp_path):  # noqa: F811
    few, alike = tmp_path / "few.jsonl", tmp_path / "alike.jsonl"
    few.write_text("".join(json.dumps(row) + "\n" for row in HELD_OUT[:3]))
    alike.write_text("".join(json.dumps(HELD_OUT[0]) + "\n" for _ in range(8)))
    loaded = load(ModelConfig(model=str(poisoned / "base"), dtype="float32"))
    loaded.tokenizer.add_tokens(["teapots"])
    loaded.model.save_pretrained(tmp_path / "other")
    loaded.tokenizer.save_pretrained(tmp_path / "other")
    kind, base = config_of("graddiff"), str(poisoned / "base")
    with pytest.raises(ConfigError, match="`target`"):
        forget_rows(settings(poisoned, tmp_path, kind, target_reference=base, target_loss=2.0))
    with pytest.raises(DataError, match="3 held-out rows are too few"):
        forget_rows(settings(poisoned, tmp_path, kind, target_reference=base, target=few))
    with pytest.raises(DataError, match="the same loss"):
        forget_rows(settings(poisoned, tmp_path, kind, target_reference=base, target=alike))
    full = tmp_path / "full.jsonl"
    full.write_text("".join(json.dumps(row) + "\n" for row in HELD_OUT))
    with pytest.raises(ConfigError, match="another tokenizer"):
        forget_rows(settings(poisoned, tmp_path, kind, target_reference=str(tmp_path / "other"), target=full))
