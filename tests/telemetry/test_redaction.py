"""A key is taken out of an answer in whatever pieces the answer comes."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.proxy.redact import REDACTED, RedactedResponse, spellings

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40)


class Pieces:
    """An answer that comes in these pieces."""

    def __init__(self, pieces: list[bytes], header: str = "") -> None:
        self.status = 200
        self.headers = (("x-debug", header),)
        self._pieces = pieces

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        self._pieces.clear()


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[at:end] for at, end in pairwise(places)]


async def read_all(response: RedactedResponse) -> bytes:
    found = b""
    while piece := await response.read():
        found += piece
    return found


@given(KEYS, st.data(), st.lists(st.integers(0, 500), max_size=12))
async def test_no_spelling_of_a_key_survives_any_cutting(
    key: str, data: st.DataObject, cuts: list[int]
) -> None:
    spelled = data.draw(st.lists(st.sampled_from(spellings(key)), min_size=1, max_size=4))
    between = data.draw(
        st.lists(st.sampled_from(["", " ", "\n", key[:5], "\\", "x"]), min_size=5, max_size=5)
    )
    text = between[0] + "".join(f"{word}{gap}" for word, gap in zip(spelled, between[1:], strict=False))
    whole = await read_all(RedactedResponse(Pieces([text.encode()]), key))
    cut = await read_all(RedactedResponse(Pieces(pieces_of(text.encode(), cuts)), key))
    for found in (whole, cut):
        assert REDACTED.encode() in found
        for spelling in spellings(key):
            assert spelling.encode() not in found


@given(KEYS, st.text(max_size=80), st.lists(st.integers(0, 500), max_size=12))
async def test_an_answer_without_the_key_arrives_as_it_is(key: str, text: str, cuts: list[int]) -> None:
    data = text.encode()
    if not any(spelling.encode() in data for spelling in spellings(key)):
        assert await read_all(RedactedResponse(Pieces(pieces_of(data, cuts)), key)) == data


@given(KEYS)
def test_every_spelling_is_the_key_to_a_reader_of_json(key: str) -> None:
    for spelling in spellings(key)[1:]:
        assert json.loads(f'"{spelling}"') == key


def test_a_header_is_cleaned_too() -> None:
    key = "ab/c+d=0123456789"
    (header,) = RedactedResponse(Pieces([], f"key={key}; json=ab\\/c+d=0123456789"), key).headers
    assert header == ("x-debug", f"key={REDACTED}; json={REDACTED}")
