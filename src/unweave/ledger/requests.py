"""A ledger of deletion requests as an object: rows in, certificates out. The commands of `unweave request` do the same with files."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from unweave.errors import ConfigError, DataError
from unweave.files import read_json
from unweave.ledger.adding import add_request
from unweave.ledger.certified import Certificate
from unweave.ledger.config import AddConfig, Kind, NearMethod, RunConfig
from unweave.ledger.found import Selection
from unweave.ledger.given import ROWS, as_file, method_options, name_of, write_options
from unweave.ledger.ledger import FILE
from unweave.ledger.ledger import Ledger as Records
from unweave.ledger.preparing import prepare_request
from unweave.ledger.run import run_request
from unweave.models.model import Model
from unweave.unlearning.methods import Method
from unweave.weights.config import PositiveMethod


class Search(TypedDict, total=False):
    """What a request, or a preview of one, searches by: see `Ledger.request`."""

    ids: Sequence[str]
    where: Mapping[str, str] | None
    text: str | None
    near: str | None
    near_method: NearMethod
    similarity: float | None
    max_rows: int | None
    person: str | None
    aliases: Sequence[str]
    include_ambiguous: bool
    most: bool


@dataclass(frozen=True)
class LedgerRequest:
    """A request in a ledger.

    Attributes:
        ledger: Its ledger.
        id: Its name.
        copies: Rows of the same content, or nearly, that are not in it.
    """

    ledger: "Ledger"
    id: str
    copies: tuple[dict[str, Any], ...] = ()

    @property
    def state(self) -> str:
        """How far it has come."""
        return self.ledger.records().request(self.id).state

    @property
    def row_ids(self) -> tuple[str, ...]:
        """The rows that it is about."""
        return tuple(self.ledger.records().request(self.id).rows)

    @property
    def certificate(self) -> Certificate:
        """Its certificate.

        Raises:
            DataError: When it was not run.
        """
        folder = self.ledger.records().request_folder(self.id)
        for name in ("certificate", "report"):
            if (path := folder / f"{name}.json").is_file():
                content = read_json(path, what="The certificate")
                return Certificate(self.ledger.folder, self.id, content, path.with_suffix(".html"), self.ledger.key)
        raise DataError(f"The request '{self.id}' was not carried out.", where=str(folder), remedy="call run() first")

    def run(
        self,
        *,
        method: Method | str = "auto",
        options: Mapping[str, Any] | None = None,
        like: Any = None,
        weights: PositiveMethod = "uniform",
        target_loss: float | None = None,
        max_minutes: float = 60.0,
        retain_rows: int = 128,
        test_rows: int = 64,
        margin: float = 0.05,
        probes: Sequence[str] = (),
        probes_allowed: int | None = None,
        over_budget: bool = False,
        sign: str | Path | None = None,
        dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto",
        device: str = "auto",
        seed: int = 0,
    ) -> "LedgerRequest":
        """Carry it out. A request that is done is not carried out again; one that was interrupted is continued.

        Args:
            method: An unlearning method, or the name of one; `auto` tries methods until the criteria of *forgotten* are met, at last training anew. `exact`
                trains again what saw the rows of a model that was trained in shards.
            options: Options of an unlearning run, such as `epochs` and `learning_rate`, for a method that is named.
            like: Rows like those to forget that were never trained on, for membership inference.
            weights: How rows are weighed; anything but `uniform` needs a store.
            target_loss: The loss of the rows, in nats a token, that counts as forgotten; by default that of like rows, or that of the base model.
            max_minutes: No attempt is begun that would end later than this.
            retain_rows: Rows whose behavior must stay, sampled from the data by the request's id.
            test_rows: Further rows, on which the change of everything else is measured.
            margin: The largest rise of the loss on other rows that does not matter, in nats a token.
            probes: Families of other questions of which so many answers at most may give a row away; none by default.
            probes_allowed: How many; by default what a model that never saw the rows gives away at the upper end of its interval, or one in twenty.
            over_budget: Go on although the drift budget is used up.
            sign: A private key (Ed25519, PEM) to sign the certificate with; `unweave request key` makes one.
            dtype: Of unlearning; what is measured is measured in float32.
            device: Where models run.
            seed: Of training.

        Returns:
            The request; its `certificate` says what came out.

        Raises:
            ConfigError: When there are options for no method, or the drift budget is used up.
            DataError: When the request was given up, or its rows have changed since.
        """
        name, own = method_options(method, options or {})
        data = self.ledger.data_folder
        config = RunConfig(
            request=self.id,
            ledger=self.ledger.folder,
            method=name,
            forget_config=write_options(data / f"{self.id}.yaml", name, own) if own else None,
            holdout=as_file(like, data / f"{self.id}.like.jsonl") if like is not None else None,
            weights=weights,
            target_loss=target_loss,
            max_minutes=max_minutes,
            retain_rows=retain_rows,
            test_rows=test_rows,
            margin=margin,
            probes=tuple(probes),
            probes_allowed=probes_allowed,
            over_budget=over_budget,
            sign=None if sign is None else Path(sign),
            key=self.ledger.key,
            seed=seed,
            dtype=dtype,
            device=device,
        )
        run_request(config)
        return self


class Ledger:
    """An append-only record of requests to forget, with a certificate for each that was carried out.

    What it is about, a model and the rows that it was trained on, is given when it is made, and bound from the first request on. Rows in memory are
    written beside it, into `FOLDER.data`: the ledger's own folder keeps no text that is to be forgotten.

    Args:
        folder: Where it is, or will be.
        model: The model that holds the rows: a folder, a hub id, or a `Model` that was loaded from one.
        rows: The rows that it was trained on: a file, or anything else that `uw.load_rows` takes.
        store: The folder of a gradient store of these rows; forgotten rows leave it.
        key: The file of the ledger's key, with which rows are hashed; by default `FOLDER.key`.
        max_perplexity_change: Drift budget of a new ledger: how much perplexity on other rows may change over all requests, as a share.
        max_removed_share: Drift budget of a new ledger: the share of all rows that may be forgotten before retraining is due.

    Raises:
        ConfigError: When a new ledger is given no model or rows, or a model that lies in no folder.
        DataError: When a ledger that is there is about other rows.

    Example:
        >>> import unweave as uw
        >>> ledger = uw.Ledger("ledger", model="tuned", rows=many)
        >>> request = ledger.request(ids=["m6"], reason="withdrawn")
        >>> request.state, request.row_ids
        ('open', ('m6',))
        >>> request = request.run(method="ga", target_loss=0.1, margin=9.0, retain_rows=8, test_rows=8, dtype="float32")
        >>> request.certificate.forgotten, request.certificate.verify().ok
        (True, True)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        model: str | Path | Model | None = None,
        rows: Any = None,
        store: str | Path | None = None,
        key: str | Path | None = None,
        max_perplexity_change: float = 0.05,
        max_removed_share: float = 0.05,
    ):
        self.folder = Path(folder)
        self.key = None if key is None else Path(key)
        self.data_folder = self.folder.with_name(f"{self.folder.name}.data")
        there = (self.folder / FILE).is_file()
        if not there and (model is None or rows is None):
            raise ConfigError("A new ledger needs rows and a model.", where="`model`, `rows`", remedy="give both")
        self._data = None if rows is None else as_file(rows, self.data_folder / ROWS)
        self._model = None if model is None else name_of(model)
        self._store = None if store is None else Path(store)
        self._max_perplexity_change, self._max_removed_share = max_perplexity_change, max_removed_share

    def records(self) -> Records:
        """The ledger as it stands on the disk."""
        return Records(self.folder, key=self.key)

    @property
    def model(self) -> str | None:
        """The current model's folder: that of the last request carried out, or the one before all of them."""
        return self.records().model() if (self.folder / FILE).is_file() else self._model

    def requests(self) -> list[LedgerRequest]:
        """All requests, in the order in which they were added."""
        if not (self.folder / FILE).is_file():
            return []
        return [LedgerRequest(self, name) for name in self.records().requests()]

    def request(
        self,
        *,
        ids: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
        text: str | None = None,
        near: str | None = None,
        near_method: NearMethod = "auto",
        similarity: float | None = None,
        max_rows: int | None = None,
        person: str | None = None,
        aliases: Sequence[str] = (),
        include_ambiguous: bool = False,
        most: bool = False,
        kind: Kind = "removal",
        replacement: Any = None,
        with_copies: bool = False,
        reason: str = "",
        name: str | None = None,
    ) -> LedgerRequest:
        """Ask for rows to be forgotten: all that match every criterion given. The same request again is recognized, and nothing is added.

        Args:
            ids: Ids of rows.
            where: Field to value: `prompt`, `completion` or any other column.
            text: Words that stand in any turn of a row.
            near: A text: rows that are near to it.
            near_method: `bm25`, `embedding`, `minhash`, or `auto`: BM25, and embeddings where the packaged encoder is installed.
            similarity: The least similarity to `near`; by default 0.7, or none where `max_rows` is given.
            max_rows: The most rows that `near` takes.
            person: A person's name: all rows that name them.
            aliases: Other names of the same person.
            include_ambiguous: Take the rows too that may name another person.
            most: Needed where more than half of all rows match.
            kind: `removal`; `correction`: the rows' answers are replaced; `modification`: whole rows are.
            replacement: For a correction or modification: rows with the same ids.
            with_copies: Take copies of the chosen rows into the request.
            reason: Why, for the record.
            name: Its id; by default a hash of what is asked for.

        Returns:
            The request.

        Raises:
            ConfigError: When there is no criterion.
            DataError: When an id is unknown, nothing matches, or a row is in another request already.
        """
        new = None
        if replacement is not None:
            new = as_file(replacement, self.data_folder / f"replacement.{len(self.requests()) + 1}.jsonl")
        search = self._searching(
            ids=ids,
            where=where,
            text=text,
            near=near,
            near_method=near_method,
            similarity=similarity,
            max_rows=max_rows,
            person=person,
            aliases=aliases,
            include_ambiguous=include_ambiguous,
            most=most,
        )
        config = dataclasses.replace(
            search, kind=kind, replacement=new, with_copies=with_copies, reason=reason, request_id=name
        )
        found = add_request(config)
        return LedgerRequest(self, found["id"], tuple(found["copies"]))

    def preview(self, **search: Unpack[Search]) -> Selection:
        """The rows that a request would hold, with what matched and by which rule. Nothing is written.

        Args:
            **search: What `request` searches by: `ids`, `where`, `text`, `near`, `near_method`, `similarity`, `max_rows`, `person`, `aliases`,
                `include_ambiguous` and `most`.

        Returns:
            The rows, those in doubt apart.

        Raises:
            ConfigError: When there is no criterion.
            DataError: When nothing matches.

        Example:
            >>> import unweave as uw
            >>> found = uw.Ledger("other", model="tuned", rows=many).preview(ids=["m6"])
            >>> [one.row.id for one in found.found], found.counts()
            (['m6'], {'id': 1})
        """
        return prepare_request(self._searching(**search)).selection

    def _searching(self, **search: Unpack[Search]) -> AddConfig:
        """What is searched for, and the ledger that it is searched for in."""
        fields: dict[str, Any] = dict(search)
        ids, where, aliases = fields.pop("ids", ()), fields.pop("where", None), fields.pop("aliases", ())
        return AddConfig(
            ledger=self.folder,
            data=self._data,
            model=self._model,
            store=self._store,
            max_perplexity_change=self._max_perplexity_change,
            max_removed_share=self._max_removed_share,
            row_ids=tuple(ids),
            where=dict(where) if where is not None else None,
            alias=tuple(aliases),
            key=self.key,
            **fields,
        )
