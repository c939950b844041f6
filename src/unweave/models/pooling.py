"""How a sentence encoder makes one vector of a text's hidden states: as its folder declares it, in the files of sentence-transformers.

A mean over tokens is done here. Any other pooling, and what follows it, is done by sentence-transformers' own modules. The transformer itself is loaded
through `unweave.models.pretrained` in either case, and no class outside sentence-transformers is loaded because a file names it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from unweave.errors import MissingPackageError, ModelError
from unweave.files import read_json

Pool = Callable[[Float[Tensor, "B T d"], Tensor], Float[Tensor, "B k"]]

FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The keys of older files to the names that newer ones have."""

REST = ("Normalize",)
"""Modules that change nothing here: all vectors are made of length 1."""


@dataclass(frozen=True)
class Declared:
    """What a model's folder says of what comes after the transformer.

    Attributes:
        modes: How states are pooled; several are put beside each other.
        pooling: The folder of the pooling's config; empty where nothing is declared.
        dense: Folders of linear layers behind it.
        prompt: What is put in front of every text.
        longest: Tokens that the model reads; `None` where that is not said.
    """

    modes: tuple[str, ...] = ("mean",)
    pooling: str = ""
    dense: tuple[str, ...] = ()
    prompt: str = ""
    longest: int | None = None

    @property
    def is_mean(self) -> bool:
        """Whether a mean over tokens is all."""
        return self.modes == ("mean",) and not self.dense


def declared(place: str) -> Declared:
    """What a model declares.

    Args:
        place: Folder or hub id.

    Returns:
        The declaration; a mean where there is none.

    Raises:
        ModelError: When a module is declared that is not known here.
    """
    modules = _read(place, "modules.json")
    if modules is None:
        return Declared()
    transformer, pooling, dense = "", "", []
    for module in modules:
        kind = str(module["type"])
        name = kind.rpartition(".")[2]
        if not kind.startswith("sentence_transformers.") or name not in ("Transformer", "Pooling", "Dense", *REST):
            raise ModelError(
                f"The encoder declares the module '{kind}', which is not known here.",
                where=place,
                remedy="use an encoder of a transformer, a pooling and linear layers",
            )
        if name == "Pooling":
            pooling = module["path"]
        elif name == "Dense":
            dense.append(module["path"])
        elif name == "Transformer":
            transformer = module["path"]
    if transformer:
        raise ModelError(
            "The encoder's transformer lies in a folder of its own.", where=place, remedy=f"give {place}/{transformer}"
        )
    config = _read(place, f"{pooling}/config.json") or {}
    modes = config.get("pooling_mode") or [mode for key, mode in FLAGS.items() if config.get(key)] or ["mean"]
    about = _read(place, "config_sentence_transformers.json") or {}
    prompt = (about.get("prompts") or {}).get(about.get("default_prompt_name"), "")
    if prompt and config.get("include_prompt") is False:
        raise ModelError(
            "The encoder leaves its prompt out of the pooling, which is not done here.",
            where=place,
            remedy="use another encoder",
        )
    longest = (_read(place, "sentence_bert_config.json") or {}).get("max_seq_length")
    return Declared((modes,) if isinstance(modes, str) else tuple(modes), pooling, tuple(dense), prompt or "", longest)


def load_pool(place: str, own: Declared) -> Pool | None:
    """What pools states in another way than by their mean.

    Args:
        place: Folder or hub id.
        own: What it declares.

    Returns:
        A function of hidden states and attention mask; `None` for a mean.

    Raises:
        MissingPackageError: Without sentence-transformers, naming the pooling.
    """
    if own.is_mean:
        return None
    try:
        from sentence_transformers.sentence_transformer.modules import Dense, Pooling
    except ImportError as error:
        named = " and ".join(own.modes) + (" and linear layers" if own.dense else "")
        raise MissingPackageError(
            "sentence-transformers", purpose=f"The encoder {place}, which pools by {named},"
        ) from error
    parts: list[Any] = [Pooling.load(place, subfolder=own.pooling)]
    parts += [Dense.load(place, subfolder=folder) for folder in own.dense]

    def pool(states: Tensor, mask: Tensor) -> Tensor:
        features: dict[str, Any] = {"token_embeddings": states, "attention_mask": mask}
        for part in parts:
            features = part.to(states.device).eval()(features)
        return features["sentence_embedding"]

    return pool


def _read(place: str, name: str) -> Any:
    """A JSON file of a model; `None` where it has none, or the hub does not answer."""
    from transformers.utils.hub import cached_file

    if Path(place).is_dir():
        path = Path(place) / name
        return read_json(path, what="The encoder's description") if path.is_file() else None
    options: Any = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    try:
        found = cached_file(place, name, **options)
    except (OSError, ValueError):
        return None
    return json.loads(Path(found).read_text(encoding="utf-8")) if found else None
