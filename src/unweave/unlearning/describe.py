"""The methods in words, from the registry: for `unweave list methods` and for the page of the docs."""

from dataclasses import MISSING, fields
from typing import Any

from unweave.unlearning.config import ForgetConfig, config_of
from unweave.unlearning.methods import Edit, Method, Retrain, available


def describe_methods() -> list[dict[str, Any]]:
    """All methods.

    Returns:
        Name, summary, paper, inputs, requests, cost and own options of each.
    """
    return [
        {
            "name": method.name,
            "summary": method.summary,
            "paper": method.paper,
            "inputs": _inputs(method),
            "requests": list(method.requests),
            "cost": method.cost,
            "options": own_options(method),
        }
        for method in available().values()
    ]


def own_options(method: type[Method]) -> dict[str, Any]:
    """The options that a method adds to those of all, or whose defaults are its own.

    Args:
        method: The method.

    Returns:
        Name to default.
    """
    common = {field.name: field.default for field in fields(ForgetConfig)}
    return {
        field.name: field.default
        for field in fields(config_of(method))
        if field.name != "method" and field.default is not MISSING and common.get(field.name, MISSING) != field.default
    }


def _inputs(method: type[Method]) -> list[str]:
    inputs = ["forget rows"]
    if method.uses_retain and getattr(method, "alpha", 1.0) != 0:
        inputs.append("retain rows")
    if method.uses_clean and not method.brings_clean:
        inputs.append("clean answers where there are any")
    if issubclass(method, Edit):
        inputs.append("an adapter")
    if issubclass(method, Retrain):
        inputs.append("the training run's config.yaml")
    return inputs
