"""A client of the explorer, as a browser on one of its own pages asks."""

from starlette.testclient import TestClient

from unweave.explorer.app import make_app
from unweave.explorer.config import ServeConfig
from unweave.explorer.workspace import Workspace

ADDRESS = "http://127.0.0.1:8765"


def client_of(workspace):
    """A client of a new server; its workspace is at hand too."""
    client = TestClient(make_app(workspace), base_url=ADDRESS, headers={"Origin": ADDRESS})
    client.workspace = workspace
    return client


def open_explorer(folder, **options):
    """A client of a new server on the store of a folder."""
    return client_of(Workspace(ServeConfig(path=folder / "store", **options)))
