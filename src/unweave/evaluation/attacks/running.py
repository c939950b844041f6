"""Making attacks on a model, one after the other, and saying which could not be made."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave.evaluation.attacks.base import Target
from unweave.evaluation.attacks.material import Material
from unweave.evaluation.attacks.registry import ATTACKS
from unweave.evaluation.attacks.table import attack_named
from unweave.files import read_json, write_json

Found = dict[str, dict[str, Any]]
"""Attack to what it found."""


def run_attacks(
    target: Target,
    names: Sequence[str],
    *,
    done: Found | None = None,
    keep: Callable[[Found], None] = lambda _: None,
    spare: bool = False,
) -> Found:
    """Make attacks, those that change the model last.

    Args:
        target: The model.
        names: Those that are asked for; those that can't be made on this material are passed over.
        done: What was found already.
        keep: Called after each attack with all that was found.
        spare: Leave the model as it is: an attack that spends it gets a copy.

    Returns:
        What each found, in the order of the registry.
    """
    found = dict(done or {})
    possible = [name for name in ATTACKS if name in names and not attack_named(name).refuses(target.material)]
    for name in possible:
        if name in found:
            continue
        attack, started = attack_named(name), time.monotonic()
        own = target
        if spare and attack.spends:
            own = replace(target, loaded=replace(target.loaded, model=copy.deepcopy(target.loaded.model)))
        found[name] = {**attack.run(own), "seconds": round(time.monotonic() - started, 3)}
        keep(found)
    return {name: found[name] for name in possible}


def stored_attacks(target: Target, names: Sequence[str], path: Path, identity: Any) -> Found:
    """Make attacks, each written as it ends; what a file has of the same is not made again.

    Args:
        target: The model; it is spent afterwards.
        names: Those that are asked for.
        path: The file.
        identity: What makes them the same.

    Returns:
        As `run_attacks`.
    """
    kept = read_json(path, what="The attacks") if path.is_file() else {}
    return run_attacks(
        target,
        names,
        done=kept["attacks"] if kept.get("identity") == identity else {},
        keep=lambda found: write_json(path, {"identity": identity, "attacks": found}),
    )


def attacks_left_out(material: Material, names: Sequence[str]) -> list[str]:
    """Which attacks, or what of them, can't be made on this material.

    Args:
        material: What attacks are made on.
        names: Those that are asked for.

    Returns:
        A sentence each, with the reason; one for all where none are asked for.
    """
    if not names:
        return ["attacks: none were asked for"]
    found = []
    for name in (name for name in ATTACKS if name in names):
        attack = attack_named(name)
        reason = attack.refuses(material)
        found += (
            [f"the attack {name}: {reason}"]
            if reason
            else [f"of the attack {name}: {one}" for one in attack.omits(material)]
        )
    return found
