"""What a run reads of models, by content: weights, adapters, encoders, students."""

import hashlib
from pathlib import Path
from typing import Any

from unweave.digests import MODEL_FILES, matching, named_digests
from unweave.files import read_json
from unweave.run.inputs import Input, of_path, together


def of_model(config: Any, loaded: Any = None) -> dict[str, Input]:
    """The model of a config, for its three options.

    Args:
        config: A `ModelConfig`.
        loaded: The model, where it is in memory already: it counts, whatever the config names.

    Returns:
        Option to input.
    """
    if loaded is not None:
        return {"model": of_loaded(loaded), "adapter": Input(None), "revision": Input(None)}
    from unweave.models.loading import place_of

    # What `load` would take, found as it finds it: revisions and bases that adapters name are in what they lead to.
    place = place_of(config)
    adapter = of_adapter(place.adapter.folder) if place.adapter else Input(None)
    return {"model": of_base(place.base, place.revision), "adapter": adapter, "revision": Input(None)}


def of_named_model(name: str | None) -> Input:
    """A model by its name or path: weights, tokenizer, template, configs, and those of the base that an adapter names.

    Args:
        name: Anything that `--model` takes.

    Returns:
        The input.
    """
    if name is None:
        return Input(None)
    from unweave.models.loading import ModelConfig

    return together(of_model(ModelConfig(model=name)))


def of_base(name: str, revision: str | None = None) -> Input:
    """A model without adapters: the files of its folder, its file, or its commit on the hub.

    Args:
        name: Folder, file or hub id.
        revision: Branch, tag or commit of a hub model.

    Returns:
        The input.
    """
    path = Path(name)
    if path.is_file():
        return of_path(path)
    if not path.is_dir():
        return Input({"hub": name, "commit": hub_commit(name, revision)})
    files = [file for file in matching(path, MODEL_FILES) if file.name != ADAPTER]
    return Input(named_digests(path, files), tuple(files))


def of_adapter(folder: Path) -> Input:
    """An adapter: its weights, its own tokenizer and template, and its config but for where the base lies.

    Args:
        folder: Its folder.

    Returns:
        The input.
    """
    own = of_base(str(folder))
    options = dict(read_json(folder / ADAPTER, what="The adapter's config"))
    for place in ("base_model_name_or_path", "revision"):
        options.pop(place, None)
    # PEFT writes its sets of modules in any order.
    options = {key: sorted(value) if _is_words(value) else value for key, value in options.items()}
    return Input({"files": own.content, "config": options}, (*own.files, folder / ADAPTER))


ADAPTER = "adapter_config.json"


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def hub_commit(name: str, revision: str | None) -> str | None:
    """The commit that a hub model is loaded from.

    Args:
        name: Its id.
        revision: Branch, tag or commit.

    Returns:
        The newest commit of the revision where the hub answers, else that of the copy on this machine; `None` where there is neither.
    """
    from huggingface_hub import HfApi, constants

    if not constants.HF_HUB_OFFLINE:
        try:
            return HfApi().model_info(name, revision=revision, timeout=10).sha
        except Exception:  # whatever keeps the hub from answering: the copy on this machine is asked next
            pass
    kept = hub_folder(name, revision)
    return kept.name if kept else None


def hub_folder(name: str, revision: str | None = None) -> Path | None:
    """Where the copy of a hub model lies on this machine.

    Args:
        name: Its id.
        revision: Branch, tag or commit.

    Returns:
        A folder that is called as its commit is; `None` where there is no copy.
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        kept = try_to_load_from_cache(name, "config.json", revision=revision)
    except ValueError:  # no name that the hub could have
        return None
    return Path(kept).parent if isinstance(kept, str) else None


def of_loaded(loaded: Any) -> Input:
    """A model that is in memory already, by every value of it.

    Args:
        loaded: A `Loaded`.

    Returns:
        The input.
    """
    from unweave.models.fingerprint import tokenizer_fingerprint

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(loaded.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes_of(tensor))
    return Input({"memory": digest.hexdigest(), "tokenizer": tokenizer_fingerprint(loaded.tokenizer)})


def _bytes_of(tensor: Any) -> Any:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def of_student(folder: Path) -> Input:
    """A student of values, with the backbone that it names where it was left as it was.

    Args:
        folder: The student's folder.

    Returns:
        The input.
    """
    found = matching(folder, ("student.json", "head.safetensors", *(f"backbone/{name}" for name in MODEL_FILES)))
    record = folder / "student.json"
    backbone = Input(None)
    if record.is_file() and not (folder / "backbone").is_dir():
        backbone = of_encoder(str(read_json(record, what="The student's description").get("backbone")))
    return Input({"files": named_digests(folder, found), "backbone": backbone.content}, (*found, *backbone.files))


def of_encoder(name: str) -> Input:
    """A sentence encoder, or what a student begins as.

    Args:
        name: `minilm`, another packaged name, a hub id or a folder.

    Returns:
        The input.
    """
    from unweave.models import packaged
    from unweave.models.encoder import PACKAGED, packaged_folder

    if name in PACKAGED:
        # The package's version is not asked: its files are.
        folder = packaged_folder(name)
        return of_base(str(folder)) if folder is not None else Input("missing")
    if name == packaged.NAME:
        return of_named_model(name)
    base, folder = of_base(name), Path(name)
    # How vectors are pooled is declared beside the weights.
    pooling = matching(folder, POOLING) if folder.is_dir() else []
    return (
        together({"model": base, "pooling": Input(named_digests(folder, pooling), tuple(pooling))}) if pooling else base
    )


POOLING = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "[0-9]_*/*"
