"""`unweave list`: what the registries hold."""

import ast
import importlib.util
import inspect
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from unweave.lazy import resolve

Kind = Literal[
    "methods",
    "sketches",
    "attacks",
    "probes",
    "preconditioners",
    "estimators",
    "scorers",
    "measures",
    "layouts",
    "engines",
    "weights",
]

REGISTRIES = {
    "sketches": "unweave.sketch.registry:SKETCHES",
    "attacks": "unweave.evaluation.attacks.registry:ATTACKS",
    "probes": "unweave.evaluation.probes.registry:PROBES",
    "preconditioners": "unweave.attribution.registry:PRECONDITIONERS",
    "estimators": "unweave.attribution.registry:ESTIMATORS",
    "scorers": "unweave.attribution.registry:SCORERS",
    "measures": "unweave.experiments.attribution.registry:MEASURES",
    "engines": "unweave.engines.registry:ENGINES",
}
"""Registries whose entries are their own, or `module:name`."""

OPTIONS = {
    "methods": "unweave forget --method",
    "sketches": "unweave cache --sketch",
    "attacks": "unweave audit --attacks",
    "probes": "unweave audit --probes",
    "preconditioners": "unweave trace --preconditioner",
    "estimators": "unweave trace --estimator",
    "scorers": "unweave trace --scorer",
    "measures": "unweave bench attribution --measures",
    "engines": "unweave cache --engine",
    "weights": "unweave weigh --method",
}
"""Where a name of each kind is used."""


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """List what there is of a kind, by name.

    Attributes:
        kind: Of what.
    """

    kind: Annotated[Kind, tyro.conf.Positional]


def list_names(config: ListOptions) -> list[dict[str, Any]]:
    """What there is of a kind.

    Args:
        config: Of which.

    Returns:
        Name and summary of each; of methods all that `describe_methods` says.
    """
    if config.kind == "methods":
        from unweave.unlearning.describe import describe_methods

        return describe_methods()
    if config.kind == "layouts":
        from unweave.data.layouts import LAYOUTS

        found = {name: f"prompt: {one.prompt}; learned: {one.learned}" for name, one in LAYOUTS.items()}
    elif config.kind == "weights":
        from unweave.weights.config import WEIGHTS

        found = WEIGHTS
    else:
        found = summaries(resolve(REGISTRIES[config.kind]))
    return [{"name": name, "summary": text} for name, text in found.items()]


def summaries(registry: Mapping[str, Any]) -> dict[str, str]:
    """What the entries of a registry are, by the first sentences of their docstrings; those named as `module:name` are not imported.

    Args:
        registry: Name to entry.

    Returns:
        Name to sentence: of the module, where no other entry is in it.
    """
    names = [found for found in registry.values() if isinstance(found, str)]
    shared = Counter(name.partition(":")[0] for name in names)
    return {
        name: _first(
            _read(found, alone=shared[found.partition(":")[0]] == 1)
            if isinstance(found, str)
            else inspect.getdoc(found)
        )
        for name, found in registry.items()
    }


def _read(name: str, *, alone: bool) -> str | None:
    """The docstring of a module, or of a function or class in it, from its source."""
    module, _, inside = name.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    own = [one for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef) and one.name == inside]
    return ast.get_docstring(tree if alone or not own else own[0])


def _first(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())
