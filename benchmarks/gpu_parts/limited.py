"""Part 5: the large model on a smaller card: what fits, and at what speed."""

import warnings
from typing import Any

import torch
from torch import nn

from gpu_parts.caching import against_floor
from gpu_parts.models import adapted_model, bare_model, with_lora
from gpu_parts.session import GIB, Session, SkippedError
from gpu_parts.unlearning import method_step, trainable

OFFLOADED = 0.5
"""The share of the layers whose weights stay in the CPU's memory."""


def run(session: Session) -> None:
    """Each way of holding the model, with batches of one and of several rows."""
    if session.device.type == "cuda":
        total = torch.cuda.get_device_properties(session.device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, session.sizes.limit / total), session.device)
        session.note("limit_gib", min(total, session.sizes.limit) / GIB)
    ways = {
        "bfloat16": _plain,
        "bfloat16, gradient checkpointing": _checkpointed,
        "4-bit": _four_bits,
        "offloaded, gradient checkpointing": _offloaded,
    }
    for name, make in ways.items():
        if session.left < 25:
            session.note(name, {"skipped": f"{session.left:.0f} s were left"})
            continue
        session.attempt(name, lambda name=name, make=make: _way(session, name, make))


def _way(session: Session, name: str, make: Any) -> dict[str, Any]:
    model = make(session)
    held = torch.cuda.memory_allocated() / GIB if session.device.type == "cuda" else 0.0
    length = session.sizes.length
    for budget in (length, 4 * length):
        work = lambda budget=budget: against_floor(session, model, "lora", "fold", budget)  # noqa: E731
        session.attempt(f"{name}: caching, {budget} tokens a batch", work, seconds=8)
    session.attempt(f"{name}: npo, a step", lambda: method_step(session, model, "npo", None), seconds=8)
    return {"held_gib": held}


def _plain(session: Session) -> Any:
    return adapted_model(session)


def _checkpointed(session: Session) -> Any:
    model = adapted_model(session)
    return _with_checkpoints(model)


def _with_checkpoints(model: Any) -> Any:
    trainable(model)
    with warnings.catch_warnings():
        # The name changes with transformers 6.
        warnings.simplefilter("ignore")
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def _four_bits(session: Session) -> Any:
    """Layer by layer, so that the card never holds more than the model in bfloat16."""
    try:
        import bitsandbytes
    except ImportError as error:
        raise SkippedError("bitsandbytes is not installed") from error
    sizes = session.sizes
    model = bare_model(sizes.model, device=session.device, dtype=sizes.dtype, seed=session.seed)
    for path, module in list(model.named_modules()):
        if not isinstance(module, nn.Linear) or path == "lm_head":
            continue
        held = bitsandbytes.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=False,
            compute_dtype=sizes.dtype,
            quant_type="nf4",
            device="meta",
        )
        held.weight = bitsandbytes.nn.Params4bit(module.weight.data.cpu(), requires_grad=False, quant_type="nf4").to(
            session.device
        )
        setattr(model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], held)
        module.weight = None
    return with_lora(model, sizes, seed=session.seed)


def _offloaded(session: Session) -> Any:
    """Half of the layers wait in the CPU's memory, and come over when they are computed."""
    from accelerate import dispatch_model

    if session.device.type != "cuda":
        raise SkippedError("there is no CUDA device")
    model = adapted_model(session, device=torch.device("cpu"))
    inner = model.get_base_model().model
    first = int(OFFLOADED * len(inner.layers))
    prefix = "base_model.model.model"
    devices: dict[str, Any] = {
        f"{prefix}.layers.{index}": "cpu" if index < first else 0 for index in range(len(inner.layers))
    }
    devices |= {
        f"{prefix}.embed_tokens": 0,
        f"{prefix}.norm": 0,
        f"{prefix}.rotary_emb": 0,
        "base_model.model.lm_head": 0,
    }
    model = dispatch_model(model, devices, main_device=0, force_hooks=True)
    return _with_checkpoints(model)
