"""Requests that came in one read with something that is none: aiohttp gives up all that such a read has brought.

They are read again, one at a time, and answered as if the bytes had come one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage

from tidegate_sidecar.downstream.faults import MAX_HEADERS, MAX_LINE_BYTES


def parser_for(connection: BaseProtocol, read_bytes: int) -> HttpRequestParser:
    """A parser that stops behind each request until `message_consumed` is called.

    Args:
        connection: is kept from reading on while more than twice `read_bytes` of a body are not read.
        read_bytes: as told.
    """
    return HttpRequestParser(
        connection,
        asyncio.get_running_loop(),
        read_bytes,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        max_headers=MAX_HEADERS,
        auto_decompress=False,
        max_msg_queue_size=1,
    )


def requests_in(data: bytes, parser: HttpRequestParser) -> Iterator[tuple[RawRequestMessage, StreamReader]]:
    """The requests that `data` begins with, each with its body, which may not be complete in the last of them.

    Raises:
        HttpProcessingError: what follows is no request.
    """
    messages, *_ = parser.feed_data(data)
    while messages:
        yield messages[0]
        parser.message_consumed()
        messages, *_ = parser.feed_data(b"")
