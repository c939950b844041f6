"""What `unweave plan` says of memory, against the peak of the run itself: ten configurations of five commands on the CPU.

    python benchmarks/plan_memory.py                benchmarks/results/plan_memory.json
    python benchmarks/plan_memory.py --only 0 3     some of them; the others stay as they are in the file

Random Llama models, random rows. Each plan and each run is a process of its own, forked when everything is imported and each command was run once on a
smaller model (sketches by torch: numba's threads outlive no fork); the peak is the most that was resident (VmHWM) above what the process began with.
`plan cache` does a run's largest batch, the other plans make a pass on a model without values. One thread. glibc gives freed tensors
back at once here (MALLOC_MMAP_THRESHOLD_=65536): by default it keeps those of up to 32 MiB, half as much again in the first case. Figures are
written one by one.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from forked import forked_peak, resident
from unweave import progress
from unweave.engines.config import CacheConfig
from unweave.engines.run import cache
from unweave.evaluation.config import AuditConfig
from unweave.files import read_json, write_json, write_jsonl
from unweave.jobs import plans
from unweave.jobs.audit import audit_models
from unweave.jobs.cache_plan import plan_cache
from unweave.jobs.config import TraceConfig
from unweave.jobs.forget import forget_rows
from unweave.jobs.trace import trace_answers
from unweave.run.folder import environment
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.config import config_of

TOLERANCE = 0.15
THRESHOLD = "MALLOC_MMAP_THRESHOLD_"
SIZES = {
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2},
    "small": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4},
    "middle": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 8},
    "wide": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 4, "num_attention_heads": 16, "num_key_value_heads": 4},
}  # fmt: skip
CASES: list[tuple[str, str, int, int, dict[str, Any]]] = [
    ("train", "small", 16, 128, {}),
    ("train", "middle", 4, 192, {"tuning": "full"}),
    ("train", "middle", 8, 192, {"gradient_checkpointing": True}),
    ("cache", "small", 16, 128, {}),
    ("cache", "middle", 8, 128, {"parameters": "linear"}),
    ("trace", "wide", 1, 64, {}),
    ("forget", "small", 8, 128, {"method": "npo"}),
    ("forget", "middle", 4, 96, {"method": "rapidun"}),
    ("audit", "small", 24, 160, {}),
    ("audit", "wide", 8, 96, {}),
]
"""Command, model, rows of the largest batch, words of the longest row, options."""


def make_model(folder: Path, size: str) -> None:
    """A model and a tokenizer of whole words."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from gpu_parts.models import word_tokenizer

    torch.manual_seed(0)
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": True, "vocab_size": 8192}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES[size], **special))
    model.save_pretrained(folder)
    word_tokenizer(1024).save_pretrained(folder)


def make_rows(path: Path, count: int, words: int) -> Path:
    """Rows of like length; of each file others."""
    first = 300 * len(path.stem)
    texts = [" ".join(f"w{(first + 7 * index + place) % 900}" for place in range(words)) for index in range(count)]
    rows = [
        {"id": f"{path.stem}{i}", "prompt": f"w{i % 900} w{i % 7}", "completion": text} for i, text in enumerate(texts)
    ]
    write_jsonl(path, rows)
    return path


def prepared(folder: Path, command: str, size: str, rows: int, words: int, options: dict[str, Any]) -> Any:
    """The config of a run, with what it reads."""
    make_model(folder / "base", size)
    held: dict[str, Any] = {"dtype": "float32", "max_length": 512, "template": "plain"}
    data = make_rows(folder / "rows.jsonl", 2 * rows, words)
    if command == "train":
        few: dict[str, Any] = {"batch_size": rows, "epochs": 1.0, "lora_r": 8, **options}
        return TrainConfig(model=str(folder / "base"), data=data, output_dir=folder / "out", **few, **held)
    # An adapter by a step of training, in a process that goes: nothing of it is measured.
    least = make_rows(folder / "least.jsonl", 2, 8)
    train = TrainConfig(
        model=str(folder / "base"), data=least, output_dir=folder / "tuned", epochs=1.0, lora_r=8, **held
    )
    forked_peak(lambda: fine_tune(train) and None)
    tuned = str(folder / "tuned")
    if command == "cache":
        budget = rows * (words + 16)
        return CacheConfig(
            model=tuned, data=data, store=folder / "store", token_budget=budget, dimension=4096, **options, **held
        )
    if command == "trace":
        store = CacheConfig(model=tuned, data=data, store=folder / "store", dimension=4096, **held)
        forked_peak(lambda: cache(store) and None)
        text = " ".join(f"w{place % 900}" for place in range(words))
        return TraceConfig(store=folder / "store", prompt="w1 w2", completion=text, dtype="float32")
    if command == "forget":
        names = {"forget": make_rows(folder / "forget.jsonl", rows, words), "retain": data}
        kind = config_of(options["method"])
        return kind(
            model=tuned, **names, output_dir=folder / "out", batch_size=rows, epochs=1.0, stop_at_base=False, **held
        )
    own = {
        "before": str(folder / "base"),
        "after": tuned,
        "forget": data,
        "retain": make_rows(folder / "others.jsonl", rows, words),
    }
    return AuditConfig(
        **own, output_dir=folder / "out", attacks=(), probes=(), gradnorm_rows=0, max_new_tokens=4, **held
    )


PLANS: dict[str, Callable[[Any], int]] = {
    "cache": lambda config: plan_cache(config).peak_bytes or 0,
    "train": lambda config: plans.train(config).memory["peak"],
    "trace": lambda config: plans.trace(config).memory["peak"],
    "forget": lambda config: plans.forget(config).memory["peak"],
    "audit": lambda config: plans.audit(config).memory["peak"],
}
RUNS: dict[str, Callable[[Any], Any]] = {
    "train": fine_tune, "cache": cache, "trace": trace_answers, "forget": forget_rows, "audit": audit_models,
}  # fmt: skip


def one_case(command: str, size: str, rows: int, words: int, options: dict[str, Any]) -> dict[str, Any]:
    """A plan and a run."""
    folder = Path(tempfile.mkdtemp(prefix="plan-memory-"))
    try:
        config = prepared(folder, command, size, rows, words, options)

        def plan() -> int:
            began = resident()
            # Of caching the plan is of the whole process.
            return PLANS[command](config) - (began if command == "cache" else 0)

        planned, _ = forked_peak(plan)
        _, peak = forked_peak(lambda: RUNS[command](config) and None)
    finally:
        shutil.rmtree(folder)
    return {
        "command": command, "model": size, **SIZES[size], "rows": rows, "words": words, "options": options,
        "planned_mib": planned / 2**20, "peak_mib": peak / 2**20, "planned_over_peak": planned / peak, "within": abs(planned / peak - 1) <= TOLERANCE,
    }  # fmt: skip


def main() -> None:
    """Measure, case by case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", type=int, default=list(range(len(CASES))))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "plan_memory.json")
    options = parser.parse_args()
    if THRESHOLD not in os.environ:
        # Read by glibc when a process begins.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, THRESHOLD: "65536"})
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    progress.silence(True)
    kept = read_json(options.output, what="The figures")["cases"] if options.output.is_file() else []
    found: dict[str, Any] = {str(one["number"]): one for one in kept}
    os.environ["UNWEAVE_KERNELS"] = "torch"
    ready: set[str] = set()
    for index in options.only:
        if CASES[index][0] not in ready:
            warm(CASES[index][0])
            ready.add(CASES[index][0])
        found[str(index)] = {"number": index, **one_case(*CASES[index])}
        print(json.dumps(found[str(index)]), flush=True)
        write_json(
            options.output,
            {
                "command": "python benchmarks/plan_memory.py",
                "environment": environment(),
                "tolerance": TOLERANCE,
                "cases": [found[key] for key in sorted(found, key=int)],
            },
        )


def warm(command: str) -> None:
    """Import and touch what a command needs, on a model too small to count."""
    folder = Path(tempfile.mkdtemp(prefix="plan-memory-"))
    try:
        own = next(case[4] for case in CASES if case[0] == command)
        RUNS[command](prepared(folder, command, "tiny", 2, 8, own))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
