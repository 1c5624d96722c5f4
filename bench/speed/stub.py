"""The provider: answers from memory at once, so that what is measured is the proxy. `python -m speed.stub PORT TLS_PORT CERT KEY`.

One protocol object per connection and no task; a stream with pauses is one timer. `GET /counts` says how much was answered.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Final, cast

import httptools
import orjson
import uvloop

from speed.traffic import EVENT_GAP_S, EVENTS, FEW_EVENTS, Shape, events, model_name, whole_answer

SIZES_KIB: Final = (1, 100)
MODEL: Final = b'"model":'
STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)
WITH_PAUSES: Final = (b"apart", b"first")
LAST_CHUNK: Final = b"0\r\n\r\n"


class Answers:
    """Everything that is ever sent, as bytes; and how much was."""

    def __init__(self) -> None:
        self.whole = {model_name(Shape.WHOLE, kib).encode(): _whole(whole_answer(kib)) for kib in SIZES_KIB}
        self.streams = _streams(with_usage=False)
        self.streams_with_usage = _streams(with_usage=True)
        self.calls = 0
        self.events = 0

    def counts(self) -> bytes:
        """An answer that says what was sent."""
        return _whole(orjson.dumps({"calls": self.calls, "events": self.events}))


class Connection(asyncio.Protocol):
    """Reads requests one after the other; what decides is the model's name."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Part of a request's body; told by the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """A request is there, whole; told by the parser."""
        answers = self._answers
        body = b"".join(self._body)
        self._body.clear()
        if not body:
            self._transport.write(answers.counts())
            return
        model = _model_in(body)
        answers.calls += 1
        if (whole := answers.whole.get(model)) is not None:
            self._transport.write(whole)
            return
        streams = answers.streams_with_usage if b'"include_usage"' in body else answers.streams
        pieces = streams.get(model)
        if pieces is None:
            self._transport.write(_whole(b'{"error":{"message":"no such model"}}', b"404 Not Found"))
        elif model in WITH_PAUSES:
            self._transport.write(STREAM_HEAD)
            self._timer = self._loop.call_later(EVENT_GAP_S, self._send_event, pieces, 0)
        else:
            self._transport.write(STREAM_HEAD)
            for piece in pieces:
                self._transport.write(piece)  # uvloop sends it before it returns
            self._transport.write(LAST_CHUNK)
            answers.events += EVENTS

    def _send_event(self, pieces: list[bytes], at: int) -> None:
        self._answers.events += 1
        if at + 1 < len(pieces):
            self._transport.write(pieces[at])
            self._timer = self._loop.call_later(EVENT_GAP_S, self._send_event, pieces, at + 1)
        else:
            self._timer = None
            self._transport.write(pieces[at] + LAST_CHUNK)


def _streams(*, with_usage: bool) -> dict[bytes, list[bytes]]:
    """The writes of each kind of stream, by the model's name."""
    many = [_chunk(event) for event in events(EVENTS, with_usage=with_usage)]
    few = [_chunk(event) for event in events(FEW_EVENTS, with_usage=with_usage)]
    return {b"apart": many, b"at-once": many, b"one-piece": [b"".join(many)], b"first": few}


def _model_in(body: bytes) -> bytes:
    start = body.find(b'"', body.find(MODEL) + len(MODEL)) + 1
    return body[start : body.find(b'"', start)]


def _whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


async def main(plain_port: int, tls_port: int, certificate: str, key: str) -> None:
    """Serve until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    answers = Answers()
    loop = asyncio.get_running_loop()
    for port, tls in ((plain_port, None), (tls_port, context)):
        await loop.create_server(lambda: Connection(answers), "127.0.0.1", port, ssl=tls, backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
