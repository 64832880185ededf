"""``jettison serve``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from jettison.cli.output import note
from jettison.errors import UsageError

__all__ = ["EXAMPLE", "serve"]

_VARIABLE = "REGISTRY_CONFIGURATION_PATH"

EXAMPLE = (
    "Example: jettison serve --root ./registry-data --addr 127.0.0.1:5000 · "
    "jettison serve /etc/docker/registry/config.yml"
)


def serve(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG.yml",
            help="Distribution's configuration file; without it, REGISTRY_CONFIGURATION_PATH "
            "names it. REGISTRY_… variables override its keys.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Serve this folder without a file: deletion enabled, no login."),
    ] = None,
    addr: Annotated[
        str | None, typer.Option(help="With --root: where to listen, HOST:PORT. [127.0.0.1:5000]")
    ] = None,
) -> None:
    """Be a registry: in place of `registry serve`, on the same configuration and storage.

    Refuses to delete what something else needs; `jettison gc` frees the space while pushes go on.
    """
    from jettison.configuration import for_folder, read_configuration
    from jettison.server.serving import serve as serve_registry

    if root is not None:
        if config is not None:
            raise UsageError("give a configuration file or --root, not both")
        configuration = for_folder(root, addr or "127.0.0.1:5000")
    elif not (config or os.environ.get(_VARIABLE)):
        hint = "For example: jettison serve --root ./registry-data --addr 127.0.0.1:5000"
        raise UsageError("give a configuration file, or a folder with --root", hint=hint)
    elif addr is not None:
        message = "--addr goes with --root; a file has http.addr"
        raise UsageError(message, hint=f"Or set REGISTRY_HTTP_ADDR={addr}.")
    else:
        path = config or Path(os.environ[_VARIABLE])
        configuration = read_configuration(path, os.environ, "serving")
    storage = configuration.storage
    where = storage.root if storage.bucket is None else storage.bucket.location
    note(f"Serving {where}; Ctrl-C ends it.")
    serve_registry(configuration, lambda url: note(f"Listening at {url}"))
