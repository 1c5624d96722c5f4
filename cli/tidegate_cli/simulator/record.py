"""What the simulator remembers, for tests and for `repr`: requests received and what became of them.

Provider keys are kept, since tests ask which key arrived, but never shown. PURE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"})
"""Headers whose values no repr shows, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReceivedRequest:
    """One request, as it arrived.

    Attributes:
        number: counted from 1 in the order of arrival.
        provider: the name in the path, `default` where the path names none.
        method: in capitals.
        path: decoded, with `/providers/NAME`, without the query.
        headers: by name in any case; the whole set, keys included.
        body: as sent, at most the simulator's bound on requests.
    """

    number: int
    provider: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded; raises `ValueError` where it is not JSON."""
        return orjson.loads(self.body)

    def __repr__(self) -> str:
        headers = {
            name: "***" if name.lower() in KEY_HEADERS else text for name, text in self.headers.items()
        }
        return (
            f"<ReceivedRequest {self.number} {self.method} {self.path} provider={self.provider!r} "
            f"headers={headers!r} body of {len(self.body)} bytes>"
        )


@dataclass(slots=True, kw_only=True)
class Counters:
    """How many there are now (`open_...`) and have been since the simulator was made.

    Attributes:
        open_connections: TCP connections, idle ones included.
        open_requests: requests whose answer has not ended.
        open_streams: those of them that are streams whose head has been sent.
        received: requests read to their end.
        answered: requests whose answer was sent completely, failures included.
        cut_by_client: requests whose client left before the answer was complete.
        cut_by_simulator: answers that ended as `cut_after`, `garbage` or the end of the simulator demanded.
    """

    open_connections: int = 0
    open_requests: int = 0
    open_streams: int = 0
    received: int = 0
    answered: int = 0
    cut_by_client: int = 0
    cut_by_simulator: int = 0
