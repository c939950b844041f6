"""Signatures: whoever can write all of a ledger, and recomputes every hash, is found with the public key."""

import base64
import json
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.folders import write_rows
from tests.ledger.attacker import Attacker, Forged
from tests.ledger.ledgers import RECORDS, World, cached_in
from unweave.attribution.caching import cache_rows
from unweave.cli.main import main
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError, DataError
from unweave.ledger.config import KeyConfig, SignConfig, UndoConfig, VerifyConfig
from unweave.ledger.envelope import authenticated, canonical, opened, sealed
from unweave.ledger.ledger import Ledger
from unweave.ledger.signing import sign_request
from unweave.ledger.signing_keys import PASSPHRASE, make_signing_key, read_public_key, read_signing_key
from unweave.ledger.statement import ENVELOPE, GONE, files_of_stores, statement_of, with_stores
from unweave.ledger.undoing import cancel_request, roll_back
from unweave.ledger.verify import verify_request, verify_requests
from unweave.store.store import GradientStore

SIGNED = ("one", "two")


@dataclass
class Signed:
    """A ledger with three requests: `none` was given up, `one` and `two` were carried out and signed."""

    world: World
    ledger: Path
    key: Path
    public: Path
    other: Path
    elsewhere: Path

    def verify(self, name="one", *, public=True, ledger=None):
        key = self.public if public else None
        return verify_request(VerifyConfig(request=name, ledger=ledger or self.ledger, metrics=False, public_key=key))

    def faults(self, name="one", **changes):
        return [f"{one['check']}: {one['fault']}" for one in self.verify(name, **changes)["checks"] if not one["ok"]]


@pytest.fixture(scope="session")
def made(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    world = World(trained, cached_in(folder, trained))
    make_signing_key(KeyConfig(output=folder / "keys" / "mine.pem"))
    make_signing_key(KeyConfig(output=folder / "keys" / "other.pem"))
    world.add("r40", "r41", request_id="none")
    world.add("r1", "r2", request_id="one", reason="withdrawn")
    cancel_request(UndoConfig(request="none", ledger=world.ledger))
    world.run("one", sign=folder / "keys" / "mine.pem")
    # Another ledger of the same key, whose request has the same name.
    elsewhere = World(trained, folder)
    elsewhere.ledger = folder / "elsewhere"
    elsewhere.add("r20", request_id="one", store=None)
    elsewhere.run("one", sign=folder / "keys" / "mine.pem")
    world.add("r5", request_id="two")
    world.run("two")
    sign_request(SignConfig(request="two", ledger=world.ledger, sign=folder / "keys" / "mine.pem"))
    keys = folder / "keys"
    return Signed(world, world.ledger, keys / "mine.pem", keys / "mine.pem.pub", keys / "other.pem", elsewhere.ledger)


@pytest.fixture
def signed(made, tmp_path):
    """A copy to tamper with; the store is put back afterwards."""
    shutil.copytree(made.ledger, tmp_path / "ledger")
    shutil.copy2(made.world.folder / "ledger.key", tmp_path / "ledger.key")
    store = made.world.folder / "store"
    shutil.copytree(store, tmp_path / "store")
    yield Signed(made.world, tmp_path / "ledger", made.key, made.public, made.other, made.elsewhere)
    shutil.rmtree(store)
    shutil.copytree(tmp_path / "store", store)


def test_what_nobody_touched_verifies_with_the_key(signed):
    for name in SIGNED:
        assert signed.faults(name) == []
    found = " ".join(one["check"] for one in signed.verify()["checks"])
    assert f"the signature is of the key {read_public_key(signed.public).id}" in found
    assert "later event(s) are not covered" in found


def test_a_request_verifies_after_later_ones_and_a_rollback(made, tmp_path):
    shutil.copytree(made.ledger, tmp_path / "ledger")
    shutil.copy2(made.world.folder / "ledger.key", tmp_path / "ledger.key")
    roll_back(UndoConfig(request="two", ledger=tmp_path / "ledger"))
    assert made.faults("one", ledger=tmp_path / "ledger") == []
    assert [
        one["ok"]
        for one in verify_requests(VerifyConfig(ledger=tmp_path / "ledger", metrics=False, public_key=made.public))
    ] == [True]


def test_without_the_key_a_signature_is_named_and_not_checked(signed):
    found = signed.verify(public=False)
    assert found["ok"]
    assert any("was not checked" in one["check"] for one in found["checks"])


# The attacker. Each changes something and recomputes all hashes; `blind` says that nothing but the signature could find it.


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


@pytest.mark.parametrize("name", TAMPERINGS)
def test_whatever_is_changed_with_all_hashes_recomputed_is_found_with_the_key(signed, name):
    tamper, blind = TAMPERINGS[name]
    tamper(Attacker(signed.ledger))
    # What the attacker is up against: without the key, much of it passes.
    assert signed.verify(public=False)["ok"] == blind, signed.faults(public=False)
    faults = signed.faults()
    assert any("sign" in fault for fault in faults) or name == "a row is back in the store", faults


@pytest.mark.parametrize("keyid", [None, "mine"])
def test_another_key_is_not_the_users(signed, keyid):
    """Even where the envelope claims to be of the user's key."""
    own_key(Attacker(signed.ledger), signed.other, keyid=keyid and read_public_key(signed.public).id)
    assert signed.verify(public=False)["ok"]
    (fault,) = signed.faults()
    assert ("not of this key" if keyid else "signed with another key") in fault


def test_a_signature_of_another_request_is_found(signed):
    attacker = Attacker(signed.ledger)
    attacker.copy(attacker.place("two") / ENVELOPE, ENVELOPE)
    attacker.of("signed").content["head"] = attacker.of("signed", "two").content["head"]
    attacker.rewrite(derive=False)
    assert any("predicate.request.id" in fault for fault in signed.faults())


def test_a_signature_of_another_ledger_is_found(signed):
    """Of the same key, and of a request of the same name."""
    attacker = Attacker(signed.ledger)
    attacker.copy(signed.elsewhere / "requests" / "one" / ENVELOPE, ENVELOPE)
    attacker.rewrite(derive=False)
    assert signed.faults()


def test_other_bytes_in_a_shard_are_found_by_the_signature_that_came_last(signed):
    shard(Attacker(signed.ledger))
    assert signed.verify("two", public=False)["ok"]
    assert any(fault.startswith("the store as it was signed") for fault in signed.faults("two"))


def test_rows_that_are_cached_later_are_no_tampering(signed):
    data = write_rows(signed.ledger.parent / "more.jsonl", [RECORDS[3] | {"id": "new", "response": "7 no"}])
    store = signed.world.folder / "store"
    cache_rows(
        CacheConfig(model=str(signed.world.trained / "adapter"), data=data, store=store, dimension=64, dtype="float32")
    )
    assert "new" in GradientStore.open(store).names()
    assert signed.faults("two") == []
    assert any("are new since" in one["check"] for one in signed.verify("two")["checks"])


def test_a_request_that_was_never_signed_is_not_verified_with_a_key(made, tmp_path):
    world = World(made.world.trained, tmp_path)
    write_rows(tmp_path / "train.jsonl", RECORDS)
    world.add("r1", request_id="one", store=None)
    world.run("one")
    config = VerifyConfig(request="one", ledger=world.ledger, metrics=False)
    assert verify_request(config)["ok"]
    place = ["--ledger", str(world.ledger), "--no-metrics"]
    assert main(["request", "verify", "one", *place, "--public-key", str(made.public)]) == 1
    # Afterwards: only what verifies is signed.
    words = ["request", "sign", "one", "--ledger", str(world.ledger), "--sign", str(made.key)]
    path = world.result("one") / "certificate.json"
    whole = path.read_bytes()
    path.write_bytes(whole + b" ")
    assert main(words) == 1
    path.write_bytes(whole)
    assert main(words) == 0
    assert main(["request", "verify", "one", *place, "--public-key", str(made.public)]) == 0
    # Again: nothing changes. With another key: refused.
    events = len(Ledger(world.ledger).journal.events())
    assert main(words) == 0
    (world.result("one") / ENVELOPE).unlink()
    assert main(words) == 0
    assert main([*words[:-1], str(made.other)]) == 2
    assert len(Ledger(world.ledger).journal.events()) == events
    assert main(["request", "verify", "one", *place, "--public-key", str(made.public)]) == 0


def test_a_kill_between_certificate_and_signature_is_resumed(made, tmp_path, monkeypatch):
    world = World(made.world.trained, tmp_path)
    write_rows(tmp_path / "train.jsonl", RECORDS)
    world.add("r1", request_id="one", store=None)
    for place in ("unweave.ledger.signing.write_text", "unweave.ledger.signing.file_digest"):
        with monkeypatch.context() as killed:

            def kill(*_):
                raise KeyboardInterrupt

            killed.setattr(place, kill)
            with pytest.raises(KeyboardInterrupt):
                world.run("one", sign=made.key)
    # Between file and event: the file alone is nothing.
    assert any(
        "no step of the request left it" in str(one["fault"]) for one in made.verify(ledger=world.ledger)["checks"]
    )
    world.run("one", sign=made.key)
    assert made.faults(ledger=world.ledger) == []
    assert [event.kind for event in Ledger(world.ledger).request("one").events][-2:] == ["done", "signed"]


# Keys and envelopes.


def test_keys_are_the_owners_and_never_overwritten(tmp_path, capsys):
    path = tmp_path / "keys" / "k.pem"
    assert main(["request", "key", "--output", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_public_key(tmp_path / "keys" / "k.pem.pub").id == found["id"] == read_signing_key(path).public.id
    content = path.read_bytes()
    assert main(["request", "key", "--output", str(path)]) == 2
    # What a kill has left without its other half.
    (tmp_path / "keys" / "k.pem.pub").unlink()
    assert main(["request", "key", "--output", str(path)]) == 0
    assert path.read_bytes() == content
    assert read_public_key(tmp_path / "keys" / "k.pem.pub").id == found["id"]


def test_a_passphrase_encrypts(tmp_path, monkeypatch):
    monkeypatch.setenv(PASSPHRASE, "correct horse")
    make_signing_key(KeyConfig(output=tmp_path / "k.pem"))
    assert "ENCRYPTED" in (tmp_path / "k.pem").read_text()
    assert read_signing_key(tmp_path / "k.pem").public.id == read_public_key(tmp_path / "k.pem.pub").id
    for wrong, message in (("other", "can't be decrypted"), ("", "there is no passphrase")):
        monkeypatch.setenv(PASSPHRASE, wrong)
        with pytest.raises(ConfigError, match=message):
            read_signing_key(tmp_path / "k.pem")


def test_other_keys_are_refused_in_words(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    (tmp_path / "ec.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "ec.pub").write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "no.pem").write_bytes(b"\x00\xff" * 50)
    make_signing_key(KeyConfig(output=tmp_path / "k.pem"))
    for path in ("ec.pem", "no.pem", "k.pem.pub"):
        with pytest.raises(DataError, match="no private Ed25519 key"):
            read_signing_key(tmp_path / path)
    for path, message in (
        ("ec.pub", "no public Ed25519"),
        ("no.pem", "no public"),
        ("k.pem", "private key: it is not needed"),
        (".", "can't be read"),
    ):
        with pytest.raises(DataError, match=message):
            read_public_key(tmp_path / path)
    with pytest.raises(ConfigError, match="lies in the ledger"):
        read_signing_key(tmp_path / "k.pem", ledger=tmp_path)


def test_what_is_signed_is_the_encoding_of_dsse():
    """The example of the protocol's text: lengths in bytes, not in characters."""
    assert (
        authenticated("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert authenticated("a", "\u00e9".encode()) == b"DSSEv1 1 a 2 \xc3\xa9"


def test_openssl_verifies_the_same_signature(made, tmp_path):
    """Another program, with nothing of this one: the encoding by hand, the signature by OpenSSL's command."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl here")
    envelope = json.loads((made.ledger / "requests" / "one" / ENVELOPE).read_text())
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    (tmp_path / "signed").write_bytes(b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload]))
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    command = [
        openssl,
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        made.public,
        "-rawin",
        "-in",
        tmp_path / "signed",
        "-sigfile",
        tmp_path / "sig",
    ]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (tmp_path / "signed").write_bytes(payload)
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_what_was_signed_can_be_read_back(made):
    content = (made.ledger / "requests" / "one" / ENVELOPE).read_bytes()
    statement = opened(content, read_public_key(made.public))
    names = [one["name"] for one in statement["subject"]]
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert {"certificate.json", "certificate.html", "adapter/adapter_model.safetensors"} <= set(names)
    assert any(name.startswith("ledger.db#1-") for name in names)
    assert any(name.startswith("store/shards/") for name in names)
    assert all(one["digest"]["sha256"] != GONE for one in statement["subject"])
    assert "r1" not in json.dumps(statement["subject"])


def test_a_report_is_not_signed(made, tmp_path, capsys):
    world = World(made.world.trained, tmp_path)
    write_rows(tmp_path / "train.jsonl", RECORDS)
    world.add("r1", request_id="one", store=None)
    found = world.run("one", sign=made.key, target_loss=50.0)
    assert found["state"] == "not forgotten"
    assert not (world.result("one") / ENVELOPE).exists()
    with pytest.raises(DataError, match="no certificate to sign"):
        sign_request(SignConfig(request="one", ledger=world.ledger, sign=made.key))
