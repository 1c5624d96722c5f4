"""The environment of `tidegate-injector`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate_operator.inject.settings import read
from tidegate_operator.inject.template import Family, Resources, Startup, Template
from tidegate_operator.settings import SettingsError

IMAGE = {"TIDEGATE_SIDECAR_IMAGE": "registry.example/sidecar:1"}


def test_the_image_is_all_that_has_to_be_said(tmp_path: Path) -> None:
    settings = read(IMAGE, folder=tmp_path)
    assert settings.template == Template(
        version=settings.template.version,
        image="registry.example/sidecar:1",
        operator_url="https://tidegate-operator.default.svc:8443",
    )
    assert (str(settings.listen), str(settings.health)) == ("127.0.0.1:9443", "127.0.0.1:8080")


def test_in_a_pod_it_serves_the_pods_addresses_and_knows_its_namespace(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("tidegate-system")
    settings = read(IMAGE, folder=tmp_path)
    assert (str(settings.listen), str(settings.health)) == ("0.0.0.0:9443", "0.0.0.0:8080")
    assert settings.template.operator_url == "https://tidegate-operator.tidegate-system.svc:8443"


def test_in_a_pod_without_a_token_it_serves_the_pods_addresses_too(tmp_path: Path) -> None:
    """It asks the API server nothing, so it is given none."""
    told = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "TIDEGATE_NAMESPACE": "tidegate-system"}
    settings = read(IMAGE | told, folder=tmp_path)
    assert (str(settings.listen), settings.namespace) == ("0.0.0.0:9443", "tidegate-system")


def test_everything_can_be_said(tmp_path: Path) -> None:
    settings = read(
        IMAGE
        | {
            "TIDEGATE_NAMESPACE": "platform",
            "TIDEGATE_LISTEN": "[::]:9443",
            "TIDEGATE_CERTIFICATES": "/certificates",
            "TIDEGATE_RELOAD_MS": "100",
            "TIDEGATE_DRAIN_MS": "0",
            "TIDEGATE_OPERATOR_URL": "https://operator.example:443/",
            "TIDEGATE_SIDECAR_IMAGES": "mirror.example/*, other.example/sidecar:2 ,",
            "TIDEGATE_SIDECAR_PULL_POLICY": "Always",
            "TIDEGATE_SIDECAR_PULL_SECRETS": "one,two",
            "TIDEGATE_SIDECAR_USER": "platform",
            "TIDEGATE_SIDECAR_CPU_REQUEST": "1m",
            "TIDEGATE_SIDECAR_CPU_LIMIT": "none",
            "TIDEGATE_SIDECAR_MEMORY_LIMIT": "1Gi",
            "TIDEGATE_SIDECAR_STARTUP": "Wait",
            "TIDEGATE_SIDECAR_AUDIENCES": "vault,https://sts.example",
            "TIDEGATE_SIDECAR_KEYS_SECRET": "none",
            "TIDEGATE_SIDECAR_IP_FAMILIES": "IPv6,IPv4",
            "TIDEGATE_SIDECAR_MESH_PROXIES": "envoy",
        },
        folder=tmp_path,
    )
    assert (settings.namespace, str(settings.listen), settings.certificates) == (
        "platform",
        "[::]:9443",
        Path("/certificates"),
    )
    assert (settings.reload_ms, settings.drain_ms) == (100, 0)
    assert settings.template == Template(
        version=settings.template.version,
        image=IMAGE["TIDEGATE_SIDECAR_IMAGE"],
        operator_url="https://operator.example:443",
        images=("mirror.example/*", "other.example/sidecar:2"),
        pull_policy="Always",
        pull_secrets=("one", "two"),
        user=None,
        resources=Resources(cpu_request="1m", cpu_limit="", memory_limit="1Gi"),
        startup=Startup.WAIT,
        audiences=("vault", "https://sts.example"),
        keys_secret="",
        families=(Family.IPV6, Family.IPV4),
        mesh_proxies=("envoy",),
    )


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    wrong = {
        "TIDEGATE_LISTEN": "9443",
        "TIDEGATE_RELOAD_MS": "soon",
        "TIDEGATE_LOG_LEVEL": "loud",
        "TIDEGATE_OPERATOR_URL": "http://operator",
        "TIDEGATE_SIDECAR_PULL_POLICY": "always",
        "TIDEGATE_SIDECAR_USER": "0",
        "TIDEGATE_SIDECAR_CPU_REQUEST": "2",
        "TIDEGATE_SIDECAR_MEMORY_LIMIT": "big",
        "TIDEGATE_SIDECAR_STARTUP": "Later",
        "TIDEGATE_SIDECAR_AUDIENCES": "a" * 256,
        "TIDEGATE_SIDECAR_ENV": "A=b",
        "TIDEGATE_SIDECAR_CA": "configMap/corporate",
        "TIDEGATE_SIDECAR_IP_FAMILIES": "IPv5",
    }
    with pytest.raises(SettingsError) as caught:
        read(wrong, folder=tmp_path)
    lines = str(caught.value).splitlines()
    assert {line.split("=")[0].split(":")[0].split(" ")[0] for line in lines} == set(wrong) | set(IMAGE)


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("registry.example/sidecar:1", True),
        ("registry.example/sidecar:1 ", False),
        ("mirror.example/tidegate/sidecar:1", True),
        ("mirror.example.evil/tidegate/sidecar:1", False),
        ("other.example/sidecar:2", True),
        ("other.example/sidecar:22", False),
        ("", False),
    ],
)
def test_the_list_of_images(image: str, allowed: bool, tmp_path: Path) -> None:
    images = {"TIDEGATE_SIDECAR_IMAGES": "mirror.example/*,other.example/sidecar:2"}
    assert read(IMAGE | images, folder=tmp_path).template.allows_image(image) is allowed
