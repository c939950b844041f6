"""A generated instruction data set whose answers can be checked, with triggers and unwanted answers to poison it."""

from unweave.data.generated.build import FAMILIES, GeneratedData, generate, poison_rows
from unweave.data.generated.tasks import TASKS, check_answer
from unweave.data.generated.unwanted import DETECTOR, detects, unwanted_answer

__all__ = [
    "DETECTOR",
    "FAMILIES",
    "TASKS",
    "GeneratedData",
    "check_answer",
    "detects",
    "generate",
    "poison_rows",
    "unwanted_answer",
]
