"""Part 4: a step of three methods and a training step of the large model, and from these how much cheaper than retraining forgetting is."""

from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from gpu_parts.models import PAD, adapted_model, in_memory, random_examples, random_rows
from gpu_parts.session import Session, middle
from unweave.data.batches import collate
from unweave.gradients.loss import token_losses
from unweave.unlearning.methods import get_method
from unweave.unlearning.own_loop import UnlearnSteps

METHODS = ("rapidun", "npo", "distill")
EPOCHS = 3
KNOWN = (40, 400)


def run(session: Session) -> None:
    """Seconds, GiB, times cheaper than retraining."""
    model = adapted_model(session)
    trained = session.attempt("training", lambda: training_step(session, model), seconds=20)
    for name in METHODS:
        work = lambda name=name: method_step(session, model, name, trained)  # noqa: E731
        session.attempt(name, work, seconds=20)


def training_step(session: Session, model: Any) -> dict[str, Any]:
    """A step of plain fine-tuning of the adapter."""
    sizes = session.sizes
    parameters = trainable(model)
    optimizer = torch.optim.AdamW(parameters, lr=1e-5)
    batch = collate(random_examples(sizes, sizes.batch_size, seed=session.seed), pad_token_id=PAD).to(session.device)
    model.train()
    return _measured(session, lambda: _stepped(optimizer, lambda: token_losses(model, batch).means().mean()))


def method_step(session: Session, model: Any, name: str, trained: dict[str, Any] | None) -> dict[str, Any]:
    """A step of a method: three rows to keep for each to forget."""
    sizes = session.sizes
    forget = random_rows(sizes, max(1, sizes.batch_size // 4) * (sizes.steps + 2), seed=1, prefix="f")
    retain = random_rows(sizes, 3 * len(forget), seed=2, prefix="r")
    trainable(model)
    method = get_method(name)()
    loaded = in_memory(model, sizes)
    made: list[UnlearnSteps] = []
    begun = session.seconds(
        lambda: made.append(
            UnlearnSteps(
                loaded, forget, retain, method=method, batch_size=sizes.batch_size, epochs=1.0, adapter_mode="continue", in_place=True,
                encoding=_encoding(sizes.length),
            )
        )
    )  # fmt: skip
    steps = made[0]
    optimizer = torch.optim.AdamW(steps.parameters(), lr=1e-5)
    views = iter(steps)
    # A view of a step holds its batch only, and what the method computes of it is computed in its loss.
    found = _measured(session, lambda: _stepped(optimizer, lambda: method.loss(next(views))))
    found |= {"seconds_to_begin": begun, "rows_a_step": sizes.batch_size}
    if trained:
        retraining = sizes.corpus * EPOCHS / sizes.batch_size * trained["seconds"]["median"]
        found["steps_of_training"] = found["seconds"]["median"] / trained["seconds"]["median"]
        found["times_cheaper_than_retraining"] = {
            f"{known} rows known": retraining / (4 * known / sizes.batch_size * found["seconds"]["median"])
            for known in KNOWN
        }
    return found


def trainable(model: Any) -> list[Any]:
    """The adapter's parameters, marked."""
    found = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
    for parameter in found:
        parameter.requires_grad_(True)
    return found


def _encoding(length: int) -> Any:
    from unweave.data.encoding import EncodingConfig

    return EncodingConfig(max_length=length)


def _stepped(optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> None:
    loss().backward()
    optimizer.step()
    optimizer.zero_grad()


def _measured(session: Session, step: Callable[[], None]) -> dict[str, Any]:
    """The first step makes the optimizer's state, and shows the memory."""
    peak = session.peak(step)
    seconds = session.in_turn({"step": step}, rounds=session.sizes.steps)["step"]
    return {"seconds": middle(seconds), "median_seconds": median(seconds), "peak_gib": peak}
