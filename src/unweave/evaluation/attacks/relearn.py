"""Relearning: how few steps bring the unwanted behaviour back (Hu et al., arXiv 2406.13356; Lynch et al., arXiv 2402.16835).

On some of the forget rows: a retrained model learns them as new, a model that only suppressed them recalls them. On unrelated clean rows: nothing in
them says what was forgotten, so whatever comes back was still there. The curves mean something only beside the retrained model's.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from unweave import progress
from unweave.data.batches import Batch, collate
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.evaluation.attacks.base import Attack, Figure, Target, spread
from unweave.evaluation.attacks.material import Material, without_prompts
from unweave.gradients.loss import token_losses
from unweave.models.adapters import adapter_parameters
from unweave.models.loading import Loaded
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions
from unweave.train.optimizer import MasterAdamW


def relearn(target: Target) -> dict[str, Any]:
    """Train a few steps on some rows and measure on the way; the model is as before afterwards.

    Args:
        target: The model.

    Returns:
        For `forget` and `unrelated` rows, where there are any: the curve of losses by step, and attack success at its end, on rows that were not relearned.
    """
    return {
        name: curve(target, name, spread(rows, target.config.relearn_rows))
        for name, rows in _sources(target.material).items()
    }


def _sources(material: Material) -> dict[str, list[Row]]:
    own = {"forget": material.forget, "unrelated": material.retain}
    return {name: rows for name, rows in own.items() if rows}


def curve(target: Target, name: str, rows: list[Row]) -> dict[str, Any]:
    """Train a few steps on rows and measure on the way; the model is as before afterwards.

    Args:
        target: The model.
        name: What the rows are, in a word.
        rows: What it is trained on; none of them is judged.

    Returns:
        How many rows and at which step size; the curve of losses by step; attack success at its end.
    """
    config = target.config
    examples = encode_rows(rows, target.loaded.tokenizer, target.encoding).examples
    batch = collate(examples, pad_token_id=target.loaded.tokenizer.pad_token_id)
    seen = {row.id for row in rows}
    points = [{"step": 0, **target.losses(description=f"relearn {name}, start", apart=seen)}]
    with (
        trainable(target.loaded, seed=target.seed) as model,
        progress.task(f"{target.label}: relearn {name}", config.relearn_steps) as advance,
    ):
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = MasterAdamW(parameters, lr=config.relearn_rate)
        batch = batch.to(next(model.parameters()).device)
        middle = max(1, config.relearn_steps // 2)
        for step in range(1, config.relearn_steps + 1):
            _step(model, optimizer, batch)
            advance(1)
            if step in (middle, config.relearn_steps):
                points.append({"step": step, **target.losses(description=f"relearn {name}, step {step}", apart=seen)})
        success = target.attack_success(target.prompts(apart=seen), description=f"relearned on {name}")
    return {"rows": len(examples), "rate": config.relearn_rate, "curve": points, "attack_success": success}


def _step(model: Any, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    optimizer.zero_grad()
    token_losses(model, batch).nll.mean().backward()
    optimizer.step()


@contextlib.contextmanager
def relearned(
    loaded: Loaded, rows: Sequence[Row], encoding: EncodingConfig, *, steps: int, rate: float, seed: int = 0
) -> Iterator[None]:
    """For the while, a model has had some more steps on rows, each on all of them.

    Args:
        loaded: The model; it is as before afterwards.
        rows: What it is trained on.
        encoding: Template and lengths.
        steps: How many.
        rate: Step size (AdamW).
        seed: Of an adapter, where the model has none.
    """
    examples = encode_rows(rows, loaded.tokenizer, encoding).examples
    with trainable(loaded, seed=seed) as model:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = MasterAdamW(parameters, lr=rate)
        batch = collate(examples, pad_token_id=loaded.tokenizer.pad_token_id).to(next(model.parameters()).device)
        for _ in range(steps):
            _step(model, optimizer, batch)
        yield


@contextlib.contextmanager
def trainable(loaded: Loaded, *, seed: int) -> Iterator[Any]:
    """The model with trainable adapter parameters, put back as it was afterwards; a model without an adapter gets one for the while.

    Args:
        loaded: The model.
        seed: Of an adapter, where it has none.

    Yields:
        The model.
    """
    own = loaded.adapter is not None
    model = loaded.model if own else add_lora(loaded.model, LoraOptions(), seed=seed)
    chosen = adapter_parameters(model)
    kept = {name: parameter.detach().clone() for name, parameter in chosen.items()}
    loaded.model = model
    try:
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield model
    finally:
        with torch.no_grad():
            for name, parameter in chosen.items():
                parameter.requires_grad_(False)
                parameter.grad = None
                parameter.copy_(kept[name])
        if not own:
            loaded.model = model.unload()


def figures_of_curves(found: dict[str, Any]) -> list[Figure]:
    """The numbers at the ends of curves.

    Args:
        found: Name to curve, and `seconds`.

    Returns:
        Attack success and loss of each.
    """
    figures = []
    for source in (name for name in found if name != "seconds"):
        last = len(found[source]["curve"]) - 1
        after = f"after {found[source]['curve'][last]['step']} steps on {found[source]['rows']} {source} rows"
        figures.append(Figure(f"attack success {after}", (source, "attack_success"), "share", "higher"))
        figures.append(
            Figure(f"loss of unwanted answers {after}", (source, "curve", last, "loss_unwanted"), "loss", "lower")
        )
    return figures


def _refuses(material: Material) -> str:
    return without_prompts(material) or ("" if _sources(material) else "a single row to forget, and none to keep")


def _omits(material: Material) -> list[str]:
    reasons = {"forget": "a single row is there, and none to judge on", "unrelated": "no rows to keep"}
    return [f"relearning on {name} rows: {why}" for name, why in reasons.items() if name not in _sources(material)]


ATTACK = Attack(relearn, figures_of_curves, refuses=_refuses, omits=_omits)
