"""Which dialect a path, a header, a name or a type of provider belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pytest

from tidegate_policy.model import Dialect as DialectName
from tidegate_policy.model import ProviderType
from tidegate_policy.provider_types import PROVIDER_TYPES
from tidegate_sidecar.dialects.asking import model_and_stream
from tidegate_sidecar.dialects.base import Dialect, Endpoint, Operation, RawHeaders
from tidegate_sidecar.dialects.openai import OpenAI
from tidegate_sidecar.dialects.registry import DEFAULT, Dialects

MARKED: RawHeaders = ((b"Anthropic-Version", b"2023-06-01"),)
OTHER: RawHeaders = ((b"host", b"localhost"), (b"x-anthropic-version", b"1"))


@pytest.mark.parametrize(
    ("path", "name", "operation"),
    [
        ("/openai/v1/chat/completions", "OpenAI", Operation.CHAT),
        ("/v1/chat/completions", "OpenAI", Operation.CHAT),
        ("/v1/completions", "OpenAI", Operation.COMPLETIONS),
        ("/openai/v1/responses", "OpenAI", Operation.RESPONSES),
        ("/v1/embeddings", "OpenAI", Operation.EMBEDDINGS),
        ("/v1/moderations", "OpenAI", Operation.MODERATIONS),
        ("/anthropic/v1/messages", "Anthropic", Operation.CHAT),
        ("/anthropic/messages", "Anthropic", Operation.CHAT),
        ("/v1/messages", "Anthropic", Operation.CHAT),
        ("/anthropic/v1/messages/count_tokens", "Anthropic", Operation.COUNT_TOKENS),
        ("/v1/messages/count_tokens", "Anthropic", Operation.COUNT_TOKENS),
    ],
)
def test_an_endpoint_is_served(path: str, name: str, operation: Operation) -> None:
    served = DEFAULT.endpoint(path)
    assert served is not None
    assert (served[0].name, served[1].operation) == (name, operation)
    assert path in DEFAULT.served_paths()


@pytest.mark.parametrize(
    "path", ["/", "", "/v1/models", "/openai/chat/completions", "/v1/messages/", "/v1/messages/batches"]
)
def test_nothing_else_is_served(path: str) -> None:
    assert DEFAULT.endpoint(path) is None
    assert path not in DEFAULT.served_paths()


@pytest.mark.parametrize(
    ("path", "without", "marked"),
    [
        ("/openai/v1/models", "OpenAI", "OpenAI"),
        ("/openai", "OpenAI", "OpenAI"),
        ("/v1/chat/completions/abc", "OpenAI", "OpenAI"),
        ("/anthropic/anything", "Anthropic", "Anthropic"),
        ("/v1/messages/count_tokens", "Anthropic", "Anthropic"),
        ("/v1/messages", "Anthropic", "Anthropic"),
        ("/v1/models", "OpenAI", "Anthropic"),
        ("/v1/messagesandmore", "OpenAI", "Anthropic"),
        ("/", "OpenAI", "Anthropic"),
    ],
)
def test_an_error_on_a_path_is_told_in_the_dialect_of_the_path_or_else_of_the_header(
    path: str, without: str, marked: str
) -> None:
    assert DEFAULT.of_path(path, OTHER).name == without
    assert DEFAULT.of_path(path, MARKED).name == marked


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/openai/v1/models/a%2Fb", (), ("OpenAI", "/models/a%2Fb")),
        ("/anthropic/v1/messages", (), ("Anthropic", "/messages")),
        ("/anthropic/messages", (), ("Anthropic", "/messages")),
        ("/v1/models", (), ("OpenAI", "/models")),
        ("/v1/models", MARKED, ("Anthropic", "/models")),
        ("/v1/messages/batches", (), ("Anthropic", "/messages/batches")),
        ("/v1/", (), ("OpenAI", "/")),
        ("/openai/models", (), None),
        ("/v1", (), None),
        ("/other", MARKED, None),
    ],
)
def test_a_call_that_is_let_through_goes_below_the_base_url(
    path: str, headers: RawHeaders, expected: tuple[str, str] | None
) -> None:
    found = DEFAULT.mount(path, headers)
    assert (found and (found[0].name, found[1])) == expected


def test_the_contracts_words_name_dialects_that_are_there() -> None:
    assert {dialect.name for dialect in DEFAULT.all} == set(DialectName)
    for kind in ProviderType:
        assert DEFAULT.of_provider_type(kind) is DEFAULT.by_name(PROVIDER_TYPES[kind].dialect)
    assert DEFAULT.mounts() == ["/anthropic/v1/", "/openai/v1/", "/anthropic/", "/v1/"]


ASK = Endpoint(Operation.CHAT, "/ask", model_and_stream)


class Answers(OpenAI):
    """A made-up dialect that is much like another one."""

    name = "Answers"
    mounts: Sequence[str] = ("/answers/v2/",)
    paths: Mapping[str, Endpoint] = MappingProxyType({"/answers/v2/ask": ASK, "/v1/ask": ASK})
    marker_header = b"x-answers"
    ping = b"event: still-here\n\n"


def test_another_dialect_is_added_by_naming_it() -> None:
    answers: Dialect = Answers()
    dialects = Dialects((*DEFAULT.all, answers), {"OpenAI": "OpenAI", "AnswerMachine": "Answers"})
    assert dialects.of_provider_type("AnswerMachine") is dialects.by_name("Answers") is answers
    assert dialects.endpoint("/answers/v2/ask") == dialects.endpoint("/v1/ask") == (answers, ASK)
    assert dialects.endpoint("/v1/messages") == DEFAULT.endpoint("/v1/messages")
    assert dialects.of_path("/answers/anything", ()) is answers
    assert dialects.of_path("/v1/ask/again", MARKED) is answers
    assert dialects.of_path("/v1/models", ((b"X-Answers", b"1"),)) is answers
    assert dialects.mount("/answers/v2/ask", ()) == (answers, "/ask")
    assert dialects.served_paths() == [*DEFAULT.served_paths(), "/answers/v2/ask", "/v1/ask"]
    assert "/answers/v2/" in dialects.mounts()


class Elsewhere(Answers):
    name = "Elsewhere"


@pytest.mark.parametrize(
    ("dialects", "types", "words"),
    [
        ((Answers(), Answers()), {}, "the name 'Answers'"),
        ((Answers(), Elsewhere()), {}, "the path '/answers/v2/ask'"),
        ((Answers(),), {"OpenAI": "OpenAI"}, "no dialect has the name OpenAI"),
    ],
)
def test_dialects_that_contradict_each_other_are_refused(
    dialects: tuple[Dialect, ...], types: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Dialects(dialects, types)
