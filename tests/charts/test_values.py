"""Each value of the commonest chart for Distribution does here what it does there, or is refused.

The table has every value of twuni/docker-registry up to 3.0, and those of its templates that its
documentation does not name. Each case sets one value on top of what it needs; then something has to
be in the manifests that was not there before, or helm has to end with a message.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from tests.charts.rendering import RefusedError, leaves, own_values, render

PERSISTENT: dict[str, Any] = {"persistence": {"enabled": True}}
METRICS: dict[str, Any] = {"metrics": {"enabled": True}}
GC: dict[str, Any] = {**PERSISTENT, "garbageCollect": {"enabled": True}}
S3: dict[str, Any] = {"storage": "s3", "s3": {"region": "here", "bucket": "images"}}
INGRESS: dict[str, Any] = {"ingress": {"enabled": True, "hosts": ["one.example"]}}
SCALED: dict[str, Any] = {**PERSISTENT, "autoscaling": {"enabled": True}}
ACCOUNT: dict[str, Any] = {"serviceAccount": {"create": True}}
LOADED: dict[str, Any] = {"service": {"type": "LoadBalancer"}}
KEYS = {"accountName": "mine", "accountKey": "key", "container": "images"}


class Case(NamedTuple):
    """A value, what has to be set for it to count, and what then appears; or what refuses it."""

    path: str
    value: Any
    shows: str = ""
    beside: Mapping[str, Any] = {}
    refused: str = ""


def monitor(kind: str, more: Mapping[str, Any]) -> dict[str, Any]:
    return {"metrics": {"enabled": True, kind: {"enabled": True, **more}}}


THEIRS = (
    Case("nameOverride", "images", "name: reg-images\n"),
    Case("fullnameOverride", "images", "name: images\n"),
    Case("namespace", "registries", "namespace: registries\n"),
    Case("replicaCount", 3, "replicas: 3\n", PERSISTENT),
    Case("useStatefulSet", True, "kind: StatefulSet\n"),
    Case("kind", "DaemonSet", refused="kind: DaemonSet is not made"),
    Case("updateStrategy", {"type": "Recreate"}, "strategy:\n    type: Recreate\n"),
    Case("deployment.annotations", {"a.b/c": "d"}, "annotations:\n    a.b/c: d\n"),
    Case("podAnnotations", {"a.b/c": "d"}, "        a.b/c: d\n"),
    Case("podLabels", {"team": "red"}, "        team: red\n"),
    Case("priorityClassName", "high", 'priorityClassName: "high"'),
    Case("serviceAccount.create", True, "kind: ServiceAccount"),
    Case("serviceAccount.name", "pusher", "serviceAccountName: pusher"),
    Case("serviceAccount.annotations", {"role": "r"}, "annotations:\n    role: r\n", ACCOUNT),
    Case("image.repository", "hub.example/jettison", 'image: "hub.example/jettison:'),
    Case("image.repository", "registry", refused="registry is Distribution"),
    Case("image.tag", "1.2.3", ':1.2.3"'),
    Case("image.tag", "2.8.1", refused="2.8.1 is a version of Distribution"),
    Case("image.pullPolicy", "Always", "imagePullPolicy: Always"),
    Case("imagePullSecrets", [{"name": "hub"}], "imagePullSecrets:\n        - name: hub"),
    Case("service.name", "registry", "  name: registry\n"),
    Case("service.type", "NodePort", "type: NodePort"),
    Case("service.port", 80, "port: 80\n"),
    Case("service.nodePort", 30500, "nodePort: 30500", {"service": {"type": "NodePort"}}),
    Case("service.clusterIP", "10.0.0.7", "clusterIP: 10.0.0.7"),
    Case("service.loadBalancerIP", "192.0.2.1", "loadBalancerIP: 192.0.2.1", LOADED),
    Case("service.loadBalancerSourceRanges", ["192.0.2.0/24"], "- 192.0.2.0/24", LOADED),
    Case("service.sessionAffinity", "ClientIP", "sessionAffinity: ClientIP"),
    Case(
        "service.sessionAffinityConfig",
        {"clientIP": {"timeoutSeconds": 7}},
        "timeoutSeconds: 7",
        {"service": {"sessionAffinity": "ClientIP"}},
    ),
    Case("service.annotations", {"a.b/c": "d"}, "annotations:\n    a.b/c: d\n"),
    Case("service.labels", {"team": "red"}, "    team: red\n"),
    Case("ingress.enabled", True, "kind: Ingress"),
    Case("ingress.className", "traefik", "ingressClassName: traefik", INGRESS),
    Case("ingress.path", "/v2", "path: /v2\n", INGRESS),
    Case("ingress.hosts", ["two.example"], 'host: "two.example"', INGRESS),
    Case("ingress.annotations", {"a.b/size": 0}, 'a.b/size: "0"', INGRESS),
    Case("ingress.labels", {"team": "red"}, "    team: red\n", INGRESS),
    Case("ingress.tls", [{"secretName": "web"}], "secretName: web", INGRESS),
    Case("resources", {"limits": {"memory": "1Gi"}}, "memory: 1Gi"),
    Case("persistence.enabled", True, "kind: PersistentVolumeClaim"),
    Case("persistence.accessMode", "ReadWriteMany", '- "ReadWriteMany"', PERSISTENT),
    Case("persistence.size", "3Ti", 'storage: "3Ti"', PERSISTENT),
    Case("persistence.storageClass", "fast", 'storageClassName: "fast"', PERSISTENT),
    Case("persistence.storageClass", "-", 'storageClassName: ""', PERSISTENT),
    Case("persistence.existingClaim", "old", "claimName: old\n", PERSISTENT),
    Case("persistence.deleteEnabled", True, "name: REGISTRY_STORAGE_DELETE_ENABLED"),
    Case("persistence.type", "sts", "volumeClaimTemplates:", PERSISTENT),
    Case("persistence.selectorLabels", {"disk": "7"}, 'matchLabels:\n      disk: "7"', PERSISTENT),
    Case("emptydir.size", "5Gi", "sizeLimit: 5Gi"),
    Case("storage", "s3", "REGISTRY_STORAGE_S3_BUCKET", {"s3": S3["s3"]}),
    Case("storage", "gcs", refused="configData.storage.gcs.bucket: is needed"),
    Case("storage", "azure", "REGISTRY_STORAGE_AZURE_CONTAINER", {"secrets": {"azure": KEYS}}),
    Case("storage", "swift", refused="storage: swift is no driver"),
    Case("tlsSecretName", "web", "secretName: web\n"),
    Case("tls.crt", "C", "name: reg-docker-registry-tls", {"tls": {"key": "K"}}),
    Case("tls.key", "K", "tls.key:", {"tls": {"crt": "C"}}),
    Case("existingSecret", "made", "name: made\n"),
    Case("secrets.create", False, "optional: true"),
    Case("secrets.haSharedSecret", "shared", "name: REGISTRY_HTTP_SECRET"),
    Case("secrets.htpasswd", "ann:x", 'value: "/auth/htpasswd"'),
    Case("secrets.s3.secretRef", "keys", "name: keys\n", S3),
    Case(
        "secrets.s3.accessKey",
        "A",
        's3AccessKey: "QQ=="',
        {**S3, "secrets": {"s3": {"secretKey": "B"}}},
    ),
    Case(
        "secrets.s3.secretKey",
        "B",
        's3SecretKey: "Qg=="',
        {**S3, "secrets": {"s3": {"accessKey": "A"}}},
    ),
    *(
        Case(
            f"secrets.azure.{key}",
            "Q",
            "azure" + key[0].upper() + key[1:] + ': "UQ=="',
            {"storage": "azure", "secrets": {"azure": KEYS}},
        )
        for key in KEYS
    ),
    Case("secrets.swift.username", "u", refused="secrets.swift: there is no driver"),
    Case("secrets.swift.password", "p", refused="secrets.swift: there is no driver"),
    Case("envRenderSecret", {"A_B": "c"}, 'A_B: "Yw=="'),
    Case("s3.region", "there", 'value: "there"', S3),
    Case("s3.regionEndpoint", "https://s3.example", 'value: "https://s3.example"', S3),
    Case("s3.bucket", "others", 'value: "others"', S3),
    Case("s3.rootdirectory", "/deep", 'value: "/deep"', S3),
    Case("s3.encrypt", True, 'S3_ENCRYPT\n              value: "true"', S3),
    Case("s3.secure", False, 'S3_SECURE\n              value: "false"', S3),
    Case("s3.forcepathstyle", True, 'S3_FORCEPATHSTYLE\n              value: "true"', S3),
    Case("s3.skipverify", True, 'S3_SKIPVERIFY\n              value: "true"', S3),
    Case("swift.authurl", "http://swift.example/", refused="swift: there is no driver"),
    Case("swift.container", "images", refused="swift: there is no driver"),
    Case("redis.password", "p", refused="redis: blobs are looked up in the storage"),
    Case("proxy.enabled", True, refused="proxy.enabled: jettison serve is no cache"),
    Case("configPath", "/etc/registry", "args: [serve, /etc/registry/config.yml]"),
    Case("configData.log.level", "debug", "level: debug\n"),
    Case("configData.http.addr", ":8080", "containerPort: 8080"),
    Case("livenessProbe", {"exec": {"command": ["a"]}}, "livenessProbe:\n            exec:"),
    Case("readinessProbe", {"exec": {"command": ["a"]}}, "readinessProbe:\n            exec:"),
    Case("containerSecurityContext.runAsUser", 7, "runAsUser: 7\n"),
    Case("securityContext.fsGroup", 7, "fsGroup: 7\n"),
    Case("nodeSelector", {"disk": "fast"}, "nodeSelector:\n        disk: fast"),
    Case("affinity", {"nodeAffinity": {"x": 1}}, "nodeAffinity:\n          x: 1"),
    Case("tolerations", [{"key": "registry"}], "- key: registry"),
    Case("podDisruptionBudget.minAvailable", 2, "minAvailable: 2"),
    Case("autoscaling.enabled", True, "kind: HorizontalPodAutoscaler", PERSISTENT),
    Case("autoscaling.minReplicas", 2, "minReplicas: 2", SCALED),
    Case("autoscaling.maxReplicas", 9, "maxReplicas: 9", SCALED),
    Case("autoscaling.targetCPUUtilizationPercentage", 7, "averageUtilization: 7\n", SCALED),
    Case("autoscaling.targetMemoryUtilizationPercentage", 7, "averageUtilization: 7\n", SCALED),
    Case("autoscaling.behavior", {"scaleUp": {"a": 1}}, "behavior:\n    scaleUp:", SCALED),
    Case("extraVolumeMounts", [{"name": "x", "mountPath": "/x"}], "mountPath: /x\n"),
    Case("extraVolumes", [{"name": "x", "emptyDir": {}}], "name: x\n"),
    Case("extraEnvVars", [{"name": "X", "value": "1"}], "name: X\n"),
    Case("initContainers", [{"name": "x"}], "initContainers:\n        - name: x"),
    Case("extraContainers", [{"name": "x"}], "        - name: x\n"),
    Case("garbageCollect.enabled", True, "name: reg-docker-registry-garbage-collector", PERSISTENT),
    Case("garbageCollect.deleteUntagged", False, "- --yes\n              resources", GC),
    Case("garbageCollect.schedule", "5 5 * * *", 'schedule: "5 5 * * *"', GC),
    Case("garbageCollect.resources", {"limits": {"cpu": 3}}, "cpu: 3\n", GC),
    Case("garbageCollect.podAnnotations", {"a.b/c": "d"}, "a.b/c: d\n", GC),
    Case("garbageCollect.podLabels", {"team": "red"}, "team: red\n", GC),
    Case("metrics.enabled", True, "name: http-metrics"),
    Case("metrics.port", 9000, "port: 9000\n", METRICS),
    Case("metrics.serviceMonitor.enabled", True, "kind: ServiceMonitor", METRICS),
    Case("metrics.serviceMonitor.namespace", "m", "namespace: m\n", monitor("serviceMonitor", {})),
    Case("metrics.serviceMonitor.annotations", {"a": "b"}, "a: b\n", monitor("serviceMonitor", {})),
    Case("metrics.serviceMonitor.labels", {"t": "u"}, "t: u\n", monitor("serviceMonitor", {})),
    Case("metrics.podMonitor.enabled", True, "kind: PodMonitor", METRICS),
    Case("metrics.podMonitor.labels", {"t": "u"}, "t: u\n", monitor("podMonitor", {})),
    Case("metrics.prometheusRule.enabled", True, "kind: PrometheusRule", METRICS),
    Case("metrics.prometheusRule.annotations", {"a": "b"}, "a: b\n", monitor("prometheusRule", {})),
    Case("metrics.prometheusRule.labels", {"t": "u"}, "t: u\n", monitor("prometheusRule", {})),
    Case(
        "metrics.prometheusRule.rules",
        [{"alert": "Mine", "expr": "up == 0"}],
        "alert: Mine",
        monitor("prometheusRule", {}),
    ),
)
WITH_THE_PROXY = {"remoteurl", "username", "password", "secretRef"}
"""Values that count with proxy.enabled alone, which is refused."""
OPEN = ("configData", "containerSecurityContext", "securityContext")
"""Values whose members all go into the manifest as they are."""


@pytest.mark.parametrize("case", THEIRS, ids=lambda case: f"{case.path}={case.value}")
def test_each_is_honoured_or_refused(case: Case) -> None:
    values = with_value(case.beside, case.path, case.value)
    if case.refused:
        with pytest.raises(RefusedError, match=re.escape(case.refused)):
            render(values)
        return
    assert case.shows in render(values)
    try:
        before = render(case.beside)
    except RefusedError:  # one of two values that are needed both
        return
    assert case.shows not in before


def test_none_of_theirs_and_ours_is_left_out() -> None:
    """Every value of the chart is in the table above or marked as ours where it is defined."""
    tried = {case.path for case in THEIRS}
    ours = {
        "persistence.keep",
        "garbageCollect.untaggedAge",
        "garbageCollect.timeZone",
        "garbageCollect.extraArgs",
        "metrics.serviceMonitor.interval",
        "metrics.podMonitor.annotations",
    }
    for path in leaves(own_values()):
        whole = {path.rpartition(".")[0], path, path.partition(".")[0]}
        if path.startswith(("prune.", "networkPolicy.", "metrics.dashboard.")) or path in ours:
            continue
        if path.partition(".")[0] == "proxy" and path.partition(".")[2] in WITH_THE_PROXY:
            continue
        if path.startswith(OPEN):
            assert any(one.startswith(path.partition(".")[0]) for one in tried), path
            continue
        nested = any(one.startswith(f"{path}.") for one in tried)
        assert whole & tried or nested, path


def test_security_contexts_can_be_switched_off() -> None:
    off = render(
        {"containerSecurityContext": {"enabled": False}, "securityContext": {"enabled": False}}
    )
    assert "securityContext" not in off


@pytest.mark.parametrize("path", ["garbageCollect", "prune"])
def test_a_job_without_a_way_to_the_images_is_refused(path: str) -> None:
    values = {
        path: {"enabled": True},
        "prune": {"policy": {"rules": []}, "enabled": path == "prune"},
    }
    with pytest.raises(RefusedError, match=r"needs persistence\.enabled"):
        render(values)
    alone = {"persistence": {"enabled": True, "accessMode": "ReadWriteOncePod"}}
    with pytest.raises(RefusedError, match="no other pod can mount"):
        render({**values, **alone})


def with_value(values: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    key, _, rest = path.partition(".")
    inner = with_value(values.get(key, {}), rest, value) if rest else value
    return {**values, key: inner}
