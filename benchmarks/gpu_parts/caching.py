"""Part 2: per-sample gradients and sketches of the large model, beside a bare forward and backward pass over the very same batches."""

from collections.abc import Callable
from statistics import median
from typing import Any

from floors import bare_passes
from gpu_parts.models import PAD, adapted_model, bare_model, random_examples
from gpu_parts.session import GIB, Session, middle
from unweave.data.batches import plan_batches
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher


def lora(session: Session) -> None:
    """Gradients of a LoRA adapter on all linear layers, folded."""
    model = adapted_model(session)
    _weigh(session, model)
    for budget in session.sizes.token_budgets:
        work = lambda budget=budget: against_floor(session, model, "lora", "fold", budget)  # noqa: E731
        session.attempt(f"lora, fold, {budget} tokens a batch", work, seconds=20)


def linear(session: Session) -> None:
    """Gradients of all linear weights, from their factors."""
    sizes = session.sizes
    model = bare_model(sizes.model, device=session.device, dtype=sizes.dtype, seed=session.seed)
    _weigh(session, model)
    budget = sizes.token_budgets[0]
    for sketch in ("kronecker", "fold"):
        work = lambda sketch=sketch: against_floor(session, model, "linear", sketch, budget)  # noqa: E731
        session.attempt(f"linear, {sketch}, {budget} tokens a batch", work, seconds=30)


def _weigh(session: Session, model: Any) -> None:
    held = sum(one.numel() * one.element_size() for one in model.parameters()) / GIB
    session.note("model", {"parameters": sum(one.numel() for one in model.parameters()), "gib": held})


def against_floor(session: Session, model: Any, parameters: str, sketch: str, budget: int) -> dict[str, Any]:
    """Tokens a second, GiB and the time of the whole training set; batch by batch in turn."""
    sizes = session.sizes
    examples = random_examples(sizes, sizes.rows, seed=session.seed)
    config = GradientConfig(parameters=parameters, sketch=sketch, dimension=sizes.dimension, token_budget=budget)
    sketcher = Sketcher(model, pad_token_id=PAD, config=config)
    batches = [
        [examples[index] for index in own] for own in plan_batches([len(one) for one in examples], token_budget=budget)
    ]

    def floor(batch: list[Any]) -> Callable[[], object]:
        return lambda: bare_passes(model, batch, parameters, token_budget=budget, pad_token_id=PAD)

    def ours(batch: list[Any]) -> Callable[[], object]:
        return lambda: sketcher.sketch_all(batch)

    # The first batch compiles kernels and proves the hooks.
    first = session.seconds(ours(batches[0]))
    peaks = {"floor": session.peak(floor(batches[0])), "unweave": session.peak(ours(batches[0]))}
    seconds: dict[str, list[float]] = {"floor": [], "unweave": []}
    for batch in batches:
        if seconds["floor"] and session.left < 3 * (seconds["floor"][-1] + seconds["unweave"][-1]):
            break
        for name, own in session.in_turn({"floor": floor(batch), "unweave": ours(batch)}, rounds=1).items():
            seconds[name] += own
    tokens = sum(map(len, batches[0]))
    rates = {name: [tokens / value for value in own] for name, own in seconds.items()}
    rate = median(rates["unweave"])
    return {
        "batches": len(seconds["floor"]), "rows_a_batch": len(batches[0]), "tokens_a_batch": tokens,
        "tokens_per_second": {name: middle(own) for name, own in rates.items()},
        "ratio_of_medians": rate / median(rates["floor"]), "peak_gib": peaks, "first_batch_seconds": first,
        "rows": sizes.corpus, "seconds_for_all_rows": sizes.corpus * sizes.length / rate,
        "store_gib_float16": sizes.corpus * sizes.dimension * 2 / GIB,
    }  # fmt: skip
