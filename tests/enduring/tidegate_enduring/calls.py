"""What applications do: ask for everything in every way, leave at any moment, and send what is no request."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from tidegate_enduring.application import WORD, Answered, Application, WrongError
from tidegate_enduring.chance import Dice, in_pieces

OPENAI: Final = "/openai/v1/chat/completions"
ANTHROPIC: Final = "/anthropic/v1/messages"
MODELS: Final = (
    ("gpt-test",) * 10
    + ("gpt-renamed",) * 3
    + ("gpt-backup",) * 2
    + ("gpt-lonely", "gpt-unknown", "gpt-denied")
)

Scenario = Callable[[Application], Awaitable[int]]
"""Uses a connection, and returns how many calls that were."""


class Callers:
    """Everybody who calls.

    Attributes:
        begun: calls that were begun.
        statuses: of answers that came, by number.
        cut: answers that broke off.
    """

    def __init__(self, random: Random, address: tuple[str, int]) -> None:
        self.begun = 0
        self.statuses: dict[int, int] = {}
        self.cut = 0
        self._random = random
        self._address = address
        self._words = 0
        self._dice: Dice[Scenario] = Dice(
            random,
            [
                (74, self._ask), (3, self._ask_in_pieces), (2, self._ask_behind_one_another), (2, self._ask_oddly),
                (1.5, self._ask_for_what_is_not_served), (1, self._ask_largely), (6, self._ask_and_leave),
                (2, self._leave_while_asking), (1.5, self._half_close), (1, self._ask_and_read_slowly),
                (2, self._send_nonsense), (0.3, self._connect_and_leave),
            ],
        )  # fmt: skip

    async def lane(self, is_over: Callable[[], bool]) -> None:
        """One application: a call after the other, on the same connection as long as that is kept."""
        connection: Application | None = None
        while not is_over():
            if connection is None or connection.is_over:
                connection = await Application.open(self._address)
            scenario = self._dice.draw()
            count = await scenario(connection)
            self.begun += count
            if not connection.keeps_alive or self._random.random() < 0.02:
                connection.close()
                await connection.over()
        if connection is not None:
            connection.abort()

    # what is asked

    def _body(self, word: str, **more: Any) -> bytes:
        random = self._random
        document = {
            "model": random.choice(MODELS),
            "user": word,
            "messages": [{"role": "user", "content": "hello"}],
            **more,
        }
        if random.random() < 0.35:
            document["stream"] = True
        return json.dumps(document, separators=random.choice([(",", ":"), (", ", ": ")])).encode()

    def _word(self) -> str:
        self._words += 1
        return f"word-{self._words}-"

    def _head(self, path: str, more: str = "", length: int | None = None) -> bytes:
        random = self._random
        consumer = random.choice(
            ["x-user: one", f"x-user: {random.randrange(50)}", f"x-user: {random.randrange(50)}"]
        )
        framing = "" if length is None else f"content-length: {length}\r\n"
        key = "authorization: Bearer sk-application-0123456789\r\n"
        return f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{consumer}\r\n{key}{more}{framing}\r\n".encode()

    def _request(self, word: str, more: str = "") -> bytes:
        if self._random.random() < 0.15:
            body = self._body(word, model="claude-test", max_tokens=9)
            return self._head(ANTHROPIC, more, len(body)) + body
        body = self._body(word)
        return self._head(OPENAI, more, len(body)) + body

    def _look_at(self, words: list[str], answers: list[Answered]) -> None:
        """No word of another call may be in an answer."""
        for word, answer in zip(words, answers, strict=False):
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            self.cut += not answer.is_whole
            others = {found for found in WORD.findall(answer.body) if found != word.encode()}
            if others:
                raise WrongError(f"the answer to {word} has the words {others}: {answer.body[:500]!r}")
        if len(answers) > len(words):
            raise WrongError(f"{len(answers)} answers came to {len(words)} calls: {answers[-1].body[:300]!r}")

    # how it is asked

    async def _ask(self, app: Application) -> int:
        word = self._word()
        app.write(self._request(word, self._random.choice(["", "", "", "", "connection: close\r\n"])))
        self._look_at([word], await app.answered())
        return 1

    async def _ask_in_pieces(self, app: Application) -> int:
        word = self._word()
        for piece in in_pieces(self._random, self._request(word)):
            app.write(piece)
            await asyncio.sleep(self._random.choice([0, 0, 0.002]))
        self._look_at([word], await app.answered())
        return 1

    async def _ask_behind_one_another(self, app: Application) -> int:
        words = [self._word() for _ in range(self._random.randrange(2, 5))]
        app.write(b"".join(self._request(word) for word in words))
        answers = await app.answered(self._random.choice([len(words), len(words), 1]))
        self._look_at(words, answers)
        if len(answers) < len(words):
            app.abort()
            await app.over()
        return len(words)

    async def _ask_oddly(self, app: Application) -> int:
        """In chunks, encoded, invited first, or with a body that is none."""
        random, word = self._random, self._word()
        body = self._body(word)
        match random.randrange(6):
            case 0:
                chunks = b"".join(b"%x\r\n%b\r\n" % (len(it), it) for it in in_pieces(random, body) if it)
                app.write(self._head(OPENAI, "transfer-encoding: chunked\r\n") + chunks + b"0\r\n\r\n")
            case 1:
                body = gzip.compress(body, 1)
                app.write(self._head(OPENAI, "content-encoding: gzip\r\n", len(body)) + body)
            case 2:
                app.write(self._head(OPENAI, "expect: 100-continue\r\n", len(body)))
                await asyncio.sleep(0.001)
                app.write(body)
            case 3:
                body = random.choice(
                    [b"", b"{", b"[]", b"\xff", b'{"model":1}', b'{"model":"a","model":"b"}', body[:-1]]
                )
                app.write(self._head(OPENAI, "", len(body)) + body)
            case 4:
                app.write(self._head(OPENAI, "content-encoding: gzip\r\n", len(body)) + body)
            case _:
                body = body[:-1] + b',"huge":' + b"9" * 40 + b',"pair":"\\ud83d"}'
                app.write(self._head(OPENAI, "", len(body)) + body)
        self._look_at([word], await app.answered())
        return 1

    async def _ask_for_what_is_not_served(self, app: Application) -> int:
        head = self._random.choice(
            [
                b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n", b"POST /elsewhere HTTP/1.1\r\nhost: localhost\r\n\r\n",
                b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n",
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\ncontent-length: 0\r\n\r\n",
                b"POST /openai/v1/chat/completions HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}",
            ]
        )  # fmt: skip
        app.write(head)
        self._look_at([""], await app.answered())
        return 1

    async def _ask_largely(self, app: Application) -> int:
        """Some of these are more than the sidecar takes, and some more than it has room for."""
        word = self._word()
        body = self._body(word, padding="x" * self._random.choice([40_000, 100_000, 300_000, 1_200_000]))
        app.write(self._head(OPENAI, "", len(body)) + body)
        self._look_at([word], await app.answered())
        return 1

    # how it is left

    async def _ask_and_leave(self, app: Application) -> int:
        random, word = self._random, self._word()
        app.hangs_up_after = app.came_bytes + random.choice(
            [1, random.randrange(1, 400), random.randrange(1, 20_000)]
        )
        app.write(self._request(word))
        if random.random() < 0.5:
            await asyncio.sleep(random.choice([0, 0, 0.001, 0.01]))
            random.choice([app.abort, app.close])()
            await app.over()
        self._look_at([word], await app.answered())
        app.hangs_up_after = None
        return 1

    async def _leave_while_asking(self, app: Application) -> int:
        data = self._request(self._word())
        app.write(data[: self._random.randrange(1, len(data))])
        await asyncio.sleep(self._random.choice([0, 0.001]))
        self._random.choice([app.abort, app.close, app.half_close])()
        await app.over()
        return 1

    async def _half_close(self, app: Application) -> int:
        word = self._word()
        app.write(self._request(word))
        await asyncio.sleep(self._random.choice([0, 0.002]))
        app.half_close()
        await app.over()
        self._look_at([word], await app.answered())
        return 1

    async def _ask_and_read_slowly(self, app: Application) -> int:
        word = self._word()
        app.write(self._request(word))
        for _ in range(self._random.randrange(1, 4)):
            app.pause()
            await asyncio.sleep(self._random.random() * 0.02)
            app.resume()
            await asyncio.sleep(0)
        self._look_at([word], await app.answered())
        return 1

    async def _send_nonsense(self, app: Application) -> int:
        random = self._random
        head = b"POST /openai/v1/chat/completions HTTP/1.1\r\n"
        app.write(
            random.choice(
                [
                    b"\x16\x03\x01\x02\0\x01\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", head + b"\r\n", head + b"host: a\r\nhost: b\r\n\r\n",
                    head + b"host: localhost\r\nx: \0\r\n\r\n", head + b"host: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
                    head + b"host: localhost\r\ncontent-length: -1\r\n\r\n", head + b"host: localhost\r\nx\r\n\r\n",
                    head + b"host: localhost\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
                    head + b"host: localhost\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
                    random.randbytes(30) + b"\r\n\r\n",
                ]
            )
        )  # fmt: skip
        await asyncio.sleep(random.choice([0, 0.001]))
        random.choice([app.abort, app.close, app.half_close])()
        await app.over()
        return 1

    async def _connect_and_leave(self, app: Application) -> int:
        app.abort()
        await app.over()
        return 0
