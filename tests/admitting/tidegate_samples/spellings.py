"""Words for each pattern, right ones and wrong ones, by what is remarkable about them.

The patterns are those of the API's own types, so that a changed one is noticed: it has no words here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate_operator.api import fields
from tidegate_operator.api.baseurl import BaseURL
from tidegate_operator.api.selectors import LabelKey, LabelValue
from tidegate_operator.api.status import CONDITION_REASON, CONDITION_TYPE, Timestamp
from tidegate_policy.units import DURATION_PATTERN
from tidegate_samples.spelling import (
    Spelling,
    duration_of_length,
    label_key_of_length,
    pattern_of,
    time_of_length,
    url_of_length,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_EVERYWHERE: Final = {
    "a space inside": "a b",
    "a space at the end": "a ",
    "a line break at the end": "a\n",
    "a letter outside ASCII": "ä",
    "a control character": "a\u0001b",
}
_NAMES: Final = _EVERYWHERE | {
    "a capital": "Chat",
    "an underscore": "a_b",
    "a hyphen at the start": "-a",
    "a hyphen at the end": "a-",
}
_MODELS: Final = _EVERYWHERE | {
    "a double quote": 'a"b',
    "a single quote": "a'b",
    "a no-break space": "a\u00a0b",
}
_MODEL_NAMES: Final = {
    "an organisation": "meta-llama/Llama-3.1-8B:free",
    "a fine-tuned one": "ft:gpt-4o:org::id",
}

_ALL: Final = (
    Spelling(pattern=""),
    Spelling(
        pattern=pattern_of(fields.Name),
        fits={"digits": "0", "a hyphen inside": "a-0"},
        misfits=_NAMES | {"a dot": "a.b"},
    ),
    Spelling(
        pattern=pattern_of(fields.ObjectName),
        fits={"digits": "0", "dots and hyphens inside": "a-0.b-1"},
        misfits=_NAMES
        | {"two dots": "a..b", "a dot at the start": ".a", "a dot at the end": "a.", "a slash": "a/b"},
    ),
    Spelling(
        pattern=pattern_of(fields.OwnOrNamespace),
        fits={"nothing, for the own one": "", "a hyphen inside": "a-0"},
        misfits=_NAMES | {"a dot": "a.b"},
    ),
    Spelling(
        pattern=pattern_of(fields.APIGroup),
        fits={"a group of somebody": "argoproj.io", "one word": "apps"},
        misfits=_NAMES | {"two dots": "a..b", "a slash": "a/v1"},
    ),
    Spelling(
        pattern=pattern_of(fields.KindName),
        sized=lambda length, _letter: "K" * length,
        fits={"a kind of somebody": "Rollout"},
        misfits=_EVERYWHERE | {"a small letter first": "deployment", "a hyphen": "Cron-Job"},
    ),
    Spelling(
        pattern=pattern_of(fields.ModelName),
        fits=_MODEL_NAMES,
        misfits=_MODELS | {"a star": "gpt-*"},
    ),
    Spelling(
        pattern=pattern_of(fields.ModelPattern),
        fits=_MODEL_NAMES | {"a star alone": "*", "two stars": "*gpt-4*"},
        misfits=_MODELS,
    ),
    Spelling(
        pattern=pattern_of(fields.HeaderName),
        fits={"every sign that RFC 9110 allows": "!#$%&'*+-.^_`|~0Az"},
        misfits=_EVERYWHERE | {"a colon": "a:", "a slash": "a/b"},
    ),
    Spelling(
        pattern=pattern_of(fields.HeaderValue),
        fits={"words with single spaces": "a b c", "every visible sign": "".join(map(chr, range(33, 127)))},
        misfits={
            "a space at the start": " a",
            "a space at the end": "a ",
            "two spaces inside": "a  b",
            "a tab inside": "a\tb",
            "another header behind it": "a\r\nX-B: b",
            "a line break at the end": "a\n",
            "a letter outside ASCII": "ä",
        },
    ),
    Spelling(
        pattern=pattern_of(fields.EnvironmentVariable),
        fits={"an underscore at the start": "_a", "a digit at the end": "A0"},
        misfits=_EVERYWHERE
        | {"a digit at the start": "0A", "a hyphen, as keys have": "sk-1", "an assignment": "A=b"},
    ),
    Spelling(
        pattern=pattern_of(fields.SecretKey),
        fits={
            "the name of a file": "openai.key",
            "every sign that Kubernetes allows": "-_.Az09",
            "a dot at the start": ".openai",
            "dots inside": "a..b",
        },
        misfits=_EVERYWHERE
        | {
            "a path": "a/b",
            "a path upwards": "../openai",
            "two dots": "..",
            "one dot": ".",
            "the kubelet's own": "..data",
        },
    ),
    Spelling(
        pattern=pattern_of(LabelKey),
        sized=label_key_of_length,
        fits={"a capital": "App", "a prefix": "example.com/team", "dots and underscores inside": "a.b_c"},
        misfits=_EVERYWHERE
        | {
            "a hyphen at the start": "-a",
            "a dot at the end": "a.",
            "a prefix without a name": "example.com/",
            "a name without the prefix before its slash": "/a",
            "two slashes": "a/b/c",
            "a capital in the prefix": "Example.com/a",
            "a name of 64 characters": "a" * 64,
        },
    ),
    Spelling(
        pattern=pattern_of(LabelValue),
        fits={"nothing": "", "a capital": "On", "dots and underscores inside": "a.b_c"},
        misfits=_EVERYWHERE | {"a hyphen at the start": "-a", "a dot at the end": "a.", "a slash": "a/b"},
    ),
    Spelling(
        pattern=DURATION_PATTERN,
        sized=duration_of_length,
        fits={
            "milliseconds": "250ms",
            "minutes": "5m",
            "hours": "24h",
            "days": "90d",
            "nine digits": "999999999ms",
            "two units": "1h30m",
            "all units": "1d2h3m4s5ms",
        },
        misfits={
            "no unit": "30",
            "no number": "ms",
            "zero": "0s",
            "a zero at the start": "05s",
            "ten digits": "1000000000s",
            "a fraction": "1.5s",
            "a sign": "-5s",
            "the smaller unit first": "30s1m",
            "a unit twice": "1m1m",
            "an unknown unit": "1w",
            "a capital": "5M",
            "a space inside": "5 m",
            "a line break at the end": "5m\n",
            "digits outside ASCII": "٣s",
        },
    ),
    Spelling(
        pattern=pattern_of(BaseURL),
        sized=url_of_length,
        fits={
            "a host alone": "https://a.example",
            "a port": "https://a.example:8443/v1",
            "a slash at the end": "https://a.example/v1/",
            "a local server": "http://127.0.0.1:11434/v1",
            "an address of IPv6": "https://[2001:4860:4860::8888]/v1",
            "an escape in the path": "https://a.example/v1%20b",
        },
        misfits={
            "no scheme": "a.example/v1",
            "another scheme": "ftp://a.example/v1",
            "a scheme in capitals": "HTTPS://a.example/v1",
            "no host": "https:///v1",
            "a user name and password": "https://user:word@a.example/v1",
            "a query": "https://a.example/v1?key=word",
            "a fragment": "https://a.example/v1#word",
            "a backslash in the host": "https://a.example\\@b.example/v1",
            "a backslash in the path": "https://a.example/v1\\..",
            "a space in the host": "https://a .example/v1",
            "a space in the path": "https://a.example/v 1",
            "a line break at the end": "https://a.example/v1\n",
            "a no-break space in the path": "https://a.example/v\u00a01",
            "a vertical tab in the path": "https://a.example/v\u000b1",
            "a control character in the path": "https://a.example/v\u00011",
            "a letter outside ASCII in the path": "https://a.example/vä",
            "a letter outside ASCII in the host": "https://ä.example/v1",
        },
    ),
    Spelling(
        pattern=pattern_of(Timestamp),
        sized=time_of_length,
        fits={
            "a fraction of one digit": "2026-11-21T10:00:00.1Z",
            "an offset": "2026-11-21T10:00:00+02:00",
        },
        misfits={
            "no time zone": "2026-11-21T10:00:00",
            "an offset without a colon": "2026-11-21T10:00:00+0000",
            "a space in the middle": "2026-11-21 10:00:00Z",
            "a date alone": "2026-11-21",
        },
    ),
    Spelling(
        pattern=CONDITION_TYPE,
        fits={"a prefix": "finance.example.com/Audited_2026.v1-a"},
        misfits={
            "a space": "Not Ready",
            "a hyphen at the end": "Ready-",
            "a prefix alone": "example.com/",
            "a prefix with a capital": "Example.com/Audited",
            "a line break at the end": "Ready\n",
        },
    ),
    Spelling(
        pattern=CONDITION_REASON,
        fits={"a colon, a comma and a digit": "By_Finance:2026,v1"},
        misfits={
            "a hyphen": "Not-Ready",
            "a digit first": "1st",
            "a colon at the end": "By:",
            "a line break at the end": "Ready\n",
        },
    ),
)

SPELLINGS: Final[Mapping[str, Spelling]] = {spelling.pattern: spelling for spelling in _ALL}
"""By pattern."""
