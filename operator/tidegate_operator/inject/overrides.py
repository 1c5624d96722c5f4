"""Overrides (PURE): annotations with which a pod changes its own sidecar, within what the platform allows."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from tidegate_operator.api.problems import describe
from tidegate_operator.inject import names
from tidegate_operator.inject.quantity import parse_quantity
from tidegate_operator.inject.template import Startup, Template

_LEAST: Final = {"cpu": "1m", "memory": "16Mi"}
"""Below these a unit was forgotten: `memory-limit: 64` means 64 bytes."""

_EXAMPLES: Final = {"cpu": "100m or 0.5", "memory": "128Mi"}
_PAIRS: Final = {
    "cpu": (names.CPU_REQUEST, names.CPU_LIMIT),
    "memory": (names.MEMORY_REQUEST, names.MEMORY_LIMIT),
}
_TOLD: Final = 8
"""Annotations that are told one by one; looking for what was meant takes time, and nobody reads a hundred of them."""
_KNOWN: Final = (names.INJECT, names.COPIED, names.STATUS, *names.OVERRIDES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a pod asks for; None and empty: what the template says."""

    requests: Mapping[str, str]
    """By resource: `cpu`, `memory`."""
    limits: Mapping[str, str]
    image: str = ""
    startup: Startup | None = None
    exclude: frozenset[str] = frozenset()
    """Variables that the pod's containers are not given."""


class WrongOverride(NamedTuple):
    """An annotation that cannot be followed; `message` says what is allowed."""

    annotation: str
    message: str


def read_overrides(
    annotations: Mapping[str, str], template: Template, variables: Collection[str]
) -> Overrides | tuple[WrongOverride, ...]:
    """What a pod's annotations ask for, or everything that is wrong with them.

    Args:
        annotations: of the pod.
        template: the platform's.
        variables: those that `exclude-env` may name.
    """
    wrong = [*_wrong_quantities(annotations)]
    image = annotations.get(names.IMAGE, "")
    if names.IMAGE in annotations and not template.allows_image(image):
        allowed = ", ".join((template.image, *template.images))
        wrong.append(_wrong(names.IMAGE, image, f"this platform allows {allowed}"))
    startup = annotations.get(names.STARTUP)
    if startup is not None and startup not in tuple(Startup):
        wrong.append(_wrong(names.STARTUP, startup, f"allowed are {' or '.join(Startup)}"))
    exclude = _words(annotations.get(names.EXCLUDE_ENV, ""))
    if unknown := sorted(exclude - set(variables)):
        wrong.append(
            _wrong(
                names.EXCLUDE_ENV,
                ",".join(unknown),
                f"variables that can be excluded are {', '.join(variables)}",
            )
        )
    if wrong:
        return tuple(wrong)
    return Overrides(
        requests={what: annotations[pair[0]] for what, pair in _PAIRS.items() if pair[0] in annotations},
        limits={what: annotations[pair[1]] for what, pair in _PAIRS.items() if pair[1] in annotations},
        image=image,
        startup=None if startup is None else Startup(startup),
        exclude=exclude,
    )


def unknown_annotations(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each annotation under our prefix that means nothing (a slip, or of a later version), up to a number."""
    unknown = sorted(name for name in annotations if name.startswith(names.PREFIX) and name not in _KNOWN)
    found = [_unknown(name) for name in unknown[:_TOLD]]
    if len(unknown) > _TOLD:
        found.append(f"{len(unknown) - _TOLD} more annotations under {names.PREFIX} mean nothing to Tidegate")
    return tuple(found)


def _unknown(name: str) -> str:
    nearest = difflib.get_close_matches(name, names.OVERRIDES, n=1, cutoff=0.8)
    means_nothing = f"annotation {name} means nothing to Tidegate"
    return f"{means_nothing}; " + (
        f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(names.OVERRIDES)}"
    )


def _wrong_quantities(annotations: Mapping[str, str]) -> list[WrongOverride]:
    wrong = []
    for what, pair in _PAIRS.items():
        found = {}
        for name in pair:
            if name not in annotations:
                continue
            value = parse_quantity(annotations[name])
            least = parse_quantity(_LEAST[what])
            if value is None or least is None or value < least:
                allowed = f"expected a quantity such as {_EXAMPLES[what]}, at least {_LEAST[what]}"
                wrong.append(_wrong(name, annotations[name], allowed))
            else:
                found[name] = value
        request, limit = pair
        if len(found) == len(pair) and found[request] > found[limit]:
            wrong.append(
                _wrong(request, annotations[request], f"it must not be above {limit}, {annotations[limit]}")
            )
    return wrong


def _words(text: str) -> frozenset[str]:
    return frozenset(word for part in text.split(",") if (word := part.strip()))


def _wrong(annotation: str, value: str, allowed: str) -> WrongOverride:
    return WrongOverride(annotation, f"annotation {annotation} is {describe(value)}; {allowed}")
