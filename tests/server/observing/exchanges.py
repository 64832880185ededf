"""An exchange to take others from."""

from typing import Any

import msgspec

from jettison.server.observing import Exchange

PULL = Exchange(
    request_id="67ac5d52-c9fb-4c07-8154-7ebac0dfb418",
    method="GET",
    target="/v2/team/app/manifests/v1",
    route="manifest",
    repository="team/app",
    status=200,
    received=0,
    sent=396,
    started=1_795_510_830.25,
    seconds=0.00129,
    client="127.0.0.1",
    agent="curl/7.88.1",
    host="registry.example:5000",
)


def exchange(**changes: Any) -> Exchange:
    """The pull of a manifest, with some fields changed."""
    return msgspec.structs.replace(PULL, **changes)
