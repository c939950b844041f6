"""What an attacker may do to a signed ledger: each changes something and recomputes all hashes (`attacker`)."""

import base64
import json
import shutil
from pathlib import Path

from tests.folders import write_rows
from tests.ledger.attacker import Forged
from tests.ledger.ledgers import RECORDS
from unweave.attribution.caching import cache_rows
from unweave.engines.config import CacheConfig
from unweave.ledger.envelope import canonical, sealed
from unweave.ledger.ledger import Ledger
from unweave.ledger.signing_keys import read_signing_key
from unweave.ledger.statement import ENVELOPE, files_of_stores, statement_of, with_stores


def first_certificate(attacker, change):
    attacker.edit("certificate.json", change)
    attacker.rewrite(derive=False)


def gentler(value):
    for own in value["sets"]["test"]["losses"]:
        value["sets"]["test"]["losses"][own] -= 0.01


def reason(attacker):
    attacker.of("added").content["asked"]["reason"] = "a test"
    attacker.rewrite()


def row_left_out(attacker):
    attacker.of("added").content["asked"]["rows"].pop("r2")
    attacker.rewrite()


def backdated(attacker):
    for event in attacker.events:
        if event.kind == "done" and event.request == "one":
            event.time = "2020-01-01T00:00:00+00:00"
    attacker.rewrite()


def asked_later(attacker):
    attacker.of("added").time = "2030-01-01T00:00:00+00:00"
    attacker.rewrite()


def history_left_out(attacker):
    attacker.drop(attacker.of("added", "none"), attacker.of("cancelled", "none"))
    attacker.rewrite()


def history_made_up(attacker):
    asked = json.loads(json.dumps(attacker.of("added").content))
    asked["asked"]["rows"] = {"r9": "0" * 32}
    attacker.events.insert(2, Forged("2020-01-01T00:00:00+00:00", "older", "added", asked))
    attacker.rewrite()


def budget(attacker):
    attacker.of("created", "").content["max_perplexity_change"] = 1000.0
    attacker.rewrite()


def other_base(attacker):
    attacker.of("created", "").content["data_fingerprint"] = "0" * 32
    attacker.rewrite()


def other_config(attacker):
    attacker.of("started").content["config"]["seed"] = 7
    attacker.rewrite()


def inputs(attacker):
    attacker.of("started").content["inputs"] = "0" * 32
    attacker.rewrite()


def measured(attacker):
    attacker.edit("measured.after.json", gentler)
    attacker.rewrite()


def measured_before(attacker):
    attacker.edit("measured.before.json", gentler)
    attacker.rewrite()


def tried(attacker):
    file = next(
        own[0]
        for own in attacker.of("step", step="forgotten").content["files"].values()
        if own[0].endswith("attempts.json")
    )
    attacker.edit(
        file,
        lambda value: (
            next(iter(value.values()))[0].update(seconds=0.0)
            if isinstance(value, dict)
            else value[0].update(seconds=0.0)
        ),
    )
    attacker.rewrite()


def environment(attacker):
    attacker.edit("materials.json", lambda value: value["environment"].update(cpu="a better one"))
    attacker.rewrite()


def class_exact(attacker):
    first_certificate(attacker, lambda value: value.update({"class": "exact", "findings": []}))


def limits_left_out(attacker):
    first_certificate(attacker, lambda value: value.update(not_measured=[]))


def page(attacker):
    path = attacker.place() / "certificate.html"
    path.write_text(path.read_text().replace("empirical", "exact"))
    attacker.rewrite(derive=False)


def weights(attacker):
    path = attacker.place() / "adapter" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    attacker.rewrite()


def weights_of_the_model_before(attacker):
    """The model that still knows the rows, certified."""
    attacker.copy(
        Path(attacker.of("started").content["before"]) / "adapter_model.safetensors",
        "adapter/adapter_model.safetensors",
    )
    attacker.rewrite()


def adapter_config(attacker):
    attacker.edit("adapter/adapter_config.json", lambda value: value.update(lora_alpha=99))
    attacker.rewrite()


def tokenizer(attacker):
    path = next((attacker.place() / "adapter").glob("tokenizer_config.json"))
    path.write_text(path.read_text() + " ")
    attacker.rewrite()


def added_file(attacker):
    attacker.write("adapter/chat_template.jinja", "{{ messages }}")
    attacker.of("step", step="forgotten").content["files"]["more"] = ["adapter/chat_template.jinja", ""]
    attacker.rewrite()


def store_record(attacker):
    attacker.edit("store.json", lambda value: value.update(not_reached=[]))
    attacker.rewrite()


def row_back_in_the_store(attacker):
    data = write_rows(attacker.folder.parent / "again.jsonl", [RECORDS[1]])
    store = json.loads((attacker.place() / "store.json").read_text())["store"]
    cache_rows(
        CacheConfig(
            model=attacker.of("created", "").content["model"],
            data=data,
            store=Path(store),
            dimension=64,
            dtype="float32",
        )
    )
    attacker.rewrite()


def shard(attacker):
    """A sketch of a row that stays, by the store's own means: its commit and its log say so too."""
    folder = Path(json.loads((attacker.place("two") / "store.json").read_text())["store"])
    path = sorted((folder / "shards").iterdir())[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    attacker.rewrite()


def unsigned(attacker):
    attacker.drop(attacker.of("signed"))
    (attacker.place() / ENVELOPE).unlink()
    attacker.rewrite(derive=False)


def event_of_the_signature(attacker):
    """The journal cut, so that it names no signature."""
    attacker.drop(attacker.of("signed"))
    attacker.rewrite(derive=False)


def cut(attacker):
    """Everything after the request was done."""
    attacker.events = attacker.events[: attacker.events.index(attacker.of("done")) + 1]
    shutil.rmtree(attacker.place("two"))
    attacker.rewrite(derive=False)


def envelope_of(attacker):
    return json.loads((attacker.place() / ENVELOPE).read_text())


def write_envelope(attacker, envelope, *, dump=canonical):
    attacker.write(ENVELOPE, dump(envelope) + "\n")
    attacker.rewrite(derive=False)


def payload_of(envelope):
    return json.loads(base64.b64decode(envelope["payload"]))


def with_payload(envelope, payload):
    return envelope | {"payload": base64.b64encode(canonical(payload).encode()).decode()}


def changed_payload(attacker):
    envelope = envelope_of(attacker)
    payload = payload_of(envelope)
    payload["predicate"]["class"] = "exact"
    write_envelope(attacker, with_payload(envelope, payload))


def own_key(attacker, other, *, keyid=None):
    """Everything forged, and signed with another key."""
    reason(attacker)
    key = read_signing_key(other)
    payload = payload_of(envelope_of(attacker))
    ledger = Ledger(attacker.folder)
    request = ledger.request("one")
    statement = statement_of(ledger, request, head=payload["predicate"]["ledger"]["head"]["number"])
    statement = with_stores(statement, files_of_stores(ledger, request))
    envelope = json.loads(sealed(statement, key))
    if keyid:
        envelope["signatures"][0]["keyid"] = keyid
    attacker.of("signed").content["key"] = envelope["signatures"][0]["keyid"]
    write_envelope(attacker, envelope)


def signatures(attacker, change):
    envelope = envelope_of(attacker)
    write_envelope(attacker, envelope | {"signatures": change(envelope["signatures"])})


def said_twice(attacker):
    line = (attacker.place() / ENVELOPE).read_text()
    attacker.write(ENVELOPE, line.replace("{", '{"payload":"e30=",', 1))
    attacker.rewrite(derive=False)


def more_lines(attacker):
    attacker.write(ENVELOPE, (attacker.place() / ENVELOPE).read_text() * 2)
    attacker.rewrite(derive=False)


TAMPERINGS = {
    # the ledger
    "reason of the request": (reason, True),
    "a row is left out of the request": (row_left_out, False),
    "time at which it was done": (backdated, True),
    "time at which it was asked for": (asked_later, True),
    "an earlier request is left out": (history_left_out, True),
    "an earlier request is made up": (history_made_up, False),
    "drift budget": (budget, True),
    "fingerprint of the data": (other_base, True),
    "options of the run": (other_config, True),
    "what the run read": (inputs, True),
    "journal cut after the request": (cut, False),
    # the certificate, and what it follows from
    "measurements after": (measured, True),
    "measurements before": (measured_before, True),
    "environment": (environment, True),
    "class of the certificate": (class_exact, False),
    "limits left out of the certificate": (limits_left_out, False),
    "page": (page, False),
    # the adapter
    "a bit of the weights": (weights, True),
    "the weights of the model before": (weights_of_the_model_before, True),
    "config of the adapter": (adapter_config, True),
    "tokenizer of the adapter": (tokenizer, True),
    "a template more beside the adapter": (added_file, True),
    # the store
    "record of what is out of reach": (store_record, True),
    "a row is back in the store": (row_back_in_the_store, False),
    # the signature
    "no signature": (unsigned, True),
    "no event of the signature": (event_of_the_signature, False),
    "statement changed, signature kept": (changed_payload, True),
    "no signature in the envelope": (lambda own: signatures(own, lambda _: []), True),
    "an empty signature": (lambda own: signatures(own, lambda found: [found[0] | {"sig": ""}]), True),
    "two signatures": (lambda own: signatures(own, lambda found: found * 2), True),
    "a field of the envelope said twice": (said_twice, True),
    "another type of payload": (lambda own: write_envelope(own, envelope_of(own) | {"payloadType": "application/json"}), True),
    "another form of the same envelope": (lambda own: write_envelope(own, envelope_of(own), dump=json.dumps), True),
    "another field in the envelope": (lambda own: write_envelope(own, envelope_of(own) | {"note": 1}), True),
    "two lines": (more_lines, True),
}  # fmt: skip
"""Name to what is done, and whether it is found by nothing but the signature."""
