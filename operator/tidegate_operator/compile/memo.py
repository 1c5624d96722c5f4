"""Memo: what a pass has worked out, kept from one compile to the next for as long as it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

InputsT = TypeVar("InputsT")
ResultT = TypeVar("ResultT")


class Memo(Generic[InputsT, ResultT]):
    """Results of one pass by what they are about, each with the inputs that it was made from.

    A result holds for as long as its inputs are equal, so the pass must look at nothing but its inputs. Objects of a
    snapshot are immutable and mostly the same as in the one before; comparing the same object with itself costs
    nothing.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[Hashable, tuple[InputsT, ResultT]] = {}
        self._needed: dict[Hashable, tuple[InputsT, ResultT]] = {}

    def __repr__(self) -> str:
        return f"<Memo {len(self)}>"

    def __len__(self) -> int:
        return len(self._known)

    def of(self, about: Hashable, inputs: InputsT, work: Callable[[InputsT], ResultT]) -> ResultT:
        """What `work` makes of `inputs`; asked at most once in a compile about the same thing."""
        known = self._known.get(about)
        if known is None or known[0] != inputs:
            result = work(inputs)
            if known is not None and known[1] == result:
                # an equal result stays the same object: whatever is made from it need not be made again
                result = known[1]
            known = (inputs, result)
        self._needed[about] = known
        return known[1]

    def known(self, about: Hashable, inputs: InputsT) -> ResultT | None:
        """What was made of these inputs, if it is there; it is kept for the next compile then."""
        known = self._known.get(about)
        if known is None or known[0] != inputs:
            return None
        self._needed[about] = known
        return known[1]

    def keep(self, about: Hashable, inputs: InputsT, result: ResultT) -> None:
        """Take in what was made after `forget`."""
        self._known[about] = (inputs, result)

    def forget(self) -> None:
        """End a compile: what it has not asked for is not kept."""
        self._known, self._needed = self._needed, {}
