"""The attacks as rows of a table, and what they found: where an attacked model gives away more than the retrained one does."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from unweave.evaluation.attacks.base import Attack, Unit
from unweave.evaluation.attacks.registry import ATTACKS
from unweave.registry import entry


@dataclass(frozen=True)
class AttackRow:
    """One number that an attack found, for each model.

    Attributes:
        attack: Which.
        what: What it is, for people.
        unit: `share`, `auc` or `loss` (nats a token).
        worse: Which way means that more is given away; `None` where it does not say.
        values: Model to value and the ends of its interval.
    """

    attack: str
    what: str
    unit: Unit
    worse: Literal["higher", "lower"] | None
    values: dict[str, tuple[float, float, float]]


def attack_named(name: str) -> Attack:
    """An attack.

    Args:
        name: Its name in `ATTACKS`.

    Returns:
        The attack.

    Raises:
        ConfigError: When there is none of that name.
    """
    return entry(ATTACKS, name, option="attacks")


def attack_table(attacks: dict[str, dict[str, Any]]) -> list[AttackRow]:
    """All numbers of all attacks.

    Args:
        attacks: Model to its attacks, the same ones for each.

    Returns:
        The rows, attack by attack.
    """
    rows = []
    first = next(iter(attacks.values()), {})
    for name in first:
        for figure in attack_named(name).figures(first[name]):
            values = {model: _value(own[name], figure.path) for model, own in attacks.items()}
            rows.append(AttackRow(name, figure.what, figure.unit, figure.worse, values))
    return rows


def attack_findings(
    attacks: dict[str, dict[str, Any]], *, model: str = "after", reference: str = "retrained"
) -> list[str]:
    """Where an attack gets more out of a model than out of the retrained one: their 95 % intervals lie apart.

    Args:
        attacks: Model to its attacks.
        model: The model that is judged.
        reference: What it should be like.

    Returns:
        A sentence each; empty where no attack does, or one of the two was not attacked.
    """
    if model not in attacks or reference not in attacks:
        return []
    found = []
    for row in attack_table(attacks):
        (own, low, high), (other, other_low, other_high) = row.values[model], row.values[reference]
        if (row.worse == "higher" and low > other_high) or (row.worse == "lower" and high < other_low):
            pair = (_shown(row.unit, own, low, high), _shown(row.unit, other, other_low, other_high))
            found.append(f"{row.attack}: {row.what} is {pair[0]}, in the retrained model {pair[1]}")
    return found


def _shown(unit: str, value: float, low: float, high: float) -> str:
    if unit == "share":
        return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" + (" nats a token" if unit == "loss" else "")


def _value(attack: dict[str, Any], path: tuple[Any, ...]) -> tuple[float, float, float]:
    value: Any = attack
    for key in path:
        value = value[key]
    found = (value["auc"], *value["interval"]) if "auc" in value else (value["value"], value["low"], value["high"])
    # A single row has no interval, and JSON no NaN.
    own, low, high = (math.nan if number is None else number for number in found)
    return own, low, high
