"""What works with which model: an architecture and a kind of adapter go through loading, training, saving, unlearning and merging, and are compared.

Each check gives `equal`, `refused: ...` with the error that names the reason, or `wrong: ...`, which no cell may have. Where PEFT itself makes no
such adapter for a model, the cell is `none: ...`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.architectures import ARCHITECTURES, save
from tests.folders import ROWS, write_rows
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import UnweaveError
from unweave.jobs.forget import forget_rows
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.models.quiet import quiet_transformers
from unweave.models.text import idle_on_text, pattern_of
from unweave.train.adapters import MAMBA
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.methods.rapidun import RapidUnConfig

ADAPTERS = ("lora", "dora", "ia3", "oft", "loha", "modules_to_save", "tokens")
CHECKS = ("trained", "saved", "answered", "unlearned", "merged")
IDS = torch.tensor([[5, 60, 9, 80, 7, 33, 12]])
TOLERANCE = 1e-4
HELD: dict[str, Any] = {"dtype": "float32", "device": "cpu", "max_length": 64}

Gradients = Callable[[Loaded], str]
"""Compares the per-sample gradients of a model with autograd's, and gives the outcome."""


class NotMadeError(Exception):
    """PEFT makes no adapter of a kind for a model."""


def run(name: str, kind: str, folder: Path, *, gradients: Gradients | None = None) -> dict[str, str]:
    """All checks of one cell.

    Args:
        name: The architecture.
        kind: The kind of adapter.
        folder: An empty folder.
        gradients: How gradients are compared; without it they are not.

    Returns:
        Check to outcome. A cell whose adapter can't be made has no further checks.
    """
    base = save(name, folder / "base")
    rows = write_rows(folder / "rows.jsonl", ROWS)
    sets: dict[str, Any] = {
        "forget": write_rows(folder / "forget.jsonl", ROWS[6:]),
        "retain": write_rows(folder / "retain.jsonl", ROWS[:6]),
    }
    adapter, found = folder / "adapter", {}
    make = _train if kind == "lora" else _make
    expected: list[Tensor] = []
    found["trained"] = outcome(lambda: expected.append(make(base, adapter, kind, rows)))
    if found["trained"] != "equal":
        return found
    found["saved"] = outcome(lambda: compare(_logits(_load(adapter)), expected[0]))
    found["answered"] = outcome(lambda: _answers_alike(_load(adapter)))
    if gradients is not None:
        found["traced"] = outcome(lambda: gradients(_load(adapter)))

    def unlearned() -> str:
        loaded = _load(adapter)
        options: Any = {"adapter_mode": "continue", "learning_rate": 1e-2, "epochs": 0.5, **HELD}
        forget_rows(
            RapidUnConfig(model=str(adapter), **sets, output_dir=folder / "unlearned", **options), loaded=loaded
        )
        after = _logits(_load(folder / "unlearned"))
        if torch.allclose(after, expected[0], atol=1e-5):
            return "wrong: nothing was learned"
        return compare(after, _logits(loaded))

    def merged() -> str:
        options: Any = {"learning_rate": 1e-12, "epochs": 0.2, "lora_r": 2, "lora_dropout": 0.0, **HELD}
        forget_rows(RapidUnConfig(model=str(adapter), **sets, output_dir=folder / "merged", **options))
        return compare(_logits(_load(folder / "merged")), expected[0])

    found["unlearned"] = outcome(unlearned)
    found["merged"] = outcome(merged)
    return found


def outcome(check: Callable[[], str | None]) -> str:
    """What a check gives, its errors separated: those with a remedy are refusals, all others are faults.

    Args:
        check: The check.

    Returns:
        The outcome.
    """
    try:
        return check() or "equal"
    except NotMadeError as error:
        return f"none: {error}"
    except UnweaveError as error:
        return f"refused: {error.what}" if error.remedy else f"wrong: {error.what}"
    except Exception as error:
        return f"wrong: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def compare(found: Tensor, expected: Tensor) -> str:
    """Whether logits are the same up to float32's rounding.

    Args:
        found: The logits.
        expected: What they should be.

    Returns:
        The outcome.
    """
    if found.shape != expected.shape:
        return f"wrong: {tuple(found.shape)} logits in place of {tuple(expected.shape)}"
    change = float((found - expected).abs().max()) / max(1.0, float(expected.abs().max()))
    return "equal" if change <= TOLERANCE else f"wrong: logits differ by {change:.1e}"


def _train(base: Path, folder: Path, kind: str, rows: Path) -> Tensor:
    """Two steps of `unweave train`."""
    del kind
    options: Any = {"epochs": 1.0, "batch_size": 4, "learning_rate": 1e-2, "lora_r": 2, **HELD}
    loaded = _load(base)
    before = _logits(loaded)
    fine_tune(TrainConfig(model=str(base), data=rows, output_dir=folder, **options), loaded=loaded)
    after = _logits(_load(folder))
    if torch.allclose(after, before, atol=1e-5):
        raise AssertionError("nothing was learned")
    return after


def _make(base: Path, folder: Path, kind: str, rows: Path) -> Tensor:
    """An adapter that another program has made."""
    del rows
    from peft import get_peft_model

    with quiet_transformers():
        model: Any = load(ModelConfig(model=str(base), dtype="float32", device="cpu")).model
        torch.manual_seed(3)
        try:
            adapted: Any = get_peft_model(model, _config(kind, model), autocast_adapter_dtype=False).eval()
            _logits(Loaded(adapted, None, str(base), None))
        except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            raise NotMadeError(" ".join(str(error).split())) from error
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter += 0.05 * torch.randn_like(parameter)
        adapted.peft_config["default"].base_model_name_or_path = str(base)
        adapted.save_pretrained(folder)
        return _logits(Loaded(adapted, None, str(base), None))


def _config(kind: str, model: Any) -> Any:
    import peft

    # As `unweave train` does it.
    past = r".*\.(?:out|dt)_proj" if model.config.model_type in MAMBA else None
    options: dict[str, Any] = {
        "target_modules": "all-linear",
        "exclude_modules": pattern_of(idle_on_text(model)) or past,
        "task_type": "CAUSAL_LM",
    }
    lora = options | {"r": 2, "init_lora_weights": False}
    head = next(name for name, module in model.named_modules() if module is model.get_output_embeddings())
    return {
        "dora": lambda: peft.LoraConfig(**lora, use_dora=True),
        "ia3": lambda: peft.IA3Config(**options, feedforward_modules=[], init_ia3_weights=False),
        "oft": lambda: peft.OFTConfig(**options, r=0, oft_block_size=4, init_weights=False),
        "loha": lambda: peft.LoHaConfig(**options, r=2, init_weights=False),
        "modules_to_save": lambda: peft.LoraConfig(**lora, modules_to_save=[head.rpartition(".")[2]]),
        "tokens": lambda: peft.LoraConfig(**lora, trainable_token_indices=[5, 9]),
    }[kind]()


def _answers_alike(loaded: Loaded) -> str:
    """Whether prompts of different lengths have the same answers in a batch as each by itself."""
    texts = ("hello", "what is the capital of France ?", "add 1 and 2")
    rows = [Row(id=text, instruction=text, completion="") for text in texts]
    encoding = EncodingConfig(max_length=64)
    together, alone = (
        greedy_answers(loaded, rows, encoding, max_new_tokens=6, batch_size=size) for size in (len(rows), 1)
    )
    return "equal" if together == alone else f"wrong: {together} in a batch, {alone} alone"


def _load(folder: Path) -> Loaded:
    return load(ModelConfig(model=str(folder), dtype="float32", device="cpu"))


def _logits(loaded: Loaded) -> Tensor:
    loaded.model.eval()
    with torch.no_grad():
        return loaded.model(input_ids=IDS, use_cache=False).logits


def architectures() -> list[str]:
    """All names, in the order of the table."""
    return list(ARCHITECTURES)
