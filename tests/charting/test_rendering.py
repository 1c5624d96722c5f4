"""What the chart makes of values, without a cluster."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from charting_site.helm import CHART, CRDS_CHART, NAMESPACE, PROFILES, Helm, HelmError, environment_of
from tidegate_testing.operators import ROOT

from tidegate_operator import settings as operator_settings
from tidegate_operator.api.crd import SCHEMA_ANNOTATION, SCHEMAS, custom_resource_definition
from tidegate_operator.api.generate import main as generate_definitions
from tidegate_operator.api.kinds import KINDS
from tidegate_operator.chart import main
from tidegate_operator.cluster.rights import ACCOUNTS, account_manifests, people_manifests
from tidegate_operator.inject import settings as injector_settings
from tidegate_operator.inject.configuration import Service, verifying_configuration, webhook_configuration
from tidegate_operator.inject.template import Authorities, Family, Startup

OPERATOR = ("Deployment", "tidegate-operator")
INJECTOR = ("Deployment", "tidegate-injector")
WEBHOOK = ("MutatingWebhookConfiguration", "ai-tidegate-injector")

WRONG = {
    "operator.replicas=two": "at '/operator/replicas': got string, want integer",
    "operater.replicas=2": "additional properties 'operater' not allowed",
    "operator.replica=2": "at '/operator': additional properties 'replica' not allowed",
    "injector.failurePolicy=fail": "at '/injector/failurePolicy': value must be one of 'Fail', 'Ignore'",
    "injector.url=http://injector:9443": "at '/injector/url'",
    "sidecar.user=root": "at '/sidecar/user'",
    "user=0": "at '/user': minimum: got 0, want 1",
    "sidecar.startup=wait": "at '/sidecar/startup': value must be one of 'Start', 'Wait'",
    "sidecar.unmatched=Allow": "at '/sidecar/unmatched'",
    "sidecar.ipFamilies[0]=ipv4": "at '/sidecar/ipFamilies/0': value must be one of 'IPv4', 'IPv6'",
    "sidecar.audiences[0]=a b": "at '/sidecar/audiences/0'",
    "sidecar.resources.limits.memory=lots": "at '/sidecar/resources/limits/memory'",
    "sidecar.resources.limits.gpu=1": "at '/sidecar/resources/limits': additional properties 'gpu' not allowed",
    "sidecar.image.digest=latest": "at '/sidecar/image/digest'",
    "certManager.enabled=yes": "at '/certManager/enabled': got string, want boolean",
    "certManager.issuerRef.kind=ClusterIssuer": "at '/certManager/issuerRef'",
    "certManager.duration=90d": "at '/certManager/duration'",
    "monitoring.podMonitors.interval=30": "at '/monitoring/podMonitors/interval': got number, want string",
    "networkPolicy.apiServerPorts[0]=https": "at '/networkPolicy/apiServerPorts/0': got string, want integer",
    "sidecar.egressProxy.url=proxy:3128": "at '/sidecar/egressProxy/url'",
    "sidecar.caBundle.key=a/b": "at '/sidecar/caBundle/key'",
    "crds.install=1": "at '/crds/install': got number, want boolean",
    "operator.extraEnv[0].nam=X": "at '/operator/extraEnv/0'",
    "imagePullSecrets[0]=registry": "at '/imagePullSecrets/0': got string, want object",
    "injector.ports.webhook=443": "at '/injector/ports/webhook': minimum: got 443, want 1,024",
    r"commonLabels.app\.kubernetes\.io/component=mine": "at '/commonLabels/app.kubernetes.io~1component': false schema",
    r"commonLabels.app\.kubernetes\.io/name=mine": "at '/commonLabels/app.kubernetes.io~1name': false schema",
    r"operator.podLabels.helm\.sh/chart=mine": "at '/operator/podLabels/helm.sh~1chart': false schema",
    r"commonAnnotations.helm\.sh/resource-policy=none": "at '/commonAnnotations/helm.sh~1resource-policy': false schema",
    "commonLabels.tier=1": "at '/commonLabels/tier': got number, want string",
}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_passes_the_linter(helm: Helm, profile: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), f"--values={PROFILES[profile]}")


@pytest.fixture(scope="module")
def refusal(helm: Helm) -> str:
    """What helm says to all of them at once."""
    with pytest.raises(HelmError) as caught:
        helm.text(*(f"--set={setting}" for setting in WRONG))
    return str(caught.value)


@pytest.mark.parametrize("setting", WRONG)
def test_a_wrong_value_is_refused_with_its_place(refusal: str, setting: str) -> None:
    assert WRONG[setting] in refusal


def test_the_default_namespace_is_refused_with_the_command_that_is_right(helm: Helm) -> None:
    """Tidegate's own namespace is left out of injection: whoever tries it there would wait for sidecars in vain."""
    with pytest.raises(HelmError, match="--namespace tidegate-system --create-namespace"):
        helm.text(namespace="default")


def test_clusters_without_native_sidecars_are_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"requires kubeVersion: >=1\.29\.0-0 which is incompatible"):
        helm.text("--kube-version=1.28.15")


@pytest.mark.parametrize("version", ["1.29.0", "v1.31.2-gke.100", "v1.37.2+k3s1"])
def test_distributions_may_have_suffixes(helm: Helm, version: str) -> None:
    assert OPERATOR in helm.render(f"--kube-version={version}")


def test_a_chart_that_depends_on_this_one_may_pass_its_globals(helm: Helm) -> None:
    assert helm.render("--set=global.registry=another")[OPERATOR] == helm.render()[OPERATOR]


def test_certificates_for_an_injector_elsewhere_are_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"injector\.url and certManager\.enabled"):
        helm.text("--set=injector.url=https://10.0.0.9:9443", profile="cert-manager")


def test_nothing_is_scraped_twice(helm: Helm) -> None:
    with pytest.raises(HelmError, match="scraped twice"):
        helm.text("--set=monitoring.podMonitors.enabled=true", profile="ha")


def test_rendering_twice_gives_the_same_bytes(helm: Helm) -> None:
    """No chance and no clock: who renders again, as GitOps does all the time, sees no difference."""
    assert helm.text(profile="everything") == helm.text(profile="everything")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_programs_understand_every_variable(helm: Helm, profile: str) -> None:
    objects = helm.render(profile=profile)
    for key, module in ((OPERATOR, operator_settings), (INJECTOR, injector_settings)):
        variables = environment_of(objects[key])
        settings: Any = module.read(variables)
        assert settings.namespace == NAMESPACE
        given = {name for name in variables if name.startswith("TIDEGATE_")}
        assert given <= known_variables(module)


def known_variables(module: ModuleType) -> set[str]:
    """By fields, and by what the source names: in full, or without the prefix."""
    source = Path(str(module.__file__)).read_text()
    named = {f"TIDEGATE_{name}" for name in re.findall(r"\"(?:TIDEGATE_)?([A-Z][A-Z_]+)\"", source)}
    if module is operator_settings:
        return named | operator_settings.variables().keys()
    return named | {f"TIDEGATE_{it.name.upper()}" for it in dataclasses.fields(module.Settings)}


def test_every_value_of_the_sidecar_arrives(helm: Helm) -> None:
    template = injector_settings.read(environment_of(helm.render(profile="everything")[INJECTOR])).template
    assert template.image == "registry.example/platform/tidegate/sidecar:0.1.0-debug"
    assert template.images == (
        "registry.example/platform/tidegate/*",
        "registry.example/mirror/sidecar:0.1.0",
    )
    assert (template.pull_policy, template.pull_secrets) == ("Always", ("registry",))
    assert template.user == 10002
    assert template.startup is Startup.WAIT
    assert template.audiences == ("vault", "https://sts.example.com")
    assert template.keys_secret == "provider-keys"
    assert template.families == (Family.IPV6, Family.IPV4)
    assert template.mesh_proxies == ("istio-proxy", "our-proxy")
    resources = template.resources
    assert (resources.cpu_request, resources.cpu_limit) == ("0.1", "")
    assert (resources.memory_request, resources.memory_limit) == ("96Mi", "128Mi")
    assert (resources.storage_request, resources.storage_limit) == ("32Mi", "64Mi")
    assert dict(template.environment) == {"TIDEGATE_LOG_LEVEL": "DEBUG", "NOTE": 'a "b", $(c)'}
    assert template.authorities == Authorities(kind="secret", name="corporate-ca", key="bundle.pem")
    assert (template.https_proxy, template.no_proxy) == ("http://proxy.example:3128", ".internal,10.0.0.0/8")
    assert template.operator_url == "https://tidegate-operator.tidegate-system.svc:8443"


def test_the_defaults_are_those_of_the_injector(helm: Helm) -> None:
    """One truth: whoever runs the injector by hand gets the same sidecars."""
    image = {"TIDEGATE_SIDECAR_IMAGE": f"tidegate-sidecar:{version()}"}
    by_hand = injector_settings.read({**image, "TIDEGATE_NAMESPACE": NAMESPACE}).template
    assert injector_settings.read(environment_of(helm.render()[INJECTOR])).template == by_hand


REMOVAL = "tidegate-webhook-removal"


def test_nothing_runs_before_an_uninstall_unless_it_is_asked_for(helm: Helm) -> None:
    assert not [key for key in helm.render() if key[1] == REMOVAL]


def test_before_an_uninstall_a_job_may_delete_our_webhook_configurations_and_nothing_else(helm: Helm) -> None:
    objects = helm.render("--set=preDeleteHook.enabled=true")
    job = objects["Job", REMOVAL]
    assert job["spec"]["activeDeadlineSeconds"] == 30
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == objects[OPERATOR]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert (container["command"], container["args"]) == ([REMOVAL], [WEBHOOK[1]])
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == (REMOVAL, True)
    (rule,) = objects["ClusterRole", REMOVAL]["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == ([WEBHOOK[1]], ["delete"])
    for kind in ("Job", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"):
        assert objects[kind, REMOVAL]["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"


def test_the_platform_may_choose_users(helm: Helm) -> None:
    objects = helm.render(profile="openshift")
    for key in (OPERATOR, INJECTOR):
        assert "runAsUser" not in objects[key]["spec"]["template"]["spec"]["securityContext"]
    assert injector_settings.read(environment_of(objects[INJECTOR])).template.user is None
    high = environment_of(helm.render("--set=sidecar.user=1000650000")[INJECTOR])
    assert injector_settings.read(high).template.user == 1_000_650_000


def test_in_a_cluster_of_ipv6_everything_listens_there(helm: Helm) -> None:
    found = operator_settings.read(environment_of(helm.render(profile="everything")[OPERATOR]))
    assert (str(found.listen), found.advertise) == ("[::]:8443", "[10.0.0.7]:8443")


@pytest.mark.parametrize("profile", PROFILES)
def test_pods_outlive_the_requests_in_flight(helm: Helm, profile: str) -> None:
    objects = helm.render(profile=profile)
    for key, module in ((OPERATOR, operator_settings), (INJECTOR, injector_settings)):
        settings: Any = module.read(environment_of(objects[key]))
        needed_ms = settings.grace_ms + getattr(settings, "drain_ms", settings.grace_ms)
        grace_s = objects[key]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace_s * 1000 >= needed_ms + 5_000


def test_what_can_never_be_changed_does_not_depend_on_values(helm: Helm) -> None:
    """A Deployment's selector is immutable: an upgrade that changes it fails."""
    selectors = {
        (name, str(item["spec"]["selector"]))
        for profile in PROFILES
        for (kind, name), item in helm.render(profile=profile).items()
        if kind == "Deployment"
    }
    assert len(selectors) == 2


@pytest.mark.parametrize("key", [OPERATOR, INJECTOR])
def test_a_workload_takes_what_a_platform_asks_of_all_workloads(helm: Helm, key: tuple[str, str]) -> None:
    found = helm.render(profile="everything")[key]
    pod = found["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    component = key[1].removeprefix("tidegate-")
    for metadata in (found["metadata"], found["spec"]["template"]["metadata"]):
        assert metadata["labels"]["app.kubernetes.io/component"] == component
    assert found["metadata"]["labels"].items() >= {"team": "platform", "tier": "control-plane"}.items()
    assert found["metadata"]["annotations"]["example.com/reloader"] == "true"
    assert found["spec"]["strategy"] == {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    assert found["spec"]["revisionHistoryLimit"] == 5
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    # what is given goes over what the chart has, and takes nothing else away
    assert pod["securityContext"].items() >= {"fsGroup": 10001, "runAsNonRoot": True}.items()
    assert container["securityContext"]["seLinuxOptions"] == {"level": "s0:c1,c2"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["readinessProbe"] == {
        "httpGet": {"path": "/readyz", "port": "health"},
        "periodSeconds": 3,
        "timeoutSeconds": 5,
    }
    assert container["livenessProbe"]["failureThreshold"] == 9
    assert container["startupProbe"]["failureThreshold"] == 30
    assert "proxy-ca" in [it["name"] for it in pod["volumes"]]
    assert "/etc/proxy-ca" in [it["mountPath"] for it in container["volumeMounts"]]


def test_the_injector_may_run_in_the_nodes_network_at_ports_of_its_own(helm: Helm) -> None:
    objects = helm.render("--set=injector.hostNetwork=true", profile="everything")
    pod = objects[INJECTOR]["spec"]["template"]["spec"]
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert {it["name"]: it["containerPort"] for it in pod["containers"][0]["ports"]} == {
        "webhook": 19443,
        "health": 18080,
    }
    settings = injector_settings.read(environment_of(objects[INJECTOR]))
    assert (settings.listen.port, settings.health.port) == (19443, 18080)
    default = helm.render()[INJECTOR]["spec"]["template"]["spec"]
    assert default.keys().isdisjoint({"hostNetwork", "dnsPolicy"})


def test_selectors_and_the_timeout_of_a_platform_reach_both_webhook_configurations(helm: Helm) -> None:
    objects = helm.render(profile="everything")
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for entry in objects[kind, WEBHOOK[1]]["webhooks"]:
            assert entry["timeoutSeconds"] == 7
            assert entry["namespaceSelector"]["matchLabels"] == {"ai": "allowed"}
            assert {"key": "sandbox", "operator": "DoesNotExist"} in entry["namespaceSelector"][
                "matchExpressions"
            ]
            is_of_namespaces = entry["rules"][0]["scope"] == "Cluster"
            assert bool(entry["objectSelector"]) is not is_of_namespaces


def test_monitors_take_what_prometheus_needs(helm: Helm) -> None:
    objects = helm.render("--set=monitoring.podMonitors.namespace=monitoring", profile="everything")
    for name in ("tidegate", "tidegate-sidecars"):
        monitor = objects["PodMonitor", name]
        assert monitor["metadata"]["namespace"] == "monitoring"
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["scrapeTimeout"] == "10s"
        assert endpoint["relabelings"][0]["targetLabel"] == "node"
        assert endpoint["metricRelabelings"][0]["action"] == "drop"
    selected = objects["PodMonitor", "tidegate"]["spec"]["namespaceSelector"]
    assert selected == {"matchNames": [NAMESPACE]}


def test_pods_do_not_roll_when_only_the_version_of_the_chart_changes(helm: Helm, tmp_path: Path) -> None:
    before = helm.render("--set=operator.image.tag=a,sidecar.image.tag=a")
    changed = tmp_path / "tidegate"
    shutil.copytree(CHART, changed)
    chart = (changed / "Chart.yaml").read_text()
    (changed / "Chart.yaml").write_text(chart.replace("0.1.0", "9.9.9"))
    text = helm(
        "template",
        "another",
        str(changed),
        "--set=crds.install=false",
        "--set=operator.image.tag=a,sidecar.image.tag=a",
    )
    after = {(it["kind"], it["metadata"]["name"]): it for it in yaml.safe_load_all(text) if it}
    for key in (OPERATOR, INJECTOR):
        assert after[key]["metadata"]["labels"]["helm.sh/chart"] == "tidegate-9.9.9"
        assert after[key]["spec"]["template"] == before[key]["spec"]["template"]


def test_the_webhook_configuration_is_the_one_of_the_code(helm: Helm) -> None:
    """And has no `caBundle`: applying it again does not undo what the operator has written there."""
    objects = helm.render(namespace="platform")
    service = Service(namespace="platform")
    for expected in (
        webhook_configuration(service, excluded=["platform"]),
        verifying_configuration(service, excluded=["platform"]),
    ):
        found = objects[expected["kind"], expected["metadata"]["name"]]
        assert found["webhooks"] == expected["webhooks"]
        assert "caBundle" not in str(found)


def test_values_reach_the_webhook_configuration(helm: Helm) -> None:
    objects = helm.render(profile="everything")
    found = objects[WEBHOOK]
    for entry in (*found["webhooks"], *objects["ValidatingWebhookConfiguration", WEBHOOK[1]]["webhooks"]):
        (names, *_) = entry["namespaceSelector"]["matchExpressions"]
        assert names["values"] == ["cert-manager", "kube-node-lease", "kube-system", "monitoring", NAMESPACE]
        assert entry["failurePolicy"] == "Ignore"
    assert (
        found["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == f"{NAMESPACE}/tidegate-injector"
    )
    url = helm.render("--set=injector.url=https://10.0.0.9:9443/")
    assert url[WEBHOOK]["webhooks"][0]["clientConfig"] == {"url": "https://10.0.0.9:9443/pods"}
    assert [name for kind, name in url if name == "tidegate-injector"] == []


def test_who_reads_cluster_policies_is_said_by_value(helm: Helm) -> None:
    binding = ("ClusterRoleBinding", "tidegate-cluster-view")
    assert binding not in helm.render()
    subject = {"kind": "Group", "name": "developers", "apiGroup": "rbac.authorization.k8s.io"}
    rendered = helm.render(f"--set-json=rbac.clusterView.subjects={json.dumps([subject])}")[binding]
    assert rendered["subjects"] == [subject]
    assert rendered["roleRef"]["name"] == "tidegate-cluster-view"


def test_rights_are_those_of_the_table(helm: Helm) -> None:
    objects = helm.render(namespace="platform")
    expected = [
        it for account in ACCOUNTS for it in account_manifests(account, "platform")
    ] + people_manifests()
    for manifest in expected:
        found = objects[manifest["kind"], manifest["metadata"]["name"]]
        for part in ("rules", "subjects", "roleRef"):
            assert found.get(part) == manifest.get(part)
        assert found["metadata"].get("namespace") == manifest["metadata"].get("namespace")
        assert (manifest["metadata"].get("labels") or {}).items() <= found["metadata"]["labels"].items()
    kinds = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    assert {key for key in objects if key[0] in kinds} == {
        (it["kind"], it["metadata"]["name"]) for it in expected if it["kind"] in kinds
    }


def test_with_least_privilege_nothing_of_the_cluster_is_touched_but_the_webhook(helm: Helm) -> None:
    kinds = [kind for kind, _ in helm.render_all(profile="least-privilege")]
    assert {
        "CustomResourceDefinition",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
    }.isdisjoint(kinds)
    assert kinds.count("MutatingWebhookConfiguration") == kinds.count("ValidatingWebhookConfiguration") == 1


def test_definitions_are_those_of_the_models_and_are_kept(helm: Helm) -> None:
    objects = helm.render_all(profile="everything")
    for kind in KINDS.values():
        expected = custom_resource_definition(kind)
        found = objects["CustomResourceDefinition", expected["metadata"]["name"]]
        assert found["spec"] == expected["spec"]
        assert expected["metadata"]["annotations"].items() <= found["metadata"]["annotations"].items()
        assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert found["metadata"]["labels"]["team"] == "platform"


def test_the_chart_of_definitions_has_the_same_ones_and_keeps_them(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CRDS_CHART))
    values = ("--set=commonLabels.team=platform", "--set=commonAnnotations.owner=platform")
    text = helm("template", "tidegate-crds", str(CRDS_CHART), *values)
    objects = {(it["kind"], it["metadata"]["name"]): it for it in yaml.safe_load_all(text) if it}
    guard = {
        ("ValidatingAdmissionPolicy", "tidegate-crds"),
        ("ValidatingAdmissionPolicyBinding", "tidegate-crds"),
    }
    assert objects.keys() == guard | {("CustomResourceDefinition", it.crd_name) for it in KINDS.values()}
    for kind in KINDS.values():
        expected = custom_resource_definition(kind)
        found = objects["CustomResourceDefinition", kind.crd_name]
        assert found["spec"] == expected["spec"]
        kept = {"helm.sh/resource-policy": "keep", "owner": "platform"}
        assert found["metadata"]["annotations"] == expected["metadata"]["annotations"] | kept
        assert (
            found["metadata"]["labels"].items()
            >= {
                "app.kubernetes.io/part-of": "tidegate",
                "team": "platform",
            }.items()
        )
    for setting in ("--set=guard.enabled=false", "--kube-version=1.29.0"):
        assert "ValidatingAdmissionPolicy" not in helm("template", "tidegate-crds", str(CRDS_CHART), setting)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("guard.enabled=yes", "at '/guard/enabled': got string, want boolean"),
        ("crds.install=true", "additional properties 'crds' not allowed"),
        (
            r"commonAnnotations.tidegate\.dev/schema=9",
            "at '/commonAnnotations/tidegate.dev~1schema': false schema",
        ),
    ],
)
def test_a_wrong_value_of_the_chart_of_definitions_is_refused_with_its_place(
    helm: Helm, setting: str, said: str
) -> None:
    with pytest.raises(HelmError) as caught:
        helm("template", "tidegate-crds", str(CRDS_CHART), f"--set={setting}")
    assert said in str(caught.value)


def test_both_charts_install_a_definition_in_the_same_way() -> None:
    first, second = (chart / "templates" / "_definition.tpl" for chart in (CHART, CRDS_CHART))
    assert first.read_bytes() == second.read_bytes()


def test_the_number_of_the_definitions_rises_with_each_release() -> None:
    numbers = list(SCHEMAS.values())
    assert list(SCHEMAS)[-1] == version(), "give this release a higher number in SCHEMAS"
    assert numbers == sorted(set(numbers))
    for kind in KINDS.values():
        annotations = custom_resource_definition(kind)["metadata"]["annotations"]
        assert annotations == {SCHEMA_ANNOTATION: str(numbers[-1])}


def test_the_injector_gets_no_token(helm: Helm) -> None:
    spec = helm.render()[INJECTOR]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert [volume["name"] for volume in spec["volumes"]] == ["certificates", "tmp"]


def test_every_value_has_its_line() -> None:
    """A comment stands directly above each value, or above the group of the second level that it is in."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        is_leaf = re.match(r"[A-Za-z]+: ", line)
        if is_leaf or re.match(r"  [A-Za-z]+:", line):
            assert lines[number - 1].lstrip().startswith("# "), line


@pytest.mark.parametrize("folder", [CHART, CRDS_CHART], ids=lambda folder: folder.name)
def test_the_chart_has_the_version_of_the_project(folder: Path) -> None:
    chart = yaml.safe_load((folder / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version()
    assert chart["kubeVersion"] == yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]


def test_generated_files_are_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = CHART / "files"
    assert main(["--check", str(folder)]) == 0
    assert generate_definitions(["--check", str(CRDS_CHART / "files")]) == 0
    assert main([str(tmp_path)]) == 0
    (tmp_path / "webhooks" / "verifying.yaml").write_text("by hand")
    (tmp_path / "crds" / "another.yaml").write_text("")
    assert main(["--check", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "verifying.yaml differs" in said
    assert "crds/another.yaml is made from nothing" in said
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
