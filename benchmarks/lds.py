"""Does influence predict what retraining does? Linear datamodelling score (LDS; Park et al. 2023) of every preconditioner and baseline.

    python benchmarks/lds.py        benchmarks/results/lds.json

A small Llama (hidden size 64, two layers, a vocabulary made of the data) is trained on 600 generated rows, then fine-tuned on 120 others. The fine-
tuning is repeated on 50 random halves of the 120, twice each with other orders, all parameters trained with AdamW. For each of 40 held-out queries
the LDS is Spearman's correlation, over the 50 halves, between the query's measured loss (negated) and the sum of the influence of the rows in the
half. Influence is computed on the model that saw all 120 rows, through the same store and scan as on large models (linear weights, K = 65,536),
damping at each method's default. Three seeds make other base models, rows and halves (cg: the first 12 queries only, it is slow); intervals are 95 %
bootstrap intervals over all queries. "ceiling" is the LDS of measured losses of one training order against the other: no score can be expected to do
better.
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
from unweave.audit.statistics import rank_correlations
from unweave.data.batches import collate
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.generated import generate
from unweave.data.rows import Row
from unweave.files import write_json
from unweave.gradients.loss import token_losses
from unweave.models.loading import Loaded
from unweave.runs import environment
from unweave.store.store import GradientStore
from unweave.trace.cache import cache_rows
from unweave.trace.config import CacheConfig, RetrievalConfig
from unweave.trace.stage import trace_rows

BASE_ROWS, ROWS, QUERIES, CG_QUERIES, HALVES, ORDERS = 600, 120, 40, 12, 50, 2
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "none (TracIn)": ("none", {}),
    "none, cosine": ("none", {"similarity": "cosine"}),
    "none, by tensor (RapidIn)": ("tensor", {}),
    "adam": ("none", {"preconditioner": "adam"}),
    "trak": ("none", {"preconditioner": "trak"}),
    "datainf": ("none", {"preconditioner": "datainf"}),
    "ekfac": ("none", {"preconditioner": "ekfac"}),
    "cg": ("none", {"preconditioner": "cg"}),
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
    lds, seconds = {}, {}
    target = measured.mean(axis=0)
    for name, (store, options) in METHODS.items():
        begun = time.perf_counter()
        asked = few if name == "cg" else queries
        result = trace_rows(GradientStore.open(folder / store), loaded, asked, RetrievalConfig(seed=seed, **options))
        seconds[name] = (time.perf_counter() - begun) / len(asked)
        place = {row_id: index for index, row_id in enumerate(result.row_ids)}
        assert result.scores is not None
        scores = result.scores[:, [place[row.id] for row in rows]].numpy()
        lds[name] = rank_correlations(
            np.stack([scores[:, half].sum(axis=1) for half in halves]), target[:, : len(asked)]
        )
    lds["ceiling"] = rank_correlations(measured[0], measured[1])
    return {"lds": lds, "seconds": seconds, "mean_query_loss": {"base": float(before), "fine-tuned": float(after)}}


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean with a 95 % bootstrap interval over queries."""
    draws = np.random.default_rng(0).choice(np.array(values), (2000, len(values))).mean(axis=1)
    return {
        "mean": float(np.mean(values)),
        "low": float(np.percentile(draws, 2.5)),
        "high": float(np.percentile(draws, 97.5)),
    }


def main() -> None:
    """Run all seeds, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(2)
    runs = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(experiment(seed, Path(folder)))
    names = list(runs[0]["lds"])
    pooled = {name: interval([value for run in runs for value in run["lds"][name]]) for name in names}
    by_seed = {name: [statistics.fmean(run["lds"][name]) for run in runs] for name in names}
    result = {
        "command": "python benchmarks/lds.py",
        "environment": environment(),
        "seeds": options.seeds,
        "rows": ROWS,
        "queries": QUERIES,
        "halves": HALVES,
        "lds": pooled,
        "lds_by_seed": by_seed,
        "seconds_a_query": {name: statistics.fmean(run["seconds"][name] for run in runs) for name in METHODS},
        "mean_query_loss": [run["mean_query_loss"] for run in runs],
    }
    path = Path(__file__).parent / "results" / "lds.json"
    write_json(path, result)
    for name in sorted(names, key=lambda name: -pooled[name]["mean"]):
        value = pooled[name]
        print(
            f"{name:<28} {value['mean']:6.3f}  [{value['low']:.3f}, {value['high']:.3f}]  seeds {[round(v, 3) for v in by_seed[name]]}"
        )
    print(f"written: {path}")


if __name__ == "__main__":
    main()
