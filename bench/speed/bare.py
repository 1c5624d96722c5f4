"""A proxy of nothing but aiohttp, as one would write it: `python -m speed.bare PORT PROVIDER_URL [CA_FILE]`.

It stands for what a Python proxy costs that decides nothing: no limit, no breaker, no record.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Final

import aiohttp
import uvloop
from aiohttp import web

PASSED_ON: Final = ("authorization", "content-type")
PASSED_BACK: Final = ("content-type", "x-request-id")


async def main(port: int, provider_url: str, ca_file: str | None) -> None:
    """Serve until the process is ended."""
    context = ssl.create_default_context(cafile=ca_file) if ca_file else True
    connector = aiohttp.TCPConnector(limit=0, ssl=context)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

        async def relay(request: web.BaseRequest) -> web.StreamResponse:
            headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
            url = provider_url + request.path_qs.removeprefix("/v1")
            async with session.post(url, data=await request.read(), headers=headers) as answer:
                headers = {name: answer.headers[name] for name in PASSED_BACK if name in answer.headers}
                if answer.content_length is not None:
                    return web.Response(status=answer.status, headers=headers, body=await answer.read())
                stream = web.StreamResponse(status=answer.status, headers=headers)
                await stream.prepare(request)
                async for piece in answer.content.iter_any():
                    await stream.write(piece)
                await stream.write_eof()
                return stream

        loop = asyncio.get_running_loop()
        await loop.create_server(web.Server(relay, access_log=None), "127.0.0.1", port, backlog=1024)  # noqa: TID251 - what it is by itself is measured
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))  # noqa: PLR2004
