"""Filters in a row lose nothing and change no order, wherever the network cuts, whatever is held or kept back meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from made_up.filters import BLOCKED, EndsAt, HoldsAt, Stream, Whole, Window

from tidegate_sidecar.dialects.sse import EventSplitter
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.proxy.filter_chain import chained
from tidegate_sidecar.proxy.filters import AnswerFilter, Emit, End, Hold


async def later(data: bytes) -> Emit:
    return Emit(data)


KINDS: dict[str, Callable[[], Stream]] = {
    "lets through": Stream,
    "keeps back": Window,
    "holds": lambda: HoldsAt(b"data", later),
    "holds some": lambda: HoldsAt(b"3", later),
}
filters = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4)
cuts = st.lists(st.integers(1, 4), max_size=12)


def events(count: int) -> list[bytes]:
    return [b"data: %d\n\n" % number for number in range(count)]


def fed(chain: AnswerFilter, sent: list[bytes], sizes: list[int]) -> tuple[bytes, End | None]:
    """What comes out, as a stream would feed it: one batch after the other, nothing while something is held."""
    passed, at, splitter = b"", 0, EventSplitter()
    batches = []
    for size in [*sizes, len(sent)]:
        batches.append(splitter.feed(b"".join(sent[at : at + size])))
        at += size
    steps = [lambda batch=batch: chain.feed(batch) for batch in batches if batch]
    for step in [*steps, chain.end]:
        said = step()
        if isinstance(said, Hold):
            said = asyncio.run(decided(said))
        passed += said.data
        if isinstance(said, End):
            return passed, said
    return passed, None


async def decided(hold: Hold) -> Emit | End:
    return await hold.decide()


@given(filters, st.integers(0, 8), cuts)
def test_every_byte_comes_out_in_its_order(kinds: list[str], count: int, sizes: list[int]) -> None:
    sent = events(count)
    chain = chained([KINDS[kind]() for kind in kinds], is_stream=True)
    assert fed(chain, sent, sizes) == (b"".join(sent), None)


@given(filters, filters, st.integers(0, 8), st.integers(0, 8), cuts)
def test_an_end_ends_it_for_all_and_brings_out_what_was_kept_back(
    before: list[str], behind: list[str], count: int, at: int, sizes: list[int]
) -> None:
    """The events of the batch in which it ends, as the filter says; those before it whole."""
    sent, last = events(count), b"data: last\n\n"
    ending = EndsAt(b"data: %d\n" % at, last, BLOCKED)
    row = [*(KINDS[kind]() for kind in before), ending, *(KINDS[kind]() for kind in behind)]
    passed, end = fed(chained(row, is_stream=True), sent, sizes)
    if at >= count:
        assert (passed, end) == (b"".join(sent), None)
        return
    assert end is not None
    assert end.refusal is BLOCKED
    assert passed.endswith(last)
    whole = passed.removesuffix(last)
    assert whole in {b"".join(sent[:number]) for number in range(at + 1)}


@given(filters, filters, st.integers(0, 8))
def test_a_stream_that_is_judged_passes_all_of_them(before: list[str], behind: list[str], count: int) -> None:
    sent = b"".join(events(count))
    judge = Whole(lambda answer: answer)
    row = [*(KINDS[kind]() for kind in before), judge, *(KINDS[kind]() for kind in behind)]
    chain = chained(row, is_stream=True)
    assert chain.needs_whole
    assert asyncio.run(judged(chain, sent)) == Answer(200, (), sent)


async def judged(chain: AnswerFilter, sent: bytes) -> object:
    return await chain.judge(Answer(200, (), sent))


def test_one_filter_is_no_chain() -> None:
    only = Stream()
    assert chained([only], is_stream=True) is only
