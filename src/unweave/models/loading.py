"""Loading a model with its tokenizer: a hub id or folder, an adapter folder, a GGUF file, or the packaged default."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unweave import progress
from unweave.errors import ConfigError, ModelError
from unweave.models import adapters, attaching, origin, packaged
from unweave.models.bases import WEIGHTS, load_base
from unweave.models.holding import Holding, holding_of
from unweave.models.model import Model
from unweave.models.quiet import quiet_transformers
from unweave.models.tokenizers import load_tokenizer

if TYPE_CHECKING:
    import torch

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Holding):
    """Which model, and how it is held.

    Attributes:
        model: `smollm2-135m` (packaged), a hub id, a folder, a folder with a PEFT adapter, or a `.gguf` file.
        adapter: A PEFT adapter folder to put on top of `model`; its own tokenizer is used where it has one.
        revision: Branch, tag or commit of a hub model; by default the one that the adapter names, where there is one.
    """

    model: str = packaged.NAME
    adapter: Path | None = None
    revision: str | None = None


def held(options: Any, model: str, **place: Any) -> ModelConfig:
    """One of a command's models, held as its options say.

    Args:
        options: The command's config.
        model: The model's name or folder.
        **place: `adapter` and `revision`, where it has them.

    Returns:
        A config to load.
    """
    return ModelConfig(model=model, **place, **holding_of(options))


Loaded = Model
"""The name that a model had before it could be put around what is in memory."""


def load_model(
    name_or_path: str | Path,
    *,
    adapter: str | Path | None = None,
    revision: str | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto",
    device: str = "auto",
    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto",
    quantization: Literal["none", "8bit", "4bit"] = "none",
    gradient_checkpointing: bool = False,
    device_map: Literal["one", "auto", "offload"] = "one",
) -> Model:
    """Load a model and its tokenizer.

    Example:
        >>> import unweave as uw
        >>> model = uw.load_model("tuned")
        >>> model.adapter, model.device
        ('tuned', device(type='cpu'))

    Args:
        name_or_path: A hub id, a folder (a checkpoint of a `Trainer` too), a folder with a PEFT adapter, a `.gguf` file, or `smollm2-135m` (packaged).
        adapter: A PEFT adapter to put on top of it.
        revision: Branch, tag or commit of a hub model; by default the one that the adapter names, where there is one.
        dtype: `auto` is bfloat16 where the machine computes it natively, float32 elsewhere.
        device: `auto` is CUDA when there is one, the CPU otherwise.
        attn_implementation: `auto` is `eager` on the CPU for sequences up to 512 tokens, `sdpa` elsewhere where the model offers it.
        quantization: Hold the base in `8bit` or `4bit` (bitsandbytes).
        gradient_checkpointing: Keep only each layer's input for the backward pass, and compute the layer again there.
        device_map: `one`: all of it on `device`. `auto`: its layers over all GPUs. `offload`: its layers' weights in the CPU's memory, each layer's on
            `device` for its turn only.

    Returns:
        The model, in evaluation mode, with nothing to differentiate.

    Raises:
        ModelError: When there is no such model, its files can't be read, are not whole, or hold weights that are no numbers; the message says what to do.
        ConfigError: When a device is asked for that is not there.
    """
    return load(
        ModelConfig(
            model=str(name_or_path),
            adapter=None if adapter is None else Path(adapter),
            revision=revision,
            dtype=dtype,
            device=device,
            attn_implementation=attn_implementation,
            quantization=quantization,
            gradient_checkpointing=gradient_checkpointing,
            device_map=device_map,
        )
    )


def load(config: ModelConfig | str | Path = packaged.NAME) -> Model:
    """Load a model and its tokenizer.

    Args:
        config: The config, or just the model's name or path.

    Returns:
        The model, in evaluation mode, and its tokenizer.

    Raises:
        ModelError: When there is no such model, its files can't be read, are not whole, or hold weights that are no numbers; the message says what to do.
        ConfigError: When a device is asked for that is not there.
    """
    if not isinstance(config, ModelConfig):
        config = ModelConfig(model=str(config))
    from unweave.models.placing import checkpoint_layers, offload_layers
    from unweave.models.pretrained import require_finite

    device = pick_device(config.device)
    _require_possible(config)
    place = place_of(config)
    with quiet_transformers():
        model, tokenizer = _load_base(place, config, device)
        if place.adapter is not None:
            model = attaching.put_on(model, place.adapter, base=place.base)
    require_finite(model.named_parameters(), where=str(place.adapter.folder) if place.adapter else place.base)
    model.requires_grad_(False)
    model.eval()
    if config.device_map == "offload":
        offload_layers(model, device)
    if config.gradient_checkpointing or config.device_map == "offload":
        checkpoint_layers(model, where=place.base)
    folder = str(place.adapter.folder) if place.adapter else None
    return Model(model, tokenizer, place.base, folder, place.revision, config.quantization)


def _require_possible(config: ModelConfig) -> None:
    """Refuse options of holding that go not together."""
    if config.device_map == "offload" and config.quantization != "none":
        raise ConfigError(
            "Quantised layers can't wait in the CPU's memory.",
            where="`device_map`, `quantization`",
            remedy="leave one of them out",
        )


def tokenizer_of(config: ModelConfig) -> Any:
    """The tokenizer that `load` gives with a model, without the model.

    Args:
        config: The config.

    Returns:
        The tokenizer.
    """
    place = place_of(config)
    with quiet_transformers():
        return load_tokenizer(
            place.base, revision=place.revision, adapter=place.adapter.folder if place.adapter else None
        )


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
    except RuntimeError:
        device = None
    if device is None or device.type not in DEVICES:
        raise ConfigError(f"Unknown device '{name}'.", where="`device`", remedy="use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("There is no CUDA device here.", where="`device`", remedy="use `device` cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"There is no device '{name}' here.",
            where="`device`",
            remedy=f"use cuda:0 to cuda:{torch.cuda.device_count() - 1}",
        )
    return device


@dataclass(frozen=True)
class Place:
    """Where a model comes from.

    Attributes:
        base: Folder, file or hub id of the base.
        revision: Of the base.
        adapter: The adapter.
        named: Whether it is the adapter that names the base.
    """

    base: str
    revision: str | None
    adapter: adapters.AdapterFolder | None = None
    named: bool = False


def place_of(config: ModelConfig) -> Place:
    """Where a config's model is loaded from; an adapter given as the model names its own base.

    Args:
        config: The config.

    Returns:
        Base and adapter.

    Raises:
        ConfigError: When two adapters are given.
        ModelError: When there is no such adapter, or it is of a kind that can't be used.
    """
    name, given = config.model, str(config.adapter) if config.adapter else None
    own = _adapter_place(name, config.revision)
    if own and given:
        if not _is_whole(name):
            raise ConfigError(
                "Two adapters were given.", where=f"{name}, {given}", remedy="give one, on its base model"
            )
        own = None
    if given:
        place = _adapter_place(given, None)
        if place is None:
            raise ModelError("There is no adapter here.", where=given, remedy="give a folder with adapter_config.json")
        adapter = adapters.read_adapter(place)
        # Who gives the base by hand may have it from elsewhere than the adapter had: a revision is the hub's.
        revision = config.revision or (adapter.revision if name == adapter.base else None)
        if origin.differs(adapter, _resolved(name)):
            progress.say(f"the weights of {name} are not those that the adapter {given} was trained on")
        return Place(_resolved(name), revision, adapter)
    if own is None:
        return Place(_resolved(name), config.revision)
    adapter = adapters.read_adapter(own)
    if _is_whole(name):
        progress.say(f"{name} holds a whole model and an adapter: the adapter is put on that model")
        return Place(name, None, adapter)
    base = origin.named_base(adapter)
    if adapters.is_adapter(base) and not _is_whole(base):
        raise ModelError(
            f"The adapter's base {base} is an adapter itself.",
            where=str(adapter.folder),
            remedy="merge that one into its base first (PEFT's merge_and_unload), and give `model` MERGED `adapter` FOLDER",
        )
    # A hub adapter's revision is its own; in a folder nothing has one, so that it can only be the base's.
    revision = (config.revision if Path(name).is_dir() else None) or adapter.revision
    return Place(_resolved(base), revision, adapter, named=True)


def _resolved(name: str) -> str:
    """The packaged model's folder for its name."""
    if name == packaged.NAME or Path(name) == packaged.converted_folder():
        with quiet_transformers():
            return packaged.resolve()
    return name


def _is_whole(name: str) -> bool:
    """Whether a folder holds all of a model's weights."""
    return (Path(name) / "config.json").is_file() and any((Path(name) / file).is_file() for file in WEIGHTS)


def _adapter_place(name: str, revision: str | None) -> Path | None:
    """The folder of an adapter, from the hub where it is one there; `None` for what is no adapter."""
    path = Path(name)
    if path.exists() or name == packaged.NAME:
        return path if adapters.is_adapter(path) else None
    if origin.is_path(name) or "/" not in name:
        return None
    from huggingface_hub import snapshot_download
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        with quiet_transformers():
            if find_adapter_config_file(name, revision=revision) is None:
                return None
            # No weights but the adapter's, should there be others beside them.
            patterns = ["*.json", "*.jinja", "*.txt", "*.model", adapters.WEIGHTS]
            return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError, RuntimeError):
        # Whatever is wrong with the name is said when the model is loaded.
        return None


def _load_base(place: Place, config: ModelConfig, device: "torch.device") -> tuple[Any, Any]:
    import torch

    dtype = native_dtype(device) if config.dtype == "auto" else getattr(torch, config.dtype)
    folder = place.adapter.folder if place.adapter else None
    try:
        return load_base(place.base, config, revision=place.revision, adapter=folder, dtype=dtype, device=device)
    except ModelError as error:
        if not place.named or not isinstance(error.where, str) or not error.where.startswith(place.base):
            raise
        raise ModelError(
            f"The adapter's base model can't be loaded: {error.sentence}",
            where=f"{place.base}, named in {folder}/{adapters.CONFIG}",
            remedy=f"give the base by hand: `model` BASE `adapter` {folder}",
        ) from error
