"""Whether a registry is stopped or read-only is seen on the real one."""

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.configuration import Configuration, read_configuration
from jettison.configuration.settings import Storage
from jettison.errors import NotQuiescent
from jettison.jobs.quiescence import Evidence, require_quiescent
from tests.support.registry import RegistryFactory, free_port
from tests.support.trees import NOW, OLD, Tree


def test_a_registry_that_takes_pushes_is_not_quiescent(registry_factory: RegistryFactory) -> None:
    for deletion in (True, False):
        registry = registry_factory(delete=deletion)
        with pytest.raises(NotQuiescent, match="takes pushes") as caught:
            require_quiescent(read_configuration(registry.config, {}))
        assert caught.value.again == ("--assume-quiescent",)
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
    assert configuration.storage.readonly
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


CONFIG = Path("config.yml")
ROOT = Path("/var/lib/registry")


def test_without_an_address_nobody_can_look() -> None:
    with pytest.raises(NotQuiescent, match="without the registry's configuration"):
        require_quiescent(None)
    for address in (None, "5000", "unix-socket", ":nonsense"):
        configuration = Configuration(Storage(ROOT, readonly=True), CONFIG, address=address)
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
        configuration = Configuration(Storage(ROOT), CONFIG, address=f":{web_page}", secure=tls)
        with pytest.raises(NotQuiescent):
            require_quiescent(configuration, timeout=1.0)


def test_nothing_listening_is_a_stopped_registry() -> None:
    configuration = Configuration(Storage(ROOT), CONFIG, address=f"localhost:{free_port()}")
    require_quiescent(configuration)


# What contradicts that it is stopped.


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "registry")
    made.image("app", "1", [b"layer"])
    return made


def stopped(tree: Tree, **more: Any) -> None:
    """Ask whether it is quiet, where nothing listens at the address of the configuration."""
    path = tree.root.with_name("config.yml")
    configuration = Configuration(Storage(tree.root), path, address=f"localhost:{free_port()}")
    require_quiescent(configuration, 2.0, Evidence(tree.open(), NOW, **more))


def test_an_old_tree_contradicts_nothing(tree: Tree) -> None:
    stopped(tree)


def test_a_blob_that_was_written_lately(tree: Tree) -> None:
    tree.blob(b"pushed", when=NOW - 60)
    with pytest.raises(NotQuiescent, match=r"blob .* was written") as caught:
        stopped(tree)
    assert caught.value.again == ("--assume-quiescent",)
    # A command that has just stopped it may have stopped a push.
    stopped(tree, quiesced=True)


def test_an_upload_that_moved_lately(tree: Tree) -> None:
    folder = tree.repository("app") / "_uploads" / "u"
    tree.write(folder / "data", b"some", NOW - 60)
    for path in (folder, folder.parent):
        os.utime(path, (OLD, OLD))
    with pytest.raises(NotQuiescent, match="an upload into app moved"):
        stopped(tree)


def test_an_upload_that_has_become_a_blob(tree: Tree) -> None:
    (tree.repository("app") / "_uploads").mkdir()
    with pytest.raises(NotQuiescent, match="was uploaded into app"):
        stopped(tree)


def test_an_address_at_which_it_was_used(tree: Tree, web_page: int) -> None:
    with pytest.raises(NotQuiescent, match="something answers there"):
        stopped(tree, addresses=(f"127.0.0.1:{web_page}",), quiesced=True)
    stopped(tree, addresses=(f"127.0.0.1:{free_port()}", "no address", "x:http"))


def test_a_process_that_writes_to_the_tree(tree: Tree) -> None:
    command = f"exec 3>>{tree.root}/docker/registry/v2/log; echo; read line"
    pipe = subprocess.PIPE
    with subprocess.Popen(["/bin/sh", "-c", command], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(NotQuiescent, match=f"process {process.pid} is at work: it writes"):
            stopped(tree)
        process.communicate(b"\n")
    stopped(tree)


def test_a_server_with_the_same_configuration(tree: Tree) -> None:
    command = ["/bin/sh", "-c", "echo; read line", "serve", "config.yml"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=tree.root.parent) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(NotQuiescent, match="it serves"):
            stopped(tree)
        process.communicate(b"\n")
