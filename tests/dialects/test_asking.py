"""What a request asks for."""

from __future__ import annotations

import pytest

from tidegate_sidecar.dialects.base import Asked, Dialect, Endpoint, Operation, Problem
from tidegate_sidecar.dialects.registry import DEFAULT

each_dialect = pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
ENDPOINTS = [endpoint for dialect in DEFAULT.all for endpoint in dialect.endpoints.values()]
STREAMED = [endpoint for endpoint in ENDPOINTS if endpoint.stream_reader is not None]
each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda it: it.operation)
each_streamed = pytest.mark.parametrize("endpoint", STREAMED, ids=lambda it: it.operation)

OPENAI = DEFAULT.by_name("OpenAI").endpoints


@each_streamed
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
    endpoint: Endpoint, document: dict[str, object], asked: Asked
) -> None:
    assert endpoint.asked(document) == asked


@pytest.mark.parametrize(
    "endpoint", [it for it in ENDPOINTS if it not in STREAMED], ids=lambda it: it.operation
)
def test_an_operation_without_streams_is_answered_as_a_whole(endpoint: Endpoint) -> None:
    assert endpoint.asked({"model": "m", "stream": True}) == Asked("m", stream=False)


def test_moderations_have_a_model_of_their_own_where_none_is_named() -> None:
    ask = OPENAI[Operation.MODERATIONS].asked
    assert ask({"input": "text"}) == Asked("omni-moderation-latest", stream=False)
    assert ask({"input": "text", "model": "text-moderation-stable"}) == Asked(
        "text-moderation-stable", stream=False
    )
    assert isinstance(ask({"input": "text", "model": ""}), Problem)


@pytest.mark.parametrize(
    ("document", "state"),
    [
        ({}, ""),
        ({"previous_response_id": None, "background": False, "store": True}, ""),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True, "stream": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ],
)
def test_a_response_says_what_only_one_account_knows(document: dict[str, object], state: str) -> None:
    asked = OPENAI[Operation.RESPONSES].asked({"model": "m", **document})
    assert isinstance(asked, Asked)
    assert asked.state == state


@pytest.mark.parametrize("operation", sorted({*Operation} - {Operation.MODERATIONS, Operation.MODELS}))
def test_a_model_has_to_be_named(operation: Operation) -> None:
    (endpoint,) = {it for it in ENDPOINTS if it.operation is operation and it.path != "/messages"}
    problem = endpoint.asked({})
    assert isinstance(problem, Problem)
    assert "has no `model`" in problem.message


@each_endpoint
@pytest.mark.parametrize(
    ("document", "member", "words"),
    [
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
        ({"MODEL": "m", "model": "m"}, "model", "write 'model'"),
        ({"model": "m", "\u017ftream": True}, "stream", "write 'stream'"),
        ({"model": "m", "\ufb06ream": True}, "stream", "write 'stream'"),
    ],
)
def test_what_cannot_be_understood_names_the_member(
    endpoint: Endpoint, document: dict[str, object], member: str, words: str
) -> None:
    """A member of another case would be taken for the one that was decided on by every server written in Go."""
    problem = endpoint.asked(document)
    assert isinstance(problem, Problem)
    assert problem.member == member
    assert words in problem.message


@each_dialect
def test_a_key_goes_into_a_header_that_is_known_to_carry_one(dialect: Dialect) -> None:
    ((name, value),) = dialect.credential("secret")
    assert name in dialect.credential_headers
    assert value.endswith(b"secret")


@each_dialect
def test_every_endpoint_is_served_below_each_mount_and_below_the_shared_one(dialect: Dialect) -> None:
    for operation, endpoint in dialect.endpoints.items():
        assert endpoint.operation is operation
        assert endpoint.path.startswith("/")
        served = {path for path, it in dialect.paths.items() if it is endpoint}
        assert served == {mount.rstrip("/") + endpoint.path for mount in (*dialect.mounts, "/v1/")}
