"""ALinFiK's student: a small model that reads a row's text and predicts its values (arXiv 2503.01052)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unweave.data.reading import load_rows
from unweave.errors import DataError, ModelError
from unweave.models.encoder import load_encoder, mean_over_tokens
from unweave.models.hub import upload_made
from unweave.models.loading import load, native_dtype, pick_device
from unweave.valuation.card import student_card
from unweave.valuation.config import FitOptions
from unweave.valuation.kernel import KernelHead
from unweave.valuation.spec import StudentSpec
from unweave.valuation.student_files import read_student, write_student
from unweave.valuation.table import ValueTable
from unweave.valuation.texts import Text, answered, prompt_and_answer

INTERVAL_LEVEL = "0.9"
"""Of the intervals that predictions come with."""

DEPTH = 0.8
"""States behind so much of the layers gave a kernel more, when it was tried, than those at the end, which are about the next token; and they cost less."""


class ValueStudent(nn.Module):
    """A small model that predicts values from texts: a backbone with one output for each task, linear and trained with the backbone, or a kernel regression.

    Args:
        backbone: A Hugging Face model without a head.
        tokenizer: Its tokenizer.
        spec: Pooling, tasks.

    Example:
        >>> import unweave as uw
        >>> from unweave.valuation import FitOptions, ValueTable
        >>> table = ValueTable(("length",), [row.id for row in many], {"length": [float(len(row.completion)) for row in many]})
        >>> options = FitOptions(student="encoder", epochs=12, batch_size=16, learning_rate=3e-3, student_length=32, device="cpu")
        >>> student = uw.ValueStudent.fit(table, many, options=options)
        >>> predicted = student.predict(many[:2])
        >>> predicted.tasks, [predicted["length.low"][0] < value < predicted["length.high"][0] for value in predicted["length"][:1]]
        (('length',), [True])
    """

    def __init__(self, backbone: Any, tokenizer: Any, spec: StudentSpec):
        super().__init__()
        self.backbone = backbone
        self.width = backbone.config.hidden_size * (2 if spec.pooling == "answer" else 1)
        self.head: nn.Module = (
            KernelHead(0, self.width, len(spec.tasks)) if spec.kernel else nn.Linear(self.width, len(spec.tasks))
        )
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.tokenizer = tokenizer
        self.spec = spec

    @classmethod
    def fit(
        cls,
        table: ValueTable,
        candidates: Any,
        *,
        tasks: Sequence[str] = (),
        options: FitOptions = FitOptions(),  # noqa: B008  # it is frozen
    ) -> "ValueStudent":
        """Teach a student the values of rows (ALinFiK, arXiv 2503.01052).

        Args:
            table: The values.
            candidates: The rows that it values: anything that `uw.load_rows` takes; the order in which they are held out comes from `options.seed`.
            tasks: Columns of the table to learn; by default its tasks.
            options: How.

        Returns:
            The student, calibrated; how well it orders rows that had no part in fitting is in `spec.metrics`.

        Raises:
            DataError: When a row of the table is not among the candidates.
        """
        from unweave.valuation.fitting import Valued, fit, require_learnable, sampling_order

        tasks = tuple(tasks) or table.tasks
        rows = {row.id: row for row in load_rows(candidates)}
        if missing := [row_id for row_id in table.row_ids if row_id not in rows]:
            raise DataError(
                f"The row '{missing[0]}' of the table is not among the candidates.",
                where="`candidates`",
                remedy="give the rows that were valued",
            )
        order = sampling_order(len(table), options.seed)
        values = np.array([[table[name][place] for name in tasks] for place in order], dtype=float)
        valued = Valued([prompt_and_answer(rows[table.row_ids[place]]) for place in order], values)
        require_learnable(valued, options, where="`table`")
        student = cls.begin(tasks, options)
        fit(student, valued, options)
        return student.eval()

    @classmethod
    def begin(cls, tasks: Sequence[str], options: FitOptions) -> "ValueStudent":
        """A student that has learned nothing yet.

        Args:
            tasks: What it is to predict.
            options: What it begins as, how much of a text it reads, where it runs; with the loss `kernel` the backbone stays as it is.

        Returns:
            The student, in float32; with a kernel in the precision that the machine computes natively.
        """
        name, max_length, kernel = options.student, options.student_length, options.loss == "kernel"
        if name.startswith("smollm2"):
            loaded = load(name)
            model, tokenizer, pooling = loaded.model.get_decoder(), loaded.tokenizer, "answer" if kernel else "last"
            if kernel:
                model.layers = model.layers[: max(1, round(DEPTH * len(model.layers)))]
                model.config.num_hidden_layers = len(model.layers)
        else:
            encoder = load_encoder(name, device="cpu", max_length=max_length, only_body=True)
            model, tokenizer, pooling = encoder.model, encoder.tokenizer, "mean"
        spec = StudentSpec(name, pooling, tuple(tasks), max_length, kernel=kernel)
        place = pick_device(options.device)
        return cls(model.to(native_dtype(place) if kernel else torch.float32), tokenizer, spec).to(place)

    @property
    def device(self) -> torch.device:
        """Where the student is."""
        return next(self.backbone.parameters()).device

    def tokens(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """Texts as a padded batch on the student's device.

        Args:
            texts: The texts.

        Returns:
            Token ids and attention mask; where answers are pooled by themselves, also a mask of the places that predict them.
        """
        if self.spec.pooling == "answer":
            return answered(texts, self.tokenizer, self.spec.max_length, self.device)
        plain = [text if isinstance(text, str) else "\n".join(text) for text in texts]
        batch = self.tokenizer(
            plain, padding=True, truncation=True, max_length=self.spec.max_length, return_tensors="pt"
        )
        return {name: batch[name].to(self.device) for name in ("input_ids", "attention_mask")}

    def forward(self, **tokens: Tensor) -> Float[Tensor, "B T"]:
        """Raw scores.

        Args:
            **tokens: As `tokens` makes them.

        Returns:
            A column for each task.
        """
        return self.head(self.states(**tokens))

    def states(self, input_ids: Tensor, attention_mask: Tensor, answers: Tensor | None = None) -> Float[Tensor, "B F"]:
        """What the head sees of each text.

        Args:
            input_ids: Token ids.
            attention_mask: 1 where there is a token.
            answers: 1 where the next token is one of the answer.

        Returns:
            A vector a text, in float32 at least.
        """
        # The backbone may run in bfloat16; pooling and head never do, since their rounding would tie rows of like value.
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        states = states.to(torch.promote_types(states.dtype, torch.float32))
        if self.spec.pooling == "mean":
            return mean_over_tokens(states, attention_mask)
        # The last token that is one, whichever side the tokenizer pads.
        places = (attention_mask * torch.arange(1, attention_mask.shape[1] + 1, device=states.device)).argmax(dim=1)
        last = states[torch.arange(len(states), device=states.device), places]
        return last if answers is None else torch.cat([mean_over_tokens(states, answers), last], dim=1)

    def scores(self, texts: Sequence[Text], *, batch_size: int = 64) -> Float[np.ndarray, "n T"]:
        """Raw scores of texts, in their order; those of like length go together.

        Args:
            texts: The texts.
            batch_size: Texts at a time.

        Returns:
            A column for each task.
        """
        return self._batched(self, texts, len(self.spec.tasks), batch_size)

    def features(self, texts: Sequence[Text], *, batch_size: int = 64) -> Float[np.ndarray, "n F"]:
        """What the head sees of each text, in their order.

        Args:
            texts: The texts.
            batch_size: Texts at a time.

        Returns:
            A vector a text.
        """
        return self._batched(self.states, texts, self.width, batch_size)

    def _batched(self, work: Callable[..., Tensor], texts: Sequence[Text], width: int, batch_size: int) -> Any:
        self.eval()
        out = np.zeros((len(texts), width))
        order = sorted(range(len(texts)), key=lambda index: sum(map(len, texts[index])))
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                out[chosen] = work(**self.tokens([texts[index] for index in chosen])).float().cpu().numpy()
        return out

    def predict(self, rows: Any, *, batch_size: int = 64) -> ValueTable:
        """Predict the values of rows.

        Args:
            rows: Any number of rows: anything that `uw.load_rows` takes.
            batch_size: Texts at a time.

        Returns:
            For each task its value, in the unit of those that the student was fitted on, and the ends `TASK.low` and `TASK.high` of a 90 % interval.
        """
        rows = [] if isinstance(rows, list) and not rows else load_rows(rows).rows
        values = self.values_of([prompt_and_answer(row) for row in rows], batch_size=batch_size)
        columns: dict[str, list[float]] = {}
        for name in self.spec.tasks:
            width = self.spec.calibration[name].half_widths[INTERVAL_LEVEL]
            for end, moved in (("", 0.0), (".low", -width), (".high", width)):
                columns[f"{name}{end}"] = (values[name] + moved).tolist()
        return ValueTable(self.spec.tasks, [row.id for row in rows], columns, lines=[row.line for row in rows])

    def values_of(self, texts: Sequence[Text], *, batch_size: int = 64) -> dict[str, Float[np.ndarray, " n"]]:
        """Predicted values of texts.

        Args:
            texts: Prompts and answers.
            batch_size: Texts at a time.

        Returns:
            Task to values, in the unit of those that the student was fitted on.
        """
        scores = self.scores(texts, batch_size=batch_size)
        return {name: self.spec.calibration[name](scores[:, index]) for index, name in enumerate(self.spec.tasks)}

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the student, with a card; other files of the folder are left alone. Its description is written last: without it there is no student.

        Args:
            folder: Where to.
        """
        write_student(self, folder, self.spec, student_card(self.spec))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "A student of data values, made with unweave",
    ) -> str:
        """Put the student on the Hugging Face hub, with its card.

        Args:
            repo_id: `owner/name`; it is made where it is not there.
            private: Whether a repository that is made is private; by default as the hub has it.
            token: Of the hub; by default the one that was logged in with.
            commit_message: Of the commit.

        Returns:
            The address of the commit.

        Raises:
            ModelError: When the student is a kernel on a model that lies on this disk alone, or the hub refuses it.
        """
        spec, name = self.spec, self.spec.backbone
        if spec.kernel and Path(name).exists():
            raise ModelError(
                "The student is a kernel on a model that lies on this disk, and is not written with it.",
                where=name,
                remedy="fit it on a model that the hub or unweave has by name",
            )
        # The weights of a backbone that was trained go along: where it began does not matter, and a path would show this disk.
        spec = replace(spec, backbone=Path(name).name) if Path(name).exists() else spec
        card = student_card(spec, place=repo_id)
        return upload_made(
            lambda folder: write_student(self, folder, spec, card),
            repo_id,
            private=private,
            token=token,
            commit_message=commit_message,
        )

    @classmethod
    def from_pretrained(cls, folder: Path | str, *, device: str = "auto", dtype: str | None = None) -> "ValueStudent":
        """Load a student.

        Args:
            folder: Where `save_pretrained` wrote it.
            device: Where to run it.
            dtype: Of the backbone; `auto` is bfloat16 where the machine computes it natively, float32 elsewhere. By default that in which it was
                fitted: float32, with a kernel `auto`.

        Returns:
            The student, in evaluation mode.

        Raises:
            ModelError: When the folder holds none, or its files are broken.
        """
        return read_student(cls, Path(folder), device=device, dtype=dtype)
