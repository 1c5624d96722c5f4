"""What becomes of one call, and which object says so.

The compiler knows where each setting comes from, the sidecar's own parts say what they do to the call: nothing is
decided a second time here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from multidict import CIMultiDict

from tidegate_cli.compiling import Compiled, identity_of
from tidegate_operator.compile.compilation import Explanation
from tidegate_operator.compile.compiler import explain
from tidegate_operator.compile.diagnostics import FieldPath
from tidegate_operator.index.snapshot import Workload
from tidegate_policy.keys import KEYS_SECRET
from tidegate_policy.model import Dialect, Mode, ObjectRef, Pool, Provider, RateLimit
from tidegate_policy.units import format_duration
from tidegate_sidecar.config.build import build
from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.config.targets import Target
from tidegate_sidecar.dialects.base import RawHeaders
from tidegate_sidecar.policies.base import Facts
from tidegate_sidecar.policies.rate import RateLimiter
from tidegate_sidecar.proxy.headers import HeaderView
from tidegate_sidecar.proxy.identify import ANONYMOUS
from tidegate_sidecar.routing.refusal import Refusal
from tidegate_sidecar.routing.router import Route, is_allowed
from tidegate_sidecar.telemetry.records import CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call that has not been made. `consumer` empty: the application does not say."""

    workload: Workload
    dialect: Dialect
    model: str
    consumer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule or setting: what it says, what that means for the call, where it is written."""

    name: str
    value: str
    effect: str
    place: str


class Asked(NamedTuple):
    """A provider that would be asked."""

    name: str
    priority: int
    share: str
    asked_for: str
    address: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Everything there is to say about a call.

    Attributes:
        refusal: why it is refused before any limit is asked; None when it goes out.
        model: its canonical name; empty where it was refused before that was known.
        pool: the pool that serves it; None where it is refused before that was known.
        policies: object, what it is attached to, where it is defined.
        providers: in the order in which they would be asked; none for a refused call.
        rules: everything that has a say.
        lost: what is written and does not hold, with the reason.
        passes_through: it goes out as it is, past all rules.
    """

    refusal: Refusal | None
    model: str
    pool: Pool | None
    policies: tuple[tuple[str, str, str], ...]
    providers: tuple[Asked, ...]
    rules: tuple[Row, ...]
    lost: tuple[Row, ...]
    passes_through: bool = False


def answer(compiled: Compiled, question: Question) -> Answer:
    """What becomes of the call."""
    explanation = explain(compiled.compilation, question.workload)
    config = explanation.config
    pipeline = build(config, identity_of(question.workload), None, 0)
    subject = _Imagined(pipeline, question)
    refusal = subject.decide()
    found = pipeline.router.resolve(question.dialect, question.model)
    route = found if isinstance(found, Route) else None
    pool = config.pools[route.pool] if route else None
    facts = Facts(
        model=route.model if route else question.model,
        consumer=subject.consumer,
        headers=HeaderView(subject.headers),
    )
    teller = _Teller(compiled=compiled, explanation=explanation, facts=facts, pool=pool, question=question)
    return Answer(
        refusal=refusal,
        model=route.model if route else "",
        pool=pool,
        policies=tuple((str(ref), level.words, teller.place(ref)) for ref, level in explanation.policies),
        providers=tuple(_in_order(route)) if route and not refusal else (),
        rules=tuple(teller.rules()),
        lost=tuple(teller.lost()),
        passes_through=config.pass_through,
    )


class _Imagined:
    """A call that nobody makes, for the phases of a pipeline to decide about; it is its own request."""

    route: Route[Target]
    facts: Facts

    def __init__(self, pipeline: Pipeline, question: Question) -> None:
        identity = pipeline.config.consumer
        self.dialect = pipeline.dialects.by_name(question.dialect)
        self.model = question.model
        self.state = ""
        self.consumer = ANONYMOUS
        self.record = CallRecord()
        said = {identity.header: question.consumer} if identity and question.consumer else {}
        self.fields = CIMultiDict(said)
        self.headers: RawHeaders = [(name.encode("latin-1"), value.encode()) for name, value in said.items()]
        self.fields = CIMultiDict((name.decode("latin-1"), value.decode()) for name, value in self.headers)
        self._phases = (*pipeline.decisions_before_the_body, *pipeline.decisions)

    @property
    def request(self) -> _Imagined:
        return self

    def decide(self) -> Refusal | None:
        """Why it is refused before any limit is asked."""
        return next((refusal for decide in self._phases if (refusal := decide(self)) is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Teller:
    compiled: Compiled
    explanation: Explanation
    facts: Facts
    pool: Pool | None
    question: Question

    def rules(self) -> Iterator[Row]:
        config = self.explanation.config
        lists, limits = iter(config.allow_models), iter(config.rate_limits)
        for setting in self.explanation.settings:
            value, effect, place = setting.value or "-", "", self.place(setting.source, setting.path)
            if setting.name == "allowModels":
                allowed = next(lists)
                effect = "allows it" if is_allowed(self.facts.model, allowed) else _forbids(allowed.mode)
            elif setting.name == "rateLimits":
                effect = self._counted(next(limits))
            elif setting.name == "identity":
                effect = f"the consumer is {self.facts.consumer}"
            elif setting.name == "poolRefs" and self.pool:
                effect = f"{self.pool.source} serves it"
            elif setting.name in ("timeouts", "retry") and self.pool:
                value = _timeouts(self.pool) if setting.name == "timeouts" else _retry(self.pool)
                places = [place] if setting.source else []
                place = ", ".join([*places, self.place(self.pool.source, ("spec", setting.name))])
            yield Row(name=setting.name, value=value, effect=effect, place=place)

    def lost(self) -> Iterator[Row]:
        for setting in self.explanation.settings:
            for lost in setting.lost:
                place = self.place(lost.source, lost.path)
                yield Row(name=setting.name, value=lost.value, effect=lost.why, place=place)

    def place(self, ref: ObjectRef | None, path: FieldPath = ()) -> str:
        place = self.compiled.manifests.places.get(ref) if ref else None
        return f"{place.file}:{place.line(path)}" if place else "-"

    def _counted(self, limit: RateLimit) -> str:
        """Whether the limit counts the call, asked of the limiter itself."""
        limiter = RateLimiter(limit, identity_of(self.question.workload))
        key = limiter.key_of(self.facts)
        limiter.admit(self.facts, 0)
        if limiter.remaining(key, 0) == limit.burst:
            return "does not count it: other models"
        shadow = " (Shadow: refuses nothing)" if limit.mode is Mode.SHADOW else ""
        if limiter.per_attempt:
            return f"counts each attempt, by provider{shadow}"
        values = " and ".join(part or "(empty)" for part in (key if isinstance(key, tuple) else (key,)))
        return f"counts it under {values}{shadow}" if key else f"counts it{shadow}"


def _forbids(mode: Mode) -> str:
    return "does not allow it" if mode is Mode.ENFORCE else "would not allow it (Shadow)"


def _in_order(route: Route[Target]) -> Iterator[Asked]:
    for target in sorted(route.targets, key=lambda it: it.priority):
        equals = [other for other in route.targets if other.priority == target.priority]
        percent = round(100 * target.weight / sum(other.weight for other in equals))
        provider = target.state.provider
        yield Asked(
            provider.name,
            target.priority,
            f"{percent} %",
            target.upstream_model,
            provider.base_url,
            _key(provider),
        )


def _key(provider: Provider) -> str:
    if provider.caller_credential:
        return "the application's own"
    names: Sequence[str] = [
        f"{it.source.name} ({'suspended' if it.suspended else it.environment_variable or f'{KEYS_SECRET}: {it.secret_key}'})"
        for it in provider.credentials
    ]
    return ", ".join(names) or "none"


def _timeouts(pool: Pool) -> str:
    times = pool.timeouts
    parts = (
        ("connect", times.connect_ms),
        ("firstToken", times.first_token_ms),
        ("streamIdle", times.stream_idle_ms),
        ("request", times.request_ms),
        ("stream", times.stream_ms),
    )
    return ", ".join(f"{name} {format_duration(ms)}" for name, ms in parts)


def _retry(pool: Pool) -> str:
    return f"at most {pool.retry.max_attempts} attempts, after {', '.join(pool.retry.retry_on)}"
