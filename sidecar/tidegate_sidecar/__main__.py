"""`tidegate-sidecar`: a compiled configuration from the operator or from a file, enforced.

Settings come from the environment (`settings.py` lists them); records go to standard output, one JSON line per call,
everything else to standard error.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from tidegate_policy.model import WorkloadIdentity
from tidegate_runtime import logs, loop
from tidegate_sidecar import settings as process
from tidegate_sidecar.app import run_sidecar
from tidegate_sidecar.config.operator_source import OperatorSource
from tidegate_sidecar.config.source import ConfigSource, FileSource
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.credentials.mounted import MountedKeys
from tidegate_sidecar.downstream.listener import ListenError
from tidegate_sidecar.telemetry.line_writer import LineWriter
from tidegate_sidecar.telemetry.metrics import Metrics
from tidegate_sidecar.upstream.tls import TlsFileError


def main() -> int:
    """Run until a signal; 0 after a clean end, 1 when calls were cut or a port is taken, 2 for wrong settings."""
    logs.configure(logging.INFO)
    try:
        settings = process.read()
    except process.SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    metrics = Metrics()
    keys = MountedKeys(settings.keys_dir, settings.keys_secret)
    source = _source(settings, metrics, keys)
    if source is None:
        sys.stderr.write(
            "There is no source of configurations: set TIDEGATE_OPERATOR_URL and TIDEGATE_OPERATOR_CA as the injector "
            "does in a pod, or TIDEGATE_CONFIG_FILE to a file that `tidegate render` printed.\n"
        )
        return 2
    try:
        with LineWriter(sys.stdout.buffer, metrics.records_dropped.inc) as records:
            drained = loop.run(
                run_sidecar(
                    settings, source, records=records, metrics=metrics, flush=records.flush, keys=keys
                )
            )
    except ListenError as error:
        sys.stderr.write(f"{error}; choose another by TIDEGATE_LISTEN or TIDEGATE_ADMIN.\n")
        return 1
    except TlsFileError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0 if drained else 1


def _source(settings: process.Settings, metrics: Metrics, keys: MountedKeys) -> ConfigSource | None:
    if settings.operator is not None:
        keyring = Keyring(settings.environment, keys)
        return OperatorSource(settings.operator, metrics, keys=keyring.report)
    if settings.config_file:
        return FileSource(Path(settings.config_file), WorkloadIdentity(), settings.reload_interval_ms)
    return None


if __name__ == "__main__":
    sys.exit(main())
