"""Models of several parts, such as one with a vision tower: what of them runs on text."""

import re
from typing import Any


def idle_on_text(model: Any) -> list[str]:
    """The parts that never run when a model reads text: all outside its language model and its output head.

    Args:
        model: A Hugging Face causal model, without an adapter.

    Returns:
        Paths of modules, the topmost ones; none for a model of text only.
    """
    text = model.config.get_text_config()
    if text is model.config:
        return []
    modules = dict(model.named_modules())
    running = [name for name, module in modules.items() if name and type(getattr(module, "config", None)) is type(text)]
    if not running:
        return []
    head = model.get_output_embeddings()
    running += [name for name, module in modules.items() if module is head]
    idle: list[str] = []
    for name, module in modules.items():
        if not name or next(module.parameters(), None) is None:
            continue
        if not any(_related(name, one) for one in running) and not any(_within(name, one) for one in idle):
            idle.append(name)
    return idle


def pattern_of(parts: list[str]) -> str | None:
    """A regular expression of all modules in some parts.

    Args:
        parts: Paths of modules.

    Returns:
        The expression; `None` without parts.
    """
    return rf"(?:{'|'.join(map(re.escape, parts))})(?:\..*)?" if parts else None


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _related(name: str, other: str) -> bool:
    """Whether one of two modules holds the other."""
    return _within(name, other) or _within(other, name)
