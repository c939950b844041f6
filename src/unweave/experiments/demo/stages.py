"""Stages of a run: each timed, each done once, the commands kept that they stand for."""

import dataclasses
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from unweave import progress
from unweave.files import read_json, write_json

T = TypeVar("T")


class Stages:
    """The stages of one run folder.

    Args:
        folder: The run folder; `stages.json` in it keeps the times.
    """

    def __init__(self, folder: Path):
        self.path = folder / "stages.json"
        self.records: dict[str, dict[str, Any]] = (
            read_json(self.path, what="The stages of the run") if self.path.is_file() else {}
        )

    def run(self, name: str, title: str, work: Callable[[], T], *, commands: list[str]) -> T:
        """Run a stage and keep its time. Work that is complete returns at once, and the time of its first run stays.

        Args:
            name: Of the stage.
            title: For people.
            work: Does it; must itself skip what is done.
            commands: What a user would type instead.

        Returns:
            What the work gave.
        """
        progress.say("")
        progress.say(f"▸ {title}")
        for command in commands:
            progress.say(f"  $ {command}")
        earlier = self.records.get(name)
        if not (earlier and earlier.get("complete")):
            # A stage that a kill cut short took longer than its last run: the record says so.
            self._record(
                name, {"title": title, "commands": commands, "complete": False, "resumed": earlier is not None}
            )
        started = time.monotonic()
        value = work()
        seconds = time.monotonic() - started
        record = self.records[name]
        if not record["complete"]:
            self._record(name, {**record, "complete": True, "seconds": round(seconds, 3)})
        return value

    def seconds(self) -> dict[str, float]:
        """Wall seconds of each complete stage."""
        return {name: record["seconds"] for name, record in self.records.items() if record.get("complete")}

    def resumed(self) -> list[str]:
        """Stages that were cut short once, whose time is that of the last part."""
        return [name for name, record in self.records.items() if record.get("resumed")]

    def _record(self, name: str, record: dict[str, Any]) -> None:
        self.records[name] = record
        write_json(self.path, self.records)


def command_line(command: str, config: Any) -> str:
    """The command that does what a config says.

    Args:
        command: The subcommand.
        config: Its dataclass.

    Returns:
        A line for a shell; options at their defaults are left out.
    """
    words = ["unweave", command]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.default is not dataclasses.MISSING and value == field.default:
            continue
        option = "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else "--no-" + option[2:])
        elif isinstance(value, tuple | list):
            words += [option, *map(str, value)]
        elif isinstance(value, dict):
            words += [option, *(str(part) for pair in value.items() for part in pair)]
        elif value is not None:
            words += [option, str(value)]
    return shlex.join(words)
