"""Caching against its floor and against a faithful RapidIn loop, on the same rows in one run.

    python benchmarks/caching.py        benchmarks/results/caching.json

SmolLM2-135M with a LoRA adapter (r 16, all linear layers), rows of the generated data, K = 65,536, batches of 1,024 tokens. Measured in turn,
three rounds, tokens without padding a second:

- floor: a bare forward and a backward to activations only, on the very batches that caching uses;
- unweave: per-sample gradients, tensor normalisation, fold sketches;
- loop: what RapidIn does: batch of one, all gradients, concatenated, padded to 2^24, 40 shuffles, signs, sums, one file a row.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sketch_variance import published_tables, shuffled_sketch
from unweave.data.batches import collate, plan_batches
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.generated import generate
from unweave.files import write_json
from unweave.gradients.loss import token_losses
from unweave.gradients.per_sample import frozen_in_evaluation
from unweave.models.loading import load
from unweave.runs import environment
from unweave.trace.config import GradientConfig
from unweave.trace.sketching import Sketcher
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions

ROWS, LOOP_ROWS, ROUNDS, BUDGET = 160, 8, 3, 1024


def tokens_per_second(work: Callable[[], None], examples: list[Example]) -> float:
    """Real tokens over wall time."""
    start = time.perf_counter()
    work()
    return sum(map(len, examples)) / (time.perf_counter() - start)


def floor(model: Any, examples: list[Example]) -> None:
    """Forward and activations-only backward: the graph begins at the adapters' first outputs, no weight gradient is made."""

    def begin(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output if output.requires_grad else output.detach().requires_grad_()

    first = [module for name, module in model.named_modules() if name.endswith("lora_A.default")]
    handles = [module.register_forward_hook(begin) for module in first]
    with frozen_in_evaluation(model):
        for chosen in plan_batches([len(example) for example in examples], token_budget=BUDGET):
            batch = collate([examples[index] for index in chosen], pad_token_id=2)
            token_losses(model, batch).means().sum().backward()
    for handle in handles:
        handle.remove()


def loop(model: Any, examples: list[Example], tables: Any, folder: Path) -> None:
    """A faithful RapidIn caching loop, with the loss mended (shifted), so that it computes the same gradients."""
    parameters = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
    for parameter in parameters:
        parameter.requires_grad_(True)
    for example in examples:
        loss = token_losses(model, collate([example], pad_token_id=2)).means().sum()
        gradients = torch.autograd.grad(loss, parameters)
        vector = torch.cat(
            [torch.nn.functional.normalize(gradient.reshape(-1).float(), dim=0) for gradient in gradients]
        )
        vector = torch.nn.functional.pad(vector, (0, -len(vector) % 2**24))
        torch.save(shuffled_sketch(vector, *tables).half(), folder / f"{example.row_id.replace('/', '_')}.pt")
    for parameter in parameters:
        parameter.requires_grad_(False)


def main() -> None:
    """Measure, and write the result file."""
    torch.set_num_threads(2)
    loaded = load()
    model = add_lora(loaded.model, LoraOptions(lora_r=16, lora_dropout=0.0), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    rows = generate(train_rows=ROWS).train
    examples = encode_rows(rows, loaded.tokenizer, EncodingConfig()).examples
    sketcher = Sketcher(model, pad_token_id=2, config=GradientConfig(token_budget=BUDGET))
    tables = published_tables()
    rounds: dict[str, list[float]] = {"floor": [], "unweave": [], "loop": []}
    floor(model, examples[:16])
    sketcher.sketch_all(examples[:16])
    few = examples[:LOOP_ROWS]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        for _ in range(ROUNDS):
            rounds["floor"].append(tokens_per_second(lambda: floor(model, examples), examples))
            rounds["unweave"].append(tokens_per_second(lambda: sketcher.sketch_all(examples) and None, examples))
            rounds["loop"].append(tokens_per_second(lambda: loop(model, few, tables, target), few))
    pairs = {
        "unweave / floor": [a / b for a, b in zip(rounds["unweave"], rounds["floor"], strict=True)],
        "unweave / loop": [a / b for a, b in zip(rounds["unweave"], rounds["loop"], strict=True)],
    }
    result = {
        "command": "python benchmarks/caching.py",
        "environment": environment(),
        "rows": len(examples),
        "tokens": sum(map(len, examples)),
        "dtype": str(loaded.model.dtype),
        "tokens_per_second": {
            name: {"median": statistics.median(v), "min": min(v), "max": max(v)} for name, v in rounds.items()
        },
        "ratios": {name: {"median": statistics.median(v), "min": min(v), "max": max(v)} for name, v in pairs.items()},
    }
    path = Path(__file__).parent / "results" / "caching.json"
    write_json(path, result)
    for group in ("tokens_per_second", "ratios"):
        for name, value in result[group].items():
            print(f"{name:<18} {value['median']:8.2f}  [{value['min']:.2f}, {value['max']:.2f}]")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
