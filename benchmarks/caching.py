"""Caching against its floor, against bergson, and against a faithful RapidIn loop, on the same rows in one run.

    python benchmarks/caching.py --bergson VENV/bin/bergson        benchmarks/results/caching.json

SmolLM2-135M, rows of the generated data, K = 65,536, batches of 1,024 tokens, two threads. Two sets of parameters: a LoRA adapter (r 16, all linear
layers; fold sketch), and all linear weights themselves (kronecker sketch from the factors; fold for comparison). Measured in turn, in rounds, real
tokens a second:

- floor: a bare forward and a backward to activations only, on the very batches that caching uses;
- unweave: per-sample gradients, tensor normalisation, sketches;
- loop: what RapidIn does: batch of one, all gradients, concatenated, padded to 2^24, 40 shuffles, signs, sums, one file a row (LoRA only);
- bergson (2.5.1, in an environment of its own, since it brings torchvision): `bergson build` on the same rows with the same chat template, bfloat16 and a
  16 x 16 projection a module; and with its own defaults, float32 without projection (LoRA only: for all weights that is 68 GB).
  Start-up is taken out: the time of all rows less the time of a fifth of them, by the difference in tokens. The same is done for `unweave cache` as a
  command.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from figures import spread
from floors import bare_passes
from sketch_variance import published_tables, shuffled_sketch
from unweave.data.batches import collate
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.experiments.generated import generate
from unweave.files import write_json, write_jsonl
from unweave.gradients.loss import token_losses
from unweave.models.loading import Loaded, load
from unweave.models.packaged import converted_folder
from unweave.run.folder import environment
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions

ROWS, FEW, LOOP_ROWS, BUDGET = 160, 32, 8, 1024
BERGSON_EQUAL = ["--precision", "bf16", "--projection_dim", "16", "--token_batch_size", str(BUDGET)]
BERGSON_DEFAULT = ["--precision", "fp32"]


def tokens_per_second(work: Callable[[], object], examples: list[Example]) -> float:
    """Real tokens over wall time."""
    start = time.perf_counter()
    work()
    return sum(map(len, examples)) / (time.perf_counter() - start)


def floor(model: Any, examples: list[Example], which: str) -> None:
    """On the very batches that caching uses."""
    bare_passes(model, examples, which, token_budget=BUDGET, pad_token_id=2)


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


def run_seconds(command: list[str], folder: Path) -> float:
    """Wall seconds of a command, from an empty output folder."""
    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "2"}
    )
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def command_rate(make: Callable[[str], list[str]], folder: Path, tokens: tuple[int, int]) -> dict[str, float]:
    """Tokens a second beyond start-up, and the start-up itself, of a command on few and on all rows."""
    few, every = (run_seconds(make(name), folder) for name in ("few", "all"))
    rate = (tokens[1] - tokens[0]) / (every - few)
    return {"rate": rate, "startup": few - tokens[0] / rate}


def prepare(folder: Path, rows: list[Any], kind: str, adapted: Loaded) -> str:
    """The rows as files for the commands, and the model's folder."""
    for name, part in (("few", rows[:FEW]), ("all", rows)):
        write_jsonl(folder / f"{name}.jsonl", [{"prompt": row.user_text, "completion": row.completion} for row in part])
    if kind == "linear":
        return str(converted_folder())
    adapted.model.save_pretrained(folder / "adapter")
    adapted.tokenizer.save_pretrained(folder / "adapter")
    return str(folder / "adapter")


def measure(kind: str, bergson: str | None, rounds: int) -> dict[str, Any]:
    """All contenders on one set of parameters."""
    loaded = load()
    if kind == "lora":
        loaded.model = add_lora(loaded.model, LoraOptions(lora_r=16, lora_dropout=0.0), seed=0)
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.01)
    model = loaded.model.eval()
    rows = generate(train_rows=ROWS).train
    examples = encode_rows(rows, loaded.tokenizer, EncodingConfig()).examples
    tokens = sum(map(len, examples[:FEW])), sum(map(len, examples))
    kinds = {"lora": ["fold"], "linear": ["kronecker", "fold"]}[kind]
    sketchers = {
        sketch: Sketcher(
            model, pad_token_id=2, config=GradientConfig(parameters=kind, sketch=sketch, token_budget=BUDGET)
        )
        for sketch in kinds
    }
    names = ["floor", *(f"unweave, {sketch}" for sketch in kinds)]
    rates: dict[str, list[float]] = {name: [] for name in names}
    startups: dict[str, list[float]] = {}
    floor(model, examples[:16], kind)
    for sketcher in sketchers.values():
        sketcher.sketch_all(examples[:16])
    tables = published_tables() if kind == "lora" else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = prepare(folder, rows, kind, loaded)
        commands = {
            "unweave cache, command": lambda part: [
                *[
                    str(Path(sys.executable).parent / "unweave"),
                    "cache",
                    "--model",
                    path,
                    "--data",
                    str(folder / f"{part}.jsonl"),
                ],
                *["--store", str(folder / "out"), "--parameters", kind, "--sketch", kinds[0], "--quiet"],
            ]
        }
        options = {"bergson, bf16, projected": BERGSON_EQUAL} if bergson else {}
        if bergson and kind == "lora":
            options["bergson, its defaults"] = BERGSON_DEFAULT
        for label, extra in options.items():
            commands[label] = lambda part, extra=extra: [
                *[str(bergson), "build", str(folder / "out"), "--overwrite", "--model", path],
                *[
                    "--dataset",
                    str(folder / f"{part}.jsonl"),
                    "--prompt_column",
                    "prompt",
                    "--completion_column",
                    "completion",
                ],
                *extra,
            ]
        for turn in range(rounds):
            rates["floor"].append(tokens_per_second(lambda: floor(model, examples, kind), examples))
            for sketch, sketcher in sketchers.items():
                work = lambda sketcher=sketcher: sketcher.sketch_all(examples)  # noqa: E731
                rates[f"unweave, {sketch}"].append(tokens_per_second(work, examples))
            if kind == "lora":
                few = examples[:LOOP_ROWS]
                rates.setdefault("loop", []).append(
                    tokens_per_second(lambda few=few: loop(model, few, tables, folder), few)
                )
            for label, make in commands.items():
                found = command_rate(make, folder / "out", tokens)
                rates.setdefault(label, []).append(found["rate"])
                startups.setdefault(label, []).append(found["startup"])
            print(
                f"{kind}, round {turn + 1}: " + ", ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items()),
                flush=True,
            )
    own = f"unweave, {kinds[0]}"
    ratios = {
        f"{own} / {name}": [a / b for a, b in zip(rates[own], rates[name], strict=True)]
        for name in rates
        if name != own
    }
    return {
        "tokens": tokens[1],
        "rows": len(examples),
        "dtype": str(model.dtype),
        "tokens_per_second": {name: spread(values) for name, values in rates.items()},
        "ratios": {name: spread(values) for name, values in ratios.items()},
        "startup_seconds": {name: spread(values) for name, values in startups.items()},
    }


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bergson", help="the bergson command of an environment that has it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=["lora", "linear"])
    options = parser.parse_args()
    torch.set_num_threads(2)
    path = Path(__file__).parent / "results" / "caching.json"
    previous = json.loads(path.read_text()) if path.is_file() and len(options.kinds) == 1 else {}
    result: dict[str, Any] = {
        "command": "python benchmarks/caching.py --bergson VENV/bin/bergson",
        "environment": environment(),
        "rounds": options.rounds,
        **{kind: previous[kind] for kind in ("lora", "linear") if kind in previous},
    }
    for kind in options.kinds:
        result[kind] = measure(kind, options.bergson, options.rounds)
        for group in ("tokens_per_second", "ratios", "startup_seconds"):
            for name, value in result[kind][group].items():
                print(f"{kind:<7} {name:<50} {value['median']:8.2f}  [{value['min']:.2f}, {value['max']:.2f}]")
        write_json(path, result)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
