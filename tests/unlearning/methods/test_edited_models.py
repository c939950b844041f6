"""The methods that edit, or train an adapter of their own form, from files to a saved model that has forgotten something."""

import pytest
import torch

from tests.unlearning.test_forget import losses, poisoned, settings  # noqa: F401
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError
from unweave.gradients.scoring import row_losses
from unweave.jobs.forget import forget_rows
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import Edit

OPTIONS = {
    "fisher": {}, "ssd": {"selection": 2.0}, "llmeraser": {"training_rows": 8}, "fast-ntk": {}, "stable": {"epochs": 6.0},
    "reglu": {"lora_r": 4, "epochs": 20.0},
}  # fmt: skip


@pytest.mark.parametrize("method", OPTIONS)
def test_every_method_raises_the_loss_of_the_forget_rows(poisoned, tmp_path, method):  # noqa: F811
    config = settings(poisoned, tmp_path, config_of(method), **OPTIONS[method])
    before = losses(poisoned / "adapter", config.forget, config)
    kept = losses(poisoned / "adapter", config.retain, config)
    result = forget_rows(config)
    assert (result.folder / ("model.safetensors" if method == "stable" else "adapter_model.safetensors")).is_file()
    # Of eight memorised rows two are to be forgotten, and the loss of both is next to nothing before.
    assert losses(result.folder, config.forget, config) > before + (0.05 if method != "llmeraser" else 1e-3)
    if isinstance(config, Edit):
        assert losses(result.folder, config.retain, config) < kept + config.max_retain_increase + 0.01
        assert result.details["norm"] > 0
    assert forget_rows(config).steps == result.steps, "not repeated"


def test_fast_ntk_takes_known_rows_towards_where_they_were_and_spares_the_others(poisoned, tmp_path):  # noqa: F811
    config = settings(poisoned, tmp_path, config_of("fast-ntk"), outputs=3, ridge=0.01)
    result = forget_rows(config)
    target = losses(poisoned / "base", config.forget, config)
    assert result.details["target"] == pytest.approx(target, rel=1e-3)
    forgotten, kept = (losses(result.folder, path, config) for path in (config.forget, config.retain))
    assert forgotten > 0.3
    assert kept < 0.6


def test_edits_need_an_adapter(poisoned, tmp_path):  # noqa: F811
    with pytest.raises(ConfigError, match="none to edit"):
        forget_rows(settings(poisoned, tmp_path, config_of("fisher"), model=str(poisoned / "base")))


def test_stable_saves_what_it_trained(poisoned, tmp_path):  # noqa: F811
    config = settings(poisoned, tmp_path, config_of("stable"), epochs=4.0, gain=0.3)
    loaded = load(config)
    result = forget_rows(config, loaded=loaded)
    # The model that was given: PEFT merges in place.
    assert not [name for name, _ in loaded.model.named_modules() if "bounded" in name]
    saved = load(ModelConfig(model=str(result.folder), dtype="float32"))
    own, other = loaded.model.get_base_model().state_dict(), saved.model.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    start = load(ModelConfig(model=str(poisoned / "adapter"), dtype="float32")).model.merge_and_unload().state_dict()
    changed = {name.rpartition(".")[0].rpartition(".")[2] for name in own if not torch.equal(own[name], start[name])}
    assert changed == {"gate_proj", "up_proj", "down_proj"}
    assert max(float((own[name] - start[name]).abs().max()) for name in own) <= 0.3 + 1e-6
    assert result.details["relative_change"] > 0
    assert result.details["lost_to_rounding"] < 1e-3


def test_reglu_keeps_its_base_and_adapter_together(poisoned, tmp_path):  # noqa: F811
    config = settings(poisoned, tmp_path, config_of("reglu"), epochs=8.0, lora_r=4)
    loaded = load(config)
    result = forget_rows(config, loaded=loaded)
    rows = read_training_rows(config.retain, config).rows
    saved = load(ModelConfig(model=str(result.folder), dtype="float32"))
    assert saved.base == str(result.folder / "base")
    # PEFT put the adapter into the very modules of the loaded model.
    trained = row_losses(Loaded(loaded.model, loaded.tokenizer, "", None), rows, config).means()
    assert row_losses(saved, rows, config).means() == pytest.approx(trained, rel=1e-3)
