"""Which proxy is used for which address, as Go and curl decide it; and that it is used."""

import asyncio

import pytest
from yarl import URL

from jettison.client import ClientOptions, Proxies
from jettison.errors import ConfigurationError, Unreachable
from tests.client.conftest import Connect
from tests.client.scripted import Answer, Scripted

PROXY = URL("http://proxy.example:3128")


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "http://h.example/", None),
        ({"HTTP_PROXY": "http://proxy.example:3128"}, "http://h.example/", PROXY),
        ({"HTTP_PROXY": "http://proxy.example:3128"}, "https://h.example/", None),
        ({"https_proxy": "proxy.example:3128"}, "https://h.example/", PROXY),
        ({"ALL_PROXY": "http://proxy.example:3128"}, "https://h.example/", PROXY),
        ({"all_proxy": "x:1", "http_proxy": "proxy.example:3128"}, "http://h.example/", PROXY),
        ({"HTTP_PROXY": "x:1", "http_proxy": "proxy.example:3128"}, "http://h.example/", PROXY),
    ],
)
def test_variables(variables: dict[str, str], url: str, expected: URL | None) -> None:
    assert Proxies.of_environment(variables).proxy_for(URL(url)) == expected


@pytest.mark.parametrize(
    ("exceptions", "host", "direct"),
    [
        ("", "h.example", False),
        ("*", "h.example", True),
        ("h.example", "h.example", True),
        ("H.example.", "h.EXAMPLE", True),
        ("example", "h.example", True),
        ("other, example", "h.example", True),
        ("xample", "h.example", False),
        (".example", "h.example", True),
        (".h.example", "h.example", False),
        ("*.example", "h.example", True),
        ("h.example:5000", "h.example:5000", True),
        ("h.example:5001", "h.example:5000", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("fd00::/8", "[fd00::1]:5000", True),
        ("[fd00::1]", "[fd00::1]:5000", True),
        # Never by a proxy, whatever the variables say.
        ("", "localhost:5000", True),
        ("", "registry.localhost", True),
        ("", "127.0.0.1:5000", True),
        ("", "[::1]:5000", True),
    ],
)
def test_exceptions(exceptions: str, host: str, direct: bool) -> None:
    proxies = Proxies.of_environment({"HTTP_PROXY": str(PROXY), "NO_PROXY": exceptions})
    assert (proxies.proxy_for(URL(f"http://{host}/v2/")) is None) == direct


@pytest.mark.parametrize("proxy", ["socks5://me:pw@h:1", "http://", "ftp://x"])
def test_what_is_no_http_proxy(proxy: str) -> None:
    proxies = Proxies.of_environment({"ALL_PROXY": proxy})
    with pytest.raises(ConfigurationError) as caught:
        proxies.proxy_for(URL("https://h.example"))
    assert "pw" not in caught.value.message + (caught.value.hint or "") + repr(proxies)


async def test_a_registry_behind_a_proxy(server: Scripted, connect: Connect) -> None:
    proxies = Proxies(http=f"http://me:secret@{server.host}")
    registry = connect("registry.invalid:5000", ClientOptions(plain_http=True, proxies=proxies))
    server.on("GET", "http://registry.invalid:5000/v2/", Answer(body="{}"))
    assert await registry.ping() == "none"
    assert server.sent("Proxy-Authorization") == ["Basic bWU6c2VjcmV0"]
    server.on("GET", "http://registry.invalid:5000/v2/", Answer(407, "no"))
    other = connect("registry.invalid:5000", ClientOptions(plain_http=True, proxies=proxies))
    with pytest.raises(Unreachable, match=f"the proxy http://{server.host}") as caught:
        await other.ping()
    assert "secret" not in caught.value.message + (caught.value.hint or "")


async def test_a_proxy_that_is_not_there_is_what_is_blamed(connect: Connect) -> None:
    probe = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    for scheme in ("http", "https"):
        proxies = Proxies(**{scheme: f"http://me:secret@127.0.0.1:{port}"})
        options = ClientOptions(plain_http=scheme == "http", proxies=proxies)
        with pytest.raises(Unreachable) as caught:
            await connect("registry.invalid:5000", options).ping()
        expected = f"cannot reach the proxy http://127.0.0.1:{port}: connection refused"
        assert caught.value.message == expected


async def test_a_proxy_that_refuses_to_connect(server: Scripted, connect: Connect) -> None:
    server.on("CONNECT", "registry.invalid:5000", Answer(403, "no"))
    options = ClientOptions(proxies=Proxies(https=f"http://{server.host}"))
    with pytest.raises(Unreachable, match="refuses to connect: 403"):
        await connect("registry.invalid:5000", options).ping()


async def test_names_below_localhost_are_here(server: Scripted, connect: Connect) -> None:
    registry = connect(f"registry.localhost:{server.port}")
    assert await registry.ping() == "none"
    assert server.sent("Host") == [f"registry.localhost:{server.port}"]
