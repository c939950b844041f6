"""Asking a model: its answers to probes, and the losses of the answers that it may choose among."""

from dataclasses import replace
from typing import Any

from unweave.data.encoding import EncodingConfig
from unweave.evaluation.figures import gives_away
from unweave.evaluation.forced import forced_pass
from unweave.evaluation.probes.base import Probe
from unweave.evaluation.probes.making import Probes
from unweave.models.generation import greedy_answers
from unweave.models.model import Model

Found = dict[str, dict[str, Any]]
"""Family to row id to what was found: an answer, or the loss of each option in nats a token, the right one first."""


def ask(
    model: Model,
    probes: Probes,
    encoding: EncodingConfig,
    *,
    max_new_tokens: int,
    token_budget: int = 4096,
    label: str = "probes",
) -> Found:
    """Ask a model all probes: what is generated in one go, and what is chosen in one pass.

    Args:
        model: The model.
        probes: The probes.
        encoding: Template and lengths.
        max_new_tokens: Longest answer; 0 generates none.
        token_budget: Tokens a batch of options, padding included.
        label: Names the model in progress.

    Returns:
        What was found.
    """
    found: Found = {}
    asked = [(name, one) for name, own in probes.generated.items() for one in own] if max_new_tokens else []
    if asked:
        texts = greedy_answers(
            model,
            [one.asked for _, one in asked],
            encoding,
            max_new_tokens=max_new_tokens,
            description=f"{label}: probes",
        )
        for (name, one), text in zip(asked, texts, strict=True):
            found.setdefault(name, {})[one.source.id] = text
    rows = {
        (name, one.source.id, place): replace(one.asked.with_completion(text), id=f"{name} {place} {one.source.id}")
        for name, own in probes.chosen.items()
        for one in own
        for place, text in enumerate((one.asked.completion, *one.options))
    }
    if rows:
        # The question fits, or the row itself did not: what is cut is the end of an option.
        own = forced_pass(
            model,
            {"options": list(rows.values())},
            replace(encoding, on_long_row="cut"),
            token_budget=token_budget,
            description=f"{label}: choices",
        )["options"]
        for (name, row_id, _), loss in zip(rows, own.mean_losses(), strict=True):
            found.setdefault(name, {}).setdefault(row_id, []).append(loss)
    return found


def leaks(probe: Probe, found: Any) -> bool:
    """Whether what a model answered gives the row away: see `gives_away`; of options, whether the right one is the likeliest.

    Args:
        probe: The probe.
        found: Its answer, or the losses of its options.

    Returns:
        True or False.
    """
    if probe.options:
        right, *wrong = found
        return right < min(wrong)
    return gives_away(probe.source.with_completion(probe.asked.completion), found)
