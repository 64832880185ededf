"""charts/jettison as helm renders it, and what Kubernetes' own schemas say of that."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from tests.support.registry import PEERS

CHART: Final = Path(__file__).parents[2] / "charts" / "jettison"
HELM: Final = PEERS / "helm"
KUBECONFORM: Final = PEERS / "kubeconform"
SCHEMAS: Final = PEERS / "schemas"
KUBERNETES: Final = "1.31.0"
"""A helm that `go install` built does not know which Kubernetes it is for."""


class RefusedError(Exception):
    """What helm said in place of manifests."""


def parse(text: str) -> Any:
    return YAML(typ="safe").load(text)


def needs_helm() -> None:
    """Skip the test without helm, also in CI: `make test` does not build it."""
    if not os.access(HELM, os.X_OK):
        pytest.skip("helm not found; `make charts` builds it where there is Go")


def render(values: Mapping[str, Any], release: str = "reg") -> str:
    """What `helm template` prints; raises RefusedError with what it says instead."""
    needs_helm()
    return _render(json.dumps(values), release)


@cache
def _render(values: str, release: str) -> str:
    done = subprocess.run(
        [HELM, "template", release, CHART, "--kube-version", KUBERNETES, "-f", "-"],
        input=values,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RefusedError(done.stderr)
    return done.stdout


def manifests(values: Mapping[str, Any], release: str = "reg") -> list[dict[str, Any]]:
    found = YAML(typ="safe").load_all(render(values, release))
    return [one for one in found if one is not None]


def only(found: list[dict[str, Any]], kind: str, name: str | None = None) -> Any:
    (one,) = (
        one for one in found if one["kind"] == kind and name in {None, one["metadata"]["name"]}
    )
    return one


def write_schemas(folder: Path) -> None:
    """A schema for each kind, in which a field that Kubernetes does not know is an error."""
    if not (SCHEMAS / "swagger.json").exists():
        pytest.skip("no schemas of Kubernetes; `make charts` fetches them where there is Go")
    definitions = json.loads((SCHEMAS / "swagger.json").read_text("utf-8"))["definitions"]
    for definition in definitions.values():
        if definition.get("format") == "int-or-string":
            definition.update(type=["integer", "string"])
        _close(definition)
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            needed = {one: definitions[one] for one in _reached(name, definitions)}
            whole = {"$ref": f"#/definitions/{name}", "definitions": needed}
            _write(folder, kind["kind"], kind["group"], kind["version"], whole)
    for kind in ("servicemonitors", "podmonitors", "prometheusrules"):
        file = SCHEMAS / "prometheus-operator-crd" / f"monitoring.coreos.com_{kind}.yaml"
        resource = parse(file.read_text("utf-8"))["spec"]
        for version in resource["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            _close(schema)
            name = resource["names"]["kind"]
            _write(folder, name, resource["group"], version["name"], schema)


def conforms(text: str, folder: Path) -> str:
    """What kubeconform has to say against manifests: nothing, if they are as they should be."""
    if not os.access(KUBECONFORM, os.X_OK):
        pytest.skip("kubeconform not found; `make charts` builds it where there is Go")
    location = f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    done = subprocess.run(
        [KUBECONFORM, "-strict", "-schema-location", location, "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The path of each value that has none below it."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@cache
def own_values() -> Any:
    return parse((CHART / "values.yaml").read_text("utf-8"))


def _write(folder: Path, kind: str, group: str, version: str, schema: dict[str, Any]) -> None:
    name = "-".join(filter(None, [kind.lower(), group.partition(".")[0], version]))
    (folder / f"{name}.json").write_text(json.dumps(schema), "utf-8")


def _close(schema: Any) -> None:
    """Let no object have a member that its schema does not name."""
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    if not isinstance(schema, dict):
        return
    members = schema.get("properties")
    if isinstance(members, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        if members.keys() != {"apiVersion", "kind", "metadata"}:
            schema.setdefault("additionalProperties", False)
        if members.get("metadata") == {"type": "object"}:
            members["metadata"] = {}
    for one in schema.values():
        _close(one)


def _reached(name: str, definitions: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    ahead = [name]
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead.extend(_references(definitions[one]))
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(target := schema.get("$ref"), str):
            yield target.removeprefix("#/definitions/")
        for one in schema.values():
            yield from _references(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _references(one)
