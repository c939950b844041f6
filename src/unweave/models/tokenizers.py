"""Which tokenizer goes with a model: the adapter's own where its folder has one, the base's otherwise."""

from pathlib import Path
from typing import Any

from unweave import progress
from unweave.errors import ModelError
from unweave.models.hub import gated_remedy

# Any of these holds a vocabulary.
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
OFFLINE = "check the name; where the hub can't be reached, give a local folder or the packaged smollm2-135m"
TEMPLATE = "chat_template.jinja"
SHOWN = 6


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has a tokenizer of its own.

    Args:
        folder: The folder.

    Returns:
        Whether a vocabulary is in it.
    """
    return any((folder / name).is_file() for name in VOCABULARIES)


def load_tokenizer(base: str, *, revision: str | None, adapter: Path | None) -> Any:
    """Load the tokenizer of a model, or of the adapter on it.

    A tokenizer that was saved with an adapter is what the adapter was trained with; where it differs from the base's, that is said.

    Args:
        base: Folder or hub id of the base.
        revision: Of the base.
        adapter: The adapter's folder, where there is one.

    Returns:
        The tokenizer, with a pad token.

    Raises:
        ModelError: When there is none, or it can't be read.
    """
    found = None
    if adapter is not None and has_tokenizer(adapter):
        found = _read(str(adapter), config=_config(base, revision=revision))
        _say_difference(found, base, revision=revision)
    if found is None:
        found = _read(base, revision=revision)
    if adapter is not None and not has_tokenizer(adapter) and (adapter / TEMPLATE).is_file():
        found.chat_template = (adapter / TEMPLATE).read_text(encoding="utf-8")
        progress.say("the adapter's own chat template is used")
    return padded(found, place=str(adapter or base))


def own_tokenizer(adapter: Path | None) -> Any:
    """The tokenizer in an adapter's folder, by itself.

    Args:
        adapter: The folder.

    Returns:
        The tokenizer, or `None` where there is none.
    """
    return _read(str(adapter)) if adapter is not None and has_tokenizer(adapter) else None


def padded(tokenizer: Any, *, place: str) -> Any:
    """Let a tokenizer without a pad token pad with the end of a text.

    Args:
        tokenizer: The tokenizer; it is changed in place.
        place: Where it is from, for errors.

    Returns:
        The tokenizer.

    Raises:
        ModelError: When it has neither token.
    """
    if getattr(tokenizer, "chat_template", None):
        from unweave.data.rendering import get_ready

        get_ready()
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ModelError(
            "The tokenizer has no token that ends a text and none that pads.",
            where=place,
            remedy='name one in its tokenizer_config.json: "eos_token"',
        )
    return tokenizer


def _config(base: str, *, revision: str | None) -> Any:
    """The model's config, by which transformers chooses among the readers of a tokenizer; `None` where there is none to be had."""
    from transformers import AutoConfig

    from unweave.models.pretrained import read_pretrained

    try:
        return read_pretrained(AutoConfig, base, revision=revision)
    except Exception:
        # What is wrong with the base is said when it is loaded.
        return None


def _read(place: str, *, revision: str | None = None, config: Any = None) -> Any:
    from transformers import AutoTokenizer

    from unweave.models.pretrained import read_pretrained

    options = {} if config is None else {"config": config}
    if Path(place).is_dir() and not has_tokenizer(Path(place)):
        raise ModelError(
            "The folder has no tokenizer.",
            where=place,
            remedy="copy tokenizer.json and tokenizer_config.json of the model that it was trained from into it",
        )
    try:
        return read_pretrained(AutoTokenizer, place, revision=revision, **options)
    except Exception as error:
        # Written in Rust, the reader of tokenizer.json raises bare exceptions.
        lines = str(error).strip().splitlines()
        what = "tokenizer" if Path(place).is_dir() else "model"
        raise ModelError(
            f"The {what} can't be loaded: {lines[0] if lines else type(error).__name__}",
            where=place,
            remedy="check that tokenizer.json and tokenizer_config.json are whole, or copy those of its base model there"
            if what == "tokenizer"
            else gated_remedy(error, place) or OFFLINE,
        ) from error


def _say_difference(own: Any, base: str, *, revision: str | None) -> None:
    """Name what an adapter's tokenizer has otherwise than the base's."""
    from unweave.models.fingerprint import tokenizer_fingerprint

    try:
        other = _read(base, revision=revision)
    except ModelError:
        return
    if tokenizer_fingerprint(own) == tokenizer_fingerprint(other):
        return
    mine, theirs = own.get_vocab(), other.get_vocab()
    parts = []
    if own.chat_template != other.chat_template:
        parts.append("another chat template" if other.chat_template else "a chat template, the base has none")
    if added := sorted(set(mine) - set(theirs)):
        parts.append(f"{len(added)} more tokens ({', '.join(added[:SHOWN])}{', ...' if len(added) > SHOWN else ''})")
    if gone := set(theirs) - set(mine):
        parts.append(f"{len(gone)} tokens fewer")
    if moved := [token for token in mine if token in theirs and mine[token] != theirs[token]]:
        parts.append(f"{len(moved)} tokens under other numbers")
    ends = ((name, getattr(own, name), getattr(other, name)) for name in ("bos_token", "eos_token"))
    parts += [f"{name} {mine} in place of {theirs}" for name, mine, theirs in ends if mine != theirs]
    progress.say(f"the adapter's own tokenizer is used; beside the base's it has {', '.join(parts) or 'other rules'}")
