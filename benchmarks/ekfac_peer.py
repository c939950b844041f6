"""EK-FAC against kronfluence's, on the same small stack: covariances, eigenvalues, and scores, in float64.

    python benchmarks/ekfac_peer.py --kronfluence VENV/bin/python        benchmarks/results/ekfac_peer.json

A Llama of two layers with random weights (that of `lds.py`), its fourteen linear layers, rows of random tokens of which all but the first are predicted, and
queries of the same kind. Both fit on the labels of the rows, not on sampled ones, so that they see the same gradients; the loss of a row is the sum over its
tokens, the damping a tenth of the mean eigenvalue. Differences are relative to the largest number of a matrix, or of a query's scores; covariances are
compared with a trace of 1, as their scale does not matter. With labels sampled from the model, each by its own random numbers, ranks are compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from lds import make_model
from unweave.curvature.base import Problem, gradients_of
from unweave.curvature.ekfac import _covariances, fit_ekfac
from unweave.data.encoding import Example
from unweave.files import write_json
from unweave.run.folder import environment
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.stats.intervals import rank_correlations

VOCABULARY, TOKENS, ROWS, QUERIES = 300, 16, 32, 6
RESULT = Path(__file__).parent / "results" / "ekfac_peer.json"


def examples(count: int, seed: int) -> list[Example]:
    """Rows of random tokens, all but the first of them predicted."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, VOCABULARY, (count, TOKENS), generator=generator).tolist()
    return [Example(f"{seed}-{index}", tuple(own), 1) for index, own in enumerate(tokens)]


def relative(found: np.ndarray, truth: np.ndarray) -> float:
    """The largest difference, relative to the largest number."""
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def scores_of(sketcher: Sketcher, fitted: Any, rows: list[Example], queries: list[Example]) -> np.ndarray:
    """<(C + damping)^-1 g(query), g(row)>, of whole gradients."""
    held, own = fitted(gradients_of(sketcher, queries)), gradients_of(sketcher, rows)
    return sum(held[name].flatten(1) @ own[name].flatten(1).T for name in own).double().numpy()  # type: ignore[union-attr]


def peer(
    python: str, folder: Path, job: dict[str, Any], name: str
) -> tuple[np.ndarray, dict[str, torch.Tensor], float]:
    """kronfluence's scores and factors, and the seconds of its process."""
    write_json(folder / f"{name}.json", job)
    script = Path(__file__).parent / "peers" / "kronfluence_ekfac.py"
    places = [str(folder / f"{name}{ending}") for ending in (".json", ".npy", ".safetensors")]
    begun = time.perf_counter()
    done = subprocess.run(
        [python, str(script), *places], capture_output=True, text=True, check=False, env=os.environ.copy()
    )
    if done.returncode:
        raise SystemExit(f"kronfluence failed:\n{done.stderr[-3000:]}")
    return np.load(places[1]), load_file(places[2]), time.perf_counter() - begun


def version_of(python: str) -> str:
    """kronfluence's, where it is installed."""
    code = "import importlib.metadata as m; print(m.version('kronfluence'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def compare(python: str) -> dict[str, Any]:
    """One run of both."""
    rows, queries = examples(ROWS, 1), examples(QUERIES, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(VOCABULARY, 0).double()
        model.config._attn_implementation = "sdpa"  # eager attention has its softmax in float32
        model.save_pretrained(folder / "model")
        model.requires_grad_(False)

        def tokens(part: list[Example]) -> list[dict[str, Any]]:
            return [{"ids": list(example.input_ids), "prompt": example.prompt_length} for example in part]

        job = {
            "base": str(folder / "model"),
            "adapter": None,
            "dtype": "float64",
            "attention": "sdpa",
            "rows": tokens(rows),
            "queries": tokens(queries),
        }
        sketcher = Sketcher(
            model,
            pad_token_id=0,
            config=GradientConfig(parameters="linear", reduction="sum", normalize="none", sketch="none"),
        )
        problem = Problem(sketcher, rows)
        begun = time.perf_counter()
        fitted = fit_ekfac(problem, empirical=True)
        ours = scores_of(sketcher, fitted, rows, queries)
        seconds = time.perf_counter() - begun
        theirs, factors, peer_seconds = peer(python, folder, {**job, "empirical": True}, "empirical")
        covariances = _covariances(problem, lambda batch: batch, "sum")
        differences: dict[str, list[float]] = {
            "gradient_covariance": [],
            "activation_covariance": [],
            "eigenvalues": [],
        }
        for weight, sides in covariances.items():
            module = weight.removesuffix(".weight")
            for kind, side in zip(("gradient_covariance", "activation_covariance"), sides, strict=True):
                own, other = side.numpy(), factors[f"{kind}/{module}"].numpy()
                differences[kind].append(relative(own / own.trace(), other / other.trace()))
            own = fitted.eigenvalues[weight].numpy()
            differences["eigenvalues"].append(relative(own, factors[f"eigenvalues/{module}"].flatten().numpy()))
        sampled = scores_of(sketcher, fit_ekfac(problem), rows, queries)
        again = scores_of(sketcher, fit_ekfac(Problem(sketcher, rows, seed=1)), rows, queries)
        theirs_sampled = peer(python, folder, job, "sampled")[0]
    slope = float((ours * theirs).sum() / np.square(theirs).sum())
    return {
        "layers": len(covariances),
        "rows": ROWS,
        "queries": QUERIES,
        "tokens": TOKENS,
        "factors": {kind: max(own) for kind, own in differences.items()},
        "scores": max(relative(one, two) for one, two in zip(ours, theirs, strict=True)),
        "slope": slope,
        "sampled_labels": {
            "spearman": float(np.mean(rank_correlations(sampled.T, theirs_sampled.T))),
            "spearman_of_two_own_seeds": float(np.mean(rank_correlations(sampled.T, again.T))),
        },
        "seconds": {"unweave": seconds, "kronfluence, its process": peer_seconds},
    }


def main() -> None:
    """Compare, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kronfluence", default=sys.executable, help="a Python that has kronfluence")
    options = parser.parse_args()
    result = {
        "command": "python benchmarks/ekfac_peer.py --kronfluence PYTHON",
        "environment": environment(),
        "kronfluence": version_of(options.kronfluence),
        **compare(options.kronfluence),
    }
    write_json(RESULT, result)
    print(
        json.dumps({key: result[key] for key in ("factors", "scores", "slope", "sampled_labels", "seconds")}, indent=2)
    )
    print(f"written: {RESULT}")


if __name__ == "__main__":
    main()
