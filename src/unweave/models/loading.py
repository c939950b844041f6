"""Loading a model with its tokenizer: a hub id or folder, an adapter folder, a GGUF file, or the packaged default."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unweave.errors import ConfigError, MissingExtraError, ModelError
from unweave.models import packaged

if TYPE_CHECKING:
    import torch

EAGER_LENGTH = 512


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model, and how it is held.

    Attributes:
        model: `smollm2-135m` (packaged), a hub id, a folder, a folder with a PEFT adapter, or a `.gguf` file.
        adapter: A PEFT adapter folder to put on top of `model`.
        revision: Branch, tag or commit of a hub model.
        dtype: `auto` is bfloat16 where the machine computes it natively, float32 elsewhere.
        device: `auto` is CUDA when there is one, the CPU otherwise.
        attn_implementation: `auto` is `eager` on the CPU for sequences up to 512 tokens, where it measured a quarter faster in bfloat16,
            and `sdpa` for longer ones, whose attention matrices would fill the memory, and on CUDA.
        quantization: Hold the base in `8bit` or `4bit` (bitsandbytes).
    """

    model: str = packaged.NAME
    adapter: Path | None = None
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    quantization: Literal["none", "8bit", "4bit"] = "none"


@dataclass
class Loaded:
    """A model ready for use.

    Attributes:
        model: The Hugging Face model, a `PeftModel` when there is an adapter; in evaluation mode.
        tokenizer: Its tokenizer, with a pad token.
        base: Folder or hub id of the base model.
        adapter: The adapter's folder, or `None`.
    """

    model: Any
    tokenizer: Any
    base: str
    adapter: str | None

    @property
    def device(self) -> "torch.device":
        """Where the model's inputs must be."""
        return next(self.model.parameters()).device


def load(config: ModelConfig | str | Path = packaged.NAME) -> Loaded:
    """Load a model and its tokenizer.

    Args:
        config: The config, or just the model's name or path.

    Returns:
        The model, in evaluation mode, and its tokenizer.

    Raises:
        ModelError: When there is no such model, or its files can't be read; the message says what to do offline.
        ConfigError: When a device is asked for that is not there.
    """
    if not isinstance(config, ModelConfig):
        config = ModelConfig(model=str(config))
    base, adapter = _resolve(config)
    with quiet_transformers():
        model, tokenizer = _load_base(base, config)
        if adapter is not None:
            from peft import PeftModel

            try:
                # Float32 adapters on a bfloat16 base cost a fifth of the speed for nothing: the base's rounding dominates.
                model = PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False)
            except (OSError, ValueError, RuntimeError, KeyError) as error:
                raise ModelError(
                    f"The adapter does not fit the model: {error}",
                    where=adapter,
                    remedy=f"give the base it was trained on, not {base}",
                ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.requires_grad_(False)
    model.eval()
    return Loaded(model, tokenizer, base, adapter)


def native_dtype(device: "torch.device") -> "torch.dtype":
    """The fastest dtype that the hardware computes by itself.

    Args:
        device: Where the model will be.

    Returns:
        bfloat16 on a GPU or CPU with bfloat16 instructions, else float32.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    has_bfloat16 = any(
        bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "sve_bf16", "bf16")
    )
    return torch.bfloat16 if has_bfloat16 else torch.float32


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the progress bars and notices of the libraries below, which would tear ours.

    Yields:
        Nothing.
    """
    from transformers.utils import logging

    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if shown:
                logging.enable_progress_bar()


def pick_device(name: str) -> "torch.device":
    """The device that a name stands for.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:1`, ...

    Returns:
        The device.

    Raises:
        ConfigError: When it does not exist here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"Unknown device '{name}'.", where="--device", remedy="use auto, cpu, cuda or cuda:N"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("There is no CUDA device here.", where="--device", remedy="use --device cpu")
    return device


def _resolve(config: ModelConfig) -> tuple[str, str | None]:
    """Base and adapter; an adapter folder given as the model names its own base."""
    adapter = str(config.adapter) if config.adapter else None
    if adapter and not (Path(adapter) / "adapter_config.json").is_file():
        raise ModelError("There is no adapter here.", where=adapter, remedy="give a folder with adapter_config.json")
    name = config.model
    if (Path(name) / "adapter_config.json").is_file():
        if adapter:
            raise ConfigError(
                "Two adapters were given.", where=f"{name}, {adapter}", remedy="give one, on its base model"
            )
        from peft import PeftConfig

        adapter, base = name, PeftConfig.from_pretrained(name).base_model_name_or_path
        if not base:
            raise ModelError(
                "The adapter names no base model.", where=name, remedy="give --model BASE --adapter FOLDER"
            )
        name = base
    if name == packaged.NAME or Path(name) == packaged.converted_folder():
        with quiet_transformers():
            name = packaged.resolve()
    return name, adapter


def _load_base(base: str, config: ModelConfig) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = pick_device(config.device)
    dtype = native_dtype(device) if config.dtype == "auto" else getattr(torch, config.dtype)
    attention = config.attn_implementation
    if attention == "auto":
        # A config that says how long sequences get, as those of training and caching do, decides by it.
        short = getattr(config, "max_length", EAGER_LENGTH) <= EAGER_LENGTH
        attention = "eager" if device.type == "cpu" and short else "sdpa"
    path = Path(base)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError("Model file not found.", where=base, remedy="check the path")
        model, tokenizer = packaged.read_gguf(path)
        model.set_attn_implementation(attention)
        return model.to(device=device, dtype=dtype), tokenizer
    looks_local = path.is_absolute() or base.startswith(".") or base.count("/") > 1
    if looks_local and not (path / "config.json").is_file():
        raise ModelError(
            "There is no model here.", where=base, remedy="give a folder with config.json, a hub id, or smollm2-135m"
        )
    options: dict[str, Any] = {"revision": config.revision} if config.revision else {}
    quantization = _quantization(config, dtype)
    if quantization is not None:
        options |= {"quantization_config": quantization, "device_map": {"": device}}
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, **({"revision": config.revision} if config.revision else {}))
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=dtype, attn_implementation=attention, use_safetensors=True, **options
        )
    except (OSError, ValueError, ImportError) as error:
        detail = str(error).strip().splitlines()
        raise ModelError(
            f"The model can't be loaded: {detail[0] if detail else type(error).__name__}",
            where=base,
            remedy="check the name; where the hub can't be reached, give a local folder or the packaged smollm2-135m",
        ) from error
    moved: Any = model
    return (model if quantization is not None else moved.to(device)), tokenizer


def _quantization(config: ModelConfig, dtype: "torch.dtype") -> Any:
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
