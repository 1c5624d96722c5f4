"""What lies on the way to a place: names, addresses that are silent, a proxy, certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from aiohappyeyeballs import AddrInfoType
from tidegate_cluster.certificates import CertificateAuthority, KeyPair
from tidegate_testing.wire import DEADLINE_S


class Names:
    """A DNS in which every name leads to the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[AddrInfoType]:
        self.asked.append(host)
        await asyncio.sleep(0)
        return [
            (
                socket.AF_INET6 if ":" in it else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (it, port),
            )
            for it in self.addresses
        ]


@contextmanager
def silent(host: str, port: int = 0) -> Iterator[int]:
    """An address that answers no attempt to connect; its port."""
    with socket.create_server((host, port), backlog=0) as listener:
        place = listener.getsockname()
        waiting = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)  # noqa: FBT003 - the socket module has no other way
                with suppress(BlockingIOError):
                    one.connect(place)
                waiting.append(one)
            yield place[1]
        finally:
            for one in waiting:
                one.close()


def sockets() -> set[str]:
    """All that this process has open."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(str(descriptor.readlink()))
    return {it for it in found if it.startswith("socket:")}


class Authority(CertificateAuthority):
    """An authority with its files in `folder`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        super().__init__()
        self._folder = folder
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate_pem)

    def server_context(
        self,
        *names: str,
        addresses: tuple[str, ...] = ("127.0.0.1",),
        clients: CertificateAuthority | None = None,
    ) -> ssl.SSLContext:
        """TLS of a server with these names; it demands a certificate of `clients`, if there are some."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cert, key = self.write("server", self.server(names, addresses))
        context.load_cert_chain(cert, key)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients.certificate_pem.decode())
        return context

    def write(self, name: str, pair: KeyPair) -> tuple[str, str]:
        """Files of a certificate and its key."""
        cert, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        cert.write_bytes(pair.certificate_pem)
        key.write_bytes(pair.key_pem)
        return str(cert), str(key)


class HttpProxy:
    """Leads to wherever it is asked, after it has said `answer`."""

    def __init__(self, target: Callable[[], tuple[str, int]]) -> None:
        self.answer = b"HTTP/1.1 200 Connection established\r\nvia: proxy\r\n\r\n"
        self.heads: list[bytes] = []
        self.url = ""
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []

    async def came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            if b" 200 " in self.answer:
                there, back = await asyncio.open_connection(*self._target())
                self._writers.append(back)
                await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        writer.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    # What uvloop says of a connection that the other side has closed is a RuntimeError.
    with suppress(ConnectionError, RuntimeError):
        while data := await source.read(2**16):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def http_proxy(target: Callable[[], tuple[str, int]]) -> AsyncIterator[HttpProxy]:
    proxy = HttpProxy(target)
    server = await asyncio.start_server(proxy.came, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.close()
        async with asyncio.timeout(DEADLINE_S):
            await server.wait_closed()
