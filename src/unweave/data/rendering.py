"""Chat templates are programs that come with a model: they are run in a process of their own, with little time and memory.

The template language is a sandbox, from which nothing of this machine is reached; but in it a loop of loops can go on for years, and one multiplication
can fill the memory. No limit within a process holds in every thread and against every operation, so another process renders, which the system ends.
It renders with transformers' own function: texts are the same as there.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unweave.data.child import answer_of, start_child
from unweave.data.pipes import send
from unweave.errors import ModelError


class RefusedError(ValueError):
    """A template that can't write a row; the message says why, and the caller knows which row."""


@dataclass(frozen=True)
class Limits:
    """What a template may use for one conversation.

    Attributes:
        seconds: Of the processor; a template of a real model takes less than a thousandth of one.
        bytes: Of memory.
        characters: Of text that it writes beside what it is given.
    """

    seconds: int = 5
    bytes: int = 2**30
    characters: int = 10_000_000


LIMITS = Limits()
START, WAIT = 300, 60
"""Seconds by the clock after which a start and an answer are given up: far beyond the limits, also on a machine with much else to do."""

REASONS = {
    "seconds": "it takes more than {seconds} seconds for one conversation",
    "memory": "it takes too much memory for one conversation",
    "recursion": "it calls itself without an end",
    "characters": "it writes too much text for one conversation",
    "ended": "it broke the program that runs it",
}


class Renderer:
    """The other process, started when it is needed and again when it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._owner = os.getpid()

    def start(self) -> None:
        """Start the process, and do not wait for it."""
        with self._lock:
            self._begin()

    def render(self, request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
        """Have a conversation written out.

        Args:
            request: Template, messages, tools, tokens.
            limits: What it may use.

        Returns:
            The text, why it was refused, or which limit was reached.

        Raises:
            ModelError: When the process can't be started.
        """
        with self._lock:
            self._begin()
            assert self._process is not None
            try:
                if not self._ready:
                    answer = answer_of(self._process, START)
                    self._ready = answer is not None
                    if not self._ready:
                        raise ModelError(
                            "The program that runs chat templates can't be started.",
                            where=sys.executable,
                            remedy="free some memory, or choose `template` alpaca, dolly, plain or none",
                        )
                assert self._process.stdin is not None
                send(self._process.stdin, {**request, "limits": asdict(limits)})
                answer = answer_of(self._process, WAIT)
            except OSError:
                # It ended before it had read everything.
                answer = None
            except BaseException:
                # Whoever asks next must not get this answer.
                self._end()
                raise
            if answer is not None:
                return answer
            code = self._end()
            return {"limit": "seconds" if code in (-signal.SIGXCPU, -signal.SIGKILL) else "ended"}

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _begin(self) -> None:
        if self._owner != os.getpid():
            # A fork's: its pipes are the parent's.
            self._process, self._ready, self._owner = None, False, os.getpid()
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "HF_HUB_OFFLINE"), "1")
        self._process = start_child("unweave.data.renderer", **one)

    def _end(self) -> int | None:
        process, self._process, self._ready = self._process, None, False
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        try:
            code = process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        return code


_renderer = Renderer()
atexit.register(_renderer.close)


def get_ready() -> None:
    """Start the process that renders, which takes a second, while something else is loaded."""
    _renderer.start()


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Any],
    opening: bool,
    tokens: Mapping[str, str],
    name: str,
) -> str:
    """Write messages out with a chat template, as transformers does.

    Args:
        template: The template's text.
        messages: The messages.
        tools: The tools that may be called.
        opening: Whether an assistant's turn is opened at the end.
        tokens: The tokenizer's special tokens by name.
        name: Of the model, for errors.

    Returns:
        The text.

    Raises:
        RefusedError: When the template refuses the messages.
        ModelError: When it reaches a limit.
    """
    answer = _renderer.render(
        {
            "template": template,
            # As `apply_chat_template` does.
            "messages": [{key: value for key, value in one.items() if value is not None} for one in messages],
            "tools": list(tools) or None,
            "opening": opening,
            "tokens": dict(tokens),
        },
        LIMITS,
    )
    if "text" in answer:
        return answer["text"]
    if "refused" in answer:
        raise RefusedError(answer["refused"])
    raise ModelError(
        f"The chat template can't be used: {REASONS[answer['limit']].format(**asdict(LIMITS))}.",
        where=name,
        remedy="choose `template` alpaca, dolly, plain or none, or give the model a chat_template.jinja that ends",
    )
