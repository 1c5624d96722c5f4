"""JSON patch (PURE): the least that makes one document of another.

What is in lists of Kubernetes has a name, so an item that moved is moved, one that changed is changed inside, and all
others are not touched. A parent that is absent is added with everything below it: RFC 6902 adds to parents that exist.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

MAX_ALIGNED: Final = 512
"""Items of two lists that are brought into line with each other one by one, which takes time by the square of their number.
Longer lists are replaced as a whole."""

Operation = dict[str, Any]


def difference(before: Any, after: Any) -> list[Operation]:
    """Operations that make `after` of `before`; none when they are equal. What both share is not looked into."""
    operations: list[Operation] = []
    _compare("", before, after, operations)
    return operations


def _compare(path: str, before: Any, after: Any, operations: list[Operation]) -> None:
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        _compare_objects(path, before, after, operations)
    elif isinstance(before, list) and isinstance(after, list):
        _compare_lists(path, before, after, operations)
    # True equals 1 in Python, and does not in JSON.
    elif type(before) is not type(after) or before != after:
        operations.append({"op": "replace", "path": path, "value": after})


def _compare_objects(
    path: str, before: dict[str, Any], after: dict[str, Any], operations: list[Operation]
) -> None:
    operations += [{"op": "remove", "path": f"{path}/{_escape(key)}"} for key in before if key not in after]
    for key, value in after.items():
        below = f"{path}/{_escape(key)}"
        if key in before:
            _compare(below, before[key], value, operations)
        else:
            operations.append({"op": "add", "path": below, "value": value})


def _compare_lists(path: str, before: list[Any], after: list[Any], operations: list[Operation]) -> None:
    """Take away from the end what is not wanted, then go along the list: what is missing here is added or moved here."""
    first, last = _shared(before, after)
    if len(before) + len(after) - 2 * (first + last) > MAX_ALIGNED:
        operations.append({"op": "replace", "path": path, "value": after})
        return
    before, after = before[first : len(before) - last], after[first : len(after) - last]
    names, wanted = _names(before), _names(after)
    known = dict(zip(names, before, strict=True))
    for index in reversed(range(len(names))):
        if names[index] not in wanted:
            operations.append({"op": "remove", "path": f"{path}/{first + index}"})
            del names[index]
    for index, (name, value) in enumerate(zip(wanted, after, strict=True)):
        place = f"{path}/{first + index}"
        if name not in known:
            operations.append({"op": "add", "path": place, "value": value})
            names.insert(index, name)
            continue
        if names[index] != name:
            origin = names.index(name)
            operations.append({"op": "move", "from": f"{path}/{first + origin}", "path": place})
            names.insert(index, names.pop(origin))
        _compare(place, known[name], value, operations)


def _shared(before: list[Any], after: list[Any]) -> tuple[int, int]:
    """How many items at the beginning, and how many at the end, are the same objects in both."""
    most = min(len(before), len(after))
    first = next((index for index in range(most) if before[index] is not after[index]), most)
    most -= first
    last = next((index for index in range(most) if before[~index] is not after[~index]), most)
    return first, last


def _names(found: list[Any]) -> list[tuple[str, int]]:
    """What tells items apart: the name where there is one, else the item itself; and which of several such it is."""
    counts: Counter[str] = Counter()
    names = []
    for item in found:
        name = item.get("name") if isinstance(item, dict) else None
        key = f"name {name}" if isinstance(name, str) else f"item {item!r}"
        names.append((key, counts[key]))
        counts[key] += 1
    return names


def _escape(key: str) -> str:
    """RFC 6901: a slash in a key would start the next step."""
    return key.replace("~", "~0").replace("/", "~1")
