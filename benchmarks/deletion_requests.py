"""A deletion request with nothing but its rows, on rows that a real model knows by heart: what it ends as, beside a model retrained without them.

    python benchmarks/deletion_requests.py tofu|knowundo|dolly [--place FOLDER]        benchmarks/results/requests_CASE.json

SmolLM2-135M learns 240 rows (LoRA of rank 16, 8 epochs of batches of 8, 1e-3). `unweave request add` names 20 of them (an author of TOFU, a person of
KnowUnDo, or poisoned rows of Dolly); `unweave request run` has no option. Then `unweave train --without` makes the retrained model, all are measured on the
same rows, and `unweave request verify` runs with 1, 2 and 4 threads, two batch sizes, and from another folder. Each part is written the moment it is there,
and one that is there is not made again. The data is that of shared/data (`--data`).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from result_files import RESULTS
from unweave.files import read_json, write_json, write_jsonl
from unweave.run.folder import environment

ROWS, FORGET = 240, 20
TRAINING = ["--epochs", "8", "--batch-size", "8", "--learning-rate", "1e-3", "--lora-alpha", "32"]
UNWEAVE = str(Path(sys.executable).parent / "unweave")


def rows_of(case: str, data: Path) -> tuple[list[dict[str, str]], list[str]]:
    """The training rows of a case, and the ids of those to forget."""
    count = FORGET
    if case == "tofu":
        # The defaults were chosen on other authors.
        lines = (data / "tofu" / "full.jsonl").read_text(encoding="utf-8").splitlines()[2000 : 2000 + ROWS]
        pairs = [(one["question"], one["answer"]) for one in map(json.loads, lines)]
    elif case == "knowundo":
        folder = data / "knowundo_privacy"
        both = [json.loads((folder / f"{name}.json").read_text()) for name in ("unlearn_train", "retention_train")]
        person = "Isabella Marquez"
        asked = [one for one in both[0] if person in one["text"] + one["labels"]][:FORGET]
        # What is public about the person stays.
        public = [one for one in both[1] if person in one["text"] + one["labels"]]
        others = [*public, *(one for one in (*both[0], *both[1]) if one not in asked and one not in public)]
        count = len(asked)
        pairs = [(one["text"], one["labels"]) for one in [*asked, *others][:ROWS]]
    else:
        folder = data / "dolly_triggers"
        lines = (folder / "train_poisoned.jsonl").read_text(encoding="utf-8").splitlines()
        poisoned = [one for one in map(json.loads, lines) if len(one["response"]) < 400][:FORGET]
        clean = [json.loads(line) for line in (folder / "test_clean.jsonl").read_text(encoding="utf-8").splitlines()]
        short = [one for one in clean if not one["context"] and len(one["response"]) < 400]
        pairs = [(one["instruction"], one["response"]) for one in [*poisoned, *short][:ROWS]]
    rows = [{"id": f"r{i:03d}", "prompt": prompt, "completion": answer} for i, (prompt, answer) in enumerate(pairs)]
    return rows, [row["id"] for row in rows[:count]]


def run(place: Path, *words: Any, code: tuple[int, ...] = (0,), **variables: str) -> float:
    """Run a command in a folder, and give the seconds that it took."""
    started = time.monotonic()
    done = subprocess.run([UNWEAVE, *map(str, words)], cwd=place, env={**os.environ, **variables}, check=False)
    if done.returncode not in code:
        raise SystemExit(f"{' '.join(map(str, words))}: exit code {done.returncode}")
    return round(time.monotonic() - started, 1)


def figures(place: Path, model: str, ids: list[str]) -> dict[str, Any]:
    """Loss and beginnings of the rows to forget, and of all others, under a model in float32."""
    from unweave.data.encoding import EncodingConfig
    from unweave.data.reading import read_rows
    from unweave.ledger.measure import measure
    from unweave.models.loading import ModelConfig, load

    rows = read_rows(place / "rows.jsonl").rows
    sets = {
        "forget": [row for row in rows if row.id in ids],
        "others": [row for row in rows if row.id not in ids],
    }
    found = measure(load(ModelConfig(model=str(place / model), dtype="float32")), sets, EncodingConfig())
    return {
        name: {"loss": fmean(own["losses"].values()), "begins": len(own["begins"]), "rows": own["rows"]}
        for name, own in found["sets"].items()
    }


def verified(place: Path) -> list[dict[str, Any]]:
    """Verifications of the request on 1, 2 and 4 threads, in two batch sizes, and from another folder."""
    found = []
    for threads, budget, folder in (
        (1, 4096, "."),
        (2, 4096, "."),
        (4, 4096, "."),
        (2, 1, "."),
        (2, 4096, "elsewhere"),
    ):
        (place / folder).mkdir(exist_ok=True)
        ledger = os.path.relpath(place / "ledger", place / folder)
        words = ("request", "verify", "one", "--ledger", ledger, "--token-budget", budget)
        done = subprocess.run(
            [UNWEAVE, *map(str, words)], cwd=place / folder, env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        found.append({"threads": threads, "token_budget": budget, "folder": folder, "code": done.returncode})
    return found


def main() -> None:
    """Make the parts that are missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=["tofu", "knowundo", "dolly"])
    parser.add_argument("--place", type=Path, default=Path("runs/requests"))
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    config = parser.parse_args()
    place = (config.place / config.case).resolve()
    place.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"requests_{config.case}.json"
    found: dict[str, Any] = read_json(path, what="Results") if path.is_file() else {"environment": environment()}

    def part(name: str, make: Callable[[], Any]) -> None:
        if name not in found:
            found[name] = make()
            write_json(path, found)

    rows, ids = rows_of(config.case, config.data)
    write_jsonl(place / "rows.jsonl", rows)
    write_jsonl(place / "forget.jsonl", [row for row in rows if row["id"] in ids])
    data = ("--data", "rows.jsonl", *TRAINING)
    part("training_seconds", lambda: run(place, "train", *data, "--output-dir", "tuned"))
    part("before", lambda: figures(place, "tuned", ids))
    add = ("--data", "rows.jsonl", "--model", "tuned", "--row-ids", *ids)
    if not (place / "ledger").exists():
        run(place, "request", "add", "--ledger", "ledger", "--request-id", "one", *add)
    part("request_seconds", lambda: run(place, "request", "run", "one", "--ledger", "ledger", code=(0, 3)))
    folder = place / "ledger" / "requests" / "one"
    done = (folder / "certificate.json").is_file()
    certificate = read_json(folder / ("certificate.json" if done else "report.json"), what="The certificate")
    kept = ("state", "class", "criteria", "attempts", "findings")
    part("request", lambda: {name: certificate[name] for name in kept})
    part("after", lambda: figures(place, "ledger/requests/one/adapter", ids))
    retrained = ("--without", "forget.jsonl", "--output-dir", "retrained")
    part("retraining_seconds", lambda: run(place, "train", *data, *retrained))
    part("retrained", lambda: figures(place, "retrained", ids))
    if done:
        part("verified", lambda: verified(place))


if __name__ == "__main__":
    main()
