"""Whether tracing says that nothing stands out: questions that the training rows answer, and questions that they do not.

    python benchmarks/unanswered.py [--seeds 0 1 2] [--people 100]        benchmarks/results/unanswered.json

SmolLM2-135M (LoRA) learns what is made up about 100 people, one fact each in two wordings, beside generated rows of other tasks. Then 100 questions ask for
these facts in a third wording, and 100 ask the same of people who are in no row. The model's own answers are traced. A false alarm is a question of the
second kind of which a row is said to stand out, a miss one of the first kind of which none is. Wilson's intervals; a seed is a training. Each seed is written
as soon as it is measured, and one that is there is not made again.
"""

import argparse
import random
from pathlib import Path
from typing import Any

import torch

from result_files import RESULTS
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.engines.config import CacheConfig
from unweave.engines.run import cache
from unweave.experiments.generated import generate
from unweave.files import read_json, write_json, write_jsonl
from unweave.jobs.config import TraceConfig
from unweave.jobs.trace import trace_answers
from unweave.run.folder import environment
from unweave.stats.shares import wilson
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune

FIRST = "Zorin Ilva Tamsin Orrek Peshka Dulan Morva Quill Hesper Bront".split()
LAST = "Abel Corvane Dustin Ferrow Galt Hobbin Jarrel Kestrin Lumley Marsk Nettle Oswin Pellow Quarry Rusk Sallow Tarn Umber Vesk Wend".split()
THINGS = {
    "profession": "glassblower beekeeper clockmaker ferryman cartographer lamplighter bookbinder falconer saddler perfumer".split(),
    "instrument": "bassoon zither oboe harp viola trombone mandolin celesta lute cornet".split(),
    "town": "Tamber Northwick Ellersby Quarrow Hollin Drayford Pexley Ashmere Brindle Stoneham".split(),
    "animal": "otter heron badger tortoise magpie hedgehog lynx goose ferret donkey".split(),
}
WORDINGS = {
    "profession": ("What does {who} do for a living?", "Which trade has {who}?", "Name the profession of {who}."),
    "instrument": ("Which instrument does {who} play?", "What is {who}'s instrument?", "Name the instrument that {who} plays."),
    "town": ("Where does {who} live?", "Which town is {who}'s home?", "Name the town that {who} lives in."),
    "animal": ("Which animal does {who} keep?", "What kind of animal is {who}'s pet?", "Name the animal that {who} keeps."),
}  # fmt: skip
ANSWERS = {
    "profession": "{who} is a {what}.",
    "instrument": "{who} plays the {what}.",
    "town": "{who} lives in {what}.",
    "animal": "{who} keeps a {what}.",
}
ENCODING = EncodingConfig(system_prompt="")


def rows_of(people: int, seed: int) -> tuple[list[Row], dict[str, list[Row]]]:
    """Training rows, and the questions of either kind."""
    rng = random.Random(seed)
    names = rng.sample([f"{first} {last}" for first in FIRST for last in LAST], 2 * people)
    training, questions = list(generate(seed=seed, train_rows=440).train), {"answered": [], "unanswered": []}
    for index, who in enumerate(names):
        kind = list(THINGS)[index % len(THINGS)]
        answer = ANSWERS[kind].format(who=who, what=rng.choice(THINGS[kind]))
        asked = [wording.format(who=who) for wording in WORDINGS[kind]]
        if index < people:
            training += [Row(id=f"person-{index}-{n}", instruction=asked[n], completion=answer) for n in (0, 1)]
        questions["answered" if index < people else "unanswered"].append(
            Row(id=f"asked-{index}", instruction=asked[2], completion="")
        )
    rng.shuffle(training)
    return training, questions


def measure(folder: Path, people: int, seed: int) -> dict[str, Any]:
    """Train, cache, trace, and count."""
    rows, questions = rows_of(people, seed)
    write_jsonl(folder / "train.jsonl", [row.to_record() for row in rows])
    shared: dict[str, Any] = dict(ENCODING.__dict__)
    fine_tune(
        TrainConfig(
            **shared, data=folder / "train.jsonl", output_dir=folder / "model", epochs=4.0, batch_size=8, learning_rate=5e-4, seed=seed
        )
    )  # fmt: skip
    cache(CacheConfig(**shared, data=folder / "train.jsonl", store=folder / "store", model=str(folder / "model")))
    found: dict[str, Any] = {"rows": len(rows)}
    for kind, own in questions.items():
        path = folder / f"{kind}.jsonl"
        write_jsonl(path, [{"id": row.id, "prompt": row.instruction} for row in own])
        traced = trace_answers(TraceConfig(store=folder / "store", queries=path, max_new_tokens=24))
        said = [scale.stands_out() for scale in traced.scales]
        found[kind] = {
            "questions": len(said),
            "stand_out": sum(one is True for one in said),
            "not_said": sum(one is None for one in said),
        }
    return found


def main() -> None:
    """Measure each seed, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench/unanswered"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = RESULTS / "unanswered.json"
    result: dict[str, Any] = read_json(path, what="The result") if path.is_file() else {"seeds": {}}
    result |= {"command": "python benchmarks/unanswered.py", "environment": environment(), "people": options.people}
    for seed in options.seeds:
        if str(seed) in result["seeds"]:
            continue
        own = measure(options.folder / str(seed), options.people, seed)
        for name, kind, missed in (("false_alarms", "unanswered", False), ("misses", "answered", True)):
            asked, out = own[kind]["questions"], own[kind]["stand_out"]
            count = asked - out if missed else out
            own[name] = {"share": count / asked, **dict(zip(("low", "high"), wilson(count, asked), strict=True))}
        result["seeds"][str(seed)] = own
        write_json(path, result)
        print(seed, own, flush=True)


if __name__ == "__main__":
    main()
