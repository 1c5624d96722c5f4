"""A key is taken out of an answer in whatever pieces the answer comes."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.proxy.redact import REDACTED, StreamRedactor, spellings, without

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[at:end] for at, end in pairwise(places)]


def streamed(pieces: list[bytes], key: str) -> bytes:
    redactor = StreamRedactor(spellings(key))
    return b"".join([redactor.feed(piece) for piece in pieces]) + redactor.finish()


@given(KEYS, st.data(), st.lists(st.integers(0, 500), max_size=12))
def test_no_spelling_of_a_key_survives_any_cutting(key: str, data: st.DataObject, cuts: list[int]) -> None:
    spelled = data.draw(st.lists(st.sampled_from(spellings(key)), min_size=1, max_size=4))
    between = data.draw(
        st.lists(st.sampled_from([b"", b" ", b"\n", key[:5].encode(), b"\\", b"x"]), min_size=5, max_size=5)
    )
    text = between[0] + b"".join(word + gap for word, gap in zip(spelled, between[1:], strict=False))
    for found in (
        without(spellings(key), text),
        streamed([text], key),
        streamed(pieces_of(text, cuts), key),
    ):
        assert REDACTED in found
        for spelling in spellings(key):
            assert spelling not in found


@given(KEYS, st.data(), st.text(max_size=80), st.lists(st.integers(0, 500), max_size=12))
def test_an_answer_without_the_key_arrives_as_it_is(
    key: str, data: st.DataObject, text: str, cuts: list[int]
) -> None:
    almost = [key[: data.draw(st.integers(0, len(key) - 1))] for _ in range(2)]
    written = f"{almost[0]}{text}{almost[1]}".encode()
    if not any(spelling in written for spelling in spellings(key)):
        assert streamed(pieces_of(written, cuts), key) == written
        assert without(spellings(key), written) == written


@given(KEYS, st.lists(st.integers(0, 500), max_size=12))
def test_what_is_held_back_is_no_more_than_what_may_become_the_key(key: str, cuts: list[int]) -> None:
    """A stream goes on as it comes: whatever cannot be part of a key any more has been passed on."""
    redactor = StreamRedactor(spellings(key))
    longest = max(map(len, spellings(key)))
    fed = passed = 0
    for piece in pieces_of(b"data: {}\n\n" * 3 + key[:-1].encode(), cuts):
        fed += len(piece)
        passed += len(redactor.feed(piece))
        assert fed - passed < longest


@given(KEYS)
def test_every_spelling_is_the_key_to_a_reader_of_json(key: str) -> None:
    for spelling in spellings(key)[1:]:
        assert json.loads(b'"' + spelling + b'"') == key
