"""An index of training rows by their gradients: build, extend, attribute, influence, delete."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unweave.attribution.adding import Addition, do_unit, open_store, sketcher_for
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.hits import Hits
from unweave.attribution.model import store_model
from unweave.attribution.queries import make_queries, query_row
from unweave.attribution.retrieval import influence_scores, influences
from unweave.attribution.tracing import trace_queries
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig, Example, content_of, encode_rows
from unweave.data.reading import Problem, load_rows
from unweave.data.rows import Row
from unweave.models.loading import load
from unweave.models.model import Model
from unweave.models.vocabulary import require_tokens
from unweave.sketch.config import GradientConfig, Normalize
from unweave.sketch.numbers import NumberFormat
from unweave.sketch.sketcher import Sketcher
from unweave.store.base import Store
from unweave.store.card import store_card
from unweave.store.maintenance import compact_store
from unweave.store.store import GradientStore
from unweave.store.texts import stored_rows


class GradientIndex:
    """The sketched gradients of training rows, in memory or in a folder, with the model that they are of.

    Example:
        >>> import unweave as uw
        >>> index = uw.GradientIndex.build(model, rows, dimension=4096)
        >>> hits = index.attribute("what is the capital of Peru ?", completion="Lima", top_k=2)
        >>> print(hits[0].row.prompt, hits[0].row.completion, hits[0].level)
        what is the capital of Peru ? Lima 0.875
        >>> index.influence_matrix(queries=rows[:2], rows=rows[4:]).shape
        (2, 4)

    Args:
        store: The sketches.
        model: The model.
        sketcher: Makes sketches like the store's; by default that is made sure of.

    Attributes:
        store: The sketches.
        model: The model.
        problems: What was dropped or cut of the rows that were added.
    """

    def __init__(self, store: Store, model: Model, *, sketcher: Sketcher | None = None):
        self.store = store
        self.model = model
        self.problems: list[Problem] = []
        self._sketcher = sketcher or sketcher_for(store, model)
        self._state = self._weights()

    @classmethod
    def build(
        cls,
        model: Model,
        rows: Any,
        *,
        path: str | Path | None = None,
        sketch: str = "fold",
        dimension: int = 65_536,
        sketch_seed: int = 42,
        normalize: Normalize = "tensor",
        parameters: str | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        number_format: NumberFormat = "float16",
        encoding: EncodingConfig | None = None,
        token_budget: int = 1024,
        advance: Callable[[int], None] = lambda _: None,
    ) -> "GradientIndex":
        """Sketch the gradient of every row's loss.

        Args:
            model: The model that was trained on the rows.
            rows: The rows, or where they are, as in `load_rows`.
            path: The folder of the index. One that is there already is extended: rows that it holds are not computed again. `None` keeps the index in memory.
            sketch: The compression: `fold`, or another that `unweave list sketches` names.
            dimension: K, the length of a sketch.
            sketch_seed: Seed of bins and signs.
            normalize: `tensor` divides each parameter tensor's gradient by its own norm (RapidIn, arXiv 2405.11724), `row` the finished sketch by its norm.
            parameters: Whose gradients: `lora`, `linear`, `all`, or a regular expression of names; by default the adapter's, or all linear weights of a model
                without one.
            reduction: A row's loss is the `mean` or the `sum` over its completion tokens.
            number_format: How sketches are held: `float16`, `int8`, `sign` or `float32`.
            encoding: Template and lengths; by default the model's chat template, and 512 tokens.
            token_budget: Tokens a batch, padding included; halved by itself when memory runs out.
            advance: Called with the number of rows just done.

        Returns:
            The index.

        Raises:
            StoreError: When there is an index in the folder that was made in another way.
        """
        folder = None if path is None else Path(path)
        config = GradientConfig(
            sketch=sketch,
            dimension=dimension,
            sketch_seed=sketch_seed,
            normalize=normalize,
            parameters=parameters or ("linear" if model.adapter is None else "lora"),
            reduction=reduction,
            token_budget=token_budget,
        )
        encoding = encoding or EncodingConfig()
        if encoding.date is None and folder is not None and (folder / "store.json").is_file():
            encoding = replace(encoding, date=GradientStore.open(folder).spec.encoding.get("date"))
        encoding = dated(encoding, model.tokenizer, model.adapter, model.base)
        store, sketcher = open_store(folder, model, config, encoding=encoding, number_format=number_format)
        index = cls(store, model, sketcher=sketcher)
        index.extend(rows, advance=advance)
        return index

    @classmethod
    def open(cls, path: str | Path, model: Model | None = None) -> "GradientIndex":
        """Open an index in a folder.

        Args:
            path: The folder.
            model: The model that it was made with; by default it is loaded as the index names it.

        Returns:
            The index.

        Raises:
            StoreError: When there is none, or it was made with another model: each field that differs is named.
        """
        store = GradientStore.open(path)
        return cls(store, model or load(store_model(store.spec, None)))

    def extend(self, rows: Any, *, advance: Callable[[int], None] = lambda _: None) -> None:
        """Add rows. Those that are there already are skipped, those that have changed under their ids are computed anew.

        Args:
            rows: The rows, or where they are, as in `load_rows`.
            advance: Called with the number of rows just done.
        """
        read = load_rows(rows)
        encoded = encode_rows(read, self.model.tokenizer, self.encoding)
        require_tokens(self.model.model, encoded.examples, tokenizer=self.model.tokenizer)
        self.problems += [*read.problems, *encoded.problems]
        added = Addition(sketcher=self.sketcher, store=self.store, rows=read, examples=encoded.examples)
        with self.store.writing():
            added.prepare()
            for unit in added.units():
                do_unit(added.sketcher, self.store, unit, advance=advance)

    def delete(self, ids: Sequence[str]) -> None:
        """Take rows out, with their sketches and texts, off the disk too.

        Args:
            ids: Their ids; each must be in the index.
        """
        with self.store.writing():
            self.store.delete(list(ids))
        if isinstance(self.store, GradientStore):
            compact_store(self.store)

    def attribute(
        self,
        prompt: str | Row,
        *,
        completion: str | None = None,
        span: str | tuple[int, int] | None = None,
        against: str | None = None,
        system: str | None = None,
        top_k: int = 10,
        rerank: int = 0,
        similarity: Literal["dot", "cosine"] = "dot",
        learning_rate: float = 1.0,
        scorer: str = "influence",
        estimator: str = "store",
        training: str | Path | None = None,
        preconditioner: str = "none",
        damping: float | None = None,
        fit_rows: int = 1024,
        max_new_tokens: int = 48,
        seed: int = 0,
    ) -> Hits:
        """Find the rows that an answer comes from: those with the most influence lr <g(query), g(row)> on it (TracIn, arXiv 2002.08484).

        Args:
            prompt: The prompt; or a row, whose own answer is traced where it has one.
            completion: The answer; without one the model answers, greedily.
            span: Trace only this text of the answer; or its characters from one place up to another.
            against: Another answer. What is traced is then why the first was given and not this: the gradient of the difference of their losses.
            system: The system text that the prompt stands under; by default the template's own, or none.
            top_k: Rows on each side.
            rerank: Score the best so many rows of each side again, exactly, from the factors of their gradients, with what each token contributes.
            similarity: `dot`, or `cosine` of the sketches.
            learning_rate: Factor of the influence.
            scorer: `influence`, or a baseline: `bm25`, `embedding`, `gradnorm`, `random`.
            estimator: `store`; or through training `unrolled`, `trajectory`, `segments`, or `auto`, from what `training` kept.
            training: The folder of the training; by default that of the model.
            preconditioner: Curvature between answer and row: `none`, or one that `unweave list preconditioners` names.
            damping: Of the preconditioner; by default its own.
            fit_rows: Rows that its curvature is estimated from.
            max_new_tokens: Longest generated answer, in tokens.
            seed: Of random scores, sampled labels and the choice of rows to fit.

        Returns:
            The rows.

        Raises:
            ConfigError: When the answer is empty or does not contain the span, or options do not go together.
        """
        config = RetrievalConfig(
            top_k=top_k,
            similarity=similarity,
            learning_rate=learning_rate,
            scorer=scorer,
            estimator=estimator,
            training=None if training is None else Path(training),
            preconditioner=preconditioner,
            damping=damping,
            fit_rows=fit_rows,
            rerank=rerank,
            seed=seed,
        )
        row = query_row(
            self.model,
            prompt,
            completion=completion,
            system=system,
            encoding=self.encoding,
            max_new_tokens=max_new_tokens,
        )
        queries = make_queries([row], self.model.tokenizer, self.encoding, span=span, against=against)
        return Hits.of(trace_queries(self.store, self.model, queries, config, sketcher=self.sketcher), self.store)

    def influence_matrix(
        self,
        queries: Any,
        rows: Sequence[Row] | Sequence[str] | None = None,
        *,
        similarity: Literal["dot", "cosine"] = "dot",
        learning_rate: float = 1.0,
    ) -> Float[np.ndarray, "q n"]:
        """The influence lr <g(query), g(row)> of rows of the index on the answers of others.

        Args:
            queries: Rows, or where they are, as in `load_rows`. Those that the index holds, as they are, are not computed again.
            rows: Rows of the index, or their ids; by default all, in the order of `row_ids`.
            similarity: `dot`, or `cosine` of the sketches.
            learning_rate: Factor of the influence.

        Returns:
            float32; one line a query, one column a row.

        Raises:
            StoreError: When a row is not in the index, or is another than the index has under its id.
        """
        vectors = self._vectors(encode_rows(load_rows(queries), self.model.tokenizer, self.encoding).examples)
        if rows is None:
            options: dict[str, Any] = {"similarity": similarity, "learning_rate": learning_rate}
            return influence_scores(self.store, vectors, **options)[1].numpy()
        self.store.require_texts([row for row in rows if isinstance(row, Row)])
        sketches = self.store.read([row if isinstance(row, str) else row.id for row in rows])
        return influences(vectors, sketches, similarity=similarity, learning_rate=learning_rate).numpy()

    def _vectors(self, examples: Sequence[Example]) -> Float[Tensor, "q K"]:
        """The sketches of queries: the store's own of those that it holds as they are."""
        held = self.store.contents()
        fresh = [index for index, own in enumerate(examples) if held.get(own.row_id) != content_of(own)]
        if len(fresh) == len(examples):
            return self.sketcher.sketch_all(examples).sketches
        there = [index for index in range(len(examples)) if index not in set(fresh)]
        vectors = torch.empty(len(examples), self.store.spec.dimension)
        vectors[there] = self.store.read([examples[index].row_id for index in there])
        if fresh:
            vectors[fresh] = self.sketcher.sketch_all([examples[index] for index in fresh]).sketches
        return vectors

    def card(self, *, title: str = "A gradient store") -> str:
        """A data set card of the index, for whoever is given it.

        It has the number of rows, the fingerprints of model and data, how the sketches were made, and the warning that gradients can reveal training rows.

        Args:
            title: Its heading.

        Returns:
            Markdown, such as for a `README.md` in the index's folder. No text and no id of a row stands in it.
        """
        return store_card(self.store, title=title)

    @property
    def encoding(self) -> EncodingConfig:
        """How rows become tokens."""
        return EncodingConfig(**self.store.spec.encoding)

    @property
    def row_ids(self) -> list[str]:
        """The ids of all rows, in the order of the columns of `influence_matrix`."""
        return self.store.row_ids()

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return stored_rows(self.store.texts(), self.row_ids, where=self.store.place)

    @property
    def sketcher(self) -> Sketcher:
        """Makes sketches like the index's.

        Raises:
            StoreError: When the model has been trained on since: what it would make is not comparable.
        """
        if (state := self._weights()) != self._state:
            self._sketcher = sketcher_for(self.store, self.model)
            self._state = state
        return self._sketcher

    def __len__(self) -> int:
        return len(self.store.names())

    def __repr__(self) -> str:
        spec = self.store.spec
        return f"GradientIndex({len(self)} rows, {spec.sketch} of {spec.dimension}, {self.store.place})"

    def _weights(self) -> list[tuple[int, int]]:
        """What changes when the model's weights do: PyTorch counts the changes of each tensor."""
        return [(id(parameter), parameter._version) for parameter in self.model.model.parameters()]
