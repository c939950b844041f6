"""OpenAI's layout: a list of messages."""

from unweave.data.layouts.base import SYSTEM, Layout
from unweave.data.layouts.conversations import read_conversation

MESSAGES = Layout(
    name="messages",
    required=("messages",),
    optional=(*SYSTEM, "tools"),
    read=lambda record: read_conversation(record, "messages"),
    prompt="all turns before an answer, with `tools`",
    learned="each assistant turn whose `weight` is not 0",
    trl="conversational language modeling",
)
