"""What people do on the explorer's screens, in Chromium: with the mouse, by keyboard alone, with hostile data, and across reloads and kills."""

import re
import time

import pytest

from tests.explorer.browser import CHROMIUM, Server, browsing, wait_until
from tests.explorer.learned import SMALL, copy_of_learned
from tests.explorer.worlds import DATA, IMAGE, SCRIPT, make_world
from unweave.cli.main import main

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]

SCREENS = ["", "rows", "map", "review", "evidence", "runs"]
ANSWER = "moon teapots sing blue green"


@pytest.fixture(scope="module")
def open_page():
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A world whose names and texts try to be more than text."""
    return make_world(tmp_path_factory.mktemp("hostile"), hostile=True)


@pytest.fixture(scope="module")
def server(hostile):
    found = Server(hostile, hostile / "work", "--data", hostile / DATA)
    yield found
    found.stop()


@pytest.fixture
def page(server, open_page):
    """A page of the server that has asked for nothing elsewhere, said no error, and run none of the texts' scripts when a test is over."""
    found = open_page()
    found.goto(server.address)
    yield found
    require_clean(found, server)
    found.context.close()


def require_clean(page, server):
    assert page.asked, "something was asked for"
    assert [address for address in page.asked if not address.startswith(server.address)] == []
    assert page.errors == []
    assert page.evaluate("window.hacked") is None


def ask(page, prompt="what is the capital of Peru", completion=ANSWER):
    page.fill("#prompt", prompt)
    if not page.is_visible("#completion"):
        page.click("#ask summary")
    page.fill("#completion", completion)
    page.click("#ask button.main")
    page.wait_for_selector(".hit")
    page.wait_for_selector("#shaded:not([hidden])")


def rows_of(page):
    page.wait_for_selector("#hits:not([aria-busy])")
    return page.eval_on_selector_all("#hits section:first-child .hit", "all => all.map(one => one.dataset.row)")


def selected(page):
    return page.eval_on_selector_all("#answer [aria-selected=true]", "all => all.map(one => one.textContent)")


def drag(page, first, last):
    """Select from one word of the answer to another with the mouse."""
    page.locator(f"#word-{first}").scroll_into_view_if_needed()
    begin, end = (page.locator(f"#word-{place}").bounding_box() for place in (first, last))
    page.mouse.move(begin["x"] + 1, begin["y"] + begin["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + end["width"] - 1, end["y"] + end["height"] / 2, steps=4)
    page.mouse.up()


def test_selected_words_rank_the_rows_anew(page):
    ask(page)
    whole = rows_of(page)
    drag(page, 1, 2)
    page.wait_for_selector("#hits b:has-text('teapots sing')")
    assert selected(page) == ["teapots", "sing"]
    part = rows_of(page)
    assert part != whole
    page.click("#whole")
    page.wait_for_selector("#hits:not(:has(p:first-child b))")
    assert rows_of(page) == whole
    assert selected(page) == []


def test_another_answer_is_compared(page):
    ask(page)
    whole = rows_of(page)
    page.click("#compare")
    assert page.input_value("#against") == ANSWER
    page.fill("#against", "Lima")
    page.click("#other button.main")
    page.wait_for_selector("#hits q:has-text('Lima')")
    assert rows_of(page) != whole
    page.click("#no-other")
    page.wait_for_selector("#hits:not(:has(q))")
    assert rows_of(page) == whole


def test_scorers_stand_beside_each_other_and_bm25_is_a_click_away(page):
    ask(page)
    page.select_option("#scorer", "bm25")
    page.wait_for_selector(".open-tokens", state="detached")
    assert rows_of(page)
    page.click("#beside")
    page.wait_for_selector("#tokens-of th:has-text('gradnorm')")


def test_tokens_of_answer_and_row_light_each_other(page):
    ask(page)
    hit = page.locator(".hit").first
    hit.locator(".open-tokens").click()
    hit.locator(".token").first.wait_for()
    asked, row = hit.locator(".tokens").all()
    lit = "all => all.map(one => /[pn][1-9]/.exec(one.className)?.[0] ?? '')"
    before = row.locator(".token").evaluate_all(lit)
    asked.locator(".token").nth(-2).hover()
    during = row.locator(".token").evaluate_all(lit)
    assert any(during)
    assert during != before
    row.locator(".token").nth(-2).focus()
    assert any(asked.locator(".token").evaluate_all(lit))
    assert page.get_attribute("#marker", "x1") == hit.get_attribute("data-at")


def test_by_keyboard_alone(page):
    """From asking to the review list, with no mouse."""

    def tab_to(selector, key="Tab"):
        for _ in range(60):
            page.keyboard.press(key)
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} is not reached")

    tab_to(".skip")
    page.keyboard.press("Enter")
    tab_to("#prompt")
    page.keyboard.insert_text("what is the capital of Japan")
    tab_to("#ask summary")
    page.keyboard.press("Enter")
    tab_to("#completion")
    page.keyboard.insert_text(ANSWER)
    tab_to("#ask button.main")
    page.keyboard.press("Enter")
    page.wait_for_selector("#shaded:not([hidden])")
    whole = rows_of(page)
    tab_to("#answer")
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#hits b")
    assert len(selected(page)) == 2
    assert rows_of(page) != whole
    page.keyboard.press("Escape")
    page.wait_for_selector("#hits:not(:has(p:first-child b))")
    tab_to("input.tick")
    with page.expect_response("**/review/tick"):
        page.keyboard.press("Space")
    tab_to("nav a[href='/review']", "Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("table input.tick:checked")
    assert page.locator("table input.tick").count() == 1
    page.locator("table input.tick").focus()
    with page.expect_response("**/review/tick"):
        page.keyboard.press("Space")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_screen_has_a_serious_fault_of_access(server, open_page, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(color_scheme=scheme)
    page.goto(server.address)
    ask(page)
    page.click(".hit .open-tokens")
    page.wait_for_selector(".tokens-home .token")
    page.wait_for_selector("#status:empty", state="attached")
    found = {"answer": Axe().run(page).response["violations"]}
    for name in (*SCREENS[1:], "row?id=p1"):
        page.goto(server.address + name)
        page.wait_for_load_state("networkidle")
        found[name] = Axe().run(page).response["violations"]
    serious = {
        (name, one["id"], one["nodes"][0]["html"][:160])
        for name, faults in found.items()
        for one in faults
        if one["impact"] in ("serious", "critical")
    }
    assert serious == set()
    require_clean(page, server)
    page.context.close()


def test_no_screen_is_wider_than_a_phone(server, open_page):
    page = open_page(viewport={"width": 360, "height": 740})
    for name in (*SCREENS, "row?id=p1"):
        page.goto(server.address + name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
    page.context.close()


def test_hostile_texts_are_texts_on_every_screen(page, server):
    ask(page, prompt=f"{SCRIPT} {IMAGE}", completion=f"{IMAGE} {SCRIPT} moon")
    page.click(".hit .open-tokens")
    page.wait_for_selector(".tokens-home .token")
    page.goto(f"{server.address}rows?q=script")
    page.wait_for_selector("tbody tr")
    page.locator("tbody input.tick").first.check()
    page.locator("tbody a").first.click()
    page.wait_for_selector(".quote, pre")
    assert SCRIPT in page.inner_text("main")
    for name in SCREENS:
        page.goto(server.address + name)
        page.wait_for_timeout(150)
        assert page.evaluate("window.hacked") is None, name
    page.goto(f"{server.address}review")
    page.locator("table input.tick").first.uncheck()


def test_a_copy_to_read_works_without_a_server(hostile, server, open_page, page):
    ask(page, prompt=SCRIPT)
    assert (
        main(
            [
                "serve",
                str(hostile / "store"),
                "--work",
                str(hostile / "work"),
                "--export",
                str(hostile / "copy"),
                "--quiet",
            ]
        )
        == 0
    )
    own = open_page()
    place = (hostile / "copy/index.html").as_uri()
    own.goto(place)
    assert own.locator("#table tr").count() == 50
    own.fill("#search", "teapots moon")
    assert own.locator("#table tr").count() < 50
    assert own.evaluate("window.hacked") is None
    assert [address for address in own.asked if address != place] == []
    assert own.errors == []
    own.context.close()


def test_from_ticked_rows_to_evidence_across_a_reload_and_a_killed_server(tmp_path_factory, open_page):
    folder = copy_of_learned(tmp_path_factory)
    server = Server(folder, folder / "work", "--data", folder / "rows.jsonl", "--dtype", "float32")
    try:
        page = open_page()
        page.goto(f"{server.address}rows")
        for name in ("p0", "p1", "p2"):
            with page.expect_response("**/review/tick"):
                page.check(f"input.tick[value={name}]")
        page.goto(f"{server.address}review")
        page.fill("#f-reason", SCRIPT)
        page.fill("#f-name", "from-the-browser")
        page.select_option("#f-method", SMALL["method"])
        page.locator("form summary").click()
        for field, name in (
            ("f-target", "target_loss"),
            ("f-margin", "margin"),
            ("f-retain", "retain_rows"),
            ("f-test", "test_rows"),
        ):
            page.fill(f"#{field}", str(SMALL[name]))
        page.click("form button.main")
        page.wait_for_url(re.compile(r"/run\?id="))
        run = page.url
        page.reload()
        assert page.locator("#run .state").first.inner_text() in ("running", "done")
        server.kill()
        time.sleep(1)
        server.start()
        page.goto(run)
        wait_until(lambda: page.locator("#run .state").first.inner_text() != "running", seconds=120)
        assert page.locator("#run .state").first.inner_text() == "done", page.inner_text("main")
        page.goto(f"{server.address}evidence")
        page.locator("a", has_text="from-the-browser").first.click()
        page.wait_for_selector(".verdict")
        assert "forgotten" in page.inner_text(".verdict")
        assert SCRIPT in page.inner_text("main")
        assert page.evaluate("window.hacked") is None
        page.goto(f"{server.address}rows")
        assert page.locator("input.tick[value=p0]").count() == 0, "the row has left the store"
        assert [address for address in page.asked if not address.startswith(server.address)] == []
        page.context.close()
    finally:
        server.stop()
