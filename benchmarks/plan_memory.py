"""What `unweave plan cache` says of memory, against the peak of the run itself, for ten configurations on the CPU.

    python benchmarks/plan_memory.py                benchmarks/results/plan_memory.json
    python benchmarks/plan_memory.py --only 0 3     some of them

Each is two processes one after the other: the plan, and the run, whose peak resident memory the system counts (`ru_maxrss`). Random Llama models of three
sizes, random rows; LoRA adapters or all linear weights, short and long rows, several budgets. Figures are written one by one.
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

TOLERANCE = 0.15
SIZES = {
    "small": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4},
    "middle": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 4},
    "wide": {"hidden_size": 2048, "intermediate_size": 4096, "num_hidden_layers": 6, "num_attention_heads": 16, "num_key_value_heads": 4},
}  # fmt: skip
CASES = [
    ("small", "float32", "linear", 64, 1024), ("small", "float32", "linear", 256, 8192), ("small", "bfloat16", "linear", 256, 8192),
    ("middle", "float32", "linear", 128, 1024), ("middle", "float32", "linear", 256, 8192), ("middle", "bfloat16", "linear", 256, 4096),
    ("middle", "float32", "all", 128, 1024), ("wide", "float32", "linear", 256, 2048), ("wide", "bfloat16", "linear", 256, 4096),
    ("wide", "bfloat16", "all", 128, 1024),
]  # fmt: skip
"""Model, dtype, parameters, words of the longest row, tokens a batch."""


def make_model(folder: Path, size: str) -> None:
    """A model and a tokenizer of whole words."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from gpu_parts.models import SPECIAL, word_tokenizer

    torch.manual_seed(0)
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": True, "vocab_size": 8192}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES[size], **special))
    model.save_pretrained(folder)
    assert len(SPECIAL) < 1024
    word_tokenizer(1024).save_pretrained(folder)


def measure(command: list[str]) -> tuple[int, str]:
    """The peak resident memory of a command in bytes, and what it prints."""
    program = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "sys.stderr.write(done.stderr)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "print(done.stdout)\n"
        "sys.exit(done.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False, env=os.environ
    )
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr[-2000:]}")
    first, _, rest = done.stdout.partition("\n")
    return int(first) * (1 if sys.platform == "darwin" else 1024), rest


def one_case(size: str, dtype: str, parameters: str, words: int, budget: int) -> dict[str, Any]:
    """A plan and a run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model", size)
        # Batches of all lengths: the longest rows come first.
        rows = [
            {
                "prompt": f"w{index % 900}",
                "completion": " ".join(f"w{(index + place) % 900}" for place in range(length)),
            }
            for index, length in enumerate(
                [words - words * (index % 8) // 16 for index in range(2 * budget // words + 16)]
            )
        ]
        write_jsonl(folder / "rows.jsonl", rows)
        command = [
            *[
                sys.executable,
                "-m",
                "unweave.cli.main",
                "cache",
                "--model",
                str(folder / "model"),
                "--data",
                str(folder / "rows.jsonl"),
            ],
            *[
                "--store",
                str(folder / "store"),
                "--dtype",
                dtype,
                "--parameters",
                parameters,
                "--token-budget",
                str(budget),
                "--quiet",
            ],
        ]
        _, told = measure([*command, "--dry-run", "--json"])
        planned = json.loads(told)["peak_bytes"]
        peak, _ = measure(command)
    return {
        "model": size, "dtype": dtype, "parameters": parameters, "longest": words, "token_budget": budget,
        "planned_mib": planned / 2**20, "peak_mib": peak / 2**20, "planned_over_peak": planned / peak, "within": abs(planned / peak - 1) <= TOLERANCE,
    }  # fmt: skip


def main() -> None:
    """Measure, case by case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", type=int, default=list(range(len(CASES))))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "plan_memory.json")
    options = parser.parse_args()
    found = []
    for index in options.only:
        found.append(one_case(*CASES[index]))
        print(json.dumps(found[-1]), flush=True)
        write_json(
            options.output,
            {
                "command": "python benchmarks/plan_memory.py",
                "environment": environment(),
                "tolerance": TOLERANCE,
                "cases": found,
            },
        )


if __name__ == "__main__":
    main()
