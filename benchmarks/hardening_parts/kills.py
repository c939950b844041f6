"""SIGKILL at random moments and right before changes to the disk, the same command again: does it end as an undisturbed run does?"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.forks import Forks
from tests.kills import World, build, differences, unexplained

from unweave.run.folder import environment

COMMANDS = (
    "cache", "train", "forget", "audit", "request run", "value score", "value fit", "value predict", "store compact", "store merge", "bench forgetting",
)  # fmt: skip
MOMENTS, POINTS, DRAWS = 20, 10, 4


def run(folder: Path, *, seed: int, only: Sequence[str] = COMMANDS) -> Iterator[dict[str, Any]]:
    """Kill each command.

    Args:
        folder: An empty folder.
        seed: Of the moments.
        only: The commands.

    Yields:
        What became of each so far.
    """
    world, commit = build(folder), environment()["commit"]
    found: dict[str, Any] = {}
    with Forks(world.scratch) as forks:
        for name in only:
            found[name] = {**killed(world, forks, name, random.Random(f"{seed} {name}")), "commit": commit}
            yield {"moments": MOMENTS, "points": POINTS, "commands": found}


def killed(world: World, forks: Forks, name: str, rng: random.Random) -> dict[str, Any]:
    """One command: killed at random moments, and at changes to the disk spread over the run.

    Args:
        world: What it reads.
        forks: Runs it.
        name: Which.
        rng: Draws the moments.

    Returns:
        How often it was killed, how often it then ended as it should, and what is another each time.
    """
    whole = []
    for _ in range(3):
        # The first run imports what the others have at hand.
        world.begin(name)
        ended, result = world.finish(forks, name)
        whole.append(result)
    again = differences(whole[1], whole[2])
    of_the_clock = [place for place in again if not unexplained([place])]
    odd = {"undisturbed": unexplained(again)}
    kills = {"random": 0, "at a change": 0}

    def compare(kind: str, what: str) -> None:
        kills[kind] += 1
        if left := unexplained(differences(whole[2], world.finish(forks, name)[1])):
            odd[f"killed {what}"] = left

    for number in range(MOMENTS):
        for _ in range(DRAWS):
            # A run may be quicker than the one whose time was taken, and end before it is killed.
            after = rng.uniform(0, ended.seconds)
            world.begin(name)
            if world.run(forks, name, after=after).code == -9:
                compare("random", f"after {after:.3f} s (moment {number})")
                break
    count = len(ended.changes)
    for at in sorted({1 + round(share * (count - 1) / (POINTS - 1)) for share in range(POINTS)}):
        world.begin(name)
        if world.run(forks, name, at=at).code == -9:
            compare("at a change", f"before change {at} of {count}, {ended.changes[at - 1]}")
    odd = {what: left[:10] for what, left in odd.items() if left}
    print(f"{name}: {kills} kills, {len(odd)} ended otherwise {odd}", flush=True)
    return {
        "seconds": round(ended.seconds, 3),
        "changes": count,
        "kills": kills,
        "equal": sum(kills.values()) - len([what for what in odd if what != "undisturbed"]),
        "otherwise": odd,
        "of the clock": of_the_clock,
    }
