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
from tests.ledger.attacker import Attacker
from tests.ledger.ledgers import RECORDS, World, cached_in
from tests.ledger.tamperings import TAMPERINGS, own_key, shard
from unweave.attribution.caching import cache_rows
from unweave.cli.main import main
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError, DataError
from unweave.ledger.config import KeyConfig, SignConfig, UndoConfig, VerifyConfig
from unweave.ledger.envelope import authenticated, opened
from unweave.ledger.ledger import Ledger
from unweave.ledger.signing import sign_request
from unweave.ledger.signing_keys import PASSPHRASE, make_signing_key, read_public_key, read_signing_key
from unweave.ledger.statement import ENVELOPE, GONE
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
