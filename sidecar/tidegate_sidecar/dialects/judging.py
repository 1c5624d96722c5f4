"""How a table of failures is read: what an error says, wherever a provider put it, against rows of statuses and words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from tidegate_sidecar.dialects.base import MAX_WORD, SERVED, Judged, Verdict

UNSAID: Final = 0
"""The status of an error inside an answer of 2xx that names no other."""

ANY: Final = range(600)
"""All statuses, `UNSAID` too."""

_SUCCESSES: Final = range(200, 300)
_CALLER: Final = range(400, 500)
_FAILURES: Final = range(400, 600)
_NO_STATUS: Final = 2**31
"""Numbers from here on are taken for no code."""
_MESSAGE_LENGTH: Final = 2_048
"""Characters of a message that are looked at."""


class Said(NamedTuple):
    """What an error says.

    Attributes:
        status: of the answer, or the one that an error inside a 2xx names.
        words: codes and types as the provider wrote them, the most telling first.
        message: its words for people, in lower case.
    """

    status: int
    words: tuple[str, ...] = ()
    message: str = ""


class Row(NamedTuple):
    """One row of a table: all that it names must be true of an error, the first such row decides.

    Attributes:
        statuses: one of them.
        words: one of them, in lower case. Empty: any or none.
        begins: the message begins with one of them. A validation message can quote the caller, but begins in the
            provider's own words: nobody can have a key put aside by writing so into a prompt.
        holds: one of them stands anywhere in the message. For verdicts that concern this call alone, and for statuses
            at which no message quotes the caller.
        is_bare: the body says nothing that can be read.
        whole_account: of the verdict, see `Judged`.
    """

    verdict: Verdict
    statuses: Collection[int] = ANY
    words: frozenset[str] = frozenset()
    begins: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    is_bare: bool = False
    whole_account: bool = False

    def fits(self, said: Said) -> bool:
        """Whether this row speaks of the error."""
        return (
            said.status in self.statuses
            and (not self.words or any(word.lower() in self.words for word in said.words))
            and (not self.begins or said.message.startswith(self.begins))
            and (not self.holds or any(part in said.message for part in self.holds))
            and not (self.is_bare and (said.words or said.message))
        )


def judge_answer(table: Sequence[Row], status: int, document: object) -> Judged:
    """What a whole answer says; `document` is its JSON, None where it is none. In a 2xx the body alone decides."""
    if status not in _SUCCESSES:
        return judge_error(table, status, document)
    return judge_error(table, UNSAID, document) if is_error(document) else SERVED


def judge_error(table: Sequence[Row], status: int, document: object) -> Judged:
    """What an error says, by its words and then by its status; a number in it counts where `status` is `UNSAID`.

    An error that no row knows is the caller's from 400 to 499, and else the provider's.
    """
    words, numbers, message = _read_error(document)
    if status == UNSAID:
        status = next((number for number in numbers if number in _FAILURES), UNSAID)
    said = Said(status, words, message)
    word = _clean(words[0] if words else str(numbers[0]) if numbers else "")
    for row in table:
        if row.fits(said):
            return Judged(row.verdict, word, row.whole_account)
    return Judged(Verdict.CALLER_ERROR if status in _CALLER else Verdict.SERVER_ERROR, word)


def is_error(document: object) -> bool:
    """Whether an answer or event is an error whatever its status: as the SDKs see it, or as it calls itself."""
    if type(document) is not dict:
        return False
    return bool(document.get("error")) or document.get("object") == "error" or document.get("type") == "error"


def _read_error(document: object) -> tuple[tuple[str, ...], list[int], str]:
    """Words, numbers and message of an error.

    Providers put them below `error` (OpenAI, Anthropic), at the top with or without a text as `error` (Mistral, vLLM,
    xAI), or into an array of one (Google's OpenAI endpoint).
    """
    if type(document) is list and document:
        document = document[0]
    if type(document) is not dict:
        return (), [], ""
    error = document.get("error")
    inner: dict[str, Any] = error if type(error) is dict else document
    details = inner.get("details")
    told = [
        details.get("error_code") if type(details) is dict else None,  # Anthropic's finer word
        *(inner.get(name) for name in ("code", "type", "status", "error_type")),
    ]
    words: list[str] = []
    numbers: list[int] = []
    for value in told:
        if type(value) is int and 0 <= value < _NO_STATUS:
            numbers.append(value)
        elif type(value) is str and value.isascii() and value.isdigit():
            numbers.append(int(value[:MAX_WORD]))
        elif type(value) is str and value and value != "error":
            words.append(value)
    messages = (error, inner.get("message"), inner.get("detail"))
    message = next((text for text in messages if type(text) is str), "")
    return tuple(words), numbers, message[:_MESSAGE_LENGTH].lower()


def _clean(word: str) -> str:
    """`word` as records and logs can carry it."""
    short = word[:MAX_WORD]
    return short if short.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in short)
