"""The configs of the demo's stages, and the commands that they stand for."""

import dataclasses
from pathlib import Path
from typing import Any

from unweave.data.case import Case
from unweave.data.encoding import EncodingConfig
from unweave.engines.config import CacheConfig
from unweave.evaluation.behaviour import Behaviour
from unweave.evaluation.config import AuditConfig
from unweave.experiments.case import CaseConfig
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.stages import command_line
from unweave.jobs.config import TraceConfig
from unweave.models.loading import ModelConfig
from unweave.train.config import TrainConfig
from unweave.train.snapshots import snapshot_folder
from unweave.unlearning.config import config_of
from unweave.weights.config import WeighConfig


class StagePlan:
    """The configs of the stages, as the demo's config asks for them.

    Args:
        config: The demo's config.
        folder: Its run folder.
    """

    def __init__(self, config: DemoConfig, folder: Path):
        self.config = config
        self.folder = folder

    def shared(self, *types: type) -> dict[str, Any]:
        """The demo's values for all fields of some configs."""
        return {field.name: getattr(self.config, field.name) for kind in types for field in dataclasses.fields(kind)}

    def trained_model(self, name: str) -> dict[str, Any]:
        """How a model of the run folder is loaded."""
        return {**self.shared(ModelConfig), "model": str(self.folder / name), "adapter": None, "revision": None}

    def case(self) -> CaseConfig:
        """Rows, triggers and tests."""
        return CaseConfig(**self.shared(CaseConfig))

    def case_command(self) -> str:
        """The command that makes the case."""
        return command_line("case", self.case()) + f" --output-dir {self.folder / 'case'}"

    def train(self, case: Case, *, without_forget: bool = False) -> TrainConfig:
        """Fine-tuning on all rows, or without the forget rows."""
        lora = {name: getattr(self.config, name) for name in ("lora_r", "lora_alpha", "lora_dropout", "lora_targets")}
        return TrainConfig(
            **self.shared(ModelConfig, EncodingConfig),
            **lora,
            data=case.path("train"),
            without=case.path("forget") if without_forget else None,
            output_dir=self.folder / ("retrained" if without_forget else "poisoned"),
            epochs=self.config.epochs,
            batch_size=self.config.batch_size,
            learning_rate=self.config.train_learning_rate,
            snapshots=() if without_forget or self.config.snapshot == 1 else (self.config.snapshot,),
            seed=self.config.seed,
        )

    @property
    def traced_model(self) -> str:
        """The folder, below the run's, of the model that rows are traced with."""
        if self.config.snapshot == 1:
            return "poisoned"
        return str(snapshot_folder(Path("poisoned"), self.config.snapshot))

    def cache(self, data: Path) -> CacheConfig:
        """Caching the rows of a file."""
        return CacheConfig(
            **self.trained_model(self.traced_model),
            **self.shared(EncodingConfig),
            data=data,
            store=self.folder / "store",
            dimension=self.config.dimension,
        )

    def influence_commands(self, case: Case) -> list[str]:
        """The commands that cache the forget and the retain rows."""
        return [command_line("cache", self.cache(case.path(split))) for split in ("forget", "retain")]

    def weigh(self, case: Case) -> WeighConfig:
        """Weighing the rows."""
        return WeighConfig(
            method=self.config.weights,
            store=self.folder / "store",
            forget=case.path("forget"),
            retain=case.path("retain"),
            output_forget=self.folder / "forget_weights.jsonl",
            output_retain=self.folder / "retain_weights.jsonl",
            seed=self.config.seed,
        )

    def forget(self, case: Case) -> Any:
        """Unlearning, as the method's own config."""
        kind = config_of(self.config.method)
        own = {name: getattr(self.config, name) for name in ("ascent", "descent") if name in kind.__dataclass_fields__}
        return kind(
            **own,
            **self.trained_model("poisoned"),
            **self.shared(EncodingConfig),
            forget=case.path("forget"),
            retain=case.path("retain"),
            output_dir=self.folder / "unlearned",
            forget_weights=self.folder / "forget_weights.jsonl",
            retain_weights=self.folder / "retain_weights.jsonl",
            adapter_mode="continue",
            stop_at_base=False,
            epochs=self.config.forget_epochs,
            batch_size=self.config.forget_batch_size,
            learning_rate=self.config.forget_learning_rate,
            seed=self.config.seed,
        )

    def trace_command(self, case: Case, before: Behaviour) -> str:
        """The command that traces the first bad answer."""
        bad = next((index for index, value in enumerate(before.unwanted["seen"]) if value), 0)
        row = case.rows("test_seen")[bad]
        return command_line(
            "trace",
            TraceConfig(store=self.folder / "store", prompt=row.user_text, max_new_tokens=self.config.max_new_tokens),
        )

    def audit_command(self) -> str:
        """The command that repeats the whole audit."""
        return command_line(
            "audit",
            AuditConfig(
                **self.shared(EncodingConfig),
                case=self.folder / "case",
                before=str(self.folder / "poisoned"),
                after=str(self.folder / "unlearned"),
                retrained=str(self.folder / "retrained"),
                store=self.folder / "store",
                output_dir=self.folder / "audit",
            ),
        )
