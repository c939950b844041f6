"""Kills of every command that writes: the commands, what they begin with, and the comparison of what a killed and repeated run leaves with what an
undisturbed one does.

A command is a line here. It runs in the folder `work` beside the folder `world`, of which nothing changes; what it changes itself is copied first.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from transformers import BertConfig, BertModel

from tests.folders import save_model, write_rows
from tests.forks import Ended, Forks
from tests.tiny import TinyTokenizer
from unweave.attribution.caching import cache_rows
from unweave.config import dump_yaml
from unweave.data.reading import read_rows
from unweave.engines.config import CacheConfig
from unweave.experiments.case import CaseConfig, make_case
from unweave.jobs.value_fit import fit_student
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, KeyConfig, RunConfig
from unweave.ledger.journal import Journal
from unweave.ledger.run import run_request
from unweave.ledger.signing_keys import make_signing_key
from unweave.store.log import LOG
from unweave.store.maintenance import check_store, merge_stores
from unweave.store.store import GradientStore
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.config import config_of
from unweave.valuation.config import FitConfig
from unweave.valuation.table import write_table

TINY = "--dtype float32 --max-length 96 --quiet"
ADAPTED = f"--model {{world}}/adapter {TINY}"
ROWS = "--data {world}/case/train.jsonl"
REQUEST = (
    "--ledger ledger --method ga --forget-config {world}/ga.yaml --retain-rows 8 --test-rows 8 --dtype float32 "
    "--target-loss 0.1 --margin 0.5 --quiet"
)
LEDGER = (("ledger", "ledger"), ("ledger.key", "ledger.key"))
SAME_KEY = "import secrets; secrets.token_bytes = bytes"
"""A new ledger's key is random: here it is not, so that two runs can be compared."""
SIDES = "--forget {world}/case/forget.jsonl --retain {world}/case/retain.jsonl"


@dataclass(frozen=True)
class Writing:
    """A command that writes.

    Attributes:
        line: Its words.
        brings: What of the world it changes: a folder there, and what it is called where the command runs.
        codes: What it may end with: not all that a command does ends well.
    """

    line: str
    brings: tuple[tuple[str, str], ...] = ()
    codes: tuple[int, ...] = (0,)

    @property
    def command(self) -> str:
        """The command, and its part where it has parts."""
        first, second, *_ = self.line.split()
        return first if second.startswith("--") else f"{first} {second}"


WRITING = {
    "case": Writing("case --output-dir case --clean-rows 30 --poisoned-rows 9 --test-rows 8 --clean-test-rows 18 --retain-rows 12"),
    "train": Writing(f"train --model {{world}}/base {ROWS} --output-dir out --epochs 1 --batch-size 8 --lora-r 2 --snapshots 0.4 --record {TINY}"),
    "train full": Writing(f"train {ADAPTED} {ROWS} --output-dir out --epochs 0.5 --batch-size 8 --tuning full {TINY}"),
    "train anew": Writing(
        f"train {ADAPTED} {ROWS} --output-dir out --epochs 0.5 --batch-size 8 --lora-r 2 --seed 1", (("adapter", "out"),)
    ),
    "forget": Writing(
        f"forget --method graddiff {ADAPTED} {SIDES} --output-dir out --adapter-mode new --batch-size 4 --epochs 1 --check-every 1"
    ),
    "cache": Writing(f"cache {ADAPTED} {ROWS} --store store --dimension 256 --commit-rows 4"),
    "trace": Writing(
        "trace --store {world}/store --prompt hello --completion world --output a.json --html a.html --tda a.jsonl --quiet"
    ),
    "weigh": Writing(f"weigh --store {{world}}/store {SIDES} --output-forget f.jsonl --output-retain r.jsonl --quiet"),
    "audit": Writing(
        "audit --case {world}/case --before {world}/adapter --after {world}/other --retrained {world}/other --output-dir out --attacks relearn quantise "
        f"--attack-rows 4 --relearn-steps 1 --gradnorm-rows 2 --max-new-tokens 2 {TINY}"
    ),
    "audit rows": Writing(
        "audit --forget {world}/case/forget.jsonl --retain {world}/case/retain.jsonl --before {world}/adapter --after {world}/other "
        f"--retrained {{world}}/other --output-dir out --gradnorm-rows 2 --max-new-tokens 2 {TINY}"
    ),
    "audit influence": Writing(
        "audit influence --store {world}/store --queries {world}/task.jsonl --output-dir out --parts retraining --subsets 3 --leave-out 0.5 "
        "--dtype float32 --quiet"
    ),
    "audit tofu": Writing(f"audit tofu --data {{world}}/tofu --output-dir out --max-new-tokens 2 {ADAPTED}"),
    "bench forgetting": Writing(
        f"bench forgetting --case {{world}}/case --store {{world}}/store --output-dir out --entries rapidun+rapidun --forget-sizes 4 --retain-rows 4 "
        f"--seeds 0 --trials 1 --steps 1 --batch-size 4 --validation-rows 3 --max-validation 6 --max-test 6 --max-new-tokens 2 {ADAPTED}"
    ),
    "bench attribution": Writing(
        "bench attribution --model {world}/base --output-dir out --measures recall --scorers random bm25 --seeds 0 --rows 36 --asked 2 --dimension 64 "
        f"--lora-r 2 --epochs 0.5 --batch-size 18 --record-states 1 {TINY}"
    ),
    "request add": Writing(
        f"request add --ledger ledger {ROWS} --model {{world}}/adapter --rows {{world}}/case/forget.jsonl --request-id one --quiet"
    ),
    "request run": Writing(f"request run one {REQUEST}", (*LEDGER, ("store", "store")), codes=(0, 3)),
    # Killed after it was done, it is told so.
    "request rollback": Writing(
        "request rollback one --ledger ledger --quiet", (("done", "ledger"), ("ledger.key", "ledger.key"), ("done-store", "store")), codes=(0, 1)
    ),
    "request cancel": Writing("request cancel one --ledger ledger --quiet", LEDGER, codes=(0, 1)),
    "fix": Writing(
        "fix --model {world}/adapter --data {world}/case/train.jsonl --prompt hello --bad world --store store --decisions {world}/decisions.jsonl "
        f"--output-dir out --method ga --target-loss 0.1 --margin 9 --retain-rows 8 --test-rows 8 --probe-rows 1 --max-new-tokens 2 {TINY}",
        (("store", "store"),),
        codes=(0, 3, 4),
    ),
    "store delete": Writing("store delete store --rows {world}/case/forget.jsonl", (("store", "store"),)),
    "store compact": Writing("store compact store", (("deleted", "store"),)),
    "store merge": Writing("store merge merged --sources {world}/left {world}/right"),
    "store repair": Writing("store repair store", (("damaged", "store"),)),
    "value score": Writing(f"value score {ADAPTED} {ROWS} --tasks a={{world}}/task.jsonl --output values.parquet --block-rows 8"),
    "value fit": Writing(
        f"value fit {ROWS} --values {{world}}/values.parquet --student {{world}}/encoder --output-dir out --epochs 2 --batch-size 8 --quiet"
    ),
    "value predict": Writing(
        f"value predict {ROWS} --student {{world}}/student --output-dir out --part-rows 8 --order sorted --dtype float32 --quiet"
    ),
    "value select": Writing(f"value select {ROWS} --values {{world}}/values.parquet --output chosen.jsonl --budget-rows 4 --quiet"),
    "value curve": Writing(
        f"value curve {ROWS} --values {{world}}/values.parquet --test {{world}}/task.jsonl --model {{world}}/base --output-dir out --shares 0.1 "
        f"--lora-r 2 --epochs 1 {TINY}"
    ),
    "value report": Writing(f"value report {ROWS} --values {{world}}/values.parquet --output page.html --quiet"),
    "request run signed": Writing(f"request run one {REQUEST} --sign {{world}}/mine.pem", (*LEDGER, ("store", "store")), codes=(0, 3)),
    "request key": Writing("request key --output mine.pem --quiet", codes=(0, 2)),
    "request sign": Writing(
        "request sign one --ledger ledger --sign {world}/mine.pem --quiet", (("done", "ledger"), ("ledger.key", "ledger.key"), ("done-store", "store"))
    ),
    "request export": Writing("request export one --ledger {world}/done --output one.json --quiet"),
    "train shards": Writing(
        f"train --model {{world}}/base {ROWS} --output-dir out --epochs 0.5 --batch-size 16 --lora-r 2 --lora-targets q_proj --shards 2 {TINY}"
    ),
}  # fmt: skip
"""The commands; a name is that of the command, with a word more where it is another way of it."""


class World:
    """What the commands read, and the folder where they run.

    Args:
        folder: An empty folder for both.
    """

    def __init__(self, folder: Path):
        self.world, self.work = folder / "world", folder / "work"
        self.scratch = folder / "scratch"

    def line(self, name: str) -> str:
        """The words of a command."""
        return WRITING[name].line.format(world=self.world)

    def begin(self, name: str) -> None:
        """Make the folder where a command runs, with nothing in it but what the command changes."""
        self.clear()
        self.fill(name)

    def clear(self) -> None:
        """Make that folder, empty."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def fill(self, name: str) -> None:
        """Bring what a command changes."""
        for source, target in WRITING[name].brings:
            copy = shutil.copytree if (self.world / source).is_dir() else shutil.copy2
            copy(self.world / source, self.work / target)

    def run(self, forks: Forks, name: str, **options: Any) -> Ended:
        """Run a command where it stands."""
        return forks.run(self.line(name), folder=self.work, **{"before": SAME_KEY, **options})

    def finish(self, forks: Forks, name: str) -> tuple[Ended, dict[str, Any]]:
        """Run a command to its end; how it ended, and what is there then."""
        ended = self.run(forks, name)
        assert ended.code in WRITING[name].codes, f"unweave {name} ended with {ended.code}: {ended.errors}"
        return ended, found_in(self.work)


def build(folder: Path) -> World:
    """Make all that the commands read: a model of two layers, adapters, a case, stores, a ledger, values and a student."""
    made = World(folder)
    world, work = made.world, made.work
    world.mkdir()
    base = str(save_model(world / "base"))
    counts = {
        "clean_rows": 40,
        "poisoned_rows": 10,
        "forget_rows": 6,
        "retain_rows": 12,
        "test_rows": 8,
        "clean_test_rows": 18,
    }
    case = make_case(CaseConfig(**counts), world / "case")
    rows, tiny = case.path("train"), {"dtype": "float32", "max_length": 96}
    for seed, name in enumerate(("adapter", "other")):
        fine_tune(
            TrainConfig(
                model=base, data=rows, output_dir=world / name, epochs=1, lora_r=2, seed=seed, batch_size=8, **tiny
            )
        )
    ids = [row.id for row in read_rows(rows).rows]
    for name, own in {"left": ids[:20], "right": ids[20:]}.items():
        write_rows(world / f"{name}.jsonl", [row.to_record() for row in read_rows(rows).rows if row.id in own])
        cache_rows(
            CacheConfig(
                model=str(world / "adapter"),
                data=world / f"{name}.jsonl",
                store=world / name,
                dimension=256,
                commit_rows=4,
                **tiny,
            )
        )
    merge_stores([world / "left", world / "right"], world / "store")
    for name in ("deleted", "damaged"):
        shutil.copytree(world / "store", world / name)
    deleted = GradientStore.open(world / "deleted")
    with deleted.writing():
        deleted.delete(ids[::3])
    shard = sorted((world / "damaged/shards").iterdir())[1]
    content = shard.read_bytes()
    shard.unlink()  # its own file: it is linked to those of the other stores
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    write_rows(world / "task.jsonl", [{"instruction": f"add {i}", "response": f"{i} yes"} for i in range(4)])
    write_rows(world / "decisions.jsonl", [{"id": row_id, "decision": "forget"} for row_id in ids[:2]])
    columns = {
        "id": ids,
        "line": list(range(1, len(ids) + 1)),
        "a": [float(len(name)) for name in ids],
        "loss": [1.0] * len(ids),
    }
    write_table(world / "values.parquet", columns)
    torch.manual_seed(0)
    shape = BertConfig(vocab_size=96, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(shape).save_pretrained(world / "encoder")
    TinyTokenizer.make().save_pretrained(world / "encoder")
    (world / "tofu").mkdir()
    for stem in ("forget10_perturbed", "retain_perturbed", "real_authors_perturbed", "world_facts_perturbed"):
        answers = {
            "answer": "Paris",
            "paraphrased_answer": "the answer is Paris",
            "perturbed_answer": ["red", "blue moon"],
        }
        write_rows(
            world / f"tofu/{stem}.jsonl",
            [{"question": f"what is the capital of {place} ?", **answers} for place in ("France", "Peru")],
        )
    ga = config_of("ga")(
        forget=rows, retain=rows, output_dir=folder, epochs=0.5, batch_size=4, learning_rate=5e-3, stop_loss=1e9
    )
    (world / "ga.yaml").write_text(dump_yaml("forget", ga))
    fitting = {"values": world / "values.parquet", "data": rows, "student": str(world / "encoder"), "device": "cpu"}
    fit_student(FitConfig(output_dir=world / "student", epochs=1, batch_size=8, student_length=32, **fitting))
    # A ledger knows its store by its path: where the command runs.
    store, ledger = shutil.copytree(world / "store", work / "store"), work / "ledger"
    limits = {"max_removed_share": 0.9, "max_perplexity_change": 10.0}
    asked = {"row_ids": (ids[0], ids[1]), "request_id": "one", "ledger": ledger}
    add_request(AddConfig(data=rows, model=str(world / "adapter"), store=store, **asked, **limits))
    shutil.copytree(ledger, world / "ledger")
    shutil.copy2(work / "ledger.key", world / "ledger.key")
    make_signing_key(KeyConfig(output=world / "mine.pem"))
    run_request(
        RunConfig(
            request="one",
            ledger=ledger,
            method="ga",
            forget_config=world / "ga.yaml",
            retain_rows=8,
            test_rows=8,
            dtype="float32",
            target_loss=0.1,
            margin=0.5,
        )
    )
    shutil.copytree(ledger, world / "done")
    shutil.copytree(store, world / "done-store")
    return made


# What is compared: every file. Of JSON each value by itself, of a journal each event, of a page each line, without its numbers, which are those of the
# JSON that it shows; of all others the bytes.

RANDOM_NAME = re.compile(r"\b(\d{6})-[0-9a-f]{8}\b")
"""A shard's: its unit, and a random part, so that two writers never choose the same."""
NUMBER = re.compile(r"\b[0-9a-f]{32}\b|\d+(\.\d+)?")
CLOCKS = (
    r".*\.jsonl?: (.*\.)?(seconds|cpu_seconds|peak_mib|minutes|rows_per_second|started)(\..*)?",
    # The journal has the time of each event in its hash, the certificate names the event with which its run began, and both hold digests of files with times.
    r".*certificate\.json: (ledger\.event|model\.after\.digest|request\.added)",
    r".*(ledger\.db|certificate\.json): .*\b(certificate|page|measured|criteria|(certificate|measured\.before|criteria|attempts|run|result)\.json"
    r"|certificate\.html|README\.md)(\..*)?",
    # The signature is of all of that.
    r".*certificate\.intoto\.jsonl: line 1|.*ledger\.db: .*\bsignature",
)
"""What no two runs have in common: times, and digests of what holds times."""


def found_in(folder: Path) -> dict[str, Any]:
    """What a folder holds, in pieces that can be told from each other.

    Args:
        folder: The folder.

    Returns:
        `file: place in it` to what is there.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = RANDOM_NAME.sub(r"\1", path.relative_to(folder).as_posix())
        for place, value in _pieces(path):
            found[f"{name}: {place}" if place else name] = value
    return found


def _pieces(path: Path) -> Iterator[tuple[str, Any]]:
    if path.is_dir():
        yield "", "a folder"
    elif path.name == LOG:
        # It has a line more for each kill; what counts is that it vouches for the store as it is.
        yield "faults of the store", check_store(GradientStore.open(path.parent))
    elif path.suffix == ".db":
        for event in Journal(path).events():
            yield from _flat(f"{event.number}", {**event.content, "kind": event.kind, "request": event.request})
        yield "faults", Journal(path).check()
    elif path.suffix == ".seal":
        yield "", "what the journal's check looks at"
    elif path.suffix in (".json", ".jsonl", ".html", ".md", ".yaml"):
        text = RANDOM_NAME.sub(r"\1", path.read_text(encoding="utf-8"))
        if path.suffix == ".json" and text:
            yield from _flat("", json.loads(text))
        else:
            shown = NUMBER.sub("#", text) if path.suffix in (".html", ".md") else text
            yield from ((f"line {number}", line) for number, line in enumerate(shown.splitlines(), start=1))
    elif path.suffix == ".parquet":
        yield "", pq.read_table(path).to_pydict()
    else:
        yield "", path.read_bytes()


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, own in value.items():
            yield from _flat(f"{name}.{key}" if name else key, own)
    elif isinstance(value, list) and any(isinstance(own, dict) for own in value):
        for number, own in enumerate(value):
            yield from _flat(f"{name}.{number}", own)
    else:
        yield name, value


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The pieces that are not the same in both."""
    return sorted(
        name
        for name in first.keys() | second.keys()
        if name not in first or name not in second or first[name] != second[name]
    )


def unexplained(places: Iterable[str]) -> list[str]:
    """The places where two runs of a command may not differ.

    Args:
        places: Where they do.

    Returns:
        Those that `CLOCKS` does not explain.
    """
    return [place for place in places if not any(re.fullmatch(pattern, place) for pattern in CLOCKS)]
