"""Loading a base model: a hub id, a folder or a GGUF file, in a dtype, on a device, with an attention that it offers, whole or quantised."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unweave.errors import MissingExtraError, ModelError, UnweaveError
from unweave.models import packaged
from unweave.models.adapters import CONFIG, is_adapter
from unweave.models.hub import gated_remedy
from unweave.models.origin import is_path
from unweave.models.tensor_files import INDEX, ONE
from unweave.models.tokenizers import OFFLINE, load_tokenizer, own_tokenizer, padded

if TYPE_CHECKING:
    import torch

    from unweave.models.loading import ModelConfig

EAGER_LENGTH = 512
PICKLED = ("pytorch_model*.bin", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
"""Weights in formats that are read by running what they hold, or that are none of torch's."""
WEIGHTS = (ONE, INDEX)


def load_base(
    base: str,
    config: "ModelConfig",
    *,
    revision: str | None,
    adapter: Path | None,
    dtype: "torch.dtype",
    device: "torch.device",
) -> tuple[Any, Any]:
    """Load a base model and the tokenizer that goes with it.

    Args:
        base: A hub id, a folder, or a `.gguf` file.
        config: How it is to be held.
        revision: Of a hub model.
        adapter: The folder of the adapter that will go on it, whose tokenizer comes first.
        dtype: Of its weights.
        device: Where to.

    Returns:
        The model, and the tokenizer with a pad token.

    Raises:
        ModelError: When it can't be loaded; with what can be done about it.
    """
    from unweave.models.placing import spread

    path = Path(base)
    attention = _attention(config, device)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError("Model file not found.", where=base, remedy="check the path")
        model, tokenizer = packaged.read_gguf(path)
        if attention is not None:
            model.set_attn_implementation(attention)
        tokenizer = padded(own_tokenizer(adapter) or tokenizer, place=base)
        if config.device_map == "auto":
            raise ModelError(
                "The layers of a GGUF file can't be spread over devices.",
                where=f"`device_map`, {base}",
                remedy="use `device_map` one, or offload",
            )
        return model.to(device="cpu" if config.device_map == "offload" else device, dtype=dtype), tokenizer
    _require_folder(base)
    tokenizer = load_tokenizer(base, revision=revision, adapter=adapter)
    options: dict[str, Any] = {}
    quantization = _quantization(config, dtype)
    if quantization is not None:
        options |= {"quantization_config": quantization, "device_map": {"": device}}
    if config.device_map == "auto":
        options["device_map"] = "auto"
    if is_adapter(base):
        # transformers would put the adapter on by itself; here PEFT does, and an adapter may lie beside a whole model.
        options["adapter_kwargs"] = {"subfolder": "no adapter"}
    with spread(base):
        model = _weights(base, revision=revision, dtype=dtype, attention=attention, options=options)
    placed = bool(options.get("device_map")) or getattr(model, "is_quantized", False) or config.device_map == "offload"
    _keep_differentiable(model)
    return (model if placed else model.to(device)), tokenizer


def _attention(config: "ModelConfig", device: "torch.device") -> str | None:
    """What is asked of transformers; `None` leaves it to take SDPA, and eager where the model offers no SDPA."""
    if config.attn_implementation != "auto":
        return config.attn_implementation
    # A config that says how long sequences get, as those of training and caching do, decides by it.
    short = getattr(config, "max_length", EAGER_LENGTH) <= EAGER_LENGTH
    return "eager" if device.type == "cpu" and short else None


def _require_folder(base: str) -> None:
    path = Path(base)
    if (path / "config.json").is_file():
        if not any((path / name).is_file() for name in WEIGHTS):
            other = next((one.name for pattern in PICKLED for one in sorted(path.glob(pattern))), None)
            raise ModelError(
                "The folder has a config and no safetensors weights"
                + (f", only {other}, which may hold any program." if other else "."),
                where=base,
                remedy="save the model again with model.save_pretrained(folder), or give the folder that holds model.safetensors",
            )
        return
    if not (is_path(base) or path.exists()):
        return
    # A trainer's folder with its checkpoints, or PEFT's of several adapters.
    inside = [one.parent for name in ("config.json", CONFIG) for one in path.glob(f"*/{name}")]
    inside = sorted(inside, key=lambda found: (len(found.name), found.name))
    raise ModelError(
        f"There is no model here, but in {len(inside)} folders in it." if inside else "There is no model here.",
        where=base,
        remedy=f"give one of them: {inside[-1]}"
        if inside
        else "give a folder with config.json, a hub id, or smollm2-135m",
    )


def _weights(
    base: str, *, revision: str | None, dtype: "torch.dtype", attention: str | None, options: dict[str, Any]
) -> Any:
    from transformers import AutoModelForCausalLM

    from unweave.models.pretrained import read_weights

    try:
        return read_weights(
            AutoModelForCausalLM, base, revision=revision, dtype=dtype, attn_implementation=attention, **options
        )
    except UnweaveError:
        raise
    except ImportError as error:
        if attention is not None and attention.startswith("flash"):
            raise ModelError(
                f"{attention} is not installed here.",
                where="`attn_implementation`",
                remedy="use `attn_implementation` sdpa, or eager",
            ) from error
        raise _refused(error, base) from error
    except Exception as error:
        if attention not in (None, "eager") and "support" in str(error) and "ttention" in str(error):
            raise ModelError(
                f"The model offers no attention of the kind {attention}.",
                where=base,
                remedy="use `attn_implementation` eager",
            ) from error
        raise _refused(error, base) from error


def _refused(error: Exception, base: str) -> ModelError:
    """What an error of transformers means, and what can be done about it."""
    lines = str(error).strip().splitlines()
    detail = lines[0] if lines else type(error).__name__
    text = str(error)
    remedy = OFFLINE
    if gated := gated_remedy(error, base):
        detail, remedy = "The hub gives it only to those whom its owners let in.", gated
    elif "trust_remote_code" in text:
        detail = "It needs a program of its own, and none that comes with a model is run here."
        remedy = "give a model that transformers itself knows"
    elif "Unrecognized configuration class" in text:
        detail, remedy = (
            "It is no causal language model.",
            "give a model that generates text, one that AutoModelForCausalLM loads",
        )
    elif "model type" in text or "Unrecognized model" in text:
        remedy = "check model_type in its config.json, or `pip install --upgrade transformers`"
    elif "out of memory" in text:
        remedy = "use `dtype` bfloat16, `quantization` 4bit, or a device with more memory"
    elif isinstance(error, ImportError):
        remedy = "install the package that it names"
    elif Path(base).is_dir():
        remedy = (
            "check that config.json and the safetensors files are whole and belong together, or copy the model anew"
        )
    return ModelError(f"The model can't be loaded: {detail}", where=base, remedy=remedy)


def _keep_differentiable(model: Any) -> None:
    """Some CPUs make bitsandbytes pack weights anew at the first forward pass, for a product that has no derivative."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _quantization(config: "ModelConfig", dtype: "torch.dtype") -> Any:
    if config.quantization == "none":
        return None
    try:
        import bitsandbytes  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("bitsandbytes", extra="quant", purpose=f"A {config.quantization} base") from error
    from transformers import BitsAndBytesConfig

    if config.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=dtype, bnb_4bit_quant_type="nf4")
