"""A set of files, served by the sidecar's own server: what `run` and `demo` have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tidegate_cli.compiling import ChoiceError, Compiled, choose, identity_of
from tidegate_cli.demo import redirect
from tidegate_cli.problems import errors_in
from tidegate_cli.simulator.server import Simulator
from tidegate_cli.source import ManifestSource
from tidegate_operator.index.snapshot import Workload
from tidegate_policy.model import CompiledConfig, Provider
from tidegate_sidecar.app import Listening, run_sidecar
from tidegate_sidecar.config.source import Loaded, Refused
from tidegate_sidecar.credentials.keyring import Keyring, NoKeyError
from tidegate_sidecar.credentials.mounted import MountedKeys
from tidegate_sidecar.settings import Settings
from tidegate_sidecar.telemetry.metrics import Metrics
from tidegate_sidecar.telemetry.records import RecordSink


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What one process serves.

    Attributes:
        paths: the files, followed while the process runs.
        first: what they mean now; without errors.
        workload: whom the process speaks for, as long as the files have it.
        simulated: providers are replaced by the simulated one, and keys by none.
        warn: told what is doubtful but does not keep files from being used.
    """

    settings: Settings
    paths: Sequence[Path]
    first: Compiled
    workload: Workload
    simulated: bool
    warn: Callable[[str], None]


async def serve(
    serving: Serving,
    *,
    records: RecordSink,
    metrics: Metrics | None = None,
    on_listening: Callable[[Listening], None],
    stop: asyncio.Event | None = None,
    flush: Callable[[], None] = lambda: None,
) -> bool:
    """Serve until a signal, or until `stop` is set where it is given; whether all calls had ended by then.

    `flush` is called some twenty times a second: what `records` was given is to be handed on.

    Raises:
        ListenError: an address cannot be used.
    """
    async with AsyncExitStack() as stack:
        simulator_url = ""
        if serving.simulated:
            simulator = Simulator()
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            simulator_url = simulator.url
        reader = Reader(serving=serving, simulator_url=simulator_url)
        return await run_sidecar(
            serving.settings,
            ManifestSource(serving.paths, serving.first, reader.read),
            records=records,
            metrics=metrics,
            on_listening=on_listening,
            stop=stop,
            flush=flush,
        )


@dataclass(slots=True, kw_only=True)
class Reader:
    """Says what files mean for one process, and warns once of each thing that is doubtful."""

    serving: Serving
    simulator_url: str
    _warned: set[str] = field(default_factory=set)

    def read(self, compiled: Compiled) -> Loaded | Refused:
        """The configuration, or every reason why the files cannot be used."""
        if compiled.errors:
            return Refused(problem="\n".join(str(problem) for problem in compiled.errors))
        try:
            workload = choose(compiled, str(self.serving.workload))
        except ChoiceError as error:
            return Refused(problem=str(error))
        config = compiled.compilation.configs[compiled.compilation.workloads[workload]]
        if self.simulator_url:
            config = redirect(config, self.simulator_url)
        self._warn(compiled, config)
        return Loaded(config=config, identity=identity_of(workload))

    def _warn(self, compiled: Compiled, config: CompiledConfig) -> None:
        news = {str(problem) for problem in compiled.problems} - {
            str(problem) for problem in errors_in(compiled.problems)
        }
        news |= set(missing_keys(config, keyring_of(self.serving.settings)))
        for text in sorted(news - self._warned):
            self.serving.warn(text)
        self._warned |= news


def keyring_of(settings: Settings) -> Keyring:
    """The keys that there are at this moment."""
    mounted = MountedKeys(settings.keys_dir)
    mounted.look()
    return Keyring(settings.environment, mounted)


def missing_keys(config: CompiledConfig, keyring: Keyring) -> Iterator[str]:
    """A sentence for each credential whose key is not there, with what that means for its provider."""
    for pool in config.pools:
        for provider in pool.providers:
            effect = "its other keys are used"
            if _problem(keyring, provider):
                effect = "calls through it are refused"
            for credential in provider.credentials:
                problem = _problem(keyring, replace(provider, credentials=(credential,)))
                if problem:
                    yield f"warning: {problem} (provider {provider.name} of {pool.source}: {effect})"


def _problem(keyring: Keyring, provider: Provider) -> str:
    """Why a provider has no key that can be used; empty where it has one or needs none."""
    try:
        keyring.find(provider)
    except NoKeyError as error:
        return str(error)
    return ""
