import os
import ssl
import subprocess
from pathlib import Path

import pytest

from jettison.configuration import Configuration, for_folder, read_configuration
from jettison.configuration.ciphers import CIPHER_SUITES, TLS_1_3
from jettison.configuration.keys import KEYS
from jettison.configuration.settings import (
    ALGORITHMS,
    AccessRule,
    Debug,
    Endpoint,
    FileCheck,
    Health,
    Htpasswd,
    Http,
    HttpCheck,
    Limits,
    Log,
    Notifications,
    Storage,
    StorageHealth,
    TcpCheck,
    Tls,
    Token,
    UploadPurging,
)
from jettison.configuration.variables import split_variable
from jettison.errors import ConfigurationError
from tests.configuration.reader import MINIMAL, Reader
from tests.support.missing import need
from tests.support.registry import RegistryFactory


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "config.yml")


def test_defaults_are_distributions(read: Reader) -> None:
    found = read()
    assert found == Configuration(Storage(Path("/data")), read.path)
    assert found.storage.purging == UploadPurging(age=7 * 86400.0, interval=86400.0)
    assert found.http == Http(addr=":5000", net="tcp", host=None, prefix="/")
    assert found.health.storage == StorageHealth(enabled=False, interval=10.0, threshold=0)
    assert (found.catalog_max, found.tags_max, found.protect_references) == (1000, 1000, True)
    assert found.limits.manifest_bytes == 4 * 1024 * 1024
    assert read("log:\nhttp: {}\nhealth: {}\njettison:\n") == found


def test_a_folder_needs_no_file() -> None:
    found = for_folder(Path("/data"), "127.0.0.1:5000")
    assert found == Configuration(
        Storage(Path("/data"), delete_enabled=True), http=Http(addr="127.0.0.1:5000")
    )
    with pytest.raises(ConfigurationError, match="'nowhere' is no address"):
        for_folder(Path("/data"), "nowhere")


def test_storage_and_log(read: Reader) -> None:
    read.path.write_text(
        "version: '0.1'\nstorage:\n  filesystem:\n  delete: {enabled: yes}\n  maintenance:\n"
        "    uploadpurging: {enabled: false, age: 1h30m, interval: 90s, dryrun: on}\n"
        "    readonly: {enabled: true}\nloglevel: debug\n"
        "log: {formatter: JSON, fields: {build: 012, live: yes}, accesslog: {disabled: true}}\n",
        encoding="utf-8",
    )
    found = read_configuration(read.path, {}, "serving")
    purging = UploadPurging(enabled=False, age=5400.0, interval=90.0, dry_run=True)
    root = Path("/var/lib/registry")
    assert found.storage == Storage(root, delete_enabled=True, readonly=True, purging=purging)
    fields = {"build": "012", "live": "yes"}
    assert found.log == Log("debug", "json", fields, access_disabled=True)
    assert read("loglevel: debug\nlog: {level: ERROR}\n").log == Log("error")


def test_http(read: Reader) -> None:
    found = read(
        "http:\n  addr: '[::1]:443'\n  host: https://registry.example:5000/\n"
        "  prefix: my/registry\n"
        "  relativeurls: true\n  draintimeout: 1m\n  headers: {X-A: [b, c], X-N: [012]}\n"
        "  tls: {certificate: c, key: k, clientcas: [a, b], minimumtls: tls1.3}\n"
        "  debug: {addr: 'localhost:5001', prometheus: {enabled: true, path: m}}\n"
    ).http
    assert found == Http(
        addr="[::1]:443",
        host="https://registry.example:5000",
        prefix="/my/registry/",
        relative_urls=True,
        drain_timeout=60.0,
        headers={"X-A": ("b", "c"), "X-N": ("012",)},
        tls=Tls(
            *(Path("c"), Path("k"), (Path("a"), Path("b"))),
            client_auth="require-and-verify-client-cert",
            minimum_version="tls1.3",
        ),
        debug=Debug("localhost:5001", prometheus=True, prometheus_path="/m"),
    )
    assert read("http: {net: unix, addr: /run/registry.sock}\n").http == Http(
        addr="/run/registry.sock", net="unix"
    )
    assert read("http: {draintimeout: 0}\n").http.drain_timeout == 0
    tls = read("http: {tls: {certificate: c, key: k, clientauth: request-client-cert}}\n").http.tls
    assert tls == Tls(Path("c"), Path("k"))


def test_cipher_suites_are_openssls(read: Reader) -> None:
    def tls(suites: list[str]) -> Tls:
        found = read(
            f"http: {{tls: {{certificate: c, key: k, ciphersuites: {suites}}}}}\n"
        ).http.tls
        assert found is not None
        return found

    assert tls([]).openssl_ciphers is None
    every = tls([*CIPHER_SUITES, *TLS_1_3])
    assert every.minimum_version == "tls1.2"
    assert every.openssl_ciphers is not None
    for name in every.openssl_ciphers.split(":"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(name)
        assert name in {cipher["name"] for cipher in context.get_ciphers()}
    only = tls(sorted(TLS_1_3))
    assert (only.openssl_ciphers, only.minimum_version) == (None, "tls1.3")


def test_logins(read: Reader) -> None:
    assert read("auth: {htpasswd: {realm: r, path: p}}\n").auth == Htpasswd("r", Path("p"))
    assert read("auth: none\n").auth is read("auth: {}\n").auth is read("auth:\n").auth is None
    token = "realm: 'https://t.example/token', service: s, issuer: i"
    assert read(f"auth: {{token: {{{token}, rootcertbundle: c}}}}\n").auth == Token(
        "https://t.example/token", "s", "i", Path("c"), signing_algorithms=ALGORITHMS
    )
    found = read(
        f"auth: {{token: {{{token}, jwks: j, autoredirect: true, autoredirectpath: /t,"
        " signingalgorithms: [ES256, HS256]}}\n"
    )
    assert found.auth == Token(
        *("https://t.example/token", "s", "i"),
        jwks=Path("j"),
        signing_algorithms=("ES256",),
        autoredirect=True,
        autoredirect_path="/t",
    )
    assert found.warnings == (
        "auth.token.signingalgorithms has HS256: tokens signed so are never accepted",
    )


def test_notifications(read: Reader) -> None:
    found = read(
        "notifications:\n  events: {includereferences: true}\n  endpoints:\n"
        "  - {name: a, url: 'http://u:hunter2@h/x', timeout: 500000000, threshold: 0,\n"
        "     backoff: 2s,\n"
        "     headers: {Authorization: [Bearer hunter2]}, ignoredmediatypes: [t/a],\n"
        "     ignore: {mediatypes: [t/b, t/a], actions: [pull]}}\n"
        "  - {name: b, url: 'http://h/', disabled: true}\n"
    ).notifications
    first = Endpoint(
        name="a",
        url="http://u:hunter2@h/x",
        headers={"Authorization": ("Bearer hunter2",)},
        timeout=0.5,
        backoff=2.0,
        ignored_media_types=("t/a", "t/b"),
        ignored_actions=("pull",),
    )
    assert found == Notifications(
        (first, Endpoint(name="b", url="http://h/", disabled=True)), include_references=True
    )
    assert "hunter2" not in repr(found)
    assert "http://…@h/x" in repr(found)


def test_health(read: Reader) -> None:
    found = read(
        "health:\n  storagedriver: {enabled: true, interval: 1s, threshold: 3}\n"
        "  file: [{file: /f, interval: 2s}]\n"
        "  http: [{uri: 'http://h/?k=hunter2', headers: {A: [hunter2]}, statuscode: 204}]\n"
        "  tcp: [{addr: 'h:1', timeout: 3s, threshold: 2}]\n"
    ).health
    assert found == Health(
        StorageHealth(enabled=True, interval=1.0, threshold=3),
        (FileCheck(Path("/f"), 2.0),),
        (HttpCheck("http://h/?k=hunter2", 204, {"A": ("hunter2",)}),),
        (TcpCheck("h:1", 3.0, threshold=2),),
    )
    assert "hunter2" not in repr(found)


def test_pages(read: Reader) -> None:
    found = read("catalog: {maxentries: 7}\ntags: {maxtags: 8}\n")
    assert (found.catalog_max, found.tags_max) == (7, 8)
    found = read("catalog: {maxentries: -1}\ntags: {maxtags: 0}\n")
    assert (found.catalog_max, found.tags_max) == (1000, 1000)


@pytest.mark.parametrize(
    ("section", "permitted"),
    [
        ("", ""),
        ("{disabled: true}", "abc"),
        ("{manifests: {urls: {allow: ['//a', '//b']}}}", "ab"),
        ("{manifests: {urls: {deny: ['//a']}}}", "bc"),
        ("{manifests: {urls: {allow: ['//[ab]'], deny: ['//a']}}}", "b"),
    ],
)
def test_urls_that_a_manifest_may_name(read: Reader, section: str, permitted: str) -> None:
    rules = read(f"validation: {section}\n").urls
    assert "".join(host for host in "abc" if rules.permits(f"https://{host}/x")) == permitted


def test_ours(read: Reader) -> None:
    found = read(
        "jettison:\n  protect_references: false\n  workers: 2\n  access:\n"
        "  - {users: ['*', no], repositories: [a/*], actions: [pull]}\n"
        "  - {users: [012], repositories: ['*'], actions: [admin, push, delete]}\n"
        "  limits: {manifest_bytes: 1MiB, header_bytes: 4096, body_timeout: 5s, connections: 9}\n"
    )
    assert (found.protect_references, found.workers) == (False, 2)
    assert found.access == (
        AccessRule(("*", "no"), ("a/*",), frozenset({"pull"})),
        AccessRule(("012",), ("*",), frozenset({"admin", "push", "overwrite", "delete"})),
    )
    assert found.limits == Limits(1024**2, 4096, body_timeout=5.0, connections=9)
    assert found.warnings == (
        "jettison.access names '012', 'no', and without auth nobody has a name",
    )


def test_overwriting_is_part_of_pushing_until_a_rule_speaks_of_it(read: Reader) -> None:
    start = (
        "jettison:\n  access:\n"
        "  - {users: ['*'], repositories: ['*'], actions: [pull, push]}\n"
        "  - {users: [anonymous], repositories: ['*'], actions: [pull]}\n"
    )
    found = read(start).access
    assert [sorted(rule.actions) for rule in found] == [["overwrite", "pull", "push"], ["pull"]]
    named = "  - {users: ['*'], repositories: [latest/*], actions: [overwrite]}\n"
    found = read(start + named).access
    assert [sorted(rule.actions) for rule in found] == [["pull", "push"], ["pull"], ["overwrite"]]


def test_variables(read: Reader) -> None:
    found = read(
        "http: {addr: ':1'}\n",
        {
            "REGISTRY_HTTP_ADDR": ":2",
            "REGISTRY_HTTP_HEADERS": "{X-A: [b]}",
            "REGISTRY_STORAGE_DELETE_ENABLED": "yes",
            "REGISTRY_AUTH": "htpasswd",
            "REGISTRY_AUTH_HTPASSWD_REALM": "0123",
            "REGISTRY_AUTH_HTPASSWD_PATH": "/p",
            "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL": "http://h/",
            "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_IGNORE_ACTIONS_0": "pull",
            "REGISTRY_JETTISON_PROTECT_REFERENCES": "false",
            "REGISTRY_JETTISON_LIMITS_MANIFEST_BYTES": "1MiB",
            "REGISTRY_JETTISON_ACCESS_0": "{users: [a], repositories: [b], actions: [pull]}",
            "REGISTRY_JETTISON_ACCESS_0_ACTIONS_1": "push",
            "REGISTRY_CONFIGURATION_PATH": "/elsewhere",
            "REGISTRY_AUTH_FILE": "/the/containers/tools/own",
            "HOME": "/root",
        },
    )
    assert (found.http.addr, found.http.headers) == (":2", {"X-A": ("b",)})
    assert found.storage.delete_enabled
    assert found.auth == Htpasswd("0123", Path("/p"))
    [endpoint] = found.notifications.endpoints
    assert endpoint == Endpoint(name="", url="http://h/", ignored_actions=("pull",))
    assert not found.protect_references
    assert found.limits.manifest_bytes == 1024**2
    assert found.access == (AccessRule(("a",), ("b",), frozenset({"pull", "push", "overwrite"})),)
    assert found.warnings == ()


def test_unknown_variables_are_not_even_parsed(read: Reader) -> None:
    # Kubernetes sets some of these for a service called registry.
    found = read("", {"REGISTRY_PORT": "{", "REGISTRY_HTTP_ADR": "*hunter2", "REGISTRY_": "x"})
    none = "is not known and has no effect"
    assert found.warnings == (
        f"the variable REGISTRY_ {none}",
        f"the variable REGISTRY_HTTP_ADR {none}; did you mean REGISTRY_HTTP_ADDR?",
        f"the variable REGISTRY_PORT {none}",
    )


def test_every_key_has_a_variable() -> None:
    # Distribution parts those two as well, so that no variable sets them there.
    for name in KEYS.keys() - {"storage.azure.max_retries", "storage.azure.retry_delay"}:
        parts = name.replace("[]", ".0").replace("*", "x").split(".")
        assert split_variable("_".join(parts)) == parts


@pytest.mark.parametrize("word", ["true", "yes", "on", "y", "TRUE", "no", "off", "false"])
def test_docker_registry_takes_the_same_words_for_true(
    registry_factory: RegistryFactory, read: Reader, word: str
) -> None:
    enabled = read("", {"REGISTRY_STORAGE_DELETE_ENABLED": word}).storage.delete_enabled
    registry = registry_factory(delete=None)
    found = read_configuration(registry.config, {}, "serving")
    assert found.warnings == ()
    assert not found.storage.delete_enabled
    text = registry.config.read_text(encoding="utf-8")
    written = text.replace("storage:\n", f"storage:\n  delete:\n    enabled: {word}\n", 1)
    assert written != text
    registry.config.write_text(written, encoding="utf-8")
    registry.restart()
    status = registry.request("DELETE", f"/v2/a/manifests/sha256:{'0' * 64}").status
    assert (status != 405) is enabled
    assert read_configuration(registry.config, {}, "serving").storage.delete_enabled is enabled


@pytest.mark.parametrize("variable", ["REGISTRY_STORAGE_PATH", "REGISTRY_AUTH_LDAP_REALM"])
def test_docker_registry_refuses_a_variable_of_an_unknown_driver_or_login_too(
    tmp_path: Path, read: Reader, variable: str
) -> None:
    need("docker-registry")
    assert f"(set by {variable})" in read.error("", {variable: "x"})
    read.path.write_text(
        f"{MINIMAL}http: {{addr: '127.0.0.1:0'}}\n".replace("/data", str(tmp_path))
    )
    done = subprocess.run(
        ["docker-registry", "serve", str(read.path)],
        env=os.environ | {variable: "x"},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0


def test_what_only_a_collection_needs_keeps_no_server_from_starting(read: Reader) -> None:
    found = read("redis: {addr: cache}\n", {"REGISTRY_STORAGE_CACHE": "memcached"})
    assert found.storage.cache is None
    with pytest.raises(ConfigurationError, match="2 keys cannot be used"):
        read_configuration(read.path, {"REGISTRY_STORAGE_CACHE": "memcached"})
