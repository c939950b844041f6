"""What a run reads, by content: rows, models, stores, tables, configs. A job declares these; nothing is guessed from what an option looks like.

An input takes the place of the options that name it. Where a file lies, when it was written and from where the command was typed is then no
part of a run's identity, and what it holds is.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from unweave.data.rows import Row
from unweave.data.sources.opening import is_stream
from unweave.digests import MODEL_FILES, content_digest, folder_files, matching, named_digests
from unweave.errors import UnweaveError
from unweave.files import read_json
from unweave.run.identity import options_of


@dataclass(frozen=True)
class Input:
    """Something that a run reads.

    Attributes:
        content: What it holds, as JSON: digests mostly.
        files: The files that were read for it: a run must not replace them.
    """

    content: Any
    files: tuple[Path, ...] = ()


Inputs = Mapping[str, Input]
"""Option to what it stands for."""


def of_value(value: Any) -> Input:
    """Something that is no file, such as the number of processes.

    Args:
        value: As JSON holds it.

    Returns:
        The input.
    """
    return Input(value)


def of_path(path: Path | str | None) -> Input:
    """A file or a folder, by the bytes of its files.

    Args:
        path: The file or folder; `None` where the option is not given.

    Returns:
        The input. What is not there has no content: whoever reads it says so in its own words.
    """
    if path is None:
        return Input(None)
    path = Path(path)
    if path.is_file():
        return Input(content_digest(path), (path,))
    if path.is_dir():
        files = folder_files(path)
        return Input(named_digests(path, files), tuple(files))
    return Input("missing")


def of_paths(config: Any, *, but: Sequence[str] = ()) -> dict[str, Input]:
    """All options of a config that are paths, by their type.

    Args:
        config: A dataclass.
        but: Options that are no inputs, or are declared in another way.

    Returns:
        Option to input.
    """
    values = {field.name: getattr(config, field.name) for field in fields(config) if field.name not in but}
    return {name: of_path(value) for name, value in values.items() if isinstance(value, Path)}


def of_rows(source: Path | str | None, config: Any, *, read: Callable[[], Iterable[Row]] | None = None) -> Input:
    """Rows: the bytes of their files, or where they come from the hub, the rows.

    Args:
        source: A file, a folder, or the id of a data set.
        config: How rows are read.
        read: Reads them, where that is not done as for training.

    Returns:
        The input.
    """
    # A pipe can be read once only, and its reader keeps what came.
    if source is None or (Path(source).exists() and not is_stream(Path(source))):
        return of_path(source)
    from unweave.data.training_rows import read_training_rows

    try:
        return Input(rows_digest(read() if read else read_training_rows(source, config)))
    except UnweaveError:
        return Input("missing")


def rows_digest(rows: Iterable[Row]) -> str:
    """A hash of everything that rows are, but for where they stand.

    Args:
        rows: The rows.

    Returns:
        32 hexadecimal digits.
    """
    names = [field.name for field in fields(Row) if field.name not in ("source", "line")]
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        values = [dict(value) if isinstance(value := getattr(row, name), Mapping) else value for name in names]
        digest.update(json.dumps(values, sort_keys=True, default=str).encode())
    return digest.hexdigest()


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


def of_case(folder: Path | None) -> Input:
    """A case: its description and its rows, and nothing else that may lie in its folder.

    Args:
        folder: The case folder.

    Returns:
        The input.
    """
    if folder is None:
        return Input(None)
    found = matching(folder, ("case.json", "*.jsonl"))
    return Input(named_digests(folder, found), tuple(found)) if found else Input("missing")


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


def together(parts: Mapping[str, Input]) -> Input:
    """Several inputs of one option.

    Args:
        parts: Name to input; the names and their order count.

    Returns:
        All of them as one.
    """
    content = [[name, one.content] for name, one in parts.items()]
    return Input(content, tuple(file for one in parts.values() for file in one.files))


def of_store(folder: Path | None) -> Input:
    """A gradient store: how it was made, and which rows it holds with which sketches.

    Args:
        folder: The store.

    Returns:
        The input.
    """
    if folder is None:
        return Input(None)
    records = [folder / "store.json", *sorted(folder.glob("commits/*.json")), *sorted(folder.glob("deletions/*.json"))]
    found = matching(folder, [path.relative_to(folder).as_posix() for path in records])
    return Input(named_digests(folder, found), tuple(found)) if found else Input("missing")


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


def of_config(config: Any, inputs: Inputs) -> Input:
    """The config of another command: its values, and the content of what it names.

    Args:
        config: Its dataclass.
        inputs: What that command would read.

    Returns:
        The input.
    """
    content = {"config": options_of(config, inputs), "inputs": {name: one.content for name, one in inputs.items()}}
    return Input(content, tuple(file for one in inputs.values() for file in one.files))
