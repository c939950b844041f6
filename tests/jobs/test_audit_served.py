"""`unweave audit --endpoint`: a server in a thread that answers from tiny models; what is said of them is what an audit of their weights says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from tests.jobs.test_audit_rows import world  # noqa: F401
from unweave.cli.main import main
from unweave.errors import ConfigError
from unweave.evaluation.config import AuditConfig
from unweave.evaluation.served import client
from unweave.evaluation.served.client import Endpoint, EndpointError, RefusedRequestError
from unweave.jobs.audit import audit_models
from unweave.models.loading import ModelConfig, load

pytestmark = pytest.mark.enable_socket
KEY = "sk-not-to-be-seen"


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible server.

    `style` says how it gives values of a prompt's tokens: `echo`, `prompt_logprobs` or `none`. `failing` is a list of statuses that the next requests get.
    """

    daemon_threads = True

    def __init__(self, models):
        super().__init__(("127.0.0.1", 0), Handler)
        self.models, self.style, self.failing, self.asked, self.keys = models, "echo", [], [], []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def generated(self, name, ids, most):
        loaded = self.models[name]
        with self.lock, torch.inference_mode():
            found = loaded.model.generate(
                torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=most, do_sample=False
            )  # fmt: skip
        return loaded.tokenizer.decode(found[0, len(ids) :], skip_special_tokens=True)

    def values(self, name, ids):
        with self.lock, torch.inference_mode():
            logits = self.models[name].model(torch.tensor([ids])).logits[0, :-1].float().log_softmax(-1)
        own = logits.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        return own.tolist(), logits.max(-1).values.tolist(), (logits > own[:, None]).sum(-1).tolist()

    def choice(self, path, body):
        name, most = body["model"], body["max_tokens"]
        if path == "/v1/chat/completions":
            tokenizer = self.models[name].tokenizer
            text = tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, tokenize=False)
            return {"message": {"role": "assistant", "content": self.generated(name, tokenizer(text).input_ids, most)}}
        ids = body["prompt"]
        choice = {"text": self.generated(name, ids, most)}
        if self.style == "echo" and body.get("echo"):
            own, best, _ = self.values(name, ids)
            choice["logprobs"] = {
                "token_logprobs": [None, *own, -9.0],
                "top_logprobs": [None, *({"x": top, "y": value} for value, top in zip(own, best, strict=True)), {"x": -9.0}],
            }  # fmt: skip
        if self.style == "prompt_logprobs" and "prompt_logprobs" in body:
            own, _, rank = self.values(name, ids)
            choice["prompt_logprobs"] = [None] + [
                {str(token): {"logprob": value, "rank": place + 1}}
                for token, value, place in zip(ids[1:], own, rank, strict=True)
            ]
        return choice


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server = self.server
        server.asked.append(body)
        server.keys.append(self.headers.get("authorization"))
        status = server.failing.pop(0) if server.failing else 200
        if status == 200 and body["model"] not in server.models:
            status = 404
        answer = {"choices": [server.choice(self.path, body)]} if status == 200 else {"error": f"no, {KEY}"}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def models(world):  # noqa: F811
    return {name: load(ModelConfig(model=str(world / name), dtype="float32")) for name in ("one", "two", "three")}


@pytest.fixture
def server(models, monkeypatch):
    monkeypatch.delenv("UNWEAVE_API_KEY", raising=False)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.0)
    made = Server(models)
    yield made
    made.shutdown()
    made.server_close()


def options(folder, **changes):
    paths = {name: folder / f"{name}.jsonl" for name in ("forget", "like", "retain")}
    return {**paths, "max_new_tokens": 3, "attacks": (), "gradnorm_rows": 0, **changes}


NAMED = {"before": "one", "after": "two", "retrained": "three"}


@pytest.fixture(scope="module")
def own(world, tmp_path_factory):  # noqa: F811
    """The audit of the weights."""
    places = {label: str(world / name) for label, name in NAMED.items()}
    return audit_models(
        AuditConfig(**options(world), **places, output_dir=tmp_path_factory.mktemp("own"), dtype="float32")
    )


def through(server, world, folder, **changes):  # noqa: F811
    return audit_models(
        AuditConfig(
            **options(world, **changes),
            **NAMED,
            endpoint=server.url,
            tokenizer=str(world / "one"),
            output_dir=folder,
        )
    )


def test_what_is_measured_through_a_server_is_what_the_weights_give(world, server, own, tmp_path):  # noqa: F811
    served = through(server, world, tmp_path)
    for label, sets in own["losses"].items():
        for name, losses in sets.items():
            assert served["losses"][label][name] == pytest.approx(losses, rel=1e-4)
    assert served["verdict"]["conclusion"] == own["verdict"]["conclusion"]
    assert {name: one["rates"] for name, one in served["probes"].items()} == {
        name: one["rates"] for name, one in own["probes"].items()
    }
    for label, figures in own["figures"].items():
        for name, each in figures.items():
            for figure, value in each.items():
                if figure != "kl_from_reference":
                    assert served["figures"][label][name][figure]["value"] == pytest.approx(value["value"], rel=1e-4)
    assert set(own["membership"]["after"]) - set(served["membership"]["after"]) == {"min_k_plus_plus"}
    assert served["verdict"]["distance"] is None
    assert any("need the weights" in line for line in served["left_out"])


def test_the_values_of_prompts_that_vllm_gives_are_the_same(world, server, own, tmp_path):  # noqa: F811
    server.style = "prompt_logprobs"
    served = through(server, world, tmp_path, probes=(), max_new_tokens=1)
    for label, sets in own["losses"].items():
        for name, losses in sets.items():
            assert served["losses"][label][name] == pytest.approx(losses, rel=1e-4)
            for figure in ("exact_memorization", "begins"):
                assert served["figures"][label][name][figure] == own["figures"][label][name][figure]


def test_texts_alone_are_judged_as_texts_and_an_audit_goes_on_where_it_was_interrupted(world, server, tmp_path, capsys):  # noqa: F811
    server.style = "none"
    places = [word for name in ("forget", "like", "retain") for word in (f"--{name}", str(world / f"{name}.jsonl"))]
    line = ["audit", "--endpoint", server.url, "--after", "two", *places, "--max-new-tokens", "3", "--output-dir"]
    line += [str(tmp_path / "out"), "--parallel-requests", "1"]
    server.failing = [200, 200, 503, 429, 200, 400]
    assert main(line) == 1
    assert "The server refuses a request" in capsys.readouterr().err
    came = (tmp_path / "out/answers.after.jsonl").read_text()
    (tmp_path / "out/answers.after.jsonl").write_text(came + '\n{"key": "cut o')
    before = len(server.asked)
    assert main(line) == 0
    assert "nothing came out by asking" in capsys.readouterr().out
    first = [json.dumps(body, sort_keys=True) for body in server.asked[:before]]
    second = [json.dumps(body, sort_keys=True) for body in server.asked[before:]]
    answered = [first[place] for place in (0, 1, 4)]
    assert not set(answered) & set(second), "what was answered is not asked again"
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["losses"] == {}
    assert any(line.startswith("losses, membership inference") for line in metrics["left_out"])
    assert {"given_away", "rouge_l"} <= set(metrics["figures"]["after"]["forget"])
    assert "nothing came out by asking" in (tmp_path / "out/audit.html").read_text()
    # With the tokenizer the server is asked for log-probabilities, and what it does not give is left out.
    tokens = AuditConfig(
        **options(world), after="two", endpoint=server.url, tokenizer=str(world / "two"), output_dir=tmp_path / "t"
    )
    assert audit_models(tokens)["losses"] == {}


def test_a_row_that_comes_out_is_not_forgotten(world, server, tmp_path, monkeypatch):  # noqa: F811
    rows = [json.loads(line) for line in (world / "forget.jsonl").read_text().splitlines()]

    def told(name, ids, most):
        text = server.models[name].tokenizer.decode(ids)
        return (
            next((f"It is {row['response']} ." for row in rows if row["instruction"] in text), "world")
            if name == "one"
            else "hello"
        )

    monkeypatch.setattr(server, "generated", told)
    config = {**options(world), "endpoint": server.url, "probes": ()}
    verdict = audit_models(AuditConfig(**config, after="one", output_dir=tmp_path / "a"))["verdict"]
    assert verdict["conclusion"] == "not forgotten"
    assert verdict["reasons"] == ["of 3 answers 3 give their row away, 0 may"]
    told_apart = audit_models(AuditConfig(**config, after="one", before="two", output_dir=tmp_path / "b"))
    assert told_apart["figures"]["after"]["forget"]["given_away"]["value"] == 1
    assert told_apart["figures"]["before"]["forget"]["given_away"]["value"] == 0


def test_a_key_is_read_from_the_environment_and_shown_nowhere(world, server, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("MY_KEY", KEY)
    endpoint = Endpoint(server.url, "MY_KEY")
    server.failing = [401]
    with pytest.raises(RefusedRequestError) as error:
        endpoint.post("/completions", {"model": "one", "prompt": [1, 2], "max_tokens": 1})
    assert KEY not in str(error.value)
    assert "MY_KEY" in str(error.value)
    server.failing = [500] * client.TRIES
    with pytest.raises(EndpointError, match=f"did not answer {client.TRIES} requests") as error:
        endpoint.post("/completions", {"model": "one", "prompt": [1, 2], "max_tokens": 1})
    assert KEY not in str(error.value)
    config = AuditConfig(
        **options(world, probes=()), after="one", endpoint=server.url, api_key_variable="MY_KEY", output_dir=tmp_path
    )
    audit_models(config)
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY in path.read_text()]
    with pytest.raises(ConfigError, match="in the clear"):
        Endpoint("http://example.org/v1", "MY_KEY")
    endpoint.close()


@pytest.mark.parametrize("url", ["localhost:8000", "https://me:secret@example.org/v1", "https://example.org/v1?key=1"])
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url):
    with pytest.raises(ConfigError, match="`endpoint`"):
        Endpoint(url)


def test_what_a_server_can_not_do_is_refused_before_it_is_asked(world, tmp_path):  # noqa: F811
    base = {**options(world), "after": "one", "output_dir": tmp_path}
    for more, named in (
        ({}, "`before`"),
        ({"endpoint": "http://localhost:1/v1", "others": ("x",)}, "`others`"),
        ({"before": "x", "tokenizer": "x"}, "`tokenizer`"),
        ({"endpoint": "http://localhost:1/v1", "max_new_tokens": 0}, "`max_new_tokens`"),
    ):
        with pytest.raises(ConfigError, match=named):
            audit_models(AuditConfig(**{**base, **more}))
