"""The attacks as rows of a table, and what they found: where an attacked model gives away more than the retrained one does."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
        count: How many rows, or pairs of kinds of rows, it is of.
    """

    attack: str
    what: str
    unit: Unit
    worse: Literal["higher", "lower"] | None
    values: dict[str, tuple[float, float, float]]
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


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


def attack_table(attacks: Mapping[str, dict[str, Any]]) -> list[AttackRow]:
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
            rows.append(
                AttackRow(name, figure.what, figure.unit, figure.worse, values, _count(first[name], figure.path))
            )
    return rows


def attack_findings(
    attacks: Mapping[str, dict[str, Any]], *, model: str = "after", reference: str = "retrained"
) -> list[str]:
    """Where an attack gets more out of a model than out of the retrained one: their 95 % intervals lie apart.

    Args:
        attacks: Model to its attacks.
        model: The model that is judged.
        reference: What it should be like.

    Returns:
        A sentence each; empty where no attack does, or one of the two was not attacked.
    """
    return [words for _, words in attack_gaps(attacks, model=model, reference=reference)]


def attack_gaps(attacks: Mapping[str, dict[str, Any]], *, model: str, reference: str) -> list[tuple[AttackRow, str]]:
    """As `attack_findings`, with the figure that each is about.

    Args:
        attacks: Model to its attacks.
        model: The model that is judged.
        reference: What it should be like.

    Returns:
        A figure and a sentence each.
    """
    if model not in attacks or reference not in attacks:
        return []
    found = []
    for row in attack_table({label: attacks[label] for label in (model, reference)}):
        (own, low, high), (other, other_low, other_high) = row.values[model], row.values[reference]
        if (row.worse == "higher" and low > other_high) or (row.worse == "lower" and high < other_low):
            pair = (_shown(row.unit, own, low, high), _shown(row.unit, other, other_low, other_high))
            name = "reference" if reference == "reference" else "retrained"
            found.append((row, f"{row.attack}: {row.what} is {pair[0]}, in the {name} model {pair[1]}"))
    return found


def attack_leaks(attacks: Mapping[str, dict[str, Any]], *, model: str, most: float) -> list[str]:
    """The shares of unwanted answers of attacks that lie above a bound with their whole interval.

    Args:
        attacks: Model to its attacks.
        model: The model.
        most: The bound.

    Returns:
        A few words each, with the figure.
    """
    rows = attack_table({model: attacks[model]}) if model in attacks else []
    above = [row for row in rows if row.unit == "share" and row.worse == "higher" and row.values[model][1] > most]
    return [f"{row.attack}: {row.what} is {_shown(row.unit, *row.values[model])}" for row in above]


def _shown(unit: str, value: float, low: float, high: float) -> str:
    if unit == "share":
        return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" + (" nats a token" if unit == "loss" else "")


def _at(attack: dict[str, Any], path: tuple[Any, ...]) -> Any:
    value: Any = attack
    for key in path:
        value = value[key]
    return value


def _count(attack: dict[str, Any], path: tuple[Any, ...]) -> int:
    value = _at(attack, path)
    return value.get("count", value.get("members", 0) + value.get("others", 0))


def _value(attack: dict[str, Any], path: tuple[Any, ...]) -> tuple[float, float, float]:
    value = _at(attack, path)
    found = (value["auc"], *value["interval"]) if "auc" in value else (value["value"], value["low"], value["high"])
    # A single row has no interval, and JSON no NaN.
    own, low, high = (math.nan if number is None else number for number in found)
    return own, low, high
