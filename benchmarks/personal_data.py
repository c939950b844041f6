"""Six persons ask to be forgotten: from KnowUnDo's rows to a page, one command, beside a model that is trained again without them.

    python benchmarks/personal_data.py [--seeds 0 1 2]          benchmarks/results/personal_data.json, runs/bench/personal_data/SEED/audit/audit.html
    python benchmarks/personal_data.py --rows 240               fewer rows of others, for a machine on which 841 take hours; the result says so
    python benchmarks/personal_data.py --smoke --model FOLDER   a small case, and no real result

SmolLM2-135M learns `unlearn_train` and `retention_train` (LoRA of rank 16, 8 epochs of batches of 8, 1e-3). Six persons of `unlearn_train` are chosen by the
seed. For each of them `unweave request add --person` finds every row that names the person, private or public, and `unweave request run` forgets them; nothing
else is given. Then `unweave train --without` makes the retrained model, and `unweave audit` holds the three models beside each other: rows like the
forgotten ones are those of `unlearn_val` that name none of the six, rows to keep are those of `retention_val` that name none of them. Each part is written the
moment it is there, and is not made again.
"""

import argparse
import json
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deletion_requests import TRAINING, run
from result_files import RESULTS
from unweave.files import read_json, write_json, write_jsonl
from unweave.ledger.ledger import Ledger
from unweave.run.folder import environment

ROOT = Path(__file__).parents[1]
PERSONS, LEAST_ROWS = 6, 5
NAME = re.compile(r"\b[A-Z][a-z]+ [A-Z][A-Za-z]{2,}(?:-[A-Z][a-z]+)*")
Pair = dict[str, str]


def read(data: Path) -> dict[str, list[Pair]]:
    """The four files of KnowUnDo's privacy split."""
    names = "unlearn_train", "retention_train", "unlearn_val", "retention_val"
    return {
        name: json.loads((data / "knowundo_privacy" / f"{name}.json").read_text(encoding="utf-8")) for name in names
    }


def text_of(pair: Pair) -> str:
    """Question and answer."""
    return f"{pair['text']} {pair['labels']}"


def persons_of(pairs: list[Pair], seed: int) -> list[str]:
    """Six persons whom at least five private rows name in their questions."""
    named = Counter(name for pair in pairs for name in set(NAME.findall(pair["text"])))
    enough = sorted(name for name, count in named.items() if count >= LEAST_ROWS)
    return sorted(random.Random(seed).sample(enough, PERSONS))


def names_any(pair: Pair, persons: list[str]) -> bool:
    """Whether a row names one of these persons, by any part of the name."""
    words = set(re.findall(r"\w+", text_of(pair)))
    return any(words & set(re.findall(r"\w+", person)) for person in persons)


def rows_of(sets: dict[str, list[Pair]], persons: list[str], count: int | None) -> dict[str, list[dict[str, str]]]:
    """Training rows, with those of the persons first where not all are taken, and the rows of the tests."""
    trained = [(pair, "private") for pair in sets["unlearn_train"]] + [
        (pair, "public") for pair in sets["retention_train"]
    ]
    trained.sort(key=lambda one: not names_any(one[0], persons))
    kept = trained if count is None else trained[:count]

    def records(name: str, pairs: list[tuple[Pair, str]]) -> list[dict[str, str]]:
        return [
            {"id": f"{name}{number:04d}", "prompt": pair["text"], "completion": pair["labels"], "kind": kind}
            for number, (pair, kind) in enumerate(pairs)
        ]

    unnamed = {
        name: [pair for pair in sets[name] if not names_any(pair, persons)] for name in ("unlearn_val", "retention_val")
    }
    return {
        "rows": records("r", kept),
        "like": records("l", [(pair, "private") for pair in unnamed["unlearn_val"]]),
        "retain": records("k", [(pair, "public") for pair in unnamed["retention_val"]]),
    }


def ask(place: Path, name: str, person: str, model: str) -> dict[str, Any]:
    """A request by a person's name, carried out: seconds, rows, state and findings."""
    ledger = ("--ledger", "ledger")
    folder = place / "ledger" / "requests" / name
    # Six persons have more rows than a ledger's default allows to be forgotten before it asks for retraining.
    first = (
        () if (place / "ledger").exists() else ("--data", "rows.jsonl", "--model", model, "--max-removed-share", 0.5)
    )
    if not (place / "ledger").exists() or name not in Ledger(place / "ledger").requests():
        run(place, "request", "add", *ledger, "--request-id", name, "--person", person, "--yes", *first)
    seconds = run(place, "request", "run", name, *ledger, code=(0, 3))
    done = (folder / "certificate.json").is_file()
    report = read_json(folder / ("certificate.json" if done else "report.json"), what="The certificate")
    request = Ledger(place / "ledger").request(name)
    return {
        "rows": len(request.rows), "row_ids": list(request.rows), "seconds": seconds,
        **{key: report.get(key) for key in ("state", "class", "criteria", "attempts", "findings")},
    }  # fmt: skip


def audit(place: Path, smoke: bool) -> dict[str, Any]:
    """What the audit found: its verdict, and figures of every model."""
    after = os.path.relpath(Ledger(place / "ledger").model(), place)
    less = ("--probe-rows", 2, "--attack-rows", 2, "--attacks", "relearn", "--gradnorm-rows", 0) if smoke else ()
    seconds = run(
        place, "audit", "--before", "tuned", "--after", after, "--retrained", "retrained", "--forget", "forget.jsonl",
        "--like", "like.jsonl", "--retain", "retain.jsonl", "--output-dir", "audit", *less,
    )  # fmt: skip
    metrics = read_json(place / "audit" / "metrics.json", what="The audit")
    return {
        "seconds": seconds,
        **{key: value for key, value in metrics.items() if key not in ("models", "seconds", "losses")},
    }


def measure(seed: int, place: Path, options: argparse.Namespace, part: Callable[[str, Callable[[], Any]], Any]) -> None:
    """All parts of a seed that are missing."""
    sets = read(options.data)
    persons = persons_of(sets["unlearn_train"], seed)
    rows = rows_of(sets, persons, options.rows)
    place.mkdir(parents=True, exist_ok=True)
    for name, own in rows.items():
        write_jsonl(place / f"{name}.jsonl", own)
    part("persons", lambda: persons)
    part("rows", lambda: {name: len(own) for name, own in rows.items()})
    training = ["--epochs", "1", "--batch-size", "8"] if options.smoke else TRAINING
    training = [*training, "--seed", str(seed), *(["--model", str(options.model)] if options.model else [])]
    data = ("--data", "rows.jsonl", *training)
    part("training_seconds", lambda: run(place, "train", *data, "--output-dir", "tuned"))
    asked = []
    for number, person in enumerate(persons):
        asked.append(part(f"request {number}", lambda n=number, p=person: ask(place, f"person-{n}", p, "tuned")))
    forgotten = {row_id for one in asked for row_id in one["row_ids"]}
    write_jsonl(place / "forget.jsonl", [row for row in rows["rows"] if row["id"] in forgotten])
    part(
        "retraining_seconds",
        lambda: run(place, "train", *data, "--without", "forget.jsonl", "--output-dir", "retrained"),
    )
    part("audit", lambda: audit(place, options.smoke))


def main() -> None:
    """Make the parts that are missing, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--rows", type=int, help="so many training rows, those of the six persons among them; by default all 841"
    )
    parser.add_argument("--model", type=Path, help="another base")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--place", type=Path, default=ROOT / "runs/bench/personal_data")
    parser.add_argument("--smoke", action="store_true", help="few steps, and no real result")
    parser.add_argument("--afresh", action="store_true", help="remove what is on the disk first")
    options = parser.parse_args()
    path = options.place / "smoke.json" if options.smoke else RESULTS / "personal_data.json"
    options.place.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = read_json(path, what="The results") if path.is_file() else {"seeds": {}}
    size = f" --rows {options.rows}" if options.rows else ""
    results |= {"command": f"python benchmarks/personal_data.py{size}", "environment": environment()}
    for seed in options.seeds:
        place = (options.place / f"{seed}-{options.rows or 'all'}").resolve()
        if options.afresh:
            shutil.rmtree(place, ignore_errors=True)
            results["seeds"].pop(str(seed), None)
        found = results["seeds"].setdefault(str(seed), {})
        if found.get("asked_rows", options.rows) != options.rows:
            raise SystemExit(
                f"{path} has seed {seed} with `--rows {found['asked_rows']}`; pass `--afresh` to measure it anew."
            )
        found["asked_rows"] = options.rows

        def part(name: str, make: Callable[[], Any], found: dict[str, Any] = found, seed: int = seed) -> Any:
            if name not in found:
                found[name] = make()
                write_json(path, results)
                print(f"seed {seed}: {name}: {str(found[name])[:200]}", flush=True)
            return found[name]

        measure(seed, place, options, part)


if __name__ == "__main__":
    main()
