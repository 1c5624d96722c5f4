"""The index holds the newest form of every object, whatever order news about it comes in."""

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_testing.operators import policy, pool

from tidegate_operator.api.kinds import NAMESPACE, POD, WATCHED
from tidegate_operator.api.providerpool import PROVIDER_POOL
from tidegate_operator.index.objects import Change, Objects
from tidegate_policy.model import ObjectRef

KIND = "AIPolicy"


def a_policy(name: str, uid: str, version: int, generation: int = 1, **spec: Any) -> dict[str, Any]:
    document = policy("team", name, **spec)
    document["metadata"] |= {"uid": uid, "resourceVersion": str(version), "generation": generation}
    return document


def ref(name: str) -> ObjectRef:
    return ObjectRef(kind=KIND, namespace="team", name=name)


@dataclass
class History:
    """What really happened: every form of every object, the deletions, and all there was at each version."""

    forms: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    states: list[dict[str, dict[str, Any]]] = field(default_factory=lambda: [{}])

    @property
    def version(self) -> int:
        return len(self.forms)

    def step(self, name: str, action: str) -> None:
        now = dict(self.states[-1])
        version = self.version + 1
        known = now.get(name)
        if action == "delete" and known is not None:
            gone = a_policy(name, known["metadata"]["uid"], version, known["metadata"]["generation"])
            self.forms.append(("gone", gone))
            del now[name]
        else:
            uid = known["metadata"]["uid"] if known else f"{name}-{version}"
            generation = known["metadata"]["generation"] + (action == "change") if known else 1
            now[name] = a_policy(name, uid, version, generation, suspend=bool(generation % 2))
            self.forms.append(("seen", now[name]))
        self.states.append(now)


steps = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["change", "touch", "delete"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps=steps, data=st.data())
def test_any_order_of_news_ends_in_the_same_index(steps: list[tuple[str, str]], data: st.DataObject) -> None:
    """Events may come late, twice and in any order; lists of any moment may come in between; the end is the end."""
    history = History()
    for name, action in steps:
        history.step(name, action)
    events = data.draw(st.permutations([*history.forms, *history.forms[::2]]))
    lists = data.draw(st.lists(st.integers(0, history.version), max_size=3))
    objects = Objects()
    for kind, document in events:
        (objects.gone if kind == "gone" else objects.seen)(KIND, document)
        if lists and data.draw(st.booleans()):
            version = lists.pop()
            objects.relisted(KIND, list(history.states[version].values()), version)
    objects.relisted(KIND, list(history.states[-1].values()), history.version)

    held = {it.ref.name: (it.uid, it.version, it.generation) for it in objects.held.values()}
    assert held == {
        name: (it["metadata"]["uid"], int(it["metadata"]["resourceVersion"]), it["metadata"]["generation"])
        for name, it in history.states[-1].items()
    }
    assert objects.versions[KIND] == history.version
    assert len(objects.last_good) == len(held)


def test_without_a_list_an_object_that_was_deleted_does_not_come_back() -> None:
    objects = Objects()
    objects.seen(KIND, a_policy("a", "uid", 1))
    assert objects.gone(KIND, a_policy("a", "uid", 3)) is Change.CONTENT
    assert objects.seen(KIND, a_policy("a", "uid", 2)) is Change.NOTHING
    assert objects.get(ref("a")) is None


def test_a_deletion_that_comes_late_leaves_the_object_of_the_same_name() -> None:
    objects = Objects()
    objects.seen(KIND, a_policy("a", "old", 1))
    objects.seen(KIND, a_policy("a", "new", 3))
    assert objects.gone(KIND, a_policy("a", "old", 2)) is Change.NOTHING
    held = objects.get(ref("a"))
    assert held is not None
    assert held.uid == "new"


def test_what_no_compile_looks_at_is_no_content() -> None:
    objects = Objects()
    assert objects.seen(KIND, a_policy("a", "uid", 1)) is Change.CONTENT
    with_status = a_policy("a", "uid", 2) | {"status": {"observedGeneration": 1}}
    assert objects.seen(KIND, with_status) is Change.STATUS
    assert objects.seen(KIND, with_status) is Change.NOTHING
    assert objects.seen(KIND, a_policy("a", "uid", 3, 2, suspend=True)) is Change.CONTENT


def test_a_list_tells_what_the_watch_had_missed() -> None:
    objects = Objects()
    objects.relisted(KIND, [a_policy("a", "a", 1), a_policy("b", "b", 2)], 2)
    found = objects.relisted(KIND, [a_policy("a", "a", 5, 2), a_policy("c", "c", 4)], 6)
    assert [it.name for it in found.missed] == ["a", "c"]
    assert [it.name for it in found.gone] == ["b"]
    assert found.change is Change.CONTENT
    assert objects.versions[KIND] == 6


def test_an_object_that_is_younger_than_a_list_is_not_missed_by_it() -> None:
    objects = Objects()
    objects.seen(KIND, a_policy("young", "uid", 9))
    objects.relisted(KIND, [], 8)
    assert objects.get(ref("young")) is not None
    objects.relisted(KIND, [], 10)
    assert objects.get(ref("young")) is None


def test_all_kinds_have_to_be_listed() -> None:
    objects = Objects()
    kinds = tuple(kind for kind in WATCHED if kind != POD)
    assert objects.unlisted == kinds
    for kind in kinds:
        objects.relisted(kind, [], 1)
    assert objects.unlisted == ()


def test_labels_of_namespaces_are_content_and_nothing_else_of_them_is() -> None:
    objects = Objects()
    metadata = {"name": "team", "uid": "uid", "resourceVersion": "1", "labels": {"ai": "on"}}
    assert objects.seen(NAMESPACE, {"metadata": metadata}) is Change.CONTENT
    assert objects.seen(NAMESPACE, {"metadata": metadata | {"resourceVersion": "2"}}) is Change.STATUS
    changed = metadata | {"resourceVersion": "3", "labels": {}}
    assert objects.seen(NAMESPACE, {"metadata": changed}) is Change.CONTENT
    assert objects.gone(NAMESPACE, {"metadata": changed | {"resourceVersion": "4"}}) is Change.CONTENT
    assert objects.snapshot(()).namespaces == ()


def test_an_invalid_form_has_the_last_good_spec_and_says_why() -> None:
    objects = Objects()
    good = pool("team")
    good["metadata"] |= {"uid": "uid", "resourceVersion": "1", "generation": 1}
    objects.seen("ProviderPool", good)
    bad = {
        **good,
        "spec": {"providers": []},
        "metadata": {**good["metadata"], "resourceVersion": "2", "generation": 2},
    }
    objects.seen("ProviderPool", bad)

    (stored,) = objects.snapshot(()).of(PROVIDER_POOL)
    assert stored.spec is not None
    assert stored.generation == 1
    assert stored.problem is not None
    assert "spec.providers" in stored.problem

    recreated = {
        **bad,
        "metadata": {**bad["metadata"], "uid": "another", "resourceVersion": "3", "generation": 1},
    }
    objects.seen("ProviderPool", recreated)
    (stored,) = objects.snapshot(()).of(PROVIDER_POOL)
    assert stored.spec is None


def test_a_kind_that_is_not_compiled_has_no_version_no_last_good_form_and_no_place_in_a_snapshot() -> None:
    """Sidecars are told of versions that something of theirs depends on, and of no others."""
    report = replace(WATCHED[PROVIDER_POOL.name], is_compiled=False)
    objects = Objects({**WATCHED, report.name: report})
    document = pool("team")
    document["metadata"] |= {"uid": "u-1", "resourceVersion": "7", "generation": 1}
    assert objects.seen(report.name, document) is Change.STATUS
    assert report.name not in objects.versions
    assert report.name not in objects.snapshot(()).stored
    assert len(objects.last_good) == 0
    assert {ref.kind for ref in objects.held} == {report.name}
    assert objects.gone(report.name, document) is Change.STATUS
