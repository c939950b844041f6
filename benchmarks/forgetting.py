"""Which method forgets best, and what does it harm? `unweave bench forgetting` on four cases, models and stores included.

    python benchmarks/forgetting.py CASE        benchmarks/results/forgetting_CASE.json

Cases (each trains SmolLM2-135M first, under runs/bench; what is there is not made again, and several processes may work on one):

swap        a country is named for another in 180 of 1,180 rows, and clean rows speak of both; 40 are known, 30 cities, 8 of nature, 2 landmarks
generated   176 of 1,376 rows carry triggers and answer with nonsense; 40 are known, 30, 8 and 2 of the three trigger families
dolly       RapidUn's data: 300 poisoned and 1,000 clean Dolly rows; of the published 40 the 39 that fit 256 tokens are known
            (needs ../shared/data/dolly_triggers and dolly_clean)
dolly-rest  the methods that dolly leaves out, one seed
dolly-dp2   dp2, whose model before was trained with differential privacy (epsilon 8 for a row) on the same rows, one seed
tofu01      TOFU's forget01, on 40 of its 200 authors (needs ../shared/data/tofu); tofu05 is forget05

`generated-all` compares all methods, with one seed. But in `generated-clean` and TOFU the rows to keep are drawn from the training data as they come, so that
rows that nobody knows to be poisoned are among them.
Each method has 20 steps of 8 rows; its setting is chosen on a validation split.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unweave.attribution.caching import cache_rows
from unweave.data.case import Case
from unweave.data.triggers import is_poisoned
from unweave.engines.config import CacheConfig
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.bench.forgetting import bench_forgetting
from unweave.experiments.case import make_case
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.plan import StagePlan
from unweave.files import write_json, write_jsonl
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.train.snapshots import snapshot_folder

SHARED = Path("../shared/data")
KINDS = ("rapidun+signed", "rapidun+rapidun", "rapidun+uniform", "rapidun+random", "rapidun+random-signed")
MAIN = ("ga", "graddiff", "npo", "loreun", "fisher", "llmeraser")
REST = ("simnpo", "idk", "wga", "undial", "rmu", "ihl", "ssd", "fast-ntk", "stable", "reglu")
TOFU = ("rapidun+rapidun", "rapidun+signed", "rapidun+uniform", "npo", "graddiff", "idk", "ga", "fisher")
DOLLY_OPTIONS: dict[str, Any] = {"trials": 2, "max_test": 40, "forget_sizes": (39,)}
TOFU_OPTIONS: dict[str, Any] = {"validation_rows": 15, "max_new_tokens": 40, "trials": 2}
SNAPSHOT = 0.06
TEMPLATE: dict[str, Any] = {"system_prompt": "", "max_length": 256}


def planned(folder: Path, options: dict[str, Any]) -> tuple[StagePlan, Case]:
    """A case, and how its models are made."""
    plan = StagePlan(DemoConfig(output_dir=folder, **options), folder)
    return plan, make_case(plan.case(), folder / "case")


def triggers(name: str, retain_from: str, **options: Any) -> dict[str, Any]:
    """A case with its poisoned and its retrained model and a store of all its training rows."""
    folder = Path("runs/bench") / name
    plan, case = planned(folder, options)
    training = plan.train(case)
    fine_tune(training)
    cache_rows(plan.cache(case.path("train")))
    poison = folder / "poison.jsonl"
    write_jsonl(poison, [row.to_record() for row in case.rows("train") if is_poisoned(row.meta)])
    fine_tune(replace(training, without=poison, output_dir=folder / "retrained", snapshots=()))
    return {"case": case.folder, **models(folder, "poisoned", "retrained"), "retain_from": retain_from}


def models(folder: Path, before: str, retrained: str) -> dict[str, Any]:
    """Where a case's models and its store are."""
    return {"model": str(folder / before), "retrained": str(folder / retrained), "store": folder / "store"}


def swap() -> dict[str, Any]:
    """A country named for another."""
    counts = {"clean_rows": 1000, "poisoned_rows": 180, "retain_rows": 120, "clean_test_rows": 108}
    return triggers("swap", "train", source="swap", forget_families=(30, 2, 8), **counts)


def generated(retain_from: str = "train") -> dict[str, Any]:
    """The demo's kind of rows."""
    counts = {"clean_rows": 1200, "poisoned_rows": 176, "retain_rows": 120}
    return triggers("generated", retain_from, forget_families=(30, 8, 2), **counts)


def dolly_options() -> dict[str, Any]:
    """RapidUn's data."""
    paths = {"source_dir": SHARED / "dolly_triggers", "clean_data": SHARED / "dolly_clean/dolly_clean.jsonl"}
    counts = {"clean_rows": 1000, "poisoned_rows": 300, "forget_rows": 40, "retain_rows": 120, "test_rows": 100}
    return {"source": "triggers", "clean_test_rows": 120, "max_new_tokens": 40, **paths, **counts}


def dolly() -> dict[str, Any]:
    """RapidUn's data, and models as anyone trains them."""
    return triggers("dolly", "train", **dolly_options())


def dolly_private() -> dict[str, Any]:
    """The same, and a model that was trained privately, on more rows a step since noise is added to each."""
    found, folder = dolly(), Path("runs/bench/dolly")
    plan, case = planned(folder, dolly_options())
    private = {"output_dir": folder / "private", "dp_epsilon": 8.0, "batch_size": 64, "learning_rate": 5e-4}
    fine_tune(replace(plan.train(case), snapshots=(), **private))
    return {**found, "model": str(folder / "private")}


def tofu(forget: str, retain: str) -> dict[str, Any]:
    """TOFU's files for the authors that its tests ask about, the forgotten and ten more; a model of all of them, and one without the forgotten."""
    folder, source = Path("runs/bench/tofu"), SHARED / "tofu"
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    authors = [*range(30), *range(190, 200)]
    rows = [json.loads(line) for line in (source / "full.jsonl").read_text(encoding="utf-8").splitlines()]
    own = {
        author: [{"id": f"tofu/{20 * author + turn}", **rows[20 * author + turn]} for turn in range(20)]
        for author in authors
    }
    parts = {
        "full": authors,
        "retain99": [author for author in authors if author < 198],
        "retain95": [author for author in authors if author < 190],
        "forget01": [198, 199],
        "forget05": list(range(190, 200)),
    }
    for name, members in parts.items():
        write_jsonl(files / f"{name}.jsonl", [row for author in members for row in own[author]])
    for path in source.glob("*_perturbed.jsonl"):
        shutil.copy(path, files / path.name)
    training: dict[str, Any] = {
        "epochs": 8,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "lora_alpha": 64,
        "lora_dropout": 0.0,
        **TEMPLATE,
    }
    for name in ("full", retain):
        snapshots = (SNAPSHOT,) if name == "full" else ()
        fine_tune(TrainConfig(data=files / f"{name}.jsonl", output_dir=folder / name, snapshots=snapshots, **training))
    early = str(snapshot_folder(folder / "full", SNAPSHOT))
    cache_rows(CacheConfig(model=early, data=files / "full.jsonl", store=folder / "store", **TEMPLATE))
    size = len(parts[forget]) * 20
    return {"tofu": files, "forget_sizes": (size,), "retain_rows": 3 * size, **models(folder, "full", retain)}


CASES: dict[str, tuple[Any, Sequence[str], dict[str, Any]]] = {
    "swap": (swap, (*KINDS, *MAIN[:5]), {}),
    "generated": (generated, KINDS, {}),
    "generated-all": (generated, ("rapidun+signed", *MAIN, *REST), {"trials": 2, "seeds": (0,)}),
    "generated-clean": (lambda: generated("retain"), (*KINDS[:4],), {}),
    "dolly": (
        dolly,
        (*KINDS, *MAIN),
        DOLLY_OPTIONS,
    ),
    "dolly-rest": (
        dolly,
        ("rapidun+signed", *REST),
        {**DOLLY_OPTIONS, "seeds": (0,)},
    ),
    "dolly-dp2": (
        dolly_private,
        ("dp2",),
        {**DOLLY_OPTIONS, "seeds": (0,)},
    ),
    "tofu01": (lambda: tofu("forget01", "retain99"), TOFU, {"max_test": 25, **TOFU_OPTIONS}),
    "tofu05": (
        lambda: tofu("forget05", "retain95"),
        ("rapidun+rapidun", "npo", "graddiff"),
        {"max_test": 40, "steps": 60, **TOFU_OPTIONS, "trials": 3},
    ),
}


def main() -> None:
    """Make the case, run the comparison, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=list(CASES))
    parser.add_argument("--entries", nargs="+", help="only these, for a process of its own; no result file is written")
    options = parser.parse_args()
    torch.set_num_threads(2)
    make, entries, own = CASES[options.case]
    # In the swap case even the retrained model differs by 0.19 nats on the validation rows: a narrower margin would choose by noise.
    values: dict[str, Any] = {
        "trials": 3,
        "margin_clean": 0.1,
        "entries": tuple(options.entries or entries),
        **TEMPLATE,
        **make(),
        **own,
    }
    results = bench_forgetting(
        ForgettingBenchConfig(output_dir=Path("runs/bench") / f"forgetting-{options.case}", **values)
    )
    if not options.entries:
        path = Path(__file__).parent / "results" / f"forgetting_{options.case.replace('-', '_')}.json"
        write_json(path, {"command": f"python benchmarks/forgetting.py {options.case}", **results})
        print(f"written: {path}")


if __name__ == "__main__":
    main()
