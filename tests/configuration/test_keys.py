import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jettison.configuration import read_configuration
from jettison.configuration.ciphers import CIPHER_SUITES, TLS_1_3
from jettison.configuration.keys import KEYS
from jettison.configuration.settings import ALGORITHMS, Limits
from jettison.configuration.storage import DRIVERS
from tests.configuration.reader import MINIMAL, Reader

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
HEADINGS = {
    "Supported keys": "supported",
    "Needless keys": "needless",
    "Ignored keys": "ignored",
    "Refused keys": "refused",
}


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "config.yml")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def documented(text: str) -> dict[str, tuple[str, str]]:
    """Each key in the document's tables, with its state and what is said about it."""
    found = {}
    state = ""
    for line in text.splitlines():
        if line.startswith("## "):
            state = HEADINGS.get(line.removeprefix("## "), "")
        row = re.fullmatch(r"\| `([^`]+)` \| (.+) \|", line)
        if row and state:
            assert row[1] not in found
            found[row[1]] = (state, row[2].replace("`", ""))
    return found


def test_every_key_is_documented_and_every_documented_key_exists() -> None:
    found = documented(DOCUMENT.read_text(encoding="utf-8"))
    assert {name: state for name, (state, _) in found.items()} == {
        key.name: key.state for key in KEYS.values()
    }
    for key in KEYS.values():
        if key.state != "supported":
            assert found[key.name][1] == key.reason


def test_the_comparison_sees_what_is_missing() -> None:
    text = "## Refused keys\n\n| `a.b` | why |\n## Other\n| `c` | d |\n"
    assert documented(text) == {"a.b": ("refused", "why")}


def test_the_document_lists_every_cipher_suite() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(re.findall(r"\bTLS_[A-Z0-9_]+\b", text)) == {*CIPHER_SUITES, *TLS_1_3}
    assert all(f"`{name}`" in text for name in ALGORITHMS)


def test_the_documents_examples_are_read_without_a_warning(config: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    complete, *parts = blocks
    policy = config.with_name("retention.yml")
    policy.write_text("rules: [{tags: ['*'], keep: {last: 9}, remove: rest}]", encoding="utf-8")
    complete = complete.replace("/etc/jettison/retention.yml", str(policy))
    config.write_text(complete, encoding="utf-8")
    found = read_configuration(config, {}, "serving")
    assert found.warnings == ()
    assert len(found.access) == 3
    assert found.http.tls is not None
    assert found.limits == Limits()
    login = "auth: {htpasswd: {realm: r, path: p}}\n"
    assert len(parts) == 2
    for part in parts:
        config.write_text(MINIMAL + login + part, encoding="utf-8")
        found = read_configuration(config, {}, "serving")
        assert found.warnings == ()
        assert found.access


def test_the_complete_example_has_every_supported_key(config: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    example: Any = YAML(typ="safe", pure=True).load(
        re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    )

    def names(value: Any, name: str = "") -> set[str]:
        if isinstance(value, dict):
            return set().union(*(names(v, f"{name}.{k}".lstrip(".")) for k, v in value.items()))
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return set().union(*(names(item, f"{name}[]") for item in value))
        return {re.sub(r"(headers|fields)\.[^.]+$", r"\1.*", name)}

    supported = {key.name for key in KEYS.values() if key.state == "supported"}
    left_out = {name for name in supported if name.startswith(("auth.token.", "auth.none"))}
    left_out |= {
        name for name in supported if re.match(r"health\.\w+\[\]\.(interval|thr|hea)", name)
    }
    buckets = ("storage.azure.", "storage.gcs.", "storage.s3.")
    left_out |= {name for name in supported if name.startswith(buckets)}
    left_out |= {"loglevel", "validation.disabled", "http.net", "http.tls.ciphersuites"}
    left_out |= {
        "notifications.endpoints[].disabled",
        "notifications.endpoints[].ignoredmediatypes",
    }
    assert names(example) == supported - left_out


def test_every_driver_has_its_row() -> None:
    unsupported = DRIVERS - {"azure", "filesystem", "gcs", "s3", "s3aws"}
    assert {f"storage.{driver}" for driver in unsupported} <= KEYS.keys()
