"""The date in a chat template that reads the clock: fixed when a run is made, and recorded with it, so that it can be repeated on any day."""

import dataclasses
import datetime
import functools
from pathlib import Path
from typing import Any, TypeVar

import yaml

from unweave.config import dump_yaml
from unweave.errors import ConfigError
from unweave.outputs import run_folders

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


@functools.cache
def today() -> str:
    """The day of this process: a run that goes on past midnight keeps it.

    Returns:
        YYYY-MM-DD.
    """
    return datetime.date.today().isoformat()


def dated_template(template: str, date: str | None) -> str:
    """A chat template whose clock stands still.

    Args:
        template: The template's text.
        date: The date, YYYY-MM-DD, by default today's; the time is midnight.

    Returns:
        The same template, with a `strftime_now` of its own.
    """
    if "strftime_now" not in template:
        return template
    moment = parse_date(date or today())
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
        raise ConfigError(f"'{date}' is no date.", where="`date`", remedy="write it as 2026-01-31") from None


def dated(config: T, tokenizer: Any, *models: str | Path | None) -> T:
    """A config whose date is fixed, where its template reads the clock.

    Args:
        config: A dataclass with the fields of `EncodingConfig`.
        tokenizer: A Hugging Face tokenizer.
        *models: The models that read the rows, the one that counts first: the first with a record of its training gives the date that it was trained
            with. Without one it is today's.

    Returns:
        The config; the same one where no date is needed, or one is set.
    """
    if config.date is not None or config.template != "chat" or not reads_clock(tokenizer):  # type: ignore[attr-defined]
        return config
    days = (_record(folder / "config.yaml").get("date") for model in models if model for folder in run_folders(model))
    date = next((day for day in days if isinstance(day, str)), None)
    return dataclasses.replace(config, date=date or today())  # type: ignore[type-var]


def recorded(config: T, folder: Path) -> T:
    """A config with the date that an earlier start of the same run fixed.

    Args:
        config: A dataclass with the fields of `EncodingConfig`.
        folder: The run's folder; its `config.yaml` holds the date.

    Returns:
        The config; the same one where nothing is recorded, or a date is set.
    """
    old = _record(folder / "config.yaml")
    if config.date is not None or not isinstance(old.get("date"), str):  # type: ignore[attr-defined]
        return config
    again = dataclasses.replace(config, date=old["date"])  # type: ignore[type-var]
    same = yaml.safe_load(dump_yaml(str(old.get("command")), again)) == old
    return again if same else config


def _record(path: Path) -> dict[str, Any]:
    """What a config file says; nothing where there is none that can be read."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (yaml.YAMLError, UnicodeDecodeError):
        found = None
    return found if isinstance(found, dict) else {}
