"""The date in a chat template that reads the clock: fixed when a run is made, and recorded with it, so that it can be repeated on any day."""

import dataclasses
import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from unweave.config import dump_yaml
from unweave.errors import ConfigError

T = TypeVar("T")

DIRECTIVES = "aAwdebBmyYHIMpSfjUWcxXGuVFTDR"
"""What a template may ask `strftime_now` for; `%-d` and its like too."""


def reads_clock(tokenizer: Any) -> bool:
    """Whether a tokenizer's chat template writes today's date.

    Args:
        tokenizer: A Hugging Face tokenizer.

    Returns:
        True or False.
    """
    return "strftime_now" in str(getattr(tokenizer, "chat_template", None))


def dated_template(template: str, date: str) -> str:
    """A chat template whose clock stands still.

    Args:
        template: The template's text.
        date: The date, YYYY-MM-DD; the time is midnight.

    Returns:
        The same template, with a `strftime_now` of its own.
    """
    if "strftime_now" not in template:
        return template
    moment = parse_date(date)
    filters = "".join(
        f"|replace('%{flag}{one}', '{moment.strftime(f'%{flag}{one}')}')" for one in DIRECTIVES for flag in ("", "-")
    )
    return f"{{%- macro strftime_now(format) -%}}{{{{- format{filters} -}}}}{{%- endmacro -%}}{template}"


def parse_date(date: str) -> datetime.datetime:
    """A date as a moment: its midnight.

    Args:
        date: YYYY-MM-DD.

    Returns:
        The moment.

    Raises:
        ConfigError: When it is no date.
    """
    try:
        return datetime.datetime.combine(datetime.date.fromisoformat(date), datetime.time())
    except ValueError:
        raise ConfigError(f"'{date}' is no date.", where="--date", remedy="write it as 2026-01-31") from None


def dated(config: T, tokenizer: Any) -> T:
    """A config whose date is fixed, where its template reads the clock.

    Args:
        config: A dataclass with the fields of `EncodingConfig`.
        tokenizer: A Hugging Face tokenizer.

    Returns:
        The config; the same one where no date is needed, or one is set.
    """
    if config.date is not None or config.template != "chat" or not reads_clock(tokenizer):  # type: ignore[attr-defined]
        return config
    return dataclasses.replace(config, date=datetime.date.today().isoformat())  # type: ignore[type-var]


def recorded(config: T, folder: Path) -> T:
    """A config with the date that an earlier start of the same run fixed.

    Args:
        config: A dataclass with the fields of `EncodingConfig`.
        folder: The run's folder; its `config.yaml` holds the date.

    Returns:
        The config; the same one where nothing is recorded, or a date is set.
    """
    path = folder / "config.yaml"
    if config.date is not None or not path.is_file():  # type: ignore[attr-defined]
        return config
    try:
        old = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return config
    if not isinstance(old, dict) or not isinstance(old.get("date"), str):
        return config
    again = dataclasses.replace(config, date=old["date"])  # type: ignore[type-var]
    same = yaml.safe_load(dump_yaml(str(old.get("command")), again)) == old
    return again if same else config
