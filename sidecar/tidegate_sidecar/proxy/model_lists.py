"""Which models an application may ask for, answered from the configuration (PURE): agents ask for it when they start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate_sidecar.dialects.base import Dialect, RawHeaders
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.routing.refusal import Refusal, model_not_listed

if TYPE_CHECKING:
    from tidegate_sidecar.config.targets import Target
    from tidegate_sidecar.routing.router import Router

_HEADERS: Final[RawHeaders] = ((b"content-type", b"application/json"),)


def models_answer(dialect: Dialect, name: str, router: Router[Target]) -> Answer | Refusal:
    """The list of them, or where `name` is not empty that one model, if a call may use it."""
    names = router.callable_names(dialect.name)
    if not name:
        return Answer(200, _HEADERS, dialect.model_list(names))
    if name not in names:
        return model_not_listed(name, names)
    return Answer(200, _HEADERS, dialect.model(name))
