"""A part of the matrix of benchmarks/model_matrix.py: one model of each kind that has gone wrong, with the adapter that went wrong."""

import pytest

from tests.architectures import ARCHITECTURES, save
from tests.matrix import run
from unweave.errors import ModelError
from unweave.models.loading import ModelConfig, load
from unweave.train.config import TrainConfig

CELLS = [
    ("llama, tied", "tokens"),
    ("gemma2", "lora"),
    ("gemma3, with vision", "loha"),
    ("gpt2", "modules_to_save"),
    ("gptj", "ia3"),
    ("opt", "dora"),
    ("mamba", "lora"),
    ("mixtral", "oft"),
    ("gpt_oss", "lora"),
]


@pytest.mark.parametrize(("name", "kind"), CELLS)
def test_a_cell_is_equal(tmp_path, name, kind):
    assert set(run(name, kind, tmp_path).values()) == {"equal"}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_loaded_for_long_rows(tmp_path, name):
    folder = save(name, tmp_path / "base")
    paths = {"model": str(folder), "data": tmp_path, "output_dir": tmp_path, "device": "cpu"}
    model = load(TrainConfig(**paths, max_length=1024)).model
    offered = model._supports_sdpa
    assert model.config._attn_implementation == ("sdpa" if offered else "eager")
    if not offered:
        with pytest.raises(ModelError, match="no attention of the kind sdpa") as raised:
            load(ModelConfig(model=str(folder), attn_implementation="sdpa", device="cpu"))
        assert "`attn_implementation` eager" in raised.value.remedy
