"""HTTP from either side: answers of providers, and requests of applications."""

from __future__ import annotations

import asyncio
import re

from downstream_site.serving import Site, echo
from downstream_site.wireless import Transport

from tidegate_fuzzing.cutting import chosen, cut
from tidegate_sidecar.downstream.connection import AppConnection
from tidegate_sidecar.downstream.server import AppServer
from tidegate_sidecar.upstream.answer import AnswerReader, GarbageError

TURNS = 10
"""Of the event loop after each piece: more than a request takes to be answered."""


class _Read:
    """What a reader makes of pieces, up to the end of the first answer."""

    def __init__(self, pieces: list[bytes], method: str) -> None:
        self.reader = AnswerReader()
        self.reader.expect(method)
        self.body = b""
        self.is_refused = False
        try:
            for piece in pieces:
                if self.reader.is_done:
                    break  # what comes now finds the connection idle, and closes it
                self.reader.feed(piece)
                self.body += self.reader.take_body()
        except GarbageError:
            self.is_refused = True


def answers(data: bytes) -> None:
    """Where an answer is cut changes neither what it is nor where it ends."""
    number, data = chosen(data)
    pieces, whole = cut(data)
    method = "HEAD" if number % 4 == 0 else "POST"
    once, often = _Read([whole], method), _Read(pieces, method)
    if once.is_refused:
        assert often.is_refused or not often.reader.is_done
        return
    assert not often.is_refused
    for one, other in (
        (once.reader.status, often.reader.status),
        (once.reader.headers, often.reader.headers),
    ):
        assert one == other
    assert once.body == often.body
    assert once.body in whole or once.reader._is_chunked
    assert once.reader.is_done == often.reader.is_done
    assert often.reader.is_reusable or not once.reader.is_reusable


def requests(data: bytes) -> None:
    """Whatever comes ends in calls and at most one fault, and something is told of it."""
    pieces, whole = cut(data)
    site, written = asyncio.run(_heard(pieces))
    gone = sum(fault.is_gone for fault in site.faults)
    assert len(site.faults) - gone <= 1
    assert len(re.findall(rb"HTTP/1\.1 [0-9]{3} -\r\n", written)) <= len(site.requests) + len(site.faults)
    if whole.strip(b"\r\n"):
        assert site.requests or site.faults


async def _heard(pieces: list[bytes]) -> tuple[Site, bytes]:
    site = Site(echo)
    site.server = AppServer(site.handle, on_fault=site.on_fault, now_ns=site.now_ns)
    connection = AppConnection(site.server)
    transport = Transport(connection)
    connection.connection_made(transport)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(TURNS if len(pieces) < TURNS else 1):
            await asyncio.sleep(0)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    connection.eof_received()
    transport.close()
    for _ in range(10 * TURNS):
        if not site.server.connections:
            return site, transport.written
        await asyncio.sleep(0)
    raise AssertionError("the connection is still there")
