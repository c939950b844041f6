"""A part of the matrix of benchmarks/model_matrix.py: one model of each kind that has gone wrong, with the adapter that went wrong."""

import pytest

from tests.matrix import run

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
