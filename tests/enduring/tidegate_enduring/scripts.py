"""What a provider says to a request: answers in every form, and failures of every kind."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Any, Final

from tidegate_enduring.chance import in_pieces

_WORD: Final = re.compile(rb'"user": ?"(word-\d+-)"')
_STREAM: Final = re.compile(rb'"stream": ?true')
_PADDING: Final = " ".join(["padding"] * 2_000)


class Act(Enum):
    """What is done instead of writing."""

    CLOSE = "close"
    ABORT = "abort"
    STALL = "stall"
    """Nothing more is said; the other side has to give up."""


Step = bytes | float | Act
"""Bytes are written, a number is waited for in seconds, an act ends the script."""


class Asked:
    """A request, as far as scripts look at it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        found = _WORD.search(body)
        self.word = found[1].decode() if found else "word-0-"
        self.is_stream = _STREAM.search(body) is not None
        self.is_anthropic = b" /anthropic/" in head

    @property
    def whole(self) -> bytes:
        """The answer."""
        usage: dict[str, int] = {"prompt_tokens": 3, "completion_tokens": 1}
        if self.is_anthropic:
            content = [{"type": "text", "text": self.word}]
            usage = {"input_tokens": 3, "output_tokens": 1}
            answer: Any = {
                "id": self.word,
                "type": "message",
                "role": "assistant",
                "content": content,
                "usage": usage,
            }
        else:
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": self.word},
                "finish_reason": "stop",
            }
            answer = {"id": self.word, "object": "chat.completion", "choices": [choice], "usage": usage}
        return json.dumps(answer).encode()

    def error(self, kind: str, code: Any = None) -> bytes:
        """An error in the words of its dialect."""
        error = {"type": kind, "message": self.word, "code": code}
        return json.dumps(
            {"type": "error", "error": error} if self.is_anthropic else {"error": error}
        ).encode()

    def events(self, count: int, end: bytes = b"\n") -> list[bytes]:
        """A stream: its opening, so many words, its end."""
        told = self._anthropic_events(count) if self.is_anthropic else self._openai_events(count)
        return [event.replace(b"\n", end) for event in told]

    def error_event(self) -> bytes:
        return b"event: error\ndata: " + self.error("overloaded_error") + b"\n\n"

    def _openai_events(self, count: int) -> list[bytes]:
        def chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            return b"data: " + json.dumps({"id": self.word, "choices": [choice]}).encode() + b"\n\n"

        usage: Any = {
            "id": self.word,
            "choices": [],
            "usage": {"prompt_tokens": 3, "completion_tokens": count},
        }
        return [
            chunk({"role": "assistant"}),
            *(chunk({"content": self.word}) for _ in range(count)),
            chunk({}, "stop"),
            b"data: " + json.dumps(usage).encode() + b"\n\n",
            b"data: [DONE]\n\n",
        ]

    def _anthropic_events(self, count: int) -> list[bytes]:
        def event(name: str, **more: Any) -> bytes:
            return f"event: {name}\ndata: ".encode() + json.dumps({"type": name, **more}).encode() + b"\n\n"

        delta = {"type": "text_delta", "text": self.word}
        return [
            event("message_start", message={"id": self.word, "usage": {"input_tokens": 3}, "content": []}),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            event("ping"),
            *(event("content_block_delta", index=0, delta=delta) for _ in range(count)),
            event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": count}),
            event("message_stop"),
        ]


Script = Callable[[Random, Asked], list[Step]]


def head(
    status: int = 200, *, more: bytes = b"", length: int | None = None, kind: bytes = b"application/json"
) -> bytes:
    framing = b"" if length is None else b"content-length: %d\r\n" % length
    return b"HTTP/1.1 %d X\r\ncontent-type: %b\r\n%b%b\r\n" % (status, kind, framing, more)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED: Final = b"transfer-encoding: chunked\r\n"
EVENTS: Final = b"text/event-stream"


def served(random: Random, asked: Asked) -> list[Step]:
    body = asked.whole
    return [head(length=len(body)) + body]


def served_in_pieces(random: Random, asked: Asked) -> list[Step]:
    body = asked.whole
    steps: list[Step] = []
    for piece in in_pieces(random, head(length=len(body)) + body):
        steps += [piece, random.choice([0.0, 0.0, 0.002])]
    return steps


def served_in_chunks(random: Random, asked: Asked) -> list[Step]:
    chunks = b"".join(chunk(piece) for piece in in_pieces(random, asked.whole) if piece)
    return [*in_pieces(random, head(more=CHUNKED) + chunks + b"0\r\n\r\n")]


def served_encoded(random: Random, asked: Asked) -> list[Step]:
    body = gzip.compress(asked.whole, 1)
    return [head(length=len(body), more=b"content-encoding: gzip\r\n") + body]


def served_large(random: Random, asked: Asked) -> list[Step]:
    body = asked.whole[:-1] + b',"padding":"' + (_PADDING * random.randrange(1, 30)).encode() + b'"}'
    return [*in_pieces(random, head(length=len(body)) + body)]


def served_and_closed(random: Random, asked: Asked) -> list[Step]:
    body = asked.whole
    return [head(length=len(body), more=random.choice([b"", b"connection: close\r\n"])) + body, Act.CLOSE]


def served_until_closed(random: Random, asked: Asked) -> list[Step]:
    return [head() + asked.whole, random.choice([Act.CLOSE, Act.ABORT])]


def served_and_closed_while_idle(random: Random, asked: Asked) -> list[Step]:
    return [*served(random, asked), random.random() * 0.01, random.choice([Act.CLOSE, Act.ABORT])]


def served_with_more_behind(random: Random, asked: Asked) -> list[Step]:
    """Another answer in the same write must not become the next call's. What comes later may have crossed a request."""
    body = asked.whole
    answer = head(length=len(body)) + body
    return random.choice(
        [[answer + answer], [answer + b"\r\n"], [answer, 0.003, b"x"], [answer, 0.003, Act.CLOSE]]
    )


def served_after_interim(random: Random, asked: Asked) -> list[Step]:
    return [b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", *served(random, asked)]


def served_late(random: Random, asked: Asked) -> list[Step]:
    return [random.random() * 0.02, *served(random, asked)]


def failed(random: Random, asked: Asked) -> list[Step]:
    status, kind, code = random.choice(
        [
            (400, "invalid_request_error", None), (401, "authentication_error", "invalid_api_key"), (402, "billing", None),
            (403, "permission_error", None), (404, "invalid_request_error", "model_not_found"), (408, "timeout", None),
            (413, "request_too_large", None), (422, "invalid_request_error", None), (429, "rate_limit_error", None),
            (429, "insufficient_quota", "insufficient_quota"), (500, "api_error", None), (502, "api_error", None),
            (503, "overloaded_error", None), (529, "overloaded_error", None), (599, "", None),
        ]
    )  # fmt: skip
    more = random.choice(
        [b"", b"", b"retry-after: 0\r\n", b"retry-after: 1\r\n", b"x-should-retry: false\r\n"]
    )
    body = random.choice([asked.error(kind, code)] * 3 + [b"<html>no</html>", b"", b"null"])
    return [head(status, length=len(body), more=more) + body]


def failed_within_success(random: Random, asked: Asked) -> list[Step]:
    body = asked.error(
        *random.choice([("server_error", 503), ("rate_limit_error", 429), ("invalid_request_error", 400)])
    )
    return [head(length=len(body)) + body]


def unreadable(random: Random, asked: Asked) -> list[Step]:
    body = random.choice([b"", b"<html>", b"[]", b'{"cut":', b"\xff\xfe", b"\x1f\x8b\x08broken"])
    more = random.choice([b"", b"content-encoding: gzip\r\n", b"content-encoding: x-odd\r\n"])
    return [head(length=len(body), more=more) + body]


def redirected(random: Random, asked: Asked) -> list[Step]:
    return [head(302, length=0, more=b"location: http://elsewhere/\r\n")]


def nonsense(random: Random, asked: Asked) -> list[Step]:
    said = random.choice(
        [b"SSH-2.0-x\r\n", random.randbytes(40), b"\0" * 9, b"HTTP/1.1 200 OK\n\n", b"HTTP/2 200\r\n\r\n"]
    )
    return [said, random.choice([Act.STALL, Act.CLOSE])]


def faulty_framing(random: Random, asked: Asked) -> list[Step]:
    more = random.choice(
        [
            b"content-length: 1\r\ncontent-length: 2\r\n",
            CHUNKED + b"content-length: 2\r\n",
            b"transfer-encoding: gzip\r\n",
        ]
    )
    return [head(more=more) + b"2\r\n{}\r\n0\r\n\r\n", Act.CLOSE]


def large_head(random: Random, asked: Asked) -> list[Step]:
    return [head(more=b"x: " + b"y" * random.choice([20_000, 70_000]) + b"\r\n", length=2) + b"{}"]


def cut_anywhere(random: Random, asked: Asked) -> list[Step]:
    body = asked.whole
    said = random.choice([head(length=len(body)) + body, head(more=CHUNKED) + chunk(body) + b"0\r\n\r\n"])
    return [said[: random.randrange(len(said))], random.choice([Act.CLOSE, Act.ABORT, Act.STALL])]


def closed(random: Random, asked: Asked) -> list[Step]:
    return [random.choice([0.0, 0.005]), random.choice([Act.CLOSE, Act.ABORT])]


def stalled(random: Random, asked: Asked) -> list[Step]:
    return [Act.STALL]


def streamed(random: Random, asked: Asked) -> list[Step]:
    return [
        head(more=CHUNKED, kind=EVENTS) + chunk(b"".join(asked.events(random.randrange(1, 6)))) + b"0\r\n\r\n"
    ]


def streamed_in_pieces(random: Random, asked: Asked) -> list[Step]:
    """Each event on its own, some of them late, in any kind of line ends, cut anywhere by the network."""
    events = asked.events(random.randrange(1, 12), random.choice([b"\n", b"\n", b"\r\n", b"\r"]))
    if random.random() < 0.2:
        events.insert(random.randrange(len(events)), b": still there\n\n")
    steps: list[Step] = [head(more=CHUNKED, kind=random.choice([EVENTS, EVENTS, b"text/plain"]))]
    for event in events:
        steps += [*in_pieces(random, chunk(event), 1), random.choice([0.0, 0.0, 0.0, 0.004])]
    return [*steps, b"0\r\n\r\n"]


def streamed_large(random: Random, asked: Asked) -> list[Step]:
    """More than buffers of sockets hold, so that slow readers hold the provider back."""
    event = asked.events(1)[3 if asked.is_anthropic else 1]
    filler = event.replace(asked.word.encode(), asked.word.encode() + _PADDING.encode())
    events = asked.events(1)
    events[2:2] = [filler] * random.randrange(1, 120)
    return [head(more=CHUNKED, kind=EVENTS), *(chunk(event) for event in events), b"0\r\n\r\n"]


def streamed_encoded(random: Random, asked: Asked) -> list[Step]:
    body = gzip.compress(b"".join(asked.events(4)), 1)
    return [head(length=len(body), kind=EVENTS, more=b"content-encoding: gzip\r\n"), *in_pieces(random, body)]


def streamed_until_closed(random: Random, asked: Asked) -> list[Step]:
    return [head(kind=EVENTS) + b"".join(asked.events(3)), random.choice([Act.CLOSE, Act.ABORT])]


def streamed_without_its_last_bytes(random: Random, asked: Asked) -> list[Step]:
    """The mark of the end has come, and the end of the body does not, or more than it."""
    said = head(more=CHUNKED, kind=EVENTS) + chunk(b"".join(asked.events(2)))
    ends: list[list[Step]] = [[Act.STALL], [0.005, b"0\r\n\r\n"], [b"nonsense"], [Act.ABORT]]
    return [said, *random.choice(ends)]


def streamed_without_its_end(random: Random, asked: Asked) -> list[Step]:
    events = asked.events(3)[: -random.randrange(1, 4)]
    return [head(more=CHUNKED, kind=EVENTS) + chunk(b"".join(events)) + b"0\r\n\r\n"]


def stream_cut_anywhere(random: Random, asked: Asked) -> list[Step]:
    said = (
        head(more=CHUNKED, kind=EVENTS) + b"".join(chunk(event) for event in asked.events(5)) + b"0\r\n\r\n"
    )
    at = random.randrange(len(said))
    return [*in_pieces(random, said[:at]), random.choice([Act.CLOSE, Act.ABORT, Act.STALL])]


def stream_with_error(random: Random, asked: Asked) -> list[Step]:
    events = asked.events(3)
    events.insert(random.randrange(len(events)), asked.error_event())
    said = b"".join(chunk(event) for event in events) + b"0\r\n\r\n"
    return [head(more=CHUNKED, kind=EVENTS), *in_pieces(random, said)]


def stream_with_nonsense(random: Random, asked: Asked) -> list[Step]:
    events = asked.events(3)
    events.insert(
        random.randrange(len(events)), random.choice([b"data: {\n\n", b"data: \xff\n\n", b"nonsense\n\n"])
    )
    return [head(more=CHUNKED, kind=EVENTS) + chunk(b"".join(events)) + b"0\r\n\r\n"]


EITHER: Final[tuple[tuple[float, Script], ...]] = (
    (5, failed), (1.5, failed_within_success), (1, unreadable), (0.3, redirected), (0.7, nonsense), (0.5, faulty_framing),
    (0.2, large_head), (1, closed), (0.7, stalled),
)  # fmt: skip
WHOLE: Final[tuple[tuple[float, Script], ...]] = (
    *EITHER,
    (60, served), (4, served_in_pieces), (3, served_in_chunks), (1, served_encoded), (1, served_large), (1, served_and_closed),
    (1, served_until_closed), (2, served_and_closed_while_idle), (0.7, served_with_more_behind), (1, served_after_interim),
    (4, served_late), (1.5, cut_anywhere), (0.3, streamed),
)  # fmt: skip
STREAM: Final[tuple[tuple[float, Script], ...]] = (
    *EITHER,
    (45, streamed), (10, streamed_in_pieces), (0.7, streamed_large), (1, streamed_encoded), (1, streamed_until_closed),
    (1, streamed_without_its_last_bytes), (1, streamed_without_its_end), (2.5, stream_cut_anywhere), (2, stream_with_error),
    (1, stream_with_nonsense), (0.5, served),
)  # fmt: skip
