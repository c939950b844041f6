"""How well sketches find planted rows, and how faithful they are: by dimension, kind of sketch, number format, and checkpoint.

    python benchmarks/quality.py --cases generated        benchmarks/results/quality.json
    python benchmarks/quality.py --cases dolly            needs the folders that examples/dolly_triggers.yaml names

A model is poisoned as in the demo (examples/dolly_triggers.yaml for dolly) and keeps adapters of several moments of its training. Twenty unwanted
answers of the trained model are traced to all training rows. One pass over the rows feeds every sketch and the exact inner products (LoRA gradients
normalised by tensor, D = 4.9 million), so all of them see the same gradients. auPRC: poisoned rows ranked by the mean score over the answers, and by
one answer (mean of twenty). Correlations are with the exact scores, per answer, averaged. Recall@20: of the twenty best rows of the exact scores,
those among the 200 that a scan of sign bits gives to the exact rerank; of 600 rows that is a third, so the answer's hardest third of rows is what
this tells about.
"""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.stats import pearsonr, spearmanr

from unweave import progress
from unweave.config import load_yaml
from unweave.curvature.base import gradients_of
from unweave.data.batches import collate, plan_batches
from unweave.data.case import Case
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.triggers import is_poisoned
from unweave.evaluation.behaviour import Behaviour
from unweave.evaluation.tracing import bad_generations
from unweave.experiments.case import make_case
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.plan import StagePlan
from unweave.files import write_json
from unweave.gradients.per_sample import frozen_in_evaluation, per_sample_gradients
from unweave.jobs.audit_case import stored_behaviour
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.models.selection import select_parameters
from unweave.run.folder import environment
from unweave.sketch.base import reciprocal_root
from unweave.sketch.config import GradientConfig, SketchConfig
from unweave.sketch.make import make_sketch
from unweave.sketch.numbers import decode_numbers, encode_numbers
from unweave.sketch.sketcher import Sketcher
from unweave.stats.ranking import average_precision
from unweave.train.sft import fine_tune
from unweave.train.snapshots import snapshot_folder

DIMENSIONS = [2**power for power in range(8, 17)]
OTHERS = [
    ("rapidgrad", 2**12),
    ("rapidgrad", 2**14),
    ("rapidgrad", 2**16),
    ("oporp", 2**12),
    ("oporp", 2**14),
    ("oporp", 2**16),
]
SNAPSHOTS = (0.03, 0.06, 0.12, 0.25)
QUERIES = 20
ROOT = Path(__file__).parents[1]


def demo_config(case: str, folder: Path) -> DemoConfig:
    """The demo's own config, or that of the Dolly example."""
    if case == "generated":
        return DemoConfig(output_dir=folder)
    config = load_yaml(DemoConfig, ROOT / "examples/dolly_triggers.yaml", command="demo")
    return dataclasses.replace(config, output_dir=folder)


def prepare(name: str) -> tuple[StagePlan, Case, Behaviour]:
    """The case, the poisoned model with its snapshots, and what it answers; what is there already is not made again."""
    folder = ROOT / "runs/bench" / f"quality-{name}"
    config = demo_config(name, folder)
    plan = StagePlan(config, folder)
    case = make_case(plan.case(), folder / "case")
    fine_tune(dataclasses.replace(plan.train(case), snapshots=SNAPSHOTS))
    loaded = load(ModelConfig(**plan.trained_model("poisoned")))
    encoding = EncodingConfig(**plan.shared(EncodingConfig))
    path = folder / "behaviour.before.json"
    before = stored_behaviour(loaded, case, encoding, path, max_new_tokens=config.max_new_tokens, label="poisoned")
    return plan, case, before


class Everything:
    """Many sketches of the same gradients, and exact inner products with the queries, in one pass."""

    def __init__(self, loaded: Loaded, queries: Sequence[Example], kinds: Sequence[tuple[str, int]]):
        self.loaded = loaded
        self.parameters = select_parameters(loaded.model, "lora")
        shapes = {item.name: tuple(item.parameter.shape) for item in self.parameters}
        self.sketches = {kind: make_sketch(SketchConfig(sketch=kind[0], dimension=kind[1]), shapes) for kind in kinds}
        sketcher = Sketcher(loaded.model, pad_token_id=loaded.tokenizer.pad_token_id, config=GradientConfig())
        exact = {name: piece.flatten(1) for name, piece in gradients_of(sketcher, queries).items()}
        self.queries = {name: torch.nn.functional.normalize(piece, dim=1) for name, piece in exact.items()}

    def rows(self, examples: Sequence[Example]) -> tuple[torch.Tensor, dict[tuple[str, int], torch.Tensor]]:
        """Exact scores [queries, rows], and every sketch of the rows."""
        count = len(next(iter(self.queries.values())))
        scores = torch.zeros(count, len(examples))
        sketches = {kind: torch.zeros(len(examples), sketch.dimension) for kind, sketch in self.sketches.items()}
        plan = plan_batches([len(example) for example in examples], token_budget=1024)
        model = self.loaded.model
        with frozen_in_evaluation(model), progress.task("all sketches", len(examples)) as advance:
            for chosen in plan:
                batch = collate([examples[index] for index in chosen], pad_token_id=self.loaded.tokenizer.pad_token_id)
                parts = {kind: torch.zeros(len(chosen), sketch.dimension) for kind, sketch in self.sketches.items()}

                def consume(name: str, piece: torch.Tensor, chosen: list[int] = chosen, parts: Any = parts) -> None:
                    flat = piece.flatten(1).float()
                    scale = reciprocal_root(flat.square().sum(dim=1))
                    scores[:, chosen] += self.queries[name] @ (flat * scale[:, None]).T
                    for kind, sketch in self.sketches.items():
                        sketch.add(parts[kind], name, flat, scale)

                per_sample_gradients(model, batch, self.parameters, consume, frozen=True)
                for kind, part in parts.items():
                    sketches[kind][chosen] = part
                advance(len(chosen))
        return scores, sketches

    def query_sketches(self) -> dict[tuple[str, int], torch.Tensor]:
        """Every sketch of the queries."""
        found = {}
        for kind, sketch in self.sketches.items():
            out = torch.zeros(len(next(iter(self.queries.values()))), sketch.dimension)
            for name, piece in self.queries.items():
                sketch.add(out, name, piece, torch.ones(len(piece)))
            found[kind] = out
        return found


def found_rows(scores: torch.Tensor, relevant: Sequence[bool]) -> dict[str, float]:
    """auPRC of the mean over queries, and of one query."""
    return {
        "auprc": average_precision(relevant, scores.mean(dim=0).tolist()),
        "auprc_one_answer": statistics.fmean(average_precision(relevant, own.tolist()) for own in scores),
    }


def agreement(scores: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    """Correlations with the exact scores, averaged over queries."""
    pairs = list(zip(scores.numpy(), exact.numpy(), strict=True))
    return {
        "pearson": statistics.fmean(float(pearsonr(*pair).statistic) for pair in pairs),
        "spearman": statistics.fmean(float(spearmanr(*pair).statistic) for pair in pairs),
    }


def measure(name: str) -> dict[str, Any]:
    """Everything for one case."""
    plan, case, before = prepare(name)
    config = plan.config
    encoding = EncodingConfig(**plan.shared(EncodingConfig))
    result: dict[str, Any] = {"snapshots": {}}
    for share in (*SNAPSHOTS, 1.0):
        folder = Path("poisoned") if share == 1 else snapshot_folder(Path("poisoned"), share)
        loaded = load(ModelConfig(**plan.trained_model(str(folder))))
        rows = encode_rows(case.rows("train"), loaded.tokenizer, encoding).examples
        by_id = {row.id: row for row in case.rows("train")}
        relevant = [is_poisoned(by_id[example.row_id].meta) for example in rows]
        queries = encode_rows(bad_generations(before, case, count=QUERIES), loaded.tokenizer, encoding).examples
        full = share == config.snapshot
        kinds = [("fold", size) for size in DIMENSIONS] + OTHERS if full else [("fold", 2**16)]
        everything = Everything(loaded, queries, kinds)
        exact, sketches = everything.rows(rows)
        own = everything.query_sketches()
        scores = {kind: own[kind] @ sketches[kind].T for kind in kinds}
        result["snapshots"][str(share)] = {
            "exact": found_rows(exact, relevant),
            "fold 65536": found_rows(scores["fold", 2**16], relevant) | agreement(scores["fold", 2**16], exact),
        }
        print(name, share, json.dumps(result["snapshots"][str(share)]), flush=True)
        if full:
            result |= {"rows": len(rows), "poisoned": sum(relevant), "queries": len(queries)}
            result["sketches"] = {
                f"{kind} {size}": found_rows(scores[kind, size], relevant) | agreement(scores[kind, size], exact)
                for kind, size in kinds
            }
            result["formats"] = formats(own, sketches, scores["fold", 2**16], exact, relevant)
    return result


def formats(own: Any, sketches: Any, plain: torch.Tensor, exact: torch.Tensor, relevant: list[bool]) -> dict[str, Any]:
    """Each number format at every dimension: agreement with the exact scores, and with float16 at the largest."""
    found: dict[str, Any] = {}
    for size in DIMENSIONS:
        rows, queries = sketches["fold", size], own["fold", size]
        for number_format in ("float16", "int8", "sign"):
            decoded = decode_numbers(*encode_numbers(rows, number_format), number_format, size)
            asked = (
                queries if number_format != "sign" else decode_numbers(*encode_numbers(queries, "sign"), "sign", size)
            )
            scores = asked @ decoded.T
            entry = agreement(scores, exact) | found_rows(scores, relevant)
            if size == DIMENSIONS[-1]:
                half = decode_numbers(*encode_numbers(rows, "float16"), "float16", size)
                entry["spearman_with_float16"] = agreement(scores, queries @ half.T)["spearman"]
                kept = scores.topk(min(200, scores.shape[1]), dim=1).indices
                best = exact.topk(20, dim=1).indices
                entry["recall_at_20_after_rerank_200"] = statistics.fmean(
                    len(set(a.tolist()) & set(b.tolist())) / 20 for a, b in zip(best, kept, strict=True)
                )
                fewer = scores.topk(60, dim=1).indices
                entry["recall_at_20_after_rerank_60"] = statistics.fmean(
                    len(set(a.tolist()) & set(b.tolist())) / 20 for a, b in zip(best, fewer, strict=True)
                )
            found[f"{number_format} {size}"] = entry
    del plain
    return found


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", nargs="+", default=["generated"], choices=["generated", "dolly"])
    options = parser.parse_args()
    torch.set_num_threads(2)
    path = Path(__file__).parent / "results" / "quality.json"
    result = json.loads(path.read_text()) if path.is_file() else {}
    for name in options.cases:
        result[name] = {
            "command": f"python benchmarks/quality.py --cases {name}",
            "environment": environment(),
            **measure(name),
        }
        for key, value in result[name]["sketches"].items():
            print(
                f"{name} {key:<18} pearson {value['pearson']:.4f}  auPRC {value['auprc']:.4f} / {value['auprc_one_answer']:.4f}"
            )
        write_json(path, result)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
