"""`unweave serve`: the explorer on this machine."""

import socket
import sys
import webbrowser
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unweave import progress, terminal
from unweave.errors import ConfigError, MissingExtraError
from unweave.explorer.config import ServeConfig
from unweave.explorer.guard import require_safe

if TYPE_CHECKING:
    from unweave.explorer.workspace import Workspace


@dataclass(frozen=True)
class Served:
    """What `unweave serve` has done.

    Attributes:
        address: Where it listened; of a copy that was written, its first page.
    """

    address: str


def serve(config: ServeConfig) -> Served:
    """Open the explorer, until it is interrupted; or write a copy to read.

    Args:
        config: The options.

    Returns:
        Where it was.

    Raises:
        ConfigError: When the address is another machine's to reach and there is no token, or it is taken.
        MissingExtraError: When the packages of the explorer are not installed.
    """
    require_safe(config.host, config.token)
    try:
        import uvicorn

        from unweave.explorer.app import make_app
        from unweave.explorer.workspace import Workspace
    except ImportError as error:
        raise MissingExtraError(error.name or "fastapi", extra="explorer", purpose="The explorer") from error
    workspace = Workspace(config)
    if config.export is not None or config.space is not None:
        return _copied(workspace, config)
    app = make_app(workspace)
    listening = _listen(config.host, config.port)
    port = listening.getsockname()[1]
    address = f"http://{f'[{config.host}]' if ':' in config.host else config.host}:{port}/"
    terminal.line(f"the explorer is at {address} (Ctrl-C ends it; what it has started goes on)")
    sys.stdout.flush()
    if config.browser:
        webbrowser.open(address + (f"?token={config.token}" if config.token else ""))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
    server.run(sockets=[listening])
    return Served(address)


def _copied(workspace: "Workspace", config: ServeConfig) -> Served:
    from unweave.explorer.export import export, export_space

    written = [
        write(workspace, folder)
        for write, folder in ((export, config.export), (export_space, config.space))
        if folder is not None
    ]
    for one in written:
        if one.left_out:
            progress.say(
                f"{one.left_out:,} of the rows are left out: a page of more than {one.rows:,} is too large to open"
            )
    return Served(", ".join(str(one.page) for one in written))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        # A browser that comes before the server has begun waits.
        listening.listen()
    except OSError as error:
        raise ConfigError(
            f"The address can't be listened at: {error.strerror or error}.",
            where="`host`, `port`",
            remedy="give another `port`, or 0 for a free one",
        ) from error
    return listening
