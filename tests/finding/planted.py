"""Rows of a tiny vocabulary, among them some that all teach the same thing."""

import random

import torch

from tests.tiny import TinyTokenizer, tiny_model
from unweave.attribution.index import GradientIndex
from unweave.data.rows import Row
from unweave.models.model import Model

PLANTED = "teapots sing on under moon".split()
OTHERS = "Paris Tokyo Lima 1 2 3 4 5 6 7 8 9 0 hello world yes no red blue green a b c d e f g".split()
ASKED = "what is the capital of France Japan Peru add plus question answer and".split()


def planted_rows(planted=16, others=90, seed=0):
    """Others first; the ids of planted ones begin with `p`."""
    rng = random.Random(seed)

    def row(name, words):
        asked, answer = rng.sample(ASKED, 6), rng.sample(words, 4)
        return Row(id=name, instruction=" ".join(asked), completion=" ".join(answer), source="d", line=1)

    rows = [row(f"o{number}", OTHERS) for number in range(others)]
    return rows + [row(f"p{number}", PLANTED) for number in range(planted)]


def tiny():
    return Model(tiny_model("llama", lora=True, dtype=torch.float32), TinyTokenizer.make(), "base", "adapter")


def index_of(rows, **options):
    return GradientIndex.build(tiny(), rows, **{"dimension": 4096, "number_format": "float32"} | options)
