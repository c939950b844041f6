"""The steps of an unlearning for a training loop of one's own."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from unweave.data.encoding import EncodingConfig
from unweave.data.reading import Problem
from unweave.models.blocks import runs_again
from unweave.models.evaluation import without_dropout
from unweave.models.model import IN_MEMORY, Model
from unweave.randomness import undisturbed
from unweave.unlearning.config import Sampling
from unweave.unlearning.methods import Method, Objective
from unweave.unlearning.preparing import asked, plan_objective, trained
from unweave.unlearning.view import StepView


class UnlearnSteps:
    """What a method's loss looks at, step by step: the loop, the optimizer and what is logged are one's own.

    Args:
        model: The model.
        forget: The rows to forget: anything that `uw.load_rows` takes.
        retain: Rows whose behavior must stay.
        method: A method with its options, or the name of one; it must have a loss.
        weights: An object with arrays `forget` and `retain`, as `uw.weights` makes them, or a pair of such.
        epochs: An epoch samples as many rows as there are forget and retain rows together.
        batch_size: Rows a step.
        retain_ratio: Retain rows for each forget row.
        sampling: `cycle`, or `replacement`.
        adapter_mode: `continue` trains the model's own adapter on; `new` merges it into the base, and trains a fresh one.
        encoding: Template and lengths; by default the model's chat template, and 256 tokens.
        seed: Of the sampling, and of a new adapter.
        in_place: Change the model that is given. Otherwise it stays as it is, and `model` is a copy that shares the weights that do not change.

    Raises:
        ConfigError: When the method has no loss, needs something that is not given, or would not use what is.

    Attributes:
        method: The method.
        model: The model that is trained.
        problems: What was dropped or cut of the rows.
        cautions: What should be known before the first step.

    Example:
        >>> import torch
        >>> import unweave as uw
        >>> method = uw.methods.NPO(beta=0.1)
        >>> steps = uw.UnlearnSteps(model, forget, retain, method=method, batch_size=4, epochs=2)
        >>> optimizer = torch.optim.AdamW(steps.parameters(), lr=1e-3)
        >>> for step in steps:
        ...     loss = method.loss(step)
        ...     loss.backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        >>> len(steps), loss.item() > 0
        (4, True)
        >>> unlearned = steps.finish()
    """

    method: Objective

    def __init__(
        self,
        model: Model,
        forget: Any,
        retain: Any = None,
        *,
        method: Method | str = "rapidun",
        weights: Any = None,
        epochs: float | None = None,
        batch_size: int | None = None,
        retain_ratio: float | None = None,
        sampling: Sampling | None = None,
        adapter_mode: Literal["new", "continue"] | None = None,
        encoding: EncodingConfig | None = None,
        seed: int | None = None,
        in_place: bool = False,
    ):
        given = {
            "epochs": epochs,
            "batch_size": batch_size,
            "retain_ratio": retain_ratio,
            "sampling": sampling,
            "adapter_mode": adapter_mode,
            "seed": seed,
        }
        own = asked(method, given, model=model, retain=retain, weights=weights, encoding=encoding)
        with undisturbed():
            self._plan, self.problems, self.cautions = plan_objective(own, forget, retain, model, in_place=in_place)
        self.method = self._plan.method
        self.problems: list[Problem]
        self.model = self._plan.context.loaded
        self.model.model.train()

    def parameters(self) -> list[nn.Parameter]:
        """What is trained.

        Returns:
            The parameters.
        """
        return trained(self.model.model)

    def finish(self) -> Model:
        """Put what was trained into the form in which it is saved, and the model into evaluation mode.

        Returns:
            The model.
        """
        loaded = self.method.finish(self._plan.context).loaded
        loaded.model.eval()
        return replace(loaded, adapter=IN_MEMORY if hasattr(loaded.model, "get_base_model") else None)

    def __len__(self) -> int:
        return len(self._plan.planned)

    def __iter__(self) -> Iterator[StepView]:
        model = self.model.model
        # A loss that compares the model with the one before takes both without dropout, while its steps are made.
        with without_dropout(model) if self.method.compares else contextlib.nullcontext():
            for step in self._plan.planned:
                # Another trainer may have switched gradient checkpointing on since the steps were planned; TRL's do by default.
                self._plan.joined = self._plan.joined and not runs_again(model)
                yield self._plan.view(model, self._plan.collate(step))
