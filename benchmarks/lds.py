"""Does influence predict what retraining does? Linear datamodelling score (LDS; Park et al. 2023) of every preconditioner and baseline.

    python benchmarks/lds.py        benchmarks/results/lds.json

A small Llama (hidden size 64, two layers, a vocabulary made of the data) is trained on 600 generated rows, then fine-tuned on 120 others. The fine-
tuning is repeated on 50 random halves of the 120, twice each with other orders, all parameters trained with AdamW. For each of 40 held-out queries
the LDS is Spearman's correlation, over the 50 halves, between the query's measured loss (negated) and the sum of the influence of the rows in the
half. Influence is computed on the model that saw all 120 rows, through the same store and scan as on large models (linear weights, K = 65,536),
damping at each method's default, and once more, where the table says so, with as much of it as conjugate gradients have: their 0.1 is of the mean over the
directions that the rows span, D / n times the mean over all coordinates. Eight seeds make other base models, rows, halves and queries.

What one seed gives is one value: its queries share the retrained models, and the models share the rows. So intervals are Student's over seeds, and methods
are compared by the interval of their difference, paired by seed. cg is slow and asked the first 12 queries only; what it is compared with is asked the same
ones. "ceiling" is the LDS of measured losses of one training order against the other: no score can be expected to do better.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from unweave import progress
from unweave.attribution.adding import sketcher_for
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.tracing import trace_rows
from unweave.curvature.cg import DAMPING
from unweave.data.batches import collate
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.rows import Row
from unweave.engines.config import CacheConfig
from unweave.experiments.generated import generate
from unweave.files import write_json
from unweave.gradients.loss import token_losses
from unweave.models.loading import Loaded
from unweave.run.folder import environment
from unweave.stats.intervals import across_seeds, rank_correlations
from unweave.store.store import GradientStore

BASE_ROWS, ROWS, QUERIES, CG_QUERIES, HALVES, ORDERS = 600, 120, 40, 12, 50, 2
AS_CG = -1.0
"""Stands for 0.1 D / n, which is known when the model is."""
REFERENCE = "none, by tensor (RapidIn)"
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "none (TracIn)": ("none", {}),
    "none, cosine": ("none", {"similarity": "cosine"}),
    "none, by tensor (RapidIn)": ("tensor", {}),
    "adam": ("none", {"preconditioner": "adam"}),
    "trak": ("none", {"preconditioner": "trak"}),
    "datainf": ("none", {"preconditioner": "datainf"}),
    "ekfac": ("none", {"preconditioner": "ekfac"}),
    "cg": ("none", {"preconditioner": "cg"}),
    "datainf, damped as cg": ("none", {"preconditioner": "datainf", "damping": AS_CG}),
    "ekfac, damped as cg": ("none", {"preconditioner": "ekfac", "damping": AS_CG}),
    "bm25": ("none", {"scorer": "bm25"}),
    "embedding": ("none", {"scorer": "embedding"}),
    "gradnorm": ("none", {"scorer": "gradnorm"}),
    "random": ("none", {"scorer": "random"}),
}
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + ' ' + m['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"
)


def make_tokenizer(texts: Sequence[str]) -> Any:
    """A byte-level BPE tokenizer of 700 tokens, trained on the rows."""
    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=special[1], eos_token=special[2], pad_token=special[0]
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(size: int, seed: int) -> Any:
    """A Llama of 160,000 parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=size, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        tie_word_embeddings=True, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    return LlamaForCausalLM(config)


def train(model: Any, examples: Sequence[Example], *, epochs: int, rate: float, seed: int) -> None:
    """AdamW with a linear decay, batches of 12, the mean over rows of the mean token loss."""
    order = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    steps = epochs * -(-len(examples) // 12)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    for _ in range(epochs):
        shuffled = order.sample(list(examples), len(examples))
        for start in range(0, len(shuffled), 12):
            losses = token_losses(model, collate(shuffled[start : start + 12], pad_token_id=0)).means()
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
            schedule.step()
    model.eval()


def query_losses(model: Any, examples: Sequence[Example]) -> np.ndarray:
    """l(z) of each query."""
    with torch.no_grad():
        return token_losses(model, collate(examples, pad_token_id=0)).means().numpy()


def experiment(seed: int, folder: Path) -> dict[str, Any]:
    """One seed: LDS of every method for each query, and the seconds of each method."""
    data = generate(train_rows=BASE_ROWS + ROWS + QUERIES, seed=seed).train
    base_rows, rows, queries = data[:BASE_ROWS], data[BASE_ROWS : BASE_ROWS + ROWS], data[BASE_ROWS + ROWS :]
    tokenizer = make_tokenizer([f"{row.user_text} {row.completion}" for row in data])
    encoding = EncodingConfig()

    def encode(part: list[Row]) -> list[Example]:
        return encode_rows(part, tokenizer, encoding).examples

    base = make_model(len(tokenizer), seed)
    train(base, encode(base_rows), epochs=15, rate=3e-3, seed=seed)
    start = {name: value.clone() for name, value in base.state_dict().items()}
    examples, held_out = encode(rows), encode(queries)
    rng = random.Random(seed)
    halves = [sorted(rng.sample(range(ROWS), ROWS // 2)) for _ in range(HALVES)]
    measured = np.zeros((ORDERS, HALVES, QUERIES))
    with progress.task(f"seed {seed}: retrain", HALVES * ORDERS) as advance:
        for turn in range(ORDERS):
            for number, half in enumerate(halves):
                base.load_state_dict(start)
                train(base, [examples[index] for index in half], epochs=4, rate=1e-3, seed=1000 * turn + number)
                measured[turn, number] = -query_losses(base, held_out)
                advance(1)
    base.load_state_dict(start)
    before = query_losses(base, held_out).mean()
    train(base, examples, epochs=4, rate=1e-3, seed=seed)
    after = query_losses(base, held_out).mean()
    base.requires_grad_(False)
    # Conjugate gradients take hundreds of products a query: on fewer queries.
    few = queries[:CG_QUERIES]
    loaded = Loaded(base, tokenizer, "lds", None)
    for normalize in ("none", "tensor"):
        config = CacheConfig(
            data=folder,
            store=folder / normalize,
            normalize=normalize,
            parameters="linear",
            number_format="float32",
            token_budget=2048,
        )
        cache_rows(config, loaded=loaded, rows=rows)
    sketcher = sketcher_for(GradientStore.open(folder / "none"), loaded)
    coordinates = sum(item.parameter.numel() for item in sketcher.parameters)
    lds, seconds = {}, {}
    target = measured.mean(axis=0)
    for name, (store, options) in METHODS.items():
        begun = time.perf_counter()
        asked = few if name == "cg" else queries
        if options.get("damping") == AS_CG:
            options = {**options, "damping": DAMPING * max(1.0, coordinates / ROWS)}
        result = trace_rows(GradientStore.open(folder / store), loaded, asked, RetrievalConfig(seed=seed, **options))
        seconds[name] = (time.perf_counter() - begun) / len(asked)
        place = {row_id: index for index, row_id in enumerate(result.row_ids)}
        assert result.scores is not None
        scores = result.scores[:, [place[row.id] for row in rows]].numpy()
        lds[name] = rank_correlations(
            np.stack([scores[:, half].sum(axis=1) for half in halves]), target[:, : len(asked)]
        )
    lds["ceiling"] = rank_correlations(measured[0], measured[1])
    return {
        "lds": {name: [round(value, 5) for value in values] for name, values in lds.items()},
        "seconds": seconds,
        "coordinates": coordinates,
        "mean_query_loss": {"base": float(before), "fine-tuned": float(after)},
    }


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and differences paired by seed: each method less RapidIn, and cg less each on the queries that cg was asked."""
    names = list(runs[0]["lds"])

    def means(name: str, queries: int = QUERIES) -> np.ndarray:
        return np.array([statistics.fmean(run["lds"][name][:queries]) for run in runs])

    return {
        "lds": {name: across_seeds(means(name)).to_json() for name in names},
        "above_rapidin": {
            name: across_seeds(means(name) - means(REFERENCE)).to_json() for name in names if name != "cg"
        }
        | {"cg": across_seeds(means("cg", CG_QUERIES) - means(REFERENCE, CG_QUERIES)).to_json()},
        "below_cg": {name: across_seeds(means("cg", CG_QUERIES) - means(name, CG_QUERIES)).to_json() for name in names},
    }


def main() -> None:
    """Run all seeds, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)))
    options = parser.parse_args()
    runs: list[dict[str, Any]] = []
    path, result = Path(__file__).parent / "results" / "lds.json", {}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            runs.append({"seed": seed, **experiment(seed, Path(folder))})
        # Written after each seed: what is there counts.
        result = {
            "command": f"python benchmarks/lds.py --seeds {' '.join(str(run['seed']) for run in runs)}",
            "environment": environment(),
            "rows": ROWS,
            "queries": QUERIES,
            "cg_queries": CG_QUERIES,
            "halves": HALVES,
            **summary(runs),
            "seconds_a_query": {name: statistics.fmean(run["seconds"][name] for run in runs) for name in METHODS},
            "runs": runs,
        }
        write_json(path, result)
    for name, value in sorted(result["lds"].items(), key=lambda item: -item[1]["value"]):
        gap = result["above_rapidin"][name]
        print(
            f"{name:<28} {value['value']:6.3f}  [{value['low']:.3f}, {value['high']:.3f}]  {gap['value']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        )
    print(f"written: {path}")


if __name__ == "__main__":
    main()
