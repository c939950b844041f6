"""How a model is held: in which numbers, where, and what is kept for the backward pass. Readable without torch.

Whoever loads a model for a command makes its config with `held`, so that no option of it is left behind.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from unweave.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Holding:
    """How a model is held.

    Attributes:
        dtype: `auto` is bfloat16 where the machine computes it natively, float32 elsewhere.
        device: `auto` is CUDA when there is one, the CPU otherwise.
        attn_implementation: `auto` is `eager` on the CPU for sequences up to 512 tokens, where it measured a quarter faster in bfloat16,
            and for longer ones, whose attention matrices would fill the memory, and on CUDA, `sdpa` where the model offers it.
        quantization: Hold the base in `8bit` or `4bit` (bitsandbytes).
        gradient_checkpointing: Keep only each layer's input for the backward pass, and compute the layer again there: less memory, a third more time.
        device_map: `one`: all of the model on `device`. `auto`: its layers over all GPUs, as accelerate spreads them. `offload`: its layers' weights in the
            CPU's memory, each layer's on `device` for its turn only; with `gradient_checkpointing`, without which the backward pass would keep them there.
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    quantization: Literal["none", "8bit", "4bit"] = "none"
    gradient_checkpointing: bool = False
    device_map: Literal["one", "auto", "offload"] = "one"


HOLDING = tuple(field.name for field in fields(Holding))
"""The names of these options."""


def holding_of(options: Any) -> dict[str, Any]:
    """How a command's models are held.

    Args:
        options: Its config; it may lack some of the options, or leave them open with `None`.

    Returns:
        Option to value, those that it says something of.
    """
    return {name: value for name in HOLDING if (value := getattr(options, name, None)) is not None}


def require_whole(options: Any, purpose: str) -> None:
    """Refuse a model whose weights lie in several places, before anything is computed.

    Args:
        options: The command's config.
        purpose: What can't be done with such a model, as the beginning of a sentence.

    Raises:
        ConfigError: When `device_map` is another than `one`.
    """
    if getattr(options, "device_map", "one") != "one":
        raise ConfigError(
            f"{purpose} needs the whole model on one device.",
            where="`device_map`",
            remedy="leave it out; `gradient_checkpointing`, `quantization` 4bit and a smaller batch save memory here",
        )
