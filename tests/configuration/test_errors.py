import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jettison.configuration import (
    read_configuration,
)
from jettison.configuration.keys import KEYS
from jettison.errors import ConfigurationError, JettisonError, StorageError
from tests.configuration.reader import Reader

TOKEN = "realm: 'http://t/', service: s, issuer: i, jwks: j"


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "config.yml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http: 5", "http is 5. It needs keys below it."),
        ("http: {addr: 5000}", "http.addr is '5000'. It is HOST:PORT"),
        ("http: {addr: [a]}", "http.addr is a list. It is a text."),
        ("http: {addr: 'h:65536'}", "http.addr is 'h:65536'"),
        ("http: {net: udp}", "http.net is the text 'udp'. Allowed are tcp and unix."),
        ("http: {net: unix}", "http.addr is missing. With net: unix"),
        ("http: {host: 'registry:5000'}", "http.host is no URL of http or https"),
        ("http: {prefix: '/a?b'}", "http.prefix is '/a?b'. It is the path of a URL"),
        ("http: {draintimeout: 1d}", "http.draintimeout is the text '1d'. It is a duration"),
        ("http: {draintimeout: 1.5}", "http.draintimeout is 1.5. It is a duration"),
        ("http: {draintimeout: -1s}", "http.draintimeout is the text '-1s'"),
        ("http: {relativeurls: 'yes'}", "http.relativeurls is the text 'yes'. It is true or false"),
        ("http: {headers: {A: b}}", "http.headers.A is a text. It is a list of texts"),
        ("http: {headers: {'A b': [b]}}", "http.headers has the name the text 'A b'"),
        ('http: {headers: {A: ["b\\r\\nC: d"]}}', "http.headers.A holds a control sign"),
        ("http: {tls: {certificate: c}}", "http.tls.key is missing"),
        ("http: {tls: {clientcas: [a]}}", "http.tls.certificate is missing"),
        (
            "http: {tls: {certificate: c, key: k, minimumtls: tls1.0}}",
            "http.tls.minimumtls is older than TLS 1.2",
        ),
        (
            "http: {tls: {certificate: c, key: k, minimumtls: ssl3}}",
            "http.tls.minimumtls is the text 'ssl3'. Allowed are tls1.2 and tls1.3.",
        ),
        (
            "http: {tls: {certificate: c, key: k, clientcas: [a], clientauth: none}}",
            "http.tls.clientauth is the text 'none'",
        ),
        (
            "http: {tls: {certificate: c, key: k, clientauth: require-any-client-cert}}",
            "proves nothing",
        ),
        (
            "http: {tls: {certificate: c, key: k, ciphersuites: [TLS_RSA_WITH_RC4_128_SHA]}}",
            "http.tls.ciphersuites[0] names a suite that is no longer safe",
        ),
        (
            "http: {tls: {certificate: c, key: k, ciphersuites: [AES128-SHA]}}",
            "http.tls.ciphersuites[0] is unknown: 'AES128-SHA'",
        ),
        ("http: {tls: {letsencrypt: {email: e}}}", "http.tls.letsencrypt is not supported"),
        ("http: {debug: {addr: here}}", "http.debug.addr is 'here'"),
        ("log: {level: trace}", "log.level is the text 'trace'. Allowed are error, warn, info and"),
        ("log: {formatter: xml}", "log.formatter is the text 'xml'. Allowed are text, json and"),
        ("log: {fields: {a: [b]}}", "log.fields.a is a list. It is a text."),
        ("auth: {htpasswd: {}}", "auth.htpasswd.path is missing"),
        ("auth: {htpasswd: {realm: r}}", "auth.htpasswd.path is missing"),
        ("auth: {htpasswd: {path: p}}", "auth.htpasswd.realm is missing"),
        ("auth: {token: {realm: 'http://t/', service: s, issuer: i}}", "rootcertbundle is missing"),
        ("auth: {token: {realm: t, service: s, issuer: i, jwks: j}}", "auth.token.realm is no URL"),
        (
            f"auth: {{token: {{{TOKEN}, signingalgorithms: [HS256]}}}}",
            "auth.token.signingalgorithms has only algorithms with a shared secret",
        ),
        (
            f"auth: {{token: {{{TOKEN}, signingalgorithms: [none]}}}}",
            "auth.token.signingalgorithms[0] is 'none'",
        ),
        ("auth: {token: {}, htpasswd: {}}", "auth names 'htpasswd' and 'token'. Exactly one"),
        ("auth: {silly: {realm: r, service: s}}", "auth.silly is not supported"),
        ("auth: silly", "auth.silly is not supported"),
        ("auth: ldap", "auth names the unknown kind 'ldap'. Allowed are htpasswd, token, none."),
        ("auth: [htpasswd]", "auth is a list. It needs keys below it."),
        ("notifications: {endpoints: {url: u}}", "notifications.endpoints is a section. It is a"),
        ("notifications: {endpoints: [~]}", "notifications.endpoints[0] is nothing"),
        ("notifications: {endpoints: [{name: a}]}", "notifications.endpoints[0].url is missing"),
        ("notifications: {endpoints: [{url: a}]}", "notifications.endpoints[0].url is no URL"),
        ("health: {tcp: [{addr: ':1'}]}", "health.tcp[0].addr is ':1'. A check needs a host"),
        ("health: {http: [{uri: 'http://h', statuscode: 99}]}", "[0].statuscode is 99. It is a"),
        ("health: {file: [{interval: 1s}]}", "health.file[0].file is missing"),
        ("health: {storagedriver: {interval: -1s}}", "health.storagedriver.interval is the text"),
        ("catalog: {maxentries: x}", "catalog.maxentries is the text 'x'. It is a whole number"),
        ("catalog: {maxentries: true}", "catalog.maxentries is True. It is a whole number"),
        ("validation: {manifests: {urls: {allow: ['(']}}}", "urls.allow[0] is no regular"),
        ("validation: {manifests: {urls: {deny: ['[[:alpha:]]']}}}", "Go has its own meaning"),
        ("validation: {manifests: {indexes: {platforms: none}}}", "platforms is not supported"),
        ("proxy: {remoteurl: 'https://hub.example'}", "proxy.remoteurl is not supported"),
        ("proxy: 'https://hub.example'", "proxy is a text. It needs keys below it."),
        ("middleware: {storage: [{name: cloudfront}]}", "middleware is not supported"),
        ("policy: {repository: {classes: [image]}}", "policy.repository.classes is not supported"),
        ("compatibility: {schema1: {enabled: true}}", "schema1.enabled is not supported"),
        ("jettison: {access: []}", "jettison.access has no rule"),
        ("jettison:\n  access:\n  # - {users: [a]}", "jettison.access has no rule"),
        ("auth: {5: {}}", "auth has a key that is no text"),
        ("auth: {no: {}}", "auth has a key that is no text"),
        ('http: {tls: {certificate: c, key: k, clientcas: ["a\\0"]}}', "holds a NUL character"),
        ('http: {tls: {certificate: "c\\0", key: k}}', "http.tls.certificate holds a NUL"),
        ('http: {net: unix, addr: "s\\0"}', "http.addr holds a NUL"),
        ("jettison: {access: {users: [a]}}", "jettison.access is a section. It is a list."),
        (
            "jettison: {access: [{users: [a], actions: [pull]}]}",
            "jettison.access[0].repositories is missing",
        ),
        (
            "jettison: {access: [{users: a, repositories: [b], actions: [pull]}]}",
            "jettison.access[0].users is the text 'a'. It is a list of texts",
        ),
        (
            "jettison: {access: [{users: [a], repositories: [b], actions: [pull, destroy]}]}",
            "access[0].actions[1] is 'destroy'. Allowed are pull, push, overwrite, delete, admin.",
        ),
        ("jettison: {limits: {manifest_bytes: 4}}", "jettison.limits.manifest_bytes is 4. It is a"),
        ("jettison: {limits: {manifest_bytes: 4TiB}}", "manifest_bytes is the text '4TiB'"),
        ("jettison: {limits: {body_timeout: 60}}", "jettison.limits.body_timeout is 60. It is a"),
        ("jettison: {limits: {body_timeout: 0s}}", "jettison.limits.body_timeout is the text '0s'"),
        ("jettison: {workers: 0}", "jettison.workers is 0. It is a whole number, 1 to 256."),
    ],
)
def test_errors_say_the_key_what_was_found_and_what_is_allowed(
    read: Reader, text: str, said: str
) -> None:
    assert said in read.error(text + "\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("storage: {filesystem: }\n", "version is missing"),
        ("version: 0.2\nstorage: {filesystem: }\n", "version is 0.2. Only 0.1 is known."),
        ("version: 0.1\n", "storage names no driver"),
        ("version: 0.1\nstorage: 5\n", "storage is 5. It needs keys below it."),
        ("version: 0.1\nstorage: {s3: {bucket: b}}\n", "storage.s3.region is missing"),
        ("version: 0.1\nstorage: inmemory\n", "storage.inmemory is not supported: only the"),
        ("version: 0.1\nstorage: {filesystem: , s3: {}}\n", "'filesystem' and 's3'"),
        ("version: 0.1\nstorage: {floppy: {}}\n", "unknown driver 'floppy'"),
    ],
)
def test_a_storage_that_cannot_be_served(read: Reader, text: str, said: str) -> None:
    read.path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(read.path, {}, "serving")
    assert said in f"{caught.value.message}. {caught.value.hint}"


def test_everything_that_is_wrong_is_said_at_once(read: Reader) -> None:
    said = read.error("http: {addr: x, net: udp, tls: 5}\nlog: {level: y}\nproxy: {remoteurl: z}\n")
    heading, *lines = said.splitlines()
    assert heading == "5 keys cannot be used:"
    keys = {line.split()[0] for line in lines}
    assert keys == {"proxy.remoteurl", "http.tls", "http.net", "http.addr", "log.level"}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_configuration(tmp_path / "nowhere.yml", {}, "serving")


def test_unknown_and_ignored_keys_are_warned_of(read: Reader) -> None:
    found = read(
        "jettison: {protect_refrences: false, ignore: [htp, HTTP, '5', htpasswd, \"a b\\n\"]}\n"
        "htp: {addr: x}\nHTTP: {}\nlog: {levle: debug, hooks: [{type: mail}]}\n5: x\n"
        "reporting: {newrelic: {licensekey: hunter2}}\nredis: {addr: 'c:1', password: hunter2}\n"
        "htpasswd: {}\n"
        "notifications: {endpoints: [{url: 'http://h/', a: 1}]}\n"
        "http: {draintimeout: 10, h2c: {enabled: true}, secret: hunter2}\n"
        '"a b\\n": hunter2\n'
    )
    none = "is not known and has no effect"
    assert set(found.warnings) == {
        f"htp {none}; did you mean http?",
        f"HTTP {none}; did you mean http?",
        f"log.levle {none}; did you mean log.level?",
        f"htpasswd {none}; did you mean auth.htpasswd?",
        f"5 {none}",
        f"'a b\\n' {none}",
        f"jettison.protect_refrences {none}; did you mean jettison.protect_references?",
        f"notifications.endpoints[0].a {none}",
        "log.hooks is not supported: no mail is sent; the log goes to standard error",
        "reporting is not supported: no errors are sent elsewhere",
        f"redis is not supported: {KEYS['redis'].reason}",
        "http.h2c is not supported: only HTTP/1.1 is spoken",
        "http.draintimeout is 10 nanoseconds; 10s would be seconds",
    }


@pytest.mark.parametrize(
    "text",
    [
        "proxy: {remoteurl: '', username: '', password: hunter2}",
        "middleware: {}",
        "middleware: {storage: []}",
        "policy: {repository: {classes: []}}",
        "compatibility: {schema1: {enabled: false}}",
        "validation: {manifests: {indexes: {platforms: All, platformlist: [{os: linux}]}}}",
        "http: {secret: hunter2, http2: {disabled: false}, tls: {letsencrypt: {hosts: []}}}",
        "reporting:",
        "log: {hooks: []}",
    ],
)
def test_what_asks_for_nothing_is_not_mentioned(read: Reader, text: str) -> None:
    assert read(text + "\n").warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        "http: {host: 'https://u:hunter2@h'}",
        "http: {headers: {A: hunter2}}",
        "http: {headers: {A: [[hunter2]]}}",
        'http: {headers: {A: ["hunter2\\n"]}}',
        "auth: {token: {realm: 'u:hunter2@h', service: s, issuer: i, jwks: j}}",
        "notifications: 'http://u:hunter2@h'",
        "notifications: {endpoints: 'http://u:hunter2@h'}",
        "notifications: {endpoints: ['http://u:hunter2@h']}",
        "notifications: {endpoints: [{url: 'ftp://u:hunter2@h'}]}",
        "notifications: {endpoints: [{url: [hunter2]}]}",
        "notifications: {endpoints: [{url: 'http://h', headers: hunter2}]}",
        "notifications: {endpoints: [{url: 'http://h', headers: {A: hunter2}}]}",
        "health: {http: [{uri: 'hunter2'}]}",
        "health: {http: ['http://u:hunter2@h']}",
        "proxy: 'https://u:hunter2@h'",
        "proxy: {remoteurl: 'https://u:hunter2@h', password: hunter2}",
        "middleware: {storage: [{name: cloudfront, options: {privatekey: hunter2}}]}",
        "redis: {password: *hunter2}",
        "http: {secret: !hunter2 x}",
    ],
)
def test_a_secret_is_in_no_error(read: Reader, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text + "\n")
    assert "hunter2" not in f"{caught.value!r} {caught.value.message} {caught.value.hint}"
    assert caught.value.__cause__ is None


SCALARS = st.sampled_from(
    [
        *("5", "-1", "1.5", ".inf", ".nan", "yes", "~", "''", "168h", "9999999999h", "=", "<<"),
        *("2024-01-02", "2024-13-45", "!!binary x", "!!int x", "!foo x", "*nobody", "1e400"),
        *("[]", "{}", "[a]", "{a: b}", "&a [*a]", "&b {x: *b}", "!!set {a}", "!!omap [a: 1]"),
        *(
            "{? [a]: b}",
            "{1: 2, ~: 4}",
            "{0x" + "f" * 5000 + ": 1}",
            '"\\0"',
            "'('",
            "'http://[x'",
            "'http://h:99999/'",
        ),
        *("0x" + "f" * 5000, "9" * 5000, "'" + "9" * 30 + "h'", "'٣s'", "':5000'", "tls1.2"),
    ]
)


def written(tree: dict[str, Any]) -> str:
    def flow(value: Any) -> str:
        if isinstance(value, str):
            return value
        if value.keys() == {"[]"}:
            return f"[{flow(value['[]'])}]"
        return "{" + ", ".join(f"{k}: {flow(v)}" for k, v in value.items() if k != "[]") + "}"

    return flow(tree)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Documents of known keys, most of them with values that do not fit."""
    tree: dict[str, Any] = {"version": "0.1", "storage": {"filesystem": "{}"}}
    for name in draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=8)):
        inner: Any = tree
        *parents, last = name.replace("[]", ".[]").replace("*", "X-A").split(".")
        for part in parents:
            inner = inner.setdefault(part, {}) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[last] = draw(SCALARS)
    return written(tree)


@example(b"{version: 0.1, storage: {filesystem: {}}, jettison: {ignore: {}}}", {})
@given(
    content=documents().map(str.encode)
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(),
    environment=st.dictionaries(
        st.sampled_from(sorted(KEYS)).map(
            lambda name: "REGISTRY_" + re.sub(r"\W+", "_", name.replace("[]", "_0")).upper()
        )
        | st.text().map(lambda text: f"REGISTRY_{text}"),
        SCALARS | st.text(),
        max_size=3,
    ),
)
def test_nothing_but_our_own_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, environment: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.yml"
    path.write_bytes(content)
    try:
        repr(read_configuration(path, environment, "serving"))
    except JettisonError as error:
        said = str(error)
        assert said
