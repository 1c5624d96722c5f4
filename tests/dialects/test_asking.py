"""What a request asks for."""

from __future__ import annotations

import pytest

from tidegate_sidecar.dialects.base import Asked, Dialect, Operation, Problem
from tidegate_sidecar.dialects.registry import DEFAULT

pytestmark = pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)


@pytest.mark.parametrize(
    ("document", "asked"),
    [
        ({"model": "m"}, Asked("m", stream=False)),
        ({"model": "m", "stream": None}, Asked("m", stream=False)),
        ({"model": "m", "stream": False}, Asked("m", stream=False)),
        ({"stream": True, "model": "m"}, Asked("m", stream=True)),
        ({"model": "x" * 256, "models": 1, "Models": 1, "streams": 1, "stream_options": {}}, Asked("x" * 256, stream=False)),
        ({"model": "é 名"}, Asked("é 名", stream=False)),
    ],
)  # fmt: skip
def test_a_request_asks_for_a_model_and_perhaps_a_stream(
    dialect: Dialect, document: dict[str, object], asked: Asked
) -> None:
    assert dialect.asked(document) == asked


@pytest.mark.parametrize(
    ("document", "member", "words"),
    [
        ({}, "model", "has no `model`"),
        ({"model": ""}, "model", "has no `model`"),
        ({"model": 1}, "model", "has no `model`"),
        ({"model": None}, "model", "has no `model`"),
        ({"model": "x" * 257}, "model", "at most 256 printable"),
        ({"model": "a\nb"}, "model", "printable"),
        ({"model": "a\x7f"}, "model", "printable"),
        ({"model": "a\ud800"}, "model", "printable"),
        ({"model": "m", "stream": "yes"}, "stream", "true or false"),
        ({"model": "m", "stream": 1}, "stream", "true or false"),
        ({"model": "m", "Model": "other"}, "model", "write 'model'"),
        ({"MODEL": "m"}, "model", "write 'model'"),
        ({"model": "m", "\u017ftream": True}, "stream", "write 'stream'"),
        ({"model": "m", "\ufb06ream": True}, "stream", "write 'stream'"),
    ],
)
def test_what_cannot_be_understood_names_the_member(
    dialect: Dialect, document: dict[str, object], member: str, words: str
) -> None:
    """A member of another case would be taken for the one that was decided on by every server written in Go."""
    problem = dialect.asked(document)
    assert isinstance(problem, Problem)
    assert problem.member == member
    assert words in problem.message


def test_a_key_goes_into_a_header_that_is_known_to_carry_one(dialect: Dialect) -> None:
    ((name, value),) = dialect.credential("secret")
    assert name in dialect.credential_headers
    assert value.endswith(b"secret")


def test_every_operation_has_a_path_below_a_base_url(dialect: Dialect) -> None:
    for operation in Operation:
        assert dialect.upstream_path(operation).startswith("/")
        assert any(path.endswith(dialect.upstream_path(operation)) for path in dialect.paths)
