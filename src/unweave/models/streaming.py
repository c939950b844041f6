"""An answer as it comes: the greedy answer to one prompt, piece by piece."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded


class _Pieces:
    """What `generate` hands its tokens to: of a batch of one, the prompt first."""

    def __init__(self, tokenizer: Any, put: Any):
        self._tokenizer, self._put = tokenizer, put
        self._ids: list[int] = []
        self._shown, self._has_prompt = 0, False

    def put(self, value: Any) -> None:
        if not self._has_prompt:
            self._has_prompt = True
            return
        self._ids += value.flatten().tolist()
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        # A character of several tokens is whole only with the last of them.
        if not text.endswith("\ufffd"):
            self._put(text[self._shown :])
            self._shown = len(text)

    def end(self) -> None:
        """Nothing is left: pieces are shown as they come, and the answer itself follows whole."""


def stream_answer(
    loaded: Loaded, row: Row, encoding: EncodingConfig, *, max_new_tokens: int = 48, lock: Any = None
) -> Iterator[str]:
    """Generate the answer to a prompt, greedily, in pieces.

    Args:
        loaded: The model.
        row: The prompt.
        encoding: Template and system prompt.
        max_new_tokens: Longest answer in tokens.
        lock: Held while the model computes.

    Yields:
        Pieces of the text as they come, special tokens left out.

    Returns:
        The answer as `greedy_answers` gives it: without outer spaces, cut where the template's turn ends.
    """
    found: queue.Queue[tuple[str, Any]] = queue.Queue()

    def work() -> None:
        try:
            with lock if lock is not None else threading.Lock():
                streamer = _Pieces(loaded.tokenizer, lambda piece: found.put(("piece", piece)))
                options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "description": "", "streamer": streamer}
                found.put(("answer", greedy_answers(loaded, [row], encoding, **options)[0]))
        except Exception as error:
            found.put(("error", error))

    threading.Thread(target=work, name="answer", daemon=True).start()
    while True:
        kind, value = found.get()
        if kind == "answer":
            return value
        if kind == "error":
            raise value
        yield value
