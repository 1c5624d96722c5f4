"""What is said and what it counts: rules that a test can apply by hand. No server here."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tidegate_cli.simulator.answer import ATTACHMENT_TOKENS, compose, split
from tidegate_cli.simulator.behaviour import WELL_BEHAVED, Behaviour, UsageReport
from tidegate_cli.simulator.prompt import Prompt

PROMPT = Prompt(
    model="m",
    is_stream=False,
    texts=("Be brief.", "What is a tide?"),
    attachments=0,
    question="What is a tide?",
    output_tokens_max=None,
    choices=1,
    wants_stream_usage=False,
)


def test_answer_echoes_the_question_and_tokens_are_words() -> None:
    answer = compose(PROMPT, WELL_BEHAVED)
    assert answer.text == "Simulated answer of m to: What is a tide?"
    assert (answer.input_tokens, answer.output_tokens) == (6, 9)
    assert answer.pieces == ("Simulated ", "answer ", "of ", "m ", "to: ", "What ", "is ", "a ", "tide?")
    assert answer.has_usage
    assert not answer.is_truncated


def test_echo_is_short() -> None:
    answer = compose(replace(PROMPT, question="word " * 1000), WELL_BEHAVED)
    assert answer.text == "Simulated answer of m to:" + " word" * 8


def test_attachments_count_and_an_empty_request_is_one_token() -> None:
    assert compose(replace(PROMPT, attachments=2), WELL_BEHAVED).input_tokens == 6 + 2 * ATTACHMENT_TOKENS
    assert compose(replace(PROMPT, texts=()), WELL_BEHAVED).input_tokens == 1


def test_choices_multiply_the_output() -> None:
    assert compose(replace(PROMPT, choices=3), WELL_BEHAVED).output_tokens == 27


def test_bound_on_output_shortens_the_answer() -> None:
    answer = compose(replace(PROMPT, output_tokens_max=2), WELL_BEHAVED)
    assert (answer.text, answer.output_tokens, answer.is_truncated) == ("Simulated answer", 2, True)


def test_instructed_counts_replace_the_counted_ones() -> None:
    behaviour = Behaviour(input_tokens=0, output_tokens=777, usage=UsageReport.NONE)
    answer = compose(replace(PROMPT, choices=2, output_tokens_max=2), behaviour)
    assert (answer.input_tokens, answer.output_tokens, answer.has_usage) == (0, 777, False)


def test_more_chunks_than_words_prolong_the_answer() -> None:
    answer = compose(PROMPT, Behaviour(chunks=30))
    assert len(answer.pieces) == answer.output_tokens == 30
    assert all(len(piece.split()) == 1 for piece in answer.pieces)


@given(
    size=st.integers(0, 2000),
    question=st.text(max_size=50),
    chunks=st.none() | st.integers(1, 50),
    bound=st.none() | st.integers(1, 50),
)
def test_size_is_exact_in_bytes(size: int, question: str, chunks: int | None, bound: int | None) -> None:
    prompt = replace(PROMPT, question=question.encode(errors="ignore").decode(), output_tokens_max=bound)
    answer = compose(prompt, Behaviour(size_bytes=size, chunks=chunks))
    assert len(answer.text.encode()) == size
    assert "".join(answer.pieces) == answer.text
    assert bound is None or answer.output_tokens <= bound


@given(text=st.text(), count=st.integers(1, 100))
def test_pieces_join_to_the_text(text: str, count: int) -> None:
    pieces = split(text, count)
    assert len(pieces) == count
    assert "".join(pieces) == text
