"""One record per call: what was asked, what was decided and why, what came of it.

A record never holds a prompt, an answer or a key. Free text from the application (consumer, model) is bounded.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import IO, Final, Protocol, Self

import orjson

MAX_TEXT: Final = 256
"""Characters of any text in a record that comes from outside."""


class Ending(StrEnum):
    """How a call ended."""

    SERVED = "served"
    """The provider's answer reached the application, whole."""
    PROVIDER_ERROR = "provider_error"
    """The provider's own error was passed on."""
    REFUSED = "refused"
    """A rule said no: `code`, `object` and `rule` tell which."""
    FAILED = "failed"
    """No provider could serve it, or the stream was cut."""
    CLIENT_GONE = "client_gone"
    """The application hung up."""
    INTERNAL = "internal_error"
    """A fault of ours."""


class UsageState(StrEnum):
    """Where the token counts of a record come from."""

    REPORTED = "reported"
    UNREPORTED = "unreported"
    NONE = "none"
    """No provider began to answer: nothing was sent, or every try failed."""


@dataclass(slots=True)
class AttemptRecord:
    """One try."""

    provider: str
    result: str
    """`ok`, or the failure: a word of `retryOn`, `Unauthorized`, `Cancelled`."""
    status: int = 0
    """The provider's HTTP status, 0 where there was none."""
    reason: str = ""
    duration_ms: int = 0


@dataclass(slots=True)
class Decision:
    """A rule in Shadow mode that would have refused the call."""

    object: str
    rule: str
    code: str


@dataclass(slots=True)
class CallRecord:
    """Everything about one call, filled in as it happens. Times in milliseconds."""

    request_id: str
    started_wall_ns: int
    dialect: str = ""
    operation: str = ""
    stream: bool = False
    consumer: str = ""
    requested_model: str = ""
    model: str = ""
    model_label: str = "none"
    """`model` for metrics: only names that the configuration has, else `other`."""
    pool: str = ""
    provider: str = ""
    status: int = 0
    """What the application got; 0 when it got nothing."""
    ending: Ending = Ending.INTERNAL
    code: str = ""
    object: str = ""
    rule: str = ""
    reason: str = ""
    would_refuse: list[Decision] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    usage: UsageState = UsageState.NONE
    first_token_ms: int | None = None
    duration_ms: int = 0
    policy: str = ""
    """`none` where no policy applies to the workload, and its calls are let through."""
    pass_through: bool | None = None
    """True for a call that was let through; left out for any other."""
    config: str = ""
    """Digest of the configuration that decided, its first twelve characters."""
    namespace: str = ""
    workload: str = ""


def to_json(record: CallRecord) -> bytes:
    """The record as one line without its line break. Empty parts are left out; times are RFC 3339 in UTC."""
    started = datetime.fromtimestamp(record.started_wall_ns // 1_000_000 / 1_000, UTC)
    document: dict[str, object] = {"time": started.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    for name in CallRecord.__slots__:
        value = getattr(record, name)
        if name in ("started_wall_ns", "model_label") or value in ("", [], None):
            continue
        document[name] = value[:MAX_TEXT] if name in ("consumer", "requested_model", "model") else value
    return orjson.dumps(document)


class RecordSink(Protocol):
    """Takes finished records; must return at once."""

    def __call__(self, record: CallRecord) -> None:
        """Take one."""
        ...


class LineWriter:
    """Writes records as lines from a thread, so that a reader which stalls never stalls a call.

    At most `depth` records wait; further ones are dropped and counted by `on_dropped`.
    """

    def __init__(self, stream: IO[bytes], on_dropped: Callable[[], None], depth: int = 10_000) -> None:
        """Write to `stream`; it stays open."""
        self._stream = stream
        self._on_dropped = on_dropped
        self._waiting: queue.Queue[CallRecord | None] = queue.Queue(depth)
        self._thread = threading.Thread(target=self._write, name="records", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, for two seconds at most."""
        try:
            self._waiting.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(timeout=1)

    def __call__(self, record: CallRecord) -> None:
        """See `RecordSink`."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._on_dropped()

    def _write(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                self._stream.write(to_json(record) + b"\n")
                if self._waiting.qsize() <= 1:  # what waits may be the word to stop
                    self._stream.flush()
            except (OSError, ValueError, TypeError):
                # Nobody reads any more (the pipe is closed), or it is no text: calls go on, the record is counted.
                self._on_dropped()
