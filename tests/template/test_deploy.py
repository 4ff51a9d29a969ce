"""What a project's ``deploy/`` gives a cluster, or a machine with Compose: rendered as they render it, before and after a release."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from template.bake import bake
from unit.test_deployment import IMAGES, released

from modelyard import deployment, policy

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not here, which holds kustomize: nothing can be rendered")

#: The oldest Kubernetes that the manifests are for, and the newest that the schemas know.
OLDEST, NEWEST = "1.30", "1.37"
OVERLAYS = ("staging", "production", "canary")
KINDS = {"ServiceAccount", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Service", "NetworkPolicy"}
LONG = "a-name-as-long-as-any-that-may-be-given-to-a-model"  # 50 characters

Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module", params=[("trees", "flights"), ("neural", LONG)], ids=["trees", "neural, long name"])
def baked(request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing is released yet."""
    estimator, slug = request.param
    return bake(template, tmp_path_factory.mktemp("deploy"), estimator=estimator, project_slug=slug)


@pytest.fixture
def project(baked: Path, tmp_path: Path) -> Path:
    """A copy of it with version 3 released, for the stable track too."""
    folder = tmp_path / baked.name
    shutil.copytree(baked / "deploy", folder / "deploy")
    shutil.copy(baked / "modelyard.yaml", folder)
    release(folder, "3")
    finish(folder)
    return folder


def release(folder: Path, version: str) -> None:
    """Do as ``promote`` does."""
    for path, text in deployment.files(released(folder.name, version), IMAGES).items():
        (folder / path).write_text(text)


def finish(folder: Path) -> None:
    """Do as a person who is content with the canary does."""
    shutil.copy(folder / deployment.KUBERNETES, folder / "deploy/kubernetes/canary/stable/release/kustomization.yaml")


def with_gpu(folder: Path) -> None:
    """Do as the comment in gpu/kustomization.yaml says."""
    kubernetes = folder / "deploy/kubernetes"
    for name, up in (("staging", ".."), ("production", ".."), ("canary/stable", "../.."), ("canary/newest", "../..")):
        path = kubernetes / name / "kustomization.yaml"
        text, count = re.subn(r"((?:\.\./)*release\])", rf"{up}/gpu, \1", path.read_text())
        assert count == 1, path
        path.write_text(text)


def render(folder: Path, overlay: str) -> Objects:
    """Each object that the overlay gives a cluster, by kind and name."""
    assert KUBECTL
    done = subprocess.run([KUBECTL, "kustomize", str(folder / "deploy/kubernetes" / overlay)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    objects = list(yaml.safe_load_all(done.stdout))
    named = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(named) == len(objects)
    return named


def of_kind(objects: Objects, kind: str) -> list[dict[str, Any]]:
    return [each for (its, _), each in objects.items() if its == kind]


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod(workload)["containers"]
    return dict(only)


def selects(selector: dict[str, str], workload: dict[str, Any]) -> bool:
    assert selector  # an empty one is everybody
    return selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_object_is_one_that_kubernetes_knows(project: Path, overlay: str, variant: str) -> None:
    """No unknown field and no wrong type, by the schemas of the oldest and the newest Kubernetes; names and labels are short enough."""
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate, which carries the schemas, is not installed")
    if variant == "gpu":
        with_gpu(project)

    objects = render(project, overlay)

    assert {kind for kind, _ in objects} - {"ConfigMap", "PersistentVolumeClaim", "HTTPRoute"} == KINDS
    for (kind, name), each in objects.items():
        assert len(each["metadata"]["namespace"]) <= 63, name
        assert kind == "ConfigMap" or len(name) <= 63, name
        assert all(len(value) <= 63 for value in each["metadata"].get("labels", {}).values()), name
        if kind != "HTTPRoute":  # the Gateway API's is no part of Kubernetes: test_the_route_splits_what_is_there
            for version in (OLDEST, NEWEST):
                assert validator.validate(each, version, strict=True) == version


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_before_the_first_release_nothing_can_run(baked: Path, overlay: str) -> None:
    """It renders, and its image exists nowhere: neither a tag nor somebody else's image is run meanwhile."""
    workloads = of_kind(render(baked, overlay), "Deployment")

    assert {container(each)["image"] for each in workloads} == {"released.invalid/cpu"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_runs_is_what_was_released(project: Path, overlay: str) -> None:
    """Each pod has the image by its digest, the hash that its model file must have, and the version as a label."""
    objects = render(project, overlay)

    for workload in of_kind(objects, "Deployment"):
        assert container(workload)["image"] == "ghcr.io/owner/flights@sha256:" + "1" * 64
        (source,) = container(workload)["envFrom"]
        config = objects["ConfigMap", source["configMapRef"]["name"]]
        assert config["data"] == {"MODELYARD_SHA256": released("flights", "3").model.sha256}
        assert config["metadata"]["annotations"]["modelyard.commit"] == "c" * 40
        assert workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"] == "3"


def test_a_release_changes_only_what_names_it(project: Path) -> None:
    """The next one changes hash and version, and no selector, which a cluster would not let change; the same one changes nothing."""
    before = render(project, "production")
    release(project, "3")
    assert render(project, "production") == before

    release(project, "4")
    after = render(project, "production")

    kept = {key: each for key, each in before.items() if key[0] != "ConfigMap"}
    assert kept.keys() == {key for key in after if key[0] != "ConfigMap"}
    for (kind, name), each in kept.items():
        text = json.dumps(each)
        for old, new in zip(marks("3", before), marks("4", after), strict=True):
            text = text.replace(old, new)
        assert json.loads(text) == after[kind, name]
    (workload,), (changed,) = of_kind(before, "Deployment"), of_kind(after, "Deployment")
    assert workload["spec"]["selector"] == changed["spec"]["selector"]


def marks(version: str, objects: Objects) -> tuple[str, ...]:
    """What names a release in its objects."""
    (config,) = of_kind(objects, "ConfigMap")
    return f'"app.kubernetes.io/version": "{version}"', config["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_no_rights(project: Path, overlay: str) -> None:
    """As the Pod Security Standard `restricted` asks, with a read-only root and no token for the cluster; and within limits."""
    objects = render(project, overlay)

    for workload in of_kind(objects, "Deployment"):
        spec, service = pod(workload), container(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert service["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["automountServiceAccountToken"] is False
        assert objects["ServiceAccount", spec["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for kind in ("requests", "limits"):
            assert {"cpu", "memory", "ephemeral-storage"} <= set(service["resources"][kind])
        writable = {mount["mountPath"] for mount in service["volumeMounts"]}
        assert writable == ({"/tmp"} if overlay == "staging" else {"/tmp", "/log"})
        environment = {each["name"]: each["value"] for each in service["env"]}
        assert environment.get("MODELYARD_LOG") == (None if overlay == "staging" else "/log")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_belongs_to_its_pods(project: Path, overlay: str) -> None:
    """Service, disruption budget, network policy and spread select exactly the pods of one deployment; the autoscaler counts them."""
    objects = render(project, overlay)
    workloads = of_kind(objects, "Deployment")

    for kind, path in (("Service", []), ("PodDisruptionBudget", ["matchLabels"]), ("NetworkPolicy", ["matchLabels"])):
        assert len(of_kind(objects, kind)) == len(workloads)
        for each in of_kind(objects, kind):
            selector = each["spec"].get("selector") or each["spec"]["podSelector"]
            for key in path:
                selector = selector[key]
            assert [workload["metadata"]["name"] for workload in workloads if selects(selector, workload)] == [each["metadata"]["name"]]
    for workload in workloads:
        assert "replicas" not in workload["spec"]
        assert selects(workload["spec"]["selector"]["matchLabels"], workload)
        for spread in pod(workload)["topologySpreadConstraints"]:
            assert [each for each in workloads if selects(spread["labelSelector"]["matchLabels"], each)] == [workload]
        scaler = objects["HorizontalPodAutoscaler", workload["metadata"]["name"]]["spec"]
        assert scaler["scaleTargetRef"]["name"] == workload["metadata"]["name"]
        assert 1 <= scaler["minReplicas"] <= scaler["maxReplicas"]


def test_requests_find_the_service_and_probes_too(project: Path) -> None:
    """One port by one name: of the container, the service, the probes, the policy, and Prometheus."""
    objects = render(project, "production")
    (workload,), (service,), (network,) = (of_kind(objects, kind) for kind in ("Deployment", "Service", "NetworkPolicy"))

    assert container(workload)["ports"] == [{"name": "http", "containerPort": 3000}]
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert [rule["ports"] for rule in network["spec"]["ingress"]] == [[{"port": "http"}]]
    notes = workload["spec"]["template"]["metadata"]["annotations"]
    assert (notes["prometheus.io/port"], notes["prometheus.io/path"]) == ("3000", "/metrics")
    probes = {name: container(workload)[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert probes == {name: {"path": f"/{path}", "port": "http"} for name, path in zip(probes, ("readyz", "readyz", "livez"), strict=True)}


def test_who_is_let_in_is_named_and_the_service_asks_nobody(project: Path) -> None:
    """In: its own namespace, and namespaces with the label. Out: names, from the cluster's own servers."""
    (network,) = of_kind(render(project, "production"), "NetworkPolicy")

    assert network["spec"]["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = network["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {f"{project.name}-client": "true"}}}]
    (out,) = network["spec"]["egress"]
    assert out["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]
    assert out["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]


def test_a_pod_that_stops_has_time_for_its_requests(project: Path) -> None:
    """First no new ones come, then those under way are answered within the policy's limit, then 10 s for the log; Compose has no proxy."""
    (workload,) = of_kind(render(project, "production"), "Deployment")
    limit = policy.load(project).serving.limits.seconds
    before = container(workload)["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert before >= 5
    assert pod(workload)["terminationGracePeriodSeconds"] >= before + limit + 10
    for service in compose(project)["services"].values():
        assert float(service["stop_grace_period"].removesuffix("s")) >= limit + 10


def test_the_log_is_one_volume_for_all_pods(project: Path) -> None:
    """Stable and canary write into one claim that pods on any node can write to; so monitor finds all of it in one place."""
    objects = render(project, "canary")

    (claim,) = of_kind(objects, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for workload in of_kind(objects, "Deployment"):
        volumes = {each["name"]: each for each in pod(workload)["volumes"]}
        assert volumes["log"] == {"name": "log", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
        assert pod(workload)["securityContext"]["fsGroup"] == pod(workload)["securityContext"]["runAsUser"]


def test_the_route_splits_what_is_there(project: Path) -> None:
    """Weights of 100 in all between the two services that are rendered, on their port; and who asks for the canary gets it."""
    objects = render(project, "canary")
    (route,) = of_kind(objects, "HTTPRoute")
    ports = {name: each["spec"]["ports"][0]["port"] for (kind, name), each in objects.items() if kind == "Service"}

    assert (route["apiVersion"], set(route["spec"])) == ("gateway.networking.k8s.io/v1", {"parentRefs", "rules"})
    chosen, split = route["spec"]["rules"]
    assert chosen["matches"] == [{"headers": [{"name": "x-canary", "value": "always"}]}]
    assert chosen["backendRefs"] == [{"name": f"{project.name}-canary", "port": ports[f"{project.name}-canary"]}]
    assert set(split) == {"backendRefs"}
    assert {each["name"]: each["port"] for each in split["backendRefs"]} == ports
    assert sum(each["weight"] for each in split["backendRefs"]) == 100


def test_a_canary_begins_and_ends(project: Path) -> None:
    """Production's pods go on as the stable ones; a release, or a rollback, reaches the canary only, until its file is copied."""
    name = project.name
    production, canary = render(project, "production"), render(project, "canary")
    assert canary["Deployment", name] == production["Deployment", name]

    def versions() -> dict[str, str]:
        workloads = of_kind(render(project, "canary"), "Deployment")
        return {each["metadata"]["name"]: each["metadata"]["labels"]["app.kubernetes.io/version"] for each in workloads}

    release(project, "4")
    assert versions() == {name: "3", f"{name}-canary": "4"}
    finish(project)
    assert versions() == {name: "4", f"{name}-canary": "4"}
    release(project, "3")
    assert versions() == {name: "4", f"{name}-canary": "3"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gpu_variant_runs_the_gpu_image_on_a_gpu(project: Path, overlay: str) -> None:
    """Its image, a GPU, and the variant that refuses to start without one; everything else is the cpu's."""
    plain = render(project, overlay)
    with_gpu(project)

    objects = render(project, overlay)

    assert objects.keys() == plain.keys()
    for workload in of_kind(objects, "Deployment"):
        service = container(workload)
        assert service["image"] == "localhost:5000/flights-gpu@sha256:" + "2" * 64
        assert service["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert {"name": "MODELYARD_VARIANT", "value": "gpu"} in service["env"]
        other = container(plain["Deployment", workload["metadata"]["name"]])
        for key in ("securityContext", "volumeMounts", "envFrom", "readinessProbe", "livenessProbe", "lifecycle", "ports"):
            assert service[key] == other[key], key


def test_without_a_gpu_image_the_gpu_variant_does_not_start(project: Path) -> None:
    """A release that holds the cpu image only: the placeholder stays, and no cpu image takes its place."""
    with_gpu(project)
    for path, text in deployment.files(released(project.name, "4"), {"cpu": IMAGES["cpu"]}).items():
        (project / path).write_text(text)

    (workload,) = of_kind(render(project, "production"), "Deployment")

    assert container(workload)["image"] == "released.invalid/gpu"


def compose(folder: Path) -> dict[str, Any]:
    """The compose file with the variables of its ``.env``, as Compose fills them in."""
    path = folder / "deploy/.env"
    lines = path.read_text().splitlines() if path.exists() else []
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def fill(match: re.Match[str]) -> str:
        name, mark, word = match.groups()
        if mark == ":?" and name not in values:
            raise LookupError(word)
        return values.get(name, word)

    content: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+)(:[?-])([^}]*)\}", fill, (folder / "deploy/compose.yaml").read_text()))
    return content


def test_the_compose_file_is_one_that_compose_knows(project: Path) -> None:
    """By the schema of the Compose Specification."""
    pytest.importorskip("check_jsonschema", reason="check-jsonschema, which carries the schema, is not installed")

    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_compose_runs_what_was_released_and_nothing_before(baked: Path, project: Path) -> None:
    """Both variants by digest, with the hash of the model; without a release it says so."""
    services = compose(project)["services"]

    assert services["cpu"]["image"] == "ghcr.io/owner/flights@sha256:" + "1" * 64
    assert services["gpu"]["image"] == "localhost:5000/flights-gpu@sha256:" + "2" * 64
    assert {each["environment"]["MODELYARD_SHA256"] for each in services.values()} == {released("flights", "3").model.sha256}
    with pytest.raises(LookupError, match="nothing is released yet"):
        compose(baked)


def test_compose_and_kubernetes_agree(project: Path) -> None:
    """User, environment, rights, limits: one service in two forms; the port is open to this machine only, and logs end somewhere."""
    (workload,) = of_kind(render(project, "production"), "Deployment")
    context, service = pod(workload)["securityContext"], container(workload)
    for variant, each in compose(project)["services"].items():
        environment = {item["name"]: item["value"] for item in service["env"]}
        environment |= {"MODELYARD_SHA256": released("flights", "3").model.sha256, "MODELYARD_VARIANT": variant}
        differing = {"MODELYARD_WORKERS"}  # a machine has no other pods
        assert {k: v for k, v in each["environment"].items() if k not in differing} == {
            k: v for k, v in environment.items() if k not in differing
        }
        assert each["user"] == f"{context['runAsUser']}:{context['runAsGroup']}"
        assert (each["read_only"], each["cap_drop"], each["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
        assert each["ports"] == ["127.0.0.1:3000:3000"]
        assert each["volumes"] == ["log:/log"]
        assert each["tmpfs"] == ["/tmp:size=64m"]
        assert {"cpus", "memory", "pids"} == set(each["deploy"]["resources"]["limits"])
        assert each["logging"]["options"].keys() == {"max-size", "max-file"}
        assert "/readyz" in each["healthcheck"]["test"][-1]
    services = compose(project)["services"]
    assert services["gpu"]["profiles"] == ["gpu"]
    assert "profiles" not in services["cpu"]
    assert services["gpu"]["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
