"""Caching and training under a limit of the address space (`ulimit -v`) that their batches do not fit: they end, with the same results.

    python benchmarks/short_of_memory.py        benchmarks/results/short_of_memory.json

A random Llama in float32, rows of one length. Each command runs twice in a process of its own, once without a limit and once under 3 GiB of address space in
all, libraries included (1.4 GiB of them before anything is computed): sketches of a batch of all rows, and two steps of all rows. Under the limit batches and
steps are made in parts; what differs is rounding.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from unweave.files import write_json, write_jsonl
from unweave.run.folder import environment

LIMIT = 3 << 30
CHILD = """
import resource, sys
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from unweave.cli.main import main
sys.exit(main(sys.argv[2:]))
"""
SIZE = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
ROWS, WORDS = 40, 250


def run(limit: int, argv: list[str]) -> str:
    """A command in a process of its own; gives what it said."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(limit), *argv], capture_output=True, text=True, check=False, env=environ
    )
    if done.returncode:
        raise SystemExit(f"{argv} failed:\n{done.stderr[-3000:]}")
    return done.stderr


def cached(folder: Path, limit: int) -> tuple[Any, str]:
    """All sketches."""
    from unweave.store.store import GradientStore

    place = folder / f"store-{limit}"
    options = [
        "--parameters",
        "linear",
        "--dimension",
        "1024",
        "--token-budget",
        str(ROWS * (WORDS + 20)),
        "--number-format",
        "float32",
    ]
    said = run(limit, ["cache", *_common(folder), "--store", str(place), *options])
    store = GradientStore.open(place)
    return store.read(sorted(store.row_ids())), said


def trained(folder: Path, limit: int) -> tuple[Any, str]:
    """The adapter that training gives."""
    from safetensors.torch import load_file

    place = folder / f"trained-{limit}"
    options = [
        "--batch-size",
        str(ROWS),
        "--epochs",
        "2",
        "--lora-r",
        "4",
        "--lora-dropout",
        "0",
        "--learning-rate",
        "1e-3",
    ]
    said = run(limit, ["train", *_common(folder), "--output-dir", str(place), *options])
    import torch

    weights = load_file(place / "adapter_model.safetensors")
    return torch.cat([weights[name].flatten() for name in sorted(weights)]), said


def _common(folder: Path) -> list[str]:
    return [
        "--model",
        str(folder / "model"),
        "--data",
        str(folder / "rows.jsonl"),
        "--dtype",
        "float32",
        "--max-length",
        "512",
        "--template",
        "plain",
    ]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "short_of_memory.json")
    output = parser.parse_args().output
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from gpu_parts.models import word_tokenizer

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": 8192}
        AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZE, **special)).save_pretrained(
            folder / "model"
        )
        word_tokenizer(1024).save_pretrained(folder / "model")
        texts = [" ".join(f"w{(7 * row + place) % 900}" for place in range(WORDS)) for row in range(ROWS)]
        write_jsonl(
            folder / "rows.jsonl",
            [{"id": f"r{row}", "prompt": f"w{row}", "completion": text} for row, text in enumerate(texts)],
        )
        for command, work in (("cache", cached), ("train", trained)):
            free, said = work(folder, 0)
            limited, warned = work(folder, LIMIT)
            largest = float(free.abs().max())
            found[command] = {
                "free": "in parts" if "parts from here on" in said else "whole",
                "limited": "in parts" if command == "cache" or "parts from here on" in warned else "whole",
                "difference": float((free - limited).abs().max()) / largest,
            }
            print(command, json.dumps(found[command]), flush=True)
            write_json(
                output,
                {
                    "command": "python benchmarks/short_of_memory.py",
                    "environment": environment(),
                    "limit_gib": LIMIT / 2**30,
                    "rows": ROWS,
                    "words": WORDS,
                    "runs": found,
                },
            )


if __name__ == "__main__":
    main()
