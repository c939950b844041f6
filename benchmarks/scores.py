"""Are the scores right? `--sketch none --normalize none` against two independent implementations, on SmolLM2-135M, in float32 and in float64.

    python benchmarks/scores.py --bergson VENV/bin/bergson --kronfluence VENV/bin/python        benchmarks/results/scores.json

A LoRA adapter (r 16, all linear layers, both factors random), six generated rows, all inner products of their gradients (D = 4.9 million): ours
through the store, kronfluence's pairwise scores with the identity, bergson's stored gradients without projection. Each row and query has the mean
loss over its answer. The exact rerank from factors is compared too, and how well its token-by-token matrices sum to the scores. Differences are
relative to the largest score of a query.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unweave.attribution.adding import sketcher_for
from unweave.attribution.caching import cache_rows
from unweave.attribution.exact import exact_influence, prepare_query
from unweave.attribution.tracing import trace_rows
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.engines.config import CacheConfig
from unweave.experiments.generated import generate
from unweave.files import write_json, write_jsonl
from unweave.models.loading import ModelConfig, load
from unweave.models.packaged import converted_folder
from unweave.run.folder import environment
from unweave.store.store import GradientStore
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions

ROWS = 6
READ_BERGSON = """
import sys, numpy as np
from bergson.data import load_gradients
from pathlib import Path
found = load_gradients(Path(sys.argv[1]))
fields = found.dtype.names
parts = [found[name] for name in fields] if fields else [found]
parts = [np.asarray(part, dtype=np.float64).reshape(len(found), -1) for part in parts]
total = sum(part @ part.T for part in parts)
np.save(sys.argv[2], total)
"""


def run(command: list[str]) -> None:
    """Run a peer; its output is shown when it fails."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode:
        raise SystemExit(f"{command[:3]} failed:\n{done.stderr[-3000:]}")


def tokens_of(example: Example) -> dict[str, list[int]]:
    """Token ids and labels of a row."""
    ids = list(example.input_ids)
    return {"input_ids": ids, "labels": [-100] * example.prompt_length + ids[example.prompt_length :]}


def relative(found: np.ndarray, truth: np.ndarray) -> float:
    """The largest difference, relative to each query's largest score."""
    return float((np.abs(found - truth) / np.abs(truth).max(axis=1, keepdims=True)).max())


PRECISION = {"float32": "fp32", "float64": "fp64"}


def compare(dtype: Any, options: argparse.Namespace) -> dict[str, float]:
    """The largest relative differences, all tools computing in one dtype."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loaded = load(ModelConfig(dtype=dtype))
        model = add_lora(loaded.model, LoraOptions(lora_r=16, lora_dropout=0.0), seed=0)
        torch.manual_seed(0)
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(parameter, std=0.01)
        model.save_pretrained(folder / "adapter")
        loaded.tokenizer.save_pretrained(folder / "adapter")
        loaded = load(ModelConfig(model=str(folder / "adapter"), dtype=dtype))
        rows = generate(train_rows=18).train[:ROWS]
        config = CacheConfig(
            data=folder,
            store=folder / "store",
            sketch="none",
            normalize="none",
            number_format="float32",
            dtype=dtype,
        )
        cache_rows(config, loaded=loaded, rows=rows)
        store = GradientStore.open(folder / "store")
        result = trace_rows(store, loaded, rows)
        place = {row_id: index for index, row_id in enumerate(result.row_ids)}
        assert result.scores is not None
        ours = result.scores[:, [place[row.id] for row in rows]].double().numpy()
        examples = encode_rows(rows, loaded.tokenizer, EncodingConfig()).examples
        sketcher = sketcher_for(store, loaded)
        exact = [exact_influence(sketcher, prepare_query(sketcher, example), examples) for example in examples[:3]]
        sums = [
            abs(float(matrix.sum()) - float(score)) / float(one.scores.abs().max())
            for one in exact
            for matrix, score in zip(one.matrices, one.scores, strict=True)
        ]
        difference: dict[str, Any] = {
            "exact rerank from factors": relative(
                torch.stack([one.scores for one in exact]).double().numpy(), ours[:3]
            ),
            "token-by-token matrices against their scores": max(sums),
        }
        if options.kronfluence:
            job = {
                "dtype": dtype,
                "base": str(converted_folder()),
                "adapter": str(folder / "adapter"),
                "rows": [{"ids": list(example.input_ids), "prompt": example.prompt_length} for example in examples],
            }
            (folder / "job.json").write_text(json.dumps(job))
            script = Path(__file__).parent / "peers/kronfluence_scores.py"
            run([options.kronfluence, str(script), str(folder / "job.json"), str(folder / "kron.npy")])
            difference["kronfluence, identity"] = relative(np.load(folder / "kron.npy"), ours)
        if options.bergson:
            # Token ids, so that both see the same tokens: its own template adds a line break at the end.
            write_jsonl(folder / "rows.jsonl", [tokens_of(example) for example in examples])
            run([
                options.bergson, "build", str(folder / "bergson"), "--overwrite", "--model", str(folder / "adapter"), "--dataset", str(folder / "rows.jsonl"),
                "--precision", PRECISION[dtype], "--projection_dim", "0", "--loss_reduction", "mean",
            ])  # fmt: skip
            python = str(Path(options.bergson).parent / "python")
            run([python, "-c", READ_BERGSON, str(folder / "bergson"), str(folder / "bergson.npy")])
            difference["bergson, no projection"] = relative(np.load(folder / "bergson.npy"), ours)
    return difference


def main() -> None:
    """Compare in both precisions, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bergson")
    parser.add_argument("--kronfluence")
    options = parser.parse_args()
    torch.set_num_threads(2)
    difference = {dtype: compare(dtype, options) for dtype in PRECISION}
    outcome = {
        "command": "python benchmarks/scores.py --bergson VENV/bin/bergson --kronfluence VENV/bin/python",
        "environment": environment(),
        "rows": ROWS,
        "largest_relative_difference": difference,
    }
    path = Path(__file__).parent / "results" / "scores.json"
    write_json(path, outcome)
    for dtype, found in difference.items():
        for label, value in found.items():
            print(f"{dtype} {label:<46} {value:.2e}")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
