"""The copy to read: everything is in it, it asks for nothing, and no text in it is more than text."""

import base64
import hashlib
import json
import re

import pytest

from tests.explorer.clients import open_explorer
from tests.explorer.test_answer import ask
from tests.explorer.worlds import IMAGE, SCRIPT, make_world
from unweave.cli.main import main
from unweave.explorer import export as exporting


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The copy of a world whose names and texts try to be more."""
    folder = tmp_path_factory.mktemp("hostile")
    make_world(folder, hostile=True)
    client = open_explorer(folder, work=folder / "work")
    ask(client, prompt=SCRIPT, completion=f"{IMAGE} blue")
    assert (
        main(
            [
                "serve",
                str(folder / "store"),
                "--work",
                str(folder / "work"),
                "--export",
                str(folder / "copy"),
                "--space",
                str(folder / "space"),
                "--quiet",
            ]
        )
        == 0
    )
    return folder


def read(page, folder="copy"):
    return (page / folder / "index.html").read_text(encoding="utf-8")


def test_all_rows_and_answers_are_in_it(page):
    text = read(page)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert len(data["rows"]) == 70
    assert IMAGE in [row[0] for row in data["rows"]]
    assert text.count('class="hit"') == 24


def test_its_policy_allows_its_own_script_and_style_and_nothing_else(page):
    text = read(page)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "unsafe" not in policy
    for tag in ('script type="module"', "style"):
        body = re.search(rf"<{tag}>(.*?)</{tag.split()[0]}>", text, re.DOTALL)[1]
        assert f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" in policy


def test_no_text_is_more_than_text(page):
    text = read(page)
    assert SCRIPT not in text
    assert "<img" not in text
    assert len(re.findall(r"<script", text)) == 2
    assert "\u202e" not in text
    assert not re.search(r"(src|href)=\"(?!#|certificate-)", text)


def test_a_space_is_the_same_page_with_a_card(page):
    assert read(page, "space") == read(page)
    card = (page / "space/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\ntitle: ")
    assert 'sdk: "static"' in card
    assert "\n---\n" in card[4:]


def test_a_store_that_is_too_large_for_a_page_says_so(world, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exporting, "MOST_ROWS", 50)
    assert main(["serve", str(world / "store"), "--work", str(tmp_path / "w"), "--export", str(tmp_path / "copy")]) == 0
    assert "20 of the rows are left out" in capsys.readouterr().err
    assert "20 rows are left out" in (tmp_path / "copy/index.html").read_text(encoding="utf-8")
