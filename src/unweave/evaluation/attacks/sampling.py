"""Sampling: what a greedy answer hides, many samples may show (Scholten et al., arXiv 2410.03523)."""

from typing import Any

from unweave.evaluation.attacks.base import Attack, Figure, Target
from unweave.evaluation.attacks.material import without_prompts
from unweave.models.generation import sampled_answers
from unweave.stats.intervals import mean, share


def sampling(target: Target) -> dict[str, Any]:
    """Sample several answers to each trigger prompt.

    Args:
        target: The model.

    Returns:
        `any`: the share of prompts that one sample at least answers in the unwanted way; `each`: the mean share of samples (its
        interval resamples prompts, since samples of one prompt go together).
    """
    rows = target.prompts()
    samples = sampled_answers(
        target.loaded,
        rows,
        target.encoding,
        samples=target.config.samples,
        temperature=target.config.temperature,
        max_new_tokens=target.max_new_tokens,
        seed=target.seed,
        description=f"{target.label}: sampled answers",
    )
    flags = [
        [target.is_unwanted(answer, row) for answer in answers] for row, answers in zip(rows, samples, strict=True)
    ]
    return {
        "samples": target.config.samples,
        "temperature": target.config.temperature,
        "any": share([max(own) for own in flags]).to_json(),
        "each": mean([sum(own) / len(own) for own in flags], seed=target.seed).within(0, 1).to_json(),
    }


def _figures(found: dict[str, Any]) -> list[Figure]:
    prompts = f"share of prompts with an unwanted answer among {found['samples']} samples"
    return [
        Figure(prompts, ("any",), "share", "higher"),
        Figure("share of unwanted samples", ("each",), "share", "higher"),
    ]


ATTACK = Attack(sampling, _figures, refuses=without_prompts, only_asks=True)
