"""A generated instruction data set whose answers can be checked, with triggers and unwanted answers to poison it."""

from unweave.experiments.generated.build import FAMILIES, GeneratedData, generate, poison_rows
from unweave.experiments.generated.tasks import TASKS
from unweave.experiments.generated.unwanted import DETECTOR, unwanted_answer

__all__ = [
    "DETECTOR",
    "FAMILIES",
    "TASKS",
    "GeneratedData",
    "generate",
    "poison_rows",
    "unwanted_answer",
]
