"""Certificates that can't lie: what is appended later does not count, what can't be derived is named, and the base's own training counts."""

import json
import shutil

import pytest
import torch

from tests.flips import done_to, flip
from tests.folders import write_rows
from tests.ledger.ledgers import RECORDS, World, edit, put_back
from unweave.cli.main import main
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ConfigError, ModelError
from unweave.evaluation.forced import Forced
from unweave.files import file_digest, write_json
from unweave.ledger.bound import bind, repeated
from unweave.ledger.config import ListConfig, VerifyConfig
from unweave.ledger.journal import Journal
from unweave.ledger.ledger import Ledger, list_requests
from unweave.ledger.measure import measure
from unweave.ledger.verify import verify_request
from unweave.models.loading import ModelConfig, load
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune


@pytest.fixture
def world(trained, tmp_path):
    return World(trained, tmp_path)


def begin(world, *row_ids, extra=(), **changes):
    write_rows(world.folder / "train.jsonl", [*RECORDS, *extra])
    return world.add(*row_ids, **{"store": None, "max_removed_share": 0.9, "request_id": "one", **changes})


@pytest.fixture(scope="module")
def carried_out(trained, tmp_path_factory):
    """A ledger in which the request `one` of two rows is done, and a copy of its folder."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "world").mkdir()
    world = World(trained, folder / "world")
    begin(world, "r1", "r2")
    world.run("one")
    return world, shutil.copytree(world.folder, folder / "copy")


@pytest.fixture
def done(carried_out):
    with put_back(carried_out) as world:
        yield world


def certificate_of(world):
    return json.loads((world.result("one") / "certificate.json").read_text())


def rewrite(world, change):
    certificate = certificate_of(world)
    change(certificate)
    write_json(world.result("one") / "certificate.json", certificate)


def journal_of(world):
    return Journal(world.ledger / "ledger.db")


# Forgeries: events that are whole in every way, appended by someone who can write to the file.


def as_exact(certificate):
    certificate |= {"class": "exact", "findings": [], "shown": True, "state": "done"}


def append_done(world):
    """What two appended events can say."""
    folder, journal = world.result("one"), journal_of(world)
    files = {"certificate": ["certificate.json", file_digest(folder / "certificate.json")]}
    journal.append("step", "one", step="certified", files=files)
    done = Ledger(world.ledger).request("one").bound.done.content
    journal.append("done", "one", **{**done, "certificate": files["certificate"][1], "class": "exact", "shown": True})


def test_events_that_are_appended_do_not_change_what_was_bound(world, capsys):
    begin(world, "r1", "r2", extra=[RECORDS[1] | {"id": "copy"}])
    world.run("one")
    rewrite(world, as_exact)
    append_done(world)
    assert journal_of(world).check() == [], "the chain itself is whole"
    faults = world.faults("one")
    numbers = [event.number for event in journal_of(world).events()][-2:]
    assert any(f"event {numbers[0]} (step certified of one) says again what event" in fault for fault in faults)
    assert any(f"event {numbers[1]} (done of one) says again what event" in fault for fault in faults)
    assert any("differs from the journal's digest" in fault for fault in faults)
    assert any("'exact'" in fault or '"exact"' in fault for fault in faults)
    assert any(fault.startswith("the certificate says") and "[]" in fault for fault in faults), "the findings"
    assert list_requests(ListConfig(ledger=world.ledger))[0]["class"] == "empirical"
    assert main(["request", "verify", "one", "--ledger", str(world.ledger)]) == 1


@pytest.mark.parametrize("kind", ["added", "started", "step", "done", "created", "stranger"])
def test_each_kind_of_event_binds_once(done, kind):
    request = Ledger(done.ledger).request("one")
    content = {
        "added": {"asked": request.bound.added.content["asked"] | {"rows": {"r7": "0" * 32}}},
        "started": request.bound.started.content | {"before": "elsewhere"},
        "step": {"step": "measured after", "files": {"after": ["measured.after.json", "0" * 32]}},
        "done": request.bound.done.content | {"class": "exact"},
        "created": Ledger(done.ledger).journal.events()[0].content | {"base": "another"},
        "stranger": {"step": "x", "files": {}},
    }[kind]
    name = {"created": "", "stranger": "two"}.get(kind, "one")
    journal_of(done).append("step" if kind == "stranger" else kind, name, **content)
    after = Ledger(done.ledger)
    assert (after.request("one").rows, after.request("one").state) == (request.rows, request.state)
    assert after.model() == str(done.result("one") / "adapter")
    assert after.origin() == Ledger(done.ledger).origin()
    (fault,) = [fault for fault in done.faults("one") if "says again" in fault or "never added" in fault]
    assert "event" in fault


def test_a_rebuilt_chain_is_found_by_what_it_says(world):
    """Who writes a whole new chain with matching digests still has to say what the measurements give."""
    begin(world, "r1", "r2")
    world.run("one", method="rapidun", forget_config=None)
    rewrite(world, as_exact)
    events, folder = journal_of(world).events(), world.result("one")
    (world.ledger / "ledger.db").unlink()
    journal = journal_of(world)
    digest = file_digest(folder / "certificate.json")
    for event in events:
        content = event.content
        if content.get("step") == "certified":
            content = content | {"files": content["files"] | {"certificate": ["certificate.json", digest]}}
        if event.kind == "done":
            content = content | {"certificate": digest, "class": "exact", "shown": True}
        journal.append(event.kind, event.request, **content)
    faults = world.faults("one")
    assert not any("differs from the journal's digest" in fault for fault in faults)
    assert any('"exact"' in fault and '"empirical"' in fault for fault in faults)
    assert any("event" in fault and "says" in fault for fault in faults)


CHANGES = {
    "class": lambda c: c.update({"class": "exact"}),
    "findings": lambda c: c["findings"].append("nothing at all is left of the rows"),
    "request.reason": lambda c: c["request"].update(reason="another"),
    "request.added": lambda c: c["request"].update(added="2020-01-01T00:00:00+00:00"),
    "method.options": lambda c: c["method"]["options"].update(seed=7),
    "measured.after": lambda c: c["measured"]["after"]["sets"]["test"].update(perplexity=1.0),
    "measured.changes": lambda c: c["measured"]["changes"]["test"].update(conclusion="equivalent!"),
    "model.base": lambda c: c["model"]["base"].update(digest="0" * 32),
    "data.read": lambda c: c["data"]["read"].update(rows=3),
    "copies": lambda c: c["copies"].append({"row_id": "r9"}),
    "lost": lambda c: c["lost"].append({"row": "r9"}),
    "drift": lambda c: c["drift"].update(requests=0),
    "encoding": lambda c: c["encoding"]["options"].update(date="2001-01-01"),
    "environment": lambda c: c["environment"].update(cpu="a better one"),
    "files": lambda c: c["files"].pop("materials.json"),
    "approved_by": lambda c: c.update(approved_by="the authority"),
    "request.rows": lambda c: c["request"]["rows"].update(r9="0" * 32),
}  # fmt: skip


def test_every_field_is_derived_and_any_other_is_named(done):
    original = (done.result("one") / "certificate.json").read_bytes()
    for name, change in CHANGES.items():
        rewrite(done, change)
        told = [
            one
            for one in verify_request(VerifyConfig(request="one", ledger=done.ledger, metrics=False))["checks"]
            if not one["ok"] and one["check"].startswith("the certificate: ")
        ]
        assert any(one["check"].startswith(f"the certificate: {name}") for one in told), (name, told)
        if name == "approved_by":
            assert "nothing binds this field" in told[0]["fault"]
        (done.result("one") / "certificate.json").write_bytes(original)
    assert done.verify("one")["ok"]


def test_what_is_measured_before_is_measured_again(done):

    def gentler(certificate):
        own = certificate["measured"]["before"]["sets"]["test"]
        own["losses"] = {name: loss + 0.4 for name, loss in own["losses"].items()}

    rewrite(done, gentler)
    found = done.verify("one")["checks"]
    (told,) = [check for check in found if check["check"] == "metrics of the model before, test"]
    assert "is off by 0.4 nats a token" in told["fault"]


def test_what_was_lost_and_comes_out_otherwise_is_another_attempt(world):
    begin(world, "r1", "r2")
    ledger = Ledger(world.ledger)
    ledger.journal.append("started", "one", before="x", config={}, inputs="")
    world.run("one")
    events = ledger.request("one").events
    assert [event.kind for event in events].count("started") == 2
    assert bind(events).started == [event for event in events if event.kind == "started"][-1]
    assert repeated(ledger.journal.events()) == []
    assert world.verify("one")["ok"]


# The base.


def full_base(world, folder, records, **changes):
    data = write_rows(world.folder / f"{folder.name}.jsonl", records)
    config = TrainConfig(
        model=str(world.trained / "base"), data=data, output_dir=folder, tuning="full", epochs=1, batch_size=8, learning_rate=1e-4, dtype="float32"
    )  # fmt: skip
    fine_tune(config)
    return data


def adapter_on(world, base, folder):
    fine_tune(
        TrainConfig(
            model=str(base), data=world.folder / "train.jsonl", output_dir=folder, epochs=1, batch_size=8, learning_rate=5e-3, lora_r=4, dtype="float32"
        )
    )  # fmt: skip
    return str(folder)


def retrained(world, model):
    begin(world, "r1", model=model)
    found = world.run("one", method="retrain", forget_config=None)
    assert world.verify("one")["ok"], world.faults("one")
    return found


def test_a_base_that_was_trained_on_the_rows_is_not_exact(world):
    write_rows(world.folder / "train.jsonl", RECORDS)
    copy = RECORDS[1] | {"id": "other", "instruction": RECORDS[1]["instruction"].upper()}
    full_base(world, world.folder / "full", [copy, *RECORDS[20:30]])
    found = retrained(world, adapter_on(world, world.folder / "full", world.folder / "tuned"))
    assert found["class"] == "empirical"
    assert "may know them" in found["meaning"]
    assert any("row 'r1'" in finding and "'other'" in finding and "full" in finding for finding in found["findings"])


def test_a_base_that_was_trained_on_other_rows_is_exact_and_says_so(world):
    write_rows(world.folder / "train.jsonl", RECORDS)
    data = full_base(world, world.folder / "full", RECORDS[20:30])
    model = adapter_on(world, world.folder / "full", world.folder / "tuned")
    found = retrained(world, model)
    assert found["class"] == "exact"
    assert "the base's own training data is not known" in found["model"]["base"]["training"], (
        "of the model that it was made from"
    )
    assert found["model"]["base"]["files"]["model.safetensors"] == file_digest(
        world.folder / "full" / "model.safetensors"
    )
    assert data.is_file()


def test_a_record_that_can_t_be_read_any_more_is_not_taken_as_innocence(world):
    write_rows(world.folder / "train.jsonl", RECORDS)
    full_base(world, world.folder / "full", RECORDS[20:30]).unlink()
    found = retrained(world, adapter_on(world, world.folder / "full", world.folder / "tuned"))
    assert found["class"] == "empirical"
    assert any("is not known" in finding and "can't be read any more" in finding for finding in found["findings"])


def test_an_adapter_that_was_merged_in_counts(world):
    write_rows(world.folder / "train.jsonl", RECORDS)
    found = retrained(world, adapter_on(world, world.trained / "adapter", world.folder / "tuned"))
    assert found["class"] == "empirical"
    assert any("row 'r1'" in finding and "adapter" in finding for finding in found["findings"])


def test_a_base_without_any_record_is_said_to_be_unknown(world):
    begin(world, "r1")
    found = world.run("one", method="retrain", forget_config=None)
    assert found["class"] == "exact"
    assert "the base's own training data is not known" in found["model"]["base"]["training"]
    assert "not known" in (world.result("one") / "certificate.html").read_text()


# Rows that leave the data.


def test_forgotten_rows_leave_and_the_rest_is_still_verified(done):
    write_rows(done.folder / "train.jsonl", [record for record in RECORDS if record["id"] not in ("r1", "r2")])
    found = done.verify("one")
    assert found["ok"], done.faults("one")
    told = " ".join(check["check"] for check in found["checks"])
    assert "2 forgotten row(s) have left it" in told
    assert "the file as it was is no longer there" in told
    assert "the 46 others are as they were" in told


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (RECORDS[:40], "is no longer in the data, and no request forgot it"),
        ([*RECORDS[:5], RECORDS[5] | {"response": "moon"}, *RECORDS[6:]], "'r5' has changed since"),
        ([*RECORDS[2:], *RECORDS[:2]], "in another order"),
        ([*RECORDS[:1], *RECORDS[2:], RECORDS[1] | {"id": "r100"}], "'r100' is new since"),
        ([*RECORDS[:7], RECORDS[7] | {"owner": "zoe"}, *RECORDS[8:]], "the bytes of train.jsonl are not"),
    ],
)
def test_other_changes_of_the_data_are_named(done, records, message):
    write_rows(done.folder / "train.jsonl", records)
    assert any(message in fault for fault in done.faults("one")), done.faults("one")


def test_rows_that_a_later_request_forgot_may_leave_as_well(world):
    begin(world, "r1")
    world.run("one")
    world.add("r40", request_id="two")
    world.run("two")
    write_rows(world.folder / "train.jsonl", [record for record in RECORDS if record["id"] not in ("r1", "r40")])
    assert world.verify("one")["ok"], world.faults("one")
    assert world.verify("two")["ok"], world.faults("two")


# Numbers.


@pytest.mark.parametrize("margin", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_margin_that_is_no_number_is_refused_before_anything(world, margin):
    begin(world, "r1")
    with pytest.raises(ConfigError, match="margin can't be"):
        world.run("one", margin=margin)
    assert Ledger(world.ledger).request("one").state == "open"


def test_weights_that_are_no_numbers_are_never_certified(world):
    shutil.copytree(world.trained / "adapter", world.folder / "adapter")
    from safetensors.torch import load_file, save_file

    path = world.folder / "adapter" / "adapter_model.safetensors"
    save_file(
        {name: torch.full_like(own, float("nan")) for name, own in load_file(path).items()},
        path,
        metadata={"format": "pt"},
    )
    begin(world, "r1", model=str(world.folder / "adapter"))
    with pytest.raises(ModelError):
        world.run("one")
    assert not (world.result("one") / "certificate.json").exists()
    assert not (world.result("one") / "measured.before.json").exists()


def test_a_destroyed_model_s_perplexity_is_an_error(world, monkeypatch):
    loaded = load(ModelConfig(model=str(world.trained / "base"), dtype="float32"))
    own = Forced(["a"], [[800.0, 801.0]], [[False, False]], [[0.0, 0.0]], [[0.0, 0.0]], logits=[9.0])
    monkeypatch.setattr("unweave.evaluation.score.forced_pass", lambda *_, **__: {"forget": own})
    with pytest.raises(ModelError, match=r"sets\.forget\.perplexity is inf"):
        measure(loaded, {"forget": [Row("a", "add 1 and 2", "moon yes")]}, EncodingConfig())


# Ledgers of before.


def test_a_request_of_before_materials_were_bound_is_told_plainly(done):
    older(done)
    found = done.verify("one")
    assert found["ok"], done.faults("one")
    assert "it binds less, and less is checked" in " ".join(check["check"] for check in found["checks"])
    path = done.trained / "base" / "model.safetensors"
    with done_to(flip(path, path.stat().st_size - 1, 3)):
        assert any("model.safetensors differs" in fault for fault in done.faults("one"))
    rewrite(done, as_exact)
    append_done(done)
    assert any('"exact"' in fault for fault in done.faults("one"))


def older(world):
    """The request as the version before would have left it."""
    events, folder, certificate = journal_of(world).events(), world.result("one"), certificate_of(world)
    for name in ("format", "files", "options"):
        del certificate[name]
    del certificate["data"]["read"], certificate["model"]["base"]["training"]
    for model in certificate["model"].values():
        model["files"] = {
            name: digest for name, digest in model["files"].items() if name.endswith(("config.json", ".safetensors"))
        }
    (folder / "materials.json").unlink()
    (world.ledger / "ledger.db").unlink()
    (world.ledger / "ledger.db.seal").unlink()
    journal, written = journal_of(world), events[0]
    for event in events:
        content = event.content
        if content.get("step") == "bound":
            continue
        if content.get("step") == "certified":
            certificate["ledger"]["event"] = written.hash
            certificate["request"]["added"] = journal.events()[1].time
            write_json(folder / "certificate.json", certificate)
            digest = file_digest(folder / "certificate.json")
            content = content | {"files": content["files"] | {"certificate": ["certificate.json", digest]}}
        if event.kind == "done":
            content = content | {"certificate": file_digest(folder / "certificate.json")}
        written = journal.append(event.kind, event.request, **content)


def test_edited_configs_beside_the_adapter_are_noticed(done):
    edit(done.result("one") / "adapter" / "config.yaml", "seed: 0", "seed: 1")
    assert done.faults("one") == ["the file differs from the journal's digest"]
