"""ShareGPT's layout: `conversations` of `from` and `value`, with a system text and tools in columns of their own."""

from unweave.data.layouts.base import SYSTEM, Layout
from unweave.data.layouts.conversations import read_conversation

SHAREGPT = Layout(
    name="ShareGPT",
    required=("conversations",),
    optional=(*SYSTEM, "tools"),
    read=lambda record: read_conversation(record, "conversations"),
    prompt="all turns before an answer, `system` first, with `tools`",
    learned="each `gpt` turn",
    trl="conversational language modeling",
)
