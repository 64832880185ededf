"""The server's reports about itself: access log, metrics, notifications and health.

``exchange`` is a request and its outcome. ``accesslog`` and ``metrics`` take it on the path of
every request, and pass it on to ``output`` and ``exposition``. ``notifications`` and ``health``
work in the background. ``debug`` answers at the second address.
"""

from jettison.server.observing.accesslog import AccessLog
from jettison.server.observing.debug import debug_app
from jettison.server.observing.exchange import ROUTES, Exchange
from jettison.server.observing.health import Health
from jettison.server.observing.metrics import Metrics
from jettison.server.observing.notifications import Event, Notifier, Referenced

__all__ = [
    "ROUTES",
    "AccessLog",
    "Event",
    "Exchange",
    "Health",
    "Metrics",
    "Notifier",
    "Referenced",
    "debug_app",
]
