"""A store of 70 rows, made without a model: texts that try to be more than text among plain ones, random sketches, three files, columns of three types."""

import random

import torch

from tests.folders import save_model
from unweave.data.rows import Row
from unweave.explorer.config import ServeConfig
from unweave.explorer.workspace import Workspace
from unweave.store.format import StoreSpec
from unweave.store.store import GradientStore

WORDS = "what is the capital of Peru France Japan and plus add red blue ÄRGER straße".split()
HOSTILE = {
    "<script>alert(1)</script>": "<script>alert('prompt')</script>",
    "'; DROP TABLE rows; --": "'; DROP TABLE rows; --",
    "a\nb": "two\nlines",
    '"it\'s" & more': '"><img src=x onerror=alert(1)>',
    "hid\u202eden": "hid\u202eden text",
    "path/../?id=1&list=2#x%41": "an id that looks like an address",
    "{{ 7 * 7 }}": "{% for a in b %} {{ 7 * 7 }}",
}


def make_rows(count=70):
    chance = random.Random(0)
    plain = count - len(HOSTILE)
    ids = [f"r{place}" for place in range(plain)] + list(HOSTILE)
    prompts = [" ".join(chance.choices(WORDS, k=5)) for _ in range(plain)] + list(HOSTILE.values())
    made = []
    for place, (row_id, prompt) in enumerate(zip(ids, prompts, strict=True)):
        meta = {"owner": chance.choice(["ann", "bo", "<b>"]), "year": 1990 + place % 7}
        if place % 3 == 0:
            meta |= {"checked": bool(place % 2), "Loss": "a column of a taken name", "many": [place, {"a": None}]}
        made.append(
            Row(
                id=row_id,
                instruction=prompt,
                completion=" ".join(chance.choices(WORDS, k=3)),
                meta=meta,
                source=("one.jsonl", "folder/two.jsonl", "<i>three'.jsonl")[place % 3],
                line=place + 1,
            )
        )
    return made


def make_store(folder, rows, *, dimension=32):
    save_model(folder / "base")
    spec = StoreSpec(
        model=str(folder / "base"), adapter=None, model_fingerprint="", tokenizer_fingerprint="", encoding={"template": "plain"}, parameters="lora",
        parameter_names="", sketch="fold", dimension=dimension, sketch_seed=42, normalize="tensor", reduction="mean", number_format="float16",
    )  # fmt: skip
    add_rows(GradientStore.create(folder / "store", spec), rows, seed=0)
    return folder


def add_rows(store, rows, *, seed):
    generator = torch.Generator().manual_seed(seed)
    with store.writing():
        for start in range(0, len(rows), 32):
            part = rows[start : start + 32]
            sketches = torch.randn(len(part), store.spec.dimension, generator=generator)
            # Equal losses too: their order is the store's.
            losses = torch.randint(0, 12, (len(part),), generator=generator) / 4
            store.commit([row.id for row in part], sketches, sketches.norm(dim=1), losses)
        store.keep_texts(rows, {})


def workspace_on(folder, work, **options):
    return Workspace(ServeConfig(path=folder / "store", work=work, **options))
