"""How each proxy is started: one process on one core, with a configuration that stands in `configs/`."""

from __future__ import annotations

import http.client
import secrets
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final

from speed import installs
from speed.programs import BenchError, Program, Records, free_port, running
from speed.targets import BARE, ENVOY, LITELLM, NOTHING, POLICIES, PORTKEY, Grounds, Provider, Target
from tidegate_operator.certificates.plan import Plan, next_step

CONFIGS: Final = Path(__file__).parent / "configs"
SOURCES: Final = Path(__file__).parents[1]
START_S: Final = 20.0
PEER_START_S: Final = 120.0


@contextmanager
def provider(grounds: Grounds) -> Iterator[Provider]:
    """The stub, on its core."""
    plain_port, tls_port = free_port(), free_port()
    ca_file, certificate, key = _certificates(grounds.folder)
    command: list[str | Path] = [
        grounds.tidegate.python,
        "-m",
        "speed.stub",
        str(plain_port),
        str(tls_port),
        certificate,
        key,
    ]
    with running(
        "provider", command, core=grounds.cores.provider, folder=grounds.folder, environment=_PYTHON
    ) as program:
        program.wait_until_listening(tls_port, START_S)
        yield Provider(program=program, plain_port=plain_port, tls_port=tls_port, ca_file=ca_file)


def nothing(provider: Provider) -> Target:
    """The provider itself, without TLS: what no proxy can be better than."""
    return Target(name=NOTHING, port=provider.plain_port)


@contextmanager
def tidegate(grounds: Grounds, provider: Provider, name: str) -> Iterator[Target]:
    """The sidecar as a process, with its records read by the bench as a container runtime would."""
    manifest = _render(
        grounds,
        "policies.yaml" if name == POLICIES else "relay.yaml",
        f"{_name(name, provider)}.yaml",
        provider_url=provider.url,
    )
    file = manifest.with_suffix(".json")
    rendered = installs.run([grounds.tidegate.command_line, "render", "--compact", "-f", manifest])
    file.write_text(rendered, encoding="utf-8")
    port, admin_port, records = free_port(), free_port(), Records()
    environment = {
        "TIDEGATE_CONFIG_FILE": str(file),
        "TIDEGATE_LISTEN": f"127.0.0.1:{port}",
        "TIDEGATE_ADMIN": f"127.0.0.1:{admin_port}",
        "TIDEGATE_PROVIDER_CA_FILE": str(provider.ca_file),
        "BENCH_PROVIDER_KEY": "sk-bench-key-of-the-platform",
        "MALLOC_MMAP_THRESHOLD_": "131072",  # as the sidecar's image sets it
    }
    with running(
        _name(name, provider),
        [grounds.tidegate.sidecar],
        core=grounds.cores.proxy,
        folder=grounds.folder,
        environment=environment,
        records=records,
    ) as program:
        program.wait_until_listening(port, START_S)
        _wait_until_ready(program, admin_port)
        yield Target(
            name=name,
            port=port,
            program=program,
            headers={"Authorization": "Bearer sk-bench-key-of-the-caller", "x-user-id": "alice"},
            model_suffix="-latest" if name == POLICIES else "",
            records=records,
            admin_port=admin_port,
        )


@contextmanager
def envoy(grounds: Grounds, provider: Provider) -> Iterator[Target]:
    """One worker, one local rate limit, no access log."""
    port, admin_port = free_port(), free_port()
    name = _name(ENVOY, provider)
    file = _render(
        grounds,
        "envoy.yaml",
        f"{name}.yaml",
        port=port,
        admin_port=admin_port,
        provider_host="localhost" if provider.tls else "127.0.0.1",
        provider_port=provider.port,
    )
    if provider.tls:
        part = _render(grounds, "envoy-tls.yaml", f"{name} part.yaml", ca_file=provider.ca_file)
        file.write_text(file.read_text(encoding="utf-8") + part.read_text(encoding="utf-8"), encoding="utf-8")
    command: list[str | Path] = [grounds.envoy, "--config-path", file, "--concurrency", "1"]
    command += ["--disable-hot-restart", "--log-level", "warning"]
    with running(name, command, core=grounds.cores.proxy, folder=grounds.folder) as program:
        program.wait_until_listening(port, START_S)
        yield Target(name=ENVOY, port=port, program=program, headers=_CALLER, admin_port=admin_port)


@contextmanager
def bare(grounds: Grounds, provider: Provider) -> Iterator[Target]:
    """Nothing but aiohttp, on the interpreter that runs Tidegate."""
    port = free_port()
    command: list[str | Path] = [grounds.tidegate.python, "-m", "speed.bare", str(port), provider.url]
    command += [str(provider.ca_file)] if provider.tls else []
    with running(
        _name(BARE, provider),
        command,
        core=grounds.cores.proxy,
        folder=grounds.folder,
        environment=_PYTHON,
    ) as program:
        program.wait_until_listening(port, START_S)
        yield Target(name=BARE, port=port, program=program, headers=_CALLER)


@contextmanager
def litellm(grounds: Grounds, provider: Provider, program: Path) -> Iterator[Target]:
    """LiteLLM's proxy with one worker, without a database."""
    port = free_port()
    file = _render(grounds, "litellm.yaml", f"{_name(LITELLM, provider)}.yaml", provider_url=provider.url)
    command: list[str | Path] = [
        program,
        "--config",
        file,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    key = f"sk-{secrets.token_hex(32)}"  # it does not start without one that is hard to guess
    environment = {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the internet for prices as it starts
        "LITELLM_LOG": "ERROR",
        **_trust(provider),
    }
    with running(
        _name(LITELLM, provider),
        command,
        core=grounds.cores.proxy,
        folder=grounds.folder,
        environment=environment,
    ) as proxy:
        proxy.wait_until_listening(port, PEER_START_S)
        yield Target(name=LITELLM, port=port, program=proxy, headers={"Authorization": f"Bearer {key}"})


@contextmanager
def portkey(grounds: Grounds, provider: Provider, command: list[str | Path]) -> Iterator[Target]:
    """Portkey's gateway; each call says where its provider is."""
    port = free_port()
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": provider.url}
    with running(
        _name(PORTKEY, provider),
        [*command, "--headless", f"--port={port}"],
        core=grounds.cores.proxy,
        folder=grounds.folder,
        environment={"NODE_ENV": "production", **_trust(provider)},
    ) as program:
        program.wait_until_listening(port, PEER_START_S)
        yield Target(name=PORTKEY, port=port, program=program, headers={**_CALLER, **headers})


_CALLER: Final = {"Authorization": "Bearer sk-bench-key-of-the-caller"}
_PYTHON: Final = {"PYTHONPATH": str(SOURCES)}


def _name(name: str, provider: Provider) -> str:
    return f"{name} over TLS" if provider.tls else name


def _render(grounds: Grounds, source: str, name: str, **values: object) -> Path:
    text = (CONFIGS / source).read_text(encoding="utf-8")
    file = grounds.folder / name.replace(" ", "-").replace(",", "")
    file.write_text(string.Template(text).substitute(values), encoding="utf-8")
    return file


def _wait_until_ready(program: Program, admin_port: int) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=1)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == HTTPStatus.OK:
                return
        time.sleep(0.05)
    raise BenchError(f"{program.name} has no configuration in force:\n{program.log_tail()}")


def _trust(provider: Provider) -> dict[str, str]:
    """What makes Python's and Node's programs trust the stub's certificate."""
    return {"SSL_CERT_FILE": str(provider.ca_file), "NODE_EXTRA_CA_CERTS": str(provider.ca_file)}


def _certificates(folder: Path) -> tuple[Path, Path, Path]:
    bundle = next_step(None, Plan(names=("localhost",), addresses=("127.0.0.1",)), int(time.time()))
    if bundle is None:
        raise BenchError("no certificates could be made")
    files = folder / "ca.crt", folder / "tls.crt", folder / "tls.key"
    for file in files:
        file.write_bytes(bundle.to_data()[file.name])
    return files
