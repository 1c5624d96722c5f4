"""YAML as plain values that remember their lines.

Reads the parser's events instead of asking a YAML library for objects: every field keeps its line, a key that stands
twice is seen, aliases cost what they expand to, and nesting is bounded. `scalars` says what a word without quotes means.

Everything wrong is a `Flaw`; no exception leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tidegate_cli import scalars
from tidegate_cli.positions import Flaw, Node
from tidegate_operator.compile.diagnostics import FieldPath

MAX_DEPTH: Final = 64
"""Objects within objects; Kubernetes' own kinds stay below thirty."""

MAX_VALUES: Final = 100_000
"""Values in one document, aliases counted as often as they are used: a document of aliases can name billions."""

MAX_DOCUMENTS: Final = 2_000
"""Documents in one file."""


@dataclass(slots=True)
class Document:
    """One document of a file, or what could be read of it (`root` None: nothing)."""

    root: Node | None
    flaws: list[Flaw]


def read_documents(text: str) -> Iterator[Document]:
    """The documents in `text`; empty ones are left out.

    What cannot be read as YAML ends the file: the last document then has no root and one flaw.
    """
    builder = _Builder()
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            finished = builder.take(event)
            if finished is not None and (
                finished.flaws or finished.root is None or finished.root.value is not None
            ):
                yield finished
    except _UnreadableError as error:
        yield Document(root=None, flaws=[error.flaw])
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 0)
        words = ", ".join(part for part in (error.context, error.problem) if part)
        yield Document(root=None, flaws=[Flaw(line, column, (), f"not YAML: {words}")])
    except YAMLError as error:
        # The reader's own error, for characters that YAML forbids, has an index instead of a line.
        before = text[: getattr(error, "position", 0)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = (
            "not YAML: a control character, which no YAML text may hold; remove it or write it as an escape"
        )
        yield Document(root=None, flaws=[Flaw(line, column, (), message)])


class _UnreadableError(Exception):
    """The rest of the file is given up."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.flaw = Flaw(line, 0, (), _printable(message))


def _printable(message: str) -> str:
    """A message that quotes a file: characters that a terminal may not show, or may obey, are escaped."""
    if message.isprintable():
        return message
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode("ascii") for it in message)


@dataclass(slots=True)
class _Frame:
    """An object or list that is still open; `key` is that of the member to come."""

    node: Node
    anchor: str | None
    key: str | None = None
    key_line: int = 0
    is_ignored: bool = False
    """The member to come stands under a key that cannot be used."""
    merged: list[Node] = field(default_factory=list)


class _Builder:
    """Events to documents, without recursion: depth is the length of `_open`."""

    def __init__(self) -> None:
        self._open: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._flaws: list[Flaw] = []
        self._root: Node | None = None
        self._documents = 0

    def take(self, event: Any) -> Document | None:
        """Take one event of the parser; a document when it is complete."""
        line = event.start_mark.line + 1
        match type(event).__name__:
            case "DocumentStartEvent":
                self._begin(line)
            case "DocumentEndEvent":
                return Document(root=self._root, flaws=self._flaws)
            case "MappingStartEvent" | "SequenceStartEvent" as kind:
                self._descend(Node(value={} if kind.startswith("M") else [], line=line), event.anchor)
            case "MappingEndEvent" | "SequenceEndEvent":
                self._ascend()
            case "ScalarEvent":
                self._scalar(event, line)
            case "AliasEvent":
                target = self._anchors.get(event.anchor)
                if target is None:
                    raise _UnreadableError(
                        line, f"not YAML: *{event.anchor} stands for nothing: no &{event.anchor} above"
                    )
                self._add(target, line)
        return None

    def _begin(self, line: int) -> None:
        self._documents += 1
        if self._documents > MAX_DOCUMENTS:
            raise _UnreadableError(line, f"more than {MAX_DOCUMENTS} documents in one file; split it")
        self._anchors, self._flaws, self._root = {}, [], None

    def _descend(self, node: Node, anchor: str | None) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _UnreadableError(node.line, f"nested deeper than {MAX_DEPTH}; no object needs that")
        if self._open and isinstance(self._open[-1].node.value, dict) and self._wants_key():
            raise _UnreadableError(
                node.line, "an object or a list cannot be a key; write a word before the colon"
            )
        self._open.append(_Frame(node, anchor))

    def _ascend(self) -> None:
        frame = self._open.pop()
        for merged in frame.merged:
            for key, member in merged.members.items():
                if key not in frame.node.members:
                    self._attach(frame.node, key, *member)
        if frame.anchor:
            self._anchors[frame.anchor] = frame.node
        self._add(frame.node, frame.node.line)

    def _wants_key(self) -> bool:
        frame = self._open[-1]
        return frame.key is None and not frame.is_ignored

    def _scalar(self, event: Any, line: int) -> None:
        if self._open and isinstance(self._open[-1].node.value, dict) and self._wants_key():
            self._key(event, line)
            return
        tag = None if event.tag is None else str(event.tag)
        if tag in (None, "!") or tag == "tag:yaml.org,2002:str":
            value = (
                scalars.resolve(event.value)
                if tag is None and event.implicit[0]
                else scalars.join_escapes(event.value)
            )
        else:
            self._flaw(line, f"the tag {tag} is not understood; write the value alone")
            value = event.value
        if isinstance(value, str) and scalars.has_half_character(value):
            self._flaw(line, r"half of a character (\ud800 to \udfff alone); write the character itself")
            value = ""
        node = Node(value=value, line=line)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._add(node, line)

    def _key(self, event: Any, line: int) -> None:
        frame, key = self._open[-1], event.value
        frame.key_line = line
        if event.implicit[0] and not isinstance(scalars.resolve(key), str):
            self._flaw(
                line,
                f"the key {key} is read as {scalars.describe(scalars.resolve(key))}, not as a word; quote it: {key!r}",
            )
            frame.is_ignored = True
        elif key in frame.node.members:
            first = frame.node.members[key][0]
            self._flaw(
                line, f"the key stands here a second time, first on line {first}; keep one of them", key
            )
            frame.is_ignored = True
        else:
            frame.key = key

    def _add(self, node: Node, line: int) -> None:
        """Put `node` where the open object or list expects its next member."""
        if not self._open:
            self._root = node
            return
        frame = self._open[-1]
        if isinstance(frame.node.value, list):
            self._attach(frame.node, len(frame.node.value), line, node)
        elif frame.is_ignored:
            frame.is_ignored = False
        elif frame.key == "<<" and isinstance(node.value, dict | list):
            sources = (
                [node] if isinstance(node.value, dict) else [member for _, member in node.members.values()]
            )
            frame.merged += sources
            frame.key = None
        elif frame.key is None:
            raise _UnreadableError(line, "an alias cannot be a key; write a word before the colon")
        else:
            self._attach(frame.node, frame.key, frame.key_line, node)
            frame.key = None

    def _attach(self, parent: Node, key: str | int, line: int, node: Node) -> None:
        parent.size += node.size
        if parent.size > MAX_VALUES:
            raise _UnreadableError(
                line, f"more than {MAX_VALUES} values in one document, aliases expanded; split it"
            )
        parent.members[key] = (line, node)
        if isinstance(key, int):
            parent.value.append(node.value)
        else:
            parent.value[key] = node.value

    def _flaw(self, line: int, message: str, key: str | None = None) -> None:
        parts = [
            len(frame.node.value) if isinstance(frame.node.value, list) else frame.key for frame in self._open
        ]
        path: FieldPath = tuple(part for part in parts if part is not None)
        self._flaws.append(Flaw(line, 0, path if key is None else (*path, key), _printable(message)))
