"""The map: the same places again, new ones for a new store, colours that say what they are, and a lasso that is a filter."""

import random
import time

import numpy as np
import pytest
import torch

from tests.explorer.clients import client_of
from tests.explorer.rowstore import add_rows, make_rows, make_store, workspace_on
from unweave.errors import ConfigError
from unweave.explorer import positions as places
from unweave.explorer.map import CLASSES, NONE, STEPS, coloured
from unweave.explorer.positions import Positions, contained, corners_of, directions, principal
from unweave.explorer.table import RowTable
from unweave.store.store import GradientStore

ROWS = make_rows()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    made = workspace_on(make_store(tmp_path_factory.mktemp("world"), ROWS), tmp_path_factory.mktemp("work"))
    made.positions.get(wait=True)
    return made


@pytest.fixture(scope="module")
def client(workspace):
    return client_of(workspace)


def inside(corners, x, y):
    """Whether a ray to the right crosses the polygon's sides an odd number of times."""
    crossings = 0
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            crossings += 1
    return crossings % 2 == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_lasso_holds_the_points_inside(seed):
    chance = random.Random(seed)
    # A star: simple, and not convex.
    turns = sorted(chance.uniform(0, 2 * np.pi) for _ in range(9))
    corners = [(chance.uniform(0.2, 1) * np.cos(turn), chance.uniform(0.2, 1) * np.sin(turn)) for turn in turns]
    points = np.array([[chance.uniform(-1, 1), chance.uniform(-1, 1)] for _ in range(500)], dtype=np.float32)
    wanted = [inside(corners, float(x), float(y)) for x, y in points]
    found = contained(points, np.array(corners))
    # A corner's radius is chosen anew for each coordinate, so that sides may cross; where they do, inside is a matter of taste.
    crossed = _crosses(corners)
    assert crossed or found.tolist() == wanted
    assert 0 < sum(wanted) < 500


def _crosses(corners):
    sides = list(zip(corners, [*corners[1:], corners[0]], strict=True))

    def left(a, b, c):
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0

    return any(
        not {*one} & {*two} and left(*one, two[0]) != left(*one, two[1]) and left(*two, one[0]) != left(*two, one[1])
        for at, one in enumerate(sides) for two in sides[at + 1 :]
    )  # fmt: skip


@pytest.mark.parametrize(
    "lasso",
    ["", "0,0", "0,0;1,1", "0,0;1,1;a,b", "0,0;1,1;2", "0,0;1,1;nan,2", "0,0;1,1;1e999,2", ";".join(["0,0"] * 1001)],
)
def test_what_is_no_region(lasso):
    with pytest.raises(ConfigError):
        corners_of(lasso)


def test_a_region_is_a_filter_of_rows(workspace, client):
    points = workspace.positions.get().points
    corners = [(-2.0, -2.0), (0.1, -2.0), (0.1, 2.0), (-2.0, 2.0)]
    wanted = [row.id for row, (x, y) in zip(ROWS, points, strict=True) if inside(corners, float(x), float(y))]
    assert 0 < len(wanted) < len(ROWS)
    lasso = ";".join(f"{x},{y}" for x, y in corners)
    assert client.post("/rows/tick", json={"query": f"lasso={lasso}"}).json()["rows"] == len(wanted)
    assert set(workspace.reviewed.ids()) == set(wanted)
    assert client.get("/rows", params={"lasso": lasso, "sort": "loss"}).status_code == 200
    assert client.get("/rows", params={"lasso": "<script>"}).status_code == 400


def test_places_are_the_same_again_and_kept(workspace, tmp_path):
    first = workspace.positions.get()
    assert first.method == "PaCMAP"
    assert first.points.shape == (70, 2)
    assert np.abs(first.points).max() == pytest.approx(1)
    again = places.place_rows(GradientStore.open(workspace.place), list(workspace.row_ids()))[0]
    assert np.array_equal(first.points, again)
    kept = list((workspace.folder / "map").glob("*.npz"))
    assert len(kept) == 1
    anew = Positions(workspace)
    assert np.array_equal(anew.get().points, first.points)
    # A file that is not whole is no map.
    kept[0].write_bytes(kept[0].read_bytes()[:50])
    assert np.array_equal(Positions(workspace).get(wait=True).points, first.points)


def test_places_are_new_after_the_store_has_changed(tmp_path):
    folder = make_store(tmp_path, make_rows(40))
    workspace = workspace_on(folder, tmp_path / "work")
    first = workspace.positions.get(wait=True)
    time.sleep(0.01)
    add_rows(
        GradientStore.open(folder / "store"), [row for row in make_rows(70) if row.id in ("r50", "r51", "r52")], seed=1
    )
    assert workspace.positions.get() is None
    second = workspace.positions.get(wait=True)
    assert (len(first.points), len(second.points)) == (40, 43)
    assert len(list((workspace.folder / "map").glob("*.npz"))) == 1


def test_few_rows_have_principal_components_and_the_page_says_so(tmp_path):
    workspace = workspace_on(make_store(tmp_path, make_rows(14)), tmp_path / "work")
    assert workspace.positions.get(wait=True).method == "principal components"
    assert "fewer than 15 rows" in client_of(workspace).get("/map").text


def test_the_page_waits_while_the_map_is_computed(tmp_path, monkeypatch):
    workspace = workspace_on(make_store(tmp_path, make_rows(14)), tmp_path / "work")
    go = places.threading.Event()
    real = places.place_rows
    monkeypatch.setattr(places, "place_rows", lambda *given: (go.wait(60), real(*given))[1])
    client = client_of(workspace)
    assert 'hx-trigger="every 2s"' in client.get("/map").text
    assert "hx-refresh" not in client.get("/map/state").headers
    assert client.get("/map/points").status_code == 400
    assert client.get("/rows?lasso=0,0;1,0;1,1").status_code == 400
    go.set()
    workspace.positions.get(wait=True)
    assert client.get("/map/state").headers["hx-refresh"] == "true"
    assert 'id="map"' in client.get("/map").text


def test_what_fails_is_said_and_not_tried_for_ever(tmp_path, monkeypatch):
    workspace = workspace_on(make_store(tmp_path, make_rows(14)), tmp_path / "work")
    tried = []
    monkeypatch.setattr(places, "place_rows", lambda *_: tried.append(1) or 1 / 0)
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        workspace.positions.get(wait=True)
    assert client_of(workspace).get("/map").status_code == 400
    assert len(tried) == 1


def test_directions_are_unit_vectors_whose_products_survive_the_projection(tmp_path):
    store = GradientStore.open(make_store(tmp_path, ROWS, dimension=1024) / "store")
    ids = store.row_ids()
    sketches = store.read(ids)
    cosines = torch.nn.functional.normalize(sketches, dim=1) @ torch.nn.functional.normalize(sketches, dim=1).T
    found = directions(store, ids)
    assert found.shape == (70, 256)
    assert (found @ found.T - cosines).abs().max() < 5 / 16
    short = GradientStore.open(make_store(tmp_path / "short", ROWS, dimension=32) / "store")
    wanted = torch.nn.functional.normalize(short.read(ids), dim=1)
    assert torch.allclose(directions(short, ids[::-1]).flip(0), wanted, atol=1e-6)


def test_principal_components_are_those_of_the_singular_values():
    vectors = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 4, 3, 2, 1, 0.5])
    centred = vectors - vectors.mean(dim=0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    found = torch.from_numpy(principal(vectors, 3))
    assert torch.allclose(found.abs(), (left * values)[:, :3].abs(), atol=1e-4)
    assert principal(torch.ones(4, 1), 3).shape == (4, 2)


@pytest.mark.parametrize("colour", ["source", "loss", "norm", "field:owner", "field:checked"])
def test_points_are_places_and_colours(workspace, client, colour):
    body = client.get("/map/points", params={"colour": colour}).content
    count = len(ROWS)
    assert len(body) == 10 * count
    assert np.array_equal(np.frombuffer(body[: 8 * count], "<f4").reshape(count, 2), workspace.positions.get().points)
    numbers, legend = coloured(workspace.table(), colour)
    assert np.array_equal(np.frombuffer(body[8 * count :], "<u2"), numbers)
    said = client.get("/map/legend", params={"colour": colour}).json()
    assert said["labels"] == legend.labels
    if legend.kind == "classes":
        own = [row.source if colour == "source" else row.meta.get(colour.partition(":")[2]) for row in ROWS]
        assert sum(legend.counts) + legend.missing == count
        assert legend.missing == sum(value is None for value in own) == (numbers == NONE).sum()
        assert len({(number, value) for number, value in zip(numbers.tolist(), own, strict=True)}) == len(set(own))


def test_a_scale_goes_from_low_to_high_and_two_sides_meet_at_zero():
    def table(values):
        ids = [f"r{place}" for place in range(len(values))]
        text = {"prompt": "", "completion": "", "source": "a", "line": 1, "meta": "{}"}
        return RowTable(ids, dict.fromkeys(ids, text), {("loss", "loss"): values})

    numbers, legend = coloured(table([0.0, 1.0, 2.0, float("nan")]), "loss")
    assert (legend.kind, legend.missing, numbers.tolist()) == ("scale", 1, [0, (STEPS - 1) // 2, STEPS - 1, NONE])
    numbers, legend = coloured(table([-1.0, 0.0, 4.0]), "loss")
    assert legend.kind == "sides"
    assert numbers[1] == (STEPS - 1) // 2 > numbers[0] > 0
    assert coloured(table([3.0, 3.0]), "loss")[0].tolist() == [127, 127]
    assert coloured(table([float("nan")]), "loss")[0].tolist() == [NONE]


def test_rare_files_share_a_colour():
    texts = {
        f"r{place}": {"prompt": "", "completion": "", "source": f"f{place % 10}", "line": 1, "meta": None}
        for place in range(25)
    }
    numbers, legend = coloured(RowTable(list(texts), texts, {}), "source")
    assert legend.labels[CLASSES] == "3 others"
    assert sum(legend.counts) == 25
    assert (numbers == CLASSES).sum() == legend.counts[CLASSES]


def test_rows_that_are_pointed_at(client):
    found = client.get("/map/rows?places=0,64").json()
    assert [one["id"] for one in found] == [ROWS[0].id, ROWS[64].id]
    assert client.get(found[1]["link"]).status_code == 200
    for places_asked in ("70", "-1", "a", "1,²", ",".join(["1"] * 51)):
        assert client.get("/map/rows", params={"places": places_asked}).status_code == 400
    assert client.get("/map/points?colour=nothing").status_code == 400
