"""All targets by name, each with words that its inputs are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from tidegate_fuzzing import bodies, connections, streams

SEEDS: Final = Path(__file__).parents[1] / "seeds"


class Target(NamedTuple):
    """What is fuzzed.

    Attributes:
        check: raises where a promise does not hold for these bytes.
        words: that make inputs which get somewhere.
    """

    check: Callable[[bytes], None]
    words: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """The function's."""
        return self.check.__name__


_HEADS = (
    b"\r\n\r\n",
    b"content-length: ",
    b"transfer-encoding: chunked",
    b"connection: close",
    b"HTTP/1.1 ",
    b"\r\n0\r\n\r\n",
)
_EVENTS = (b"\r\n", b"\n\n", b"\r\r", b"data: ", b"event: ", b": ", b"\xef\xbb\xbf")
_JSON = (b'{"', b'":', b'","', b'"},{"', b"[]", b"null", b"true", b"\\u0061", b"\\ud83d", b"1e400", b"-0")
_CHUNKS = (
    b'"choices":',
    b'"delta":',
    b'"content":',
    b'"finish_reason":',
    b'"usage":',
    b'"error":',
    b"[DONE]",
    b'"index":',
)
_MESSAGES = (
    b'"type":',
    b'"message_stop"',
    b'"message_start"',
    b'"content_block_delta"',
    b'"delta":',
    b'"usage":',
    b"ping",
    b"error",
)

TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        target.name: target
        for target in (
            Target(connections.answers, (*_HEADS, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"5;a=b\r\n")),
            Target(connections.requests, (*_HEADS, b"POST / HTTP/1.1\r\n", b"host: localhost\r\n", b"expect: 100-continue")),
            Target(streams.events, _EVENTS),
            Target(streams.openai, (*_EVENTS, *_JSON, *_CHUNKS)),
            Target(streams.anthropic, (*_EVENTS, *_JSON, *_MESSAGES)),
            Target(streams.documents, (*_JSON, *_CHUNKS, *_MESSAGES, b'"model":', b'"stream":', b'"code":', b'"status":')),
            Target(streams.secrets, (*streams.KEYS, b"sk-01234")),
            Target(bodies.messages, (*_JSON, b'"model":', b'"stream":')),
            Target(bodies.encodings, (b"\x1f\x8b\x08", b"\x78\x9c", b"\x28\xb5\x2f\xfd")),
        )
    }
)  # fmt: skip


def seeds_of(target: Target) -> list[Path]:
    """Inputs that a run begins with."""
    return sorted((SEEDS / target.name).iterdir())
