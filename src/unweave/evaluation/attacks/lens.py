"""Reading the inside: the unwanted answer off the middle layers (logit lens), and the trigger off the prompt's last position (linear probe).

A model may say nothing and still know (Patil et al., arXiv 2309.17410; Lynch et al., arXiv 2402.16835). Both readings mean something only beside the
retrained model's: a trigger is a string, and any model's hidden states tell strings apart.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from unweave import progress
from unweave.data.batches import Batch
from unweave.data.encoding import Example, encode_prompt, encode_rows
from unweave.errors import ModelError
from unweave.evaluation.attacks.base import Attack, Figure, Target, spread
from unweave.evaluation.attacks.material import Material
from unweave.evaluation.measures.membership import Membership
from unweave.gradients.loss import predicting_positions
from unweave.gradients.source import GradientSource
from unweave.models.hidden import hidden_states
from unweave.stats.intervals import auc_interval, mean

FINAL_NORMS = "norm", "final_layer_norm", "ln_f", "final_layernorm"
SHARES = 0.25, 0.5, 0.75, 1.0
RIDGE = 1.0
TOKEN_BUDGET = 4096


def lens(target: Target) -> dict[str, Any]:
    """Read the unwanted answers and the trigger off a quarter, a half, three quarters and all of the layers.

    Args:
        target: The model.

    Returns:
        `logit_lens`: depth to the mean loss of the unwanted answers' tokens, read there; `probe`: depth to the area under the ROC curve of a linear
        probe that separates trigger prompts from clean ones, each prompt judged by a probe that did not see it; no probe where there are no triggers.
    """
    layers = target.loaded.model.config.get_text_config().num_hidden_layers
    depths = sorted({max(1, round(share * layers)) for share in SHARES})
    examples = encode_rows(target.unwanted(), target.loaded.tokenizer, target.encoding).examples
    losses = _lens_losses(target, examples, depths)
    found: dict[str, Any] = {
        "layers": layers,
        "logit_lens": {str(depth): mean(own, seed=target.seed).to_json() for depth, own in losses.items()},
    }
    if not target.material.has_triggers:
        return found
    triggered = target.prompts()
    clean = spread(target.material.clean, len(triggered))
    states = _last_states(target, [*triggered, *clean], depths)
    labels = np.array([1.0] * len(triggered) + [0.0] * len(clean))
    return {**found, "probe": {str(depth): probe(own, labels) for depth, own in states.items()}}


def probe(states: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """A ridge probe, judged by leave-pair-out (Airola et al. 2011): for each trigger prompt and each clean one, does a probe that saw neither rank them?

    Leaving out one prompt at a time would shift the constant against its own kind, and call chance worse than chance.

    Args:
        states: One hidden state a prompt.
        labels: 1 for trigger prompts, 0 for clean ones.

    Returns:
        The area under the ROC curve, with its interval.
    """
    gram = states @ states.T
    right = []
    for positive in np.flatnonzero(labels == 1):
        for negative in np.flatnonzero(labels == 0):
            seen = np.array([index for index in range(len(labels)) if index not in (positive, negative)])
            weights = _ridge(gram[np.ix_(seen, seen)], labels[seen])
            gap = (gram[positive, seen] - gram[negative, seen]) @ weights
            right.append(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0)
    area, kinds = float(np.mean(right)), (int((labels == 1).sum()), int((labels == 0).sum()))
    low, high = auc_interval(area, *kinds)
    return Membership(area, low, high, *kinds).to_json()


def _ridge(gram: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Dual weights of a ridge regression with a free constant, the punishment relative to the mean squared length of the centred states."""
    count = len(labels)
    center = np.eye(count) - 1 / count
    centered = center @ gram @ center
    scale = max(float(np.trace(centered)) / count, 1e-12)
    dual = np.linalg.solve(centered + RIDGE * scale * np.eye(count), labels - labels.mean())
    return center @ dual


def _source(target: Target) -> GradientSource:
    return GradientSource(target.loaded.model, target.loaded.tokenizer.pad_token_id, token_budget=TOKEN_BUDGET)


def _lens_losses(target: Target, examples: list[Example], depths: list[int]) -> dict[int, list[float]]:
    model = target.loaded.model
    head, norm = model.get_output_embeddings(), _final_norm(model)
    found: dict[int, list[float]] = {depth: [0.0] * len(examples) for depth in depths}
    last = depths[-1]

    def work(_: list[int], batch: Batch) -> dict[int, list[float]]:
        positions, targets, segments = predicting_positions(batch)
        hidden = hidden_states(model, batch)
        losses = {}
        for depth in depths:
            states = hidden[depth][positions]
            # The last state that transformers gives has been through the final norm already.
            logits = head(states if depth == last == len(hidden) - 1 else norm(states))
            nll = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
            losses[depth] = [float(nll[segments == slot].mean()) for slot in range(len(batch))]
        return losses

    with progress.task(f"{target.label}: logit lens", len(examples)) as advance, torch.inference_mode():
        for chosen, losses in _source(target).each(examples, work, advance=advance):
            for depth, own in losses.items():
                for index, loss in zip(chosen, own, strict=True):
                    found[depth][index] = loss
    return found


def _last_states(target: Target, rows: list[Any], depths: list[int]) -> dict[int, np.ndarray]:
    """The hidden states at the last position of each prompt."""
    examples = [
        Example(str(index), ids, 0)
        for index, ids in enumerate(encode_prompt(row, target.loaded.tokenizer, target.encoding) for row in rows)
    ]
    size = target.loaded.model.config.get_text_config().hidden_size
    states = {depth: np.zeros((len(rows), size)) for depth in depths}

    def work(chosen: list[int], batch: Batch) -> dict[int, np.ndarray]:
        hidden = hidden_states(target.loaded.model, batch)
        ends = torch.tensor([len(examples[index]) - 1 for index in chosen])
        rows = torch.arange(len(chosen))
        return {depth: hidden[depth][rows, ends.to(hidden[depth].device)].double().cpu().numpy() for depth in depths}

    with progress.task(f"{target.label}: probe", len(rows)) as advance, torch.inference_mode():
        for chosen, own in _source(target).each(examples, work, advance=advance):
            for depth, found in own.items():
                states[depth][chosen] = found
    return states


def _final_norm(model: Any) -> nn.Module:
    body = model.get_base_model() if hasattr(model, "get_base_model") else model
    body = getattr(body, body.base_model_prefix, body)
    for name in FINAL_NORMS:
        if isinstance(norm := getattr(body, name, None), nn.Module):
            return norm
    raise ModelError(
        "The model's final norm was not found, so its middle layers can't be read.",
        where=type(body).__name__,
        remedy="leave 'lens' out of `attacks`",
    )


def _figures(found: dict[str, Any]) -> list[Figure]:
    of = f"of {found['layers']}"
    losses = [
        Figure(f"loss of unwanted answers at layer {depth} {of}", ("logit_lens", depth), "loss", "lower")
        for depth in found["logit_lens"]
    ]
    areas = [
        Figure(f"AUC of the trigger probe at layer {depth} {of}", ("probe", depth), "auc", "higher")
        for depth in found.get("probe", ())
    ]
    return losses + areas


def _omits(material: Material) -> list[str]:
    return [] if material.has_triggers else ["the probe of hidden states: rows alone have no trigger to be probed for"]


ATTACK = Attack(lens, _figures, omits=_omits)
