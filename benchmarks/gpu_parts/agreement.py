"""Part 6: the same small model on the GPU and on the CPU."""

import copy
from typing import Any

import torch

from gpu_parts.models import PAD, bare_model, random_examples, with_lora
from gpu_parts.session import Session
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher

COUNT = 12


def run(session: Session) -> None:
    """Losses, norms, sketches and exact products; and whether two runs on the device give the same bits."""
    sizes = session.sizes
    cpu = bare_model(sizes.small, device=torch.device("cpu"), dtype=torch.float32, seed=session.seed)
    other = copy.deepcopy(cpu).to(session.device)
    for kind, sketches in (("lora", ("fold", "oporp", "gaussian")), ("linear", ("kronecker", "tensorsketch"))):
        for sketch in sketches:
            pair = (
                [with_lora(copy.deepcopy(one), sizes, seed=session.seed) for one in (cpu, other)]
                if kind == "lora"
                else [cpu, other]
            )
            session.attempt(
                f"{kind}, {sketch}", lambda pair=pair, kind=kind, sketch=sketch: _compared(session, pair, kind, sketch)
            )


def _compared(session: Session, pair: list[Any], kind: str, sketch: str) -> dict[str, Any]:
    sizes = session.sizes
    config = GradientConfig(parameters=kind, sketch=sketch, dimension=2048, token_budget=4 * sizes.length)
    vocabulary = sizes.small["vocab_size"]
    examples = random_examples(sizes, COUNT, seed=session.seed, vocabulary=vocabulary)
    # Of different lengths, so that there is padding.
    examples = [
        type(one)(one.row_id, one.input_ids[: len(one) - index], one.prompt_length)
        for index, one in enumerate(examples)
    ]
    if kind == "lora":
        # The adapter's first factors come from the device's own generator.
        pair[1].load_state_dict(pair[0].state_dict())
    made = [Sketcher(model, pad_token_id=PAD, config=config).sketch_all(examples) for model in pair]
    again = Sketcher(pair[1], pad_token_id=PAD, config=config).sketch_all(examples)
    products = [own.sketches @ own.sketches.T for own in made]
    return {
        **{
            name: float((getattr(made[1], name) - getattr(made[0], name)).norm() / getattr(made[0], name).norm())
            for name in ("sketches", "norms", "losses")
        },
        "products": float((products[1] - products[0]).norm() / products[0].norm()),
        "same_bits_twice": bool(torch.equal(made[1].sketches, again.sketches)),
    }
