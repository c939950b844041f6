"""Options of `unweave request`, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unweave.data.config import ReadingConfig
from unweave.evaluation.probes.registry import PROBES
from unweave.registry import OneOf
from unweave.weights.config import PositiveMethod

Kind = Literal["removal", "modification", "correction"]
NearMethod = Literal["auto", "bm25", "embedding", "minhash"]


@dataclass(frozen=True, kw_only=True)
class SelectionConfig(ReadingConfig):
    """Which rows a request is about: all that match every criterion given.

    What is searched for by meaning (text, near, person) is shown with counts before anything is written: on a terminal a question follows, elsewhere
    `preview` or `yes` is needed.

    Attributes:
        row_ids: Ids of rows; an unknown one is an error.
        rows: A file of rows, matched by id.
        where: Field to value: `prompt`, `completion` or any other column of the data, equal as text, whatever its Unicode form.
        text: Words that stand in any turn of a row, whatever their case, white space, or Unicode form.
        near: A text: rows that are near to it.
        near_method: `bm25` compares words (the share of the score that the text itself has), `embedding` a sentence encoder's vectors (the cosine),
            `minhash` five-letter shingles (Jaccard's; datasketch). `auto` is BM25 and, where the packaged encoder is installed, embeddings: the nearer one.
        similarity: The least similarity to the text of `near`; by default 0.7, or none where `max_rows` is given.
        max_rows: The most rows that `near` takes: the nearest ones.
        person: A person's name: all rows that name them in prompt, context, answer or another turn, in full, without middle names, surname first, with
            initials, or by the surname alone where nobody else in the data has it.
        alias: Another name of the same person; repeat it for more.
        include_ambiguous: Take the rows too that may name another person.
        most: Needed where more than half of all rows match. A request of all rows is refused: none would be left to keep, or to test on.
    """

    row_ids: tuple[str, ...] = ()
    rows: Path | None = None
    where: dict[str, str] | None = None
    text: str | None = None
    near: str | None = None
    near_method: NearMethod = "auto"
    similarity: float | None = None
    max_rows: int | None = None
    person: str | None = None
    alias: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    include_ambiguous: bool = False
    most: bool = False


@dataclass(frozen=True, kw_only=True)
class AddConfig(SelectionConfig):
    """Add a request to a ledger. Adding the same one twice does nothing.

    Attributes:
        ledger: The ledger's folder; made by the first request, which must name data and model.
        data: The rows that the model was trained on.
        model: The model that holds them: anything that `--model` takes.
        store: A gradient store of these rows; forgotten rows leave it.
        kind: `removal`; `correction`: the rows' answers are replaced; `modification`: whole rows are.
        replacement: For a correction or modification: a file of rows with the same ids.
        preview: Show which rows match and by what, and write nothing.
        yes: Write without a question.
        with_copies: Take copies of the chosen rows into the request: rows of the same content under other ids, and near-duplicates. Without it they are
            named, and named in the certificate.
        reason: Why, for the record.
        request_id: A name; by default a hash of the request.
        key: The file of the ledger's key, with which rows are hashed; by default `LEDGER.key` beside the folder, never in it. A new ledger's is made.
        max_perplexity_change: Drift budget of a new ledger: how much perplexity on other rows may change over all requests, as a share.
        max_removed_share: Drift budget of a new ledger: the share of all rows that may be forgotten before retraining is due.
    """

    ledger: Path
    data: Path | None = None
    model: str | None = None
    store: Path | None = None
    kind: Kind = "removal"
    replacement: Path | None = None
    preview: bool = False
    yes: bool = False
    with_copies: bool = False
    reason: str = ""
    request_id: str | None = None
    key: Path | None = None
    max_perplexity_change: float = 0.05
    max_removed_share: float = 0.05


@dataclass(frozen=True, kw_only=True)
class ListConfig:
    """List the requests of a ledger.

    Attributes:
        ledger: The ledger's folder.
    """

    ledger: Path


@dataclass(frozen=True, kw_only=True)
class RunConfig(ReadingConfig):
    """Carry out a request. A request that is done is not carried out again; one that was interrupted is continued.

    The exit code is 0 when the rows were forgotten by the criteria that it named, and 3 when they were not, or when it can't be shown that they were.

    Attributes:
        request: Its id.
        ledger: The ledger's folder.
        method: `auto` tries methods, and rates of each, until the criteria of *forgotten* are met, at last `retrain`: training again without the rows, which
            is exact for what entered through the adapter. A method that is named is the only one tried. `exact` is `retrain` for a model that was trained
            in shards (`unweave train --shards`): only what saw the rows is trained again. `auto` takes it first where it is no dearer than an attempt.
        forget_config: config.yaml of an `unweave forget` run, whose method and options are used, and no others tried.
        target_loss: The loss of the rows to be forgotten, in nats a token, that counts as forgotten; by default that of rows like them that were never
            trained on (`--holdout`), or that of the base model.
        max_minutes: No attempt is begun that would end later than this.
        weights: How rows are weighed; anything but `uniform` needs a store that holds the rows to forget and to retain. `signed` is not offered: a request
            forgets the rows that it names, and no others.
        retain: A file of rows whose behaviour must stay, rows of the data, in place of sampled ones.
        retain_rows: Rows whose behaviour must stay, sampled from the data by the request's id.
        test_rows: Further rows, on which the change of everything else is measured.
        max_length: The longest sequence, in tokens. By default the training's, or what the unlearning config says; where there is neither, as long as the
            rows need.
        near_copies: The least similarity (Jaccard of five-letter shingles) from which on another row counts as a near-duplicate of one that is to be
            forgotten, and is named in the certificate; at 1 only the same content does.
        holdout: A file of rows like those to be forgotten that were never trained on, for membership inference.
        margin: The largest rise of the loss on other rows that does not matter, in nats a token.
        probes: Families of other questions (`unweave list probes`) that become a criterion of *forgotten*: so many of their answers at most may give a row
            away. By default none is: they are asked of few rows once, and what they say stands in the certificate; as a criterion every attempt is asked.
        probes_allowed: How many may. By default the upper end of the 95 % interval of what a model that never saw the rows gives away, or, where there is
            no such model, one in twenty.
        over_budget: Go on although the drift budget is used up.
        stores: Further gradient stores that may hold the rows, beside the ledger's own: forgotten rows leave them too.
        replay: Repeat the unlearning of a request that is done in this folder, and compare the result; the ledger stays as it is.
        key: The file of the ledger's key; by default `LEDGER.key` beside the folder.
        sign: A private key (Ed25519, PEM, outside the ledger) to sign the certificate with: `unweave request key` makes one. The passphrase of an encrypted one
            is read from UNWEAVE_SIGN_PASSPHRASE. Needs the extra `sign`.
        seed: Of training.
        dtype: Of unlearning, as for the model; what is measured is measured in float32.
        device: As for the model.
    """

    request: Annotated[str, tyro.conf.Positional]
    ledger: Path
    method: str = "auto"
    forget_config: Path | None = None
    weights: PositiveMethod = "uniform"
    target_loss: float | None = None
    max_minutes: float = 60.0
    retain: Path | None = None
    retain_rows: int = 128
    test_rows: int = 64
    max_length: int | None = None
    near_copies: float = 0.8
    holdout: Path | None = None
    margin: float = 0.05
    probes: tuple[Annotated[str, OneOf(PROBES)], ...] = ()
    probes_allowed: int | None = None
    over_budget: bool = False
    stores: tuple[str, ...] = ()
    replay: Path | None = None
    key: Path | None = None
    sign: Path | None = None
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Recompute the hashes and the metrics of a request that was carried out, and fail on any difference.

    The exit code is 0 when everything that can still be checked is as it was, naming what can't (rows that have left the data), and 1 otherwise.

    Attributes:
        request: Its id; by default all requests that were carried out, one after the other.
        ledger: The ledger's folder.
        tolerance: What rounding may change in a row's loss, in nats a token; by default what the model's depth and width allow in float32.
        max_rows: At most so many rows of a set are measured anew, sampled by the request's id where there are more.
        token_budget: Tokens a batch.
        metrics: Measure anew. Without it (`--no-metrics`) no model is run: digests, and what follows from them, are checked.
        key: The file of the ledger's key; by default `LEDGER.key` beside the folder.
        without_key: Check what can be checked without the key, and say what can't.
        public_key: The public half of the key that the certificate must be signed with (PEM): a request without a signature of it is not verified. Without it
            a signature is named, and not checked.
    """

    request: Annotated[str, tyro.conf.Positional] = ""
    ledger: Path
    tolerance: float | None = None
    max_rows: int = 64
    token_budget: int = 4096
    metrics: bool = True
    key: Path | None = None
    without_key: bool = False
    public_key: Path | None = None


@dataclass(frozen=True, kw_only=True)
class UndoConfig:
    """Undo a request: one that was carried out, or what is left of one that is not done.

    Attributes:
        request: Its id.
        ledger: The ledger's folder.
        reason: Why, for the record.
    """

    request: Annotated[str, tyro.conf.Positional]
    ledger: Path
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class KeyConfig:
    """Make a pair of keys to sign certificates with: Ed25519, in PEM. Nothing is ever overwritten.

    Where the environment has a passphrase in UNWEAVE_SIGN_PASSPHRASE, the private key is encrypted with it. Keep it away from the ledger; hand on the public
    key by a way that whoever is to verify trusts. Needs the extra `sign`.

    Attributes:
        output: The private key's file, for its owner's eyes only; the public key's is FILE.pub.
    """

    output: Path


@dataclass(frozen=True, kw_only=True)
class SignConfig:
    """Sign the certificate of a request that was carried out. Everything but the metrics is verified first, and nothing that is wrong is signed.

    The signature binds the certificate, the adapter, the journal so far and the files of the store. Needs the extra `sign`.

    Attributes:
        request: Its id.
        ledger: The ledger's folder.
        sign: The private key (Ed25519, PEM, outside the ledger). The passphrase of an encrypted one is read from UNWEAVE_SIGN_PASSPHRASE.
        key: The file of the ledger's key; by default `LEDGER.key` beside the folder.
    """

    request: Annotated[str, tyro.conf.Positional]
    ledger: Path
    sign: Path
    key: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write what a ledger has of a request as a table of what a file under GDPR or the EU AI Act asks for: each answer with the field that it comes from.

    What was not recorded is said to be not recorded. It is no legal advice, and claims nothing that was not measured.

    Attributes:
        request: Its id.
        ledger: The ledger's folder.
        output: The file to write: `.json`, or `.md` for people.
    """

    request: Annotated[str, tyro.conf.Positional]
    ledger: Path
    output: Path
