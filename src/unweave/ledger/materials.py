"""What a request is carried out on, by content: the data as it was read, row by row, every file of the models, the files of its options.

All of it is written down before anything is forgotten, and the journal has the digest of that record: `verify` looks at the same things again.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unweave import __version__
from unweave.config import load_yaml
from unweave.digests import MODEL_FILES, matching, named_digests
from unweave.errors import DataError
from unweave.files import read_record, write_json
from unweave.ledger.history import training_history
from unweave.ledger.job import Job
from unweave.ledger.price import RETRAIN, may_retrain
from unweave.models.loading import ModelConfig, place_of
from unweave.run.folder import environment
from unweave.run.identity import identity_digest
from unweave.run.inputs import of_path
from unweave.run.model_inputs import hub_folder, of_named_model
from unweave.train.recipe import read_recipe
from unweave.unlearning.config import config_of

FILE = "materials.json"
STEP = "bound"
FORMAT = 2
LOADED = (*MODEL_FILES, "*.bin", "*.py", "*.json", "*.jinja")
"""What a loader may read of a folder of the hub's cache, where anything else may be added later by whoever asks for it."""


def gather(job: Job) -> dict[str, Path]:
    """Write down what the request is carried out on.

    Args:
        job: The request.

    Returns:
        The file.

    Raises:
        DataError: When the models are not those that the ledger was made about.
    """
    job.require_same_inputs()
    models = models_of(job)
    _require_first_models(job, models)
    wanted = [row for row in job.rows if row.id in job.request.rows]
    found = {
        "format": FORMAT,
        "unweave": __version__,
        "data": {
            "file": job.ledger.origin().data,
            "files": job.ledger.hidden_content(job.data_content()),
            "rows": {row.id: job.ledger.row_hash(row) for row in job.rows},
        },
        "models": models,
        "options": options_of(job),
        "history": training_history(job, started_from(job), wanted).to_json(),
        "environment": environment(),
    }
    write_json(job.folder / FILE, found)
    return {"materials": job.folder / FILE}


def _require_first_models(job: Job, models: Mapping[str, Mapping[str, Any]]) -> None:
    """See that model and base are what they were when the ledger was made."""
    origin = job.ledger.origin()
    for part, then in (("origin", origin.model_files), ("base", origin.base_files)):
        files = models[part]["files"]
        if odd := sorted(name for name in then if files.get(name) != then[name]):
            raise DataError(
                f"The {'base' if part == 'base' else 'model'} is not what it was when the ledger was made: {', '.join(odd)} differs or is missing.",
                where=str(models[part]["model"]),
                remedy="restore it, or make a new ledger about the model as it is now",
            )


def read_materials(job: Job) -> dict[str, Any] | None:
    """What a request was carried out on.

    Args:
        job: The request.

    Returns:
        As it was written down; `None` for a request of before that was done.
    """
    if STEP not in job.bound().steps:
        return None
    return read_record(job.folder / FILE, what="The record of what the request was carried out on")


def started_from(job: Job) -> list[str]:
    """The models without the rows, so far as one may hope: the bases, and what a retraining begins with.

    Args:
        job: The request.

    Returns:
        Names or folders, each once.
    """
    names = [place_of(ModelConfig(model=job.ledger.origin().model)).base, place_of(ModelConfig(model=before(job))).base]
    if may_retrain(job):
        names.append(str(read_recipe(job.ledger.origin().model).model))
    return list(dict.fromkeys(names))


def before(job: Job) -> str:
    """The model before a request, where the ledger lies now.

    Args:
        job: The request.

    Returns:
        The adapter of the request before it, or the model before all of them.
    """
    done = job.ledger.carried_out(until=job.begin)
    return str(job.ledger.request_folder(done[-1].id) / "adapter") if done else job.ledger.origin().model


def models_of(job: Job) -> dict[str, dict[str, Any]]:
    """Every model that the request starts from, with the digests of its files.

    Args:
        job: The request.

    Returns:
        Part to model: the base, the model before all requests, the one before this, and what a retraining begins with.
    """
    origin = ModelConfig(model=job.ledger.origin().model)
    place = place_of(origin)
    models = {
        "base": described(place.base, place.revision),
        "origin": _itself(origin.model),
        "before": _itself(before(job)),
    }
    own = place_of(ModelConfig(model=before(job)))
    if own.base != place.base:
        models["base of before"] = described(own.base, own.revision)
    if may_retrain(job):
        recipe = read_recipe(origin.model)
        start = place_of(recipe)
        models["retrained from"] = described(start.base, start.revision)
        if start.adapter is not None:
            models["adapter retrained from"] = described(str(start.adapter.folder))
    return models


def _itself(name: str) -> dict[str, Any]:
    place = place_of(ModelConfig(model=name))
    return described(str(place.adapter.folder), model=name) if place.adapter else described(place.base, model=name)


def described(name: str, revision: str | None = None, *, model: str | None = None) -> dict[str, Any]:
    """A model by its name and its files.

    Args:
        name: Folder, file or hub id.
        revision: Of a hub model.
        model: What it is called, where that is not its folder.

    Returns:
        A JSON object; `digest` is of all files together.
    """
    path, commit = Path(name), None
    if path.is_file():
        files = named_digests(path.parent, [path])
    elif path.is_dir():
        files = named_digests(path, _top(path))
    else:
        kept = hub_folder(name, revision)
        commit = kept.name if kept else None
        files = named_digests(kept, matching(kept, LOADED)) if kept else {}
    return {
        "model": model or (str(path.resolve()) if path.exists() else name),
        "revision": revision,
        "commit": commit,
        "files": files,
        "digest": identity_digest(files),
    }


def _top(folder: Path) -> list[Path]:
    """The files of a model's folder, whatever they are called; the folders in it are other models, but for templates."""
    found = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    return sorted([*found, *matching(folder, ("additional_chat_templates/*",))])


def options_of(job: Job) -> dict[str, Any]:
    """The files that the options of a request name, by content, and those that they name in turn.

    Args:
        job: The request.

    Returns:
        Option to digests.
    """
    config = job.config
    named: dict[str, Any] = {
        "forget_config": of_path(config.forget_config).content,
        "holdout": of_path(config.holdout).content,
        "replacement": of_path(Path(job.request.replacement)).content if job.request.replacement else None,
        "retain": of_path(config.retain).content,
    }
    if config.forget_config is not None and config.method != RETRAIN:
        own = load_yaml(config_of(config.method), config.forget_config, command="forget")
        named |= {
            "target": of_path(own.target).content,
            "target_reference": of_named_model(own.target_reference).content,
        }
    return {name: job.ledger.hidden_content(content) for name, content in named.items() if content is not None}


def changed_files(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """How files differ from what they were.

    Args:
        then: Name to digest.
        now: The same of today.

    Yields:
        A file, and what is wrong with it.
    """
    for name in sorted(then):
        if name not in now:
            yield f"{name} differs or is missing: it is gone"
        elif now[name] != then[name]:
            yield f"{name} differs or is missing: it has other bytes"
    for name in sorted(set(now) - set(then)):
        yield f"{name} was not there: nothing speaks of it"
