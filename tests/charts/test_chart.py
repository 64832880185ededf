"""charts/jettison: what helm and Kubernetes say of it, and its manifests word for word.

`pytest tests/charts --golden` writes the golden manifests anew.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.charts.rendering import (
    CHART,
    HELM,
    RefusedError,
    conforms,
    manifests,
    needs_helm,
    only,
    render,
    write_schemas,
)

GOLDEN = Path(__file__).with_name("golden")
POLICY = {"rules": [{"name": "newest", "keep": {"last": 10}, "remove": "rest"}]}
EVERYTHING: dict[str, Any] = {
    "persistence": {"enabled": True, "deleteEnabled": True, "storageClass": "-"},
    "service": {"name": "registry", "sessionAffinity": "ClientIP"},
    "ingress": {
        "enabled": True,
        "hosts": ["registry.example"],
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": 0},
        "tls": [{"secretName": "registry-tls", "hosts": ["registry.example"]}],
    },
    "secrets": {"htpasswd": "ann:$2y$05$x", "haSharedSecret": "shared"},
    "serviceAccount": {"create": True},
    "metrics": {
        "enabled": True,
        "serviceMonitor": {"enabled": True, "namespace": "monitoring"},
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "garbageCollect": {"enabled": True, "untaggedAge": "7d"},
    "prune": {"enabled": True, "policy": POLICY, "timeZone": "Europe/Berlin"},
    "networkPolicy": {"enabled": True, "from": [{"podSelector": {}}]},
    "podDisruptionBudget": {"maxUnavailable": 1},
    "autoscaling": {"enabled": True},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "registry", "operator": "Exists"}],
}
BUCKET: dict[str, Any] = {
    "storage": "s3",
    "replicaCount": 2,
    "s3": {"region": "eu-central-1", "bucket": "images", "secure": True},
    "secrets": {"s3": {"accessKey": "key", "secretKey": "secret"}},
    "garbageCollect": {"enabled": True, "deleteUntagged": False},
    "networkPolicy": {"enabled": True, "from": [{"podSelector": {}}]},
    "envRenderSecret": {"AWS_CA_BUNDLE": "/etc/ssl/ca.pem"},
    "tls": {"crt": "certificate", "key": "key"},
}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": EVERYTHING,
    "bucket": BUCKET,
    "stateful": {"useStatefulSet": True, "persistence": {"enabled": True, "size": "1Ti"}},
    "azure": {
        "storage": "azure",
        "secrets": {"azure": {"accountName": "a", "accountKey": "k", "container": "c"}},
    },
    "gcs": {"storage": "gcs", "configData": {"storage": {"gcs": {"bucket": "images"}}}},
    "existing": {
        "existingSecret": "made-by-hand",
        "fullnameOverride": "images",
        "persistence": {"enabled": True, "existingClaim": "old-images"},
        "tlsSecretName": "images-tls",
        "garbageCollect": {"enabled": True},
    },
}


@pytest.mark.parametrize("name", CASES)
def test_manifests(name: str, request: pytest.FixtureRequest) -> None:
    printed = render(CASES[name])
    golden = GOLDEN / f"{name}.yaml"
    if request.config.getoption("golden"):
        golden.write_text(printed, "utf-8")
    assert printed == golden.read_text("utf-8")


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(folder)
    return folder


def test_kubernetes_takes_them(schemas: Path) -> None:
    for name, values in CASES.items():
        assert conforms(render(values), schemas) == "", name


def test_the_schemas_find_mistakes(schemas: Path) -> None:
    printed = render(EVERYTHING)
    for right, wrong in (
        ("minReadySeconds: 5", "minReadySecond: 5"),
        ("concurrencyPolicy: Forbid", "concurrencyPolicy: [Forbid]"),
        ("    - port: http-metrics\n", "    - ports: http-metrics\n"),
    ):
        assert right in printed
        assert "invalid" in conforms(printed.replace(right, wrong, 1), schemas)


def test_lint() -> None:
    needs_helm()
    done = subprocess.run(
        [HELM, "lint", "--strict", CHART], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_no_service_and_no_policy_takes_a_job_for_the_registry() -> None:
    found = manifests(EVERYTHING)
    jobs = [one for one in found if one["kind"] == "CronJob"]
    selectors = [one["spec"]["selector"] for one in found if one["kind"] == "Service"]
    assert len(jobs) == len(selectors) == 2
    for job in jobs:
        labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
        assert all(
            labels.items().isdisjoint(one.items()) or labels["app"] != one["app"]
            for one in selectors
        )


def test_a_claim_of_one_node_takes_its_jobs_there() -> None:
    found = manifests(EVERYTHING)
    server = only(found, "Deployment")["spec"]["template"]["metadata"]["labels"]
    for name in ("reg-docker-registry-garbage-collector", "reg-docker-registry-prune"):
        pod = only(found, "CronJob", name)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert term["labelSelector"]["matchLabels"].items() <= server.items()
    many = {**EVERYTHING, "persistence": {"enabled": True, "accessMode": "ReadWriteMany"}}
    for job in (one for one in manifests(many) if one["kind"] == "CronJob"):
        assert "affinity" not in job["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_data_and_names_of_their_chart_go_on() -> None:
    """Their chart is `docker-registry`; its selectors cannot be changed, and its claim must not."""
    for release, name in (("reg", "reg-docker-registry"), ("docker-registry", "docker-registry")):
        found = manifests({"persistence": {"enabled": True}}, release)
        claim = only(found, "PersistentVolumeClaim")
        assert claim["metadata"]["name"] == name
        assert claim["spec"] == {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Gi"}},
        }
        assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        deployment = only(found, "Deployment")
        assert deployment["metadata"]["name"] == name
        selector = {"app": "docker-registry", "release": release}
        assert deployment["spec"]["selector"]["matchLabels"] == selector
        assert only(found, "Service")["spec"]["selector"] == selector
        pod = deployment["spec"]["template"]["spec"]
        (data,) = (one for one in pod["volumes"] if one["name"] == "data")
        assert data["persistentVolumeClaim"]["claimName"] == name
    stateful = manifests({"useStatefulSet": True, "persistence": {"enabled": True}})
    (template,) = only(stateful, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert template["metadata"]["name"] == "data"
    assert not [one for one in stateful if one["kind"] == "PersistentVolumeClaim"]


def test_an_unknown_value_is_refused() -> None:
    for values in (
        {"persistance": {"enabled": True}},
        {"persistence": {"enable": True}},
        {"garbageCollect": {"enabled": "yes"}},
        {"secrets": {"htpasswdSecretName": "x"}},
    ):
        with pytest.raises(RefusedError, match="don't meet the specifications of the schema"):
            render(values)


def test_all_refusals_come_at_once() -> None:
    values = {"proxy": {"enabled": True}, "kind": "DaemonSet", "prune": {"enabled": True}}
    with pytest.raises(RefusedError) as refused:
        render(values)
    for text in ("proxy.enabled:", "kind: DaemonSet", "prune.policy:", "prune.enabled:"):
        assert text in str(refused.value)
