"""Whether a registry is stopped or read-only is seen on the real one."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.errors import NotQuiescent
from jettison.gc import require_quiescent
from jettison.store.configuration import Configuration, read_configuration
from support.registry import RegistryFactory, free_port


def test_a_registry_that_takes_pushes_is_not_quiescent(registry_factory: RegistryFactory) -> None:
    for deletion in (True, False):
        registry = registry_factory(delete=deletion)
        with pytest.raises(NotQuiescent, match="takes pushes") as caught:
            require_quiescent(read_configuration(registry.config, {}))
        assert "--assume-quiescent" in (caught.value.hint or "")
    registry.stop()
    require_quiescent(read_configuration(registry.config, {}))


def test_a_read_only_registry_is_quiescent(registry_factory: RegistryFactory) -> None:
    registry = registry_factory(delete=True, readonly=True)
    require_quiescent(read_configuration(registry.config, {}))
    # What the file says counts for nothing: the process was started with another.
    registry.reconfigure(readonly=False)
    text = registry.config.read_text(encoding="utf-8")
    claims = text.replace("storage:\n", "storage:\n  maintenance: {readonly: {enabled: true}}\n", 1)
    registry.config.write_text(claims, encoding="utf-8")
    configuration = read_configuration(registry.config, {})
    assert configuration.readonly
    with pytest.raises(NotQuiescent):
        require_quiescent(configuration)


def test_tls_and_a_prefix(registry_factory: RegistryFactory) -> None:
    registry = registry_factory(delete=True, readonly=True, tls=True)
    require_quiescent(read_configuration(registry.config, {}))
    registry.reconfigure(readonly=False)
    with pytest.raises(NotQuiescent):
        require_quiescent(read_configuration(registry.config, {}))


def test_a_login_hides_whether_it_is_read_only(registry_factory: RegistryFactory) -> None:
    registry = registry_factory(readonly=True, htpasswd=("user", "secret"))
    with pytest.raises(NotQuiescent):
        require_quiescent(read_configuration(registry.config, {}))


def test_without_an_address_nobody_can_look() -> None:
    with pytest.raises(NotQuiescent, match="without the registry's configuration"):
        require_quiescent(None)
    for address in (None, "5000", "unix-socket", ":nonsense"):
        configuration = Configuration(
            Path("config.yml"), None, "filesystem", readonly=True, http_addr=address
        )
        with pytest.raises(NotQuiescent, match="cannot be asked"):
            require_quiescent(configuration)


@pytest.fixture
def web_page() -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_something_else_at_the_address_is_not_taken_for_a_stopped_registry(web_page: int) -> None:
    for tls in (False, True):
        configuration = Configuration(
            Path("config.yml"), None, "filesystem", http_addr=f":{web_page}", tls=tls
        )
        with pytest.raises(NotQuiescent):
            require_quiescent(configuration, timeout=1.0)


def test_nothing_listening_is_a_stopped_registry() -> None:
    configuration = Configuration(
        Path("config.yml"), None, "filesystem", http_addr=f"localhost:{free_port()}"
    )
    require_quiescent(configuration)
