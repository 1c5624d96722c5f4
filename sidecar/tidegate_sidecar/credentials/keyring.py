"""Keys by the credential that names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidegate_policy.keys import KeyProblem, KeyReport, LackingKey
from tidegate_policy.model import CompiledConfig, CredentialRef, Provider
from tidegate_sidecar.credentials.mounted import MountedKeys, usable
from tidegate_sidecar.proxy.redact import spellings

MAX_REMEMBERED: Final = 256
"""Credentials whose last key is remembered; more than one configuration has."""


class Key:
    """A provider's key. Its text shows only where `reveal` is called; everywhere else it is the credential's name."""

    __slots__ = ("_text", "credential", "spellings")

    def __init__(self, credential: CredentialRef, text: str) -> None:
        """Keep `text` out of every representation."""
        self.credential = credential
        self._text = text
        self.spellings = spellings(text)
        """The key as a provider may quote it; like the key itself for nothing but to be taken out of what is said."""

    def reveal(self) -> str:
        """The key itself: for the request header and for redaction, nothing else."""
        return self._text

    def __repr__(self) -> str:
        return f"<Key of {self.credential.source}>"


class NoKeyError(LookupError):
    """None of a provider's credentials has a key that may be used; the message says why for each."""


class Keyring:
    """Finds the key of a provider at the moment when it is needed.

    The environment of a process cannot change while it runs; a mounted Secret can, and an attempt takes the key of its
    moment. A key that is missing is reported with the provider that misses it.
    """

    def __init__(self, environment: Mapping[str, str], mounted: MountedKeys | None = None) -> None:
        """Take keys from `environment` and from `mounted`, which somebody else keeps up to date."""
        self._environment = environment
        self._mounted = MountedKeys() if mounted is None else mounted
        self._last: dict[int, Key] = {}
        self._variables: dict[str, tuple[str, str]] = {}

    def __repr__(self) -> str:
        return f"<Keyring with {self._mounted!r}>"

    def find(self, provider: Provider) -> Key | None:
        """The first usable key of `provider`; None where it wants none (or takes the caller's).

        Raises:
            NoKeyError: it wants one and none can be used.
        """
        if not provider.credentials:
            return None
        reasons = []
        for credential in provider.credentials:
            if credential.suspended:
                reasons.append(f"{credential.source} is suspended")
                continue
            text, problem = self._look_up(credential)
            if text:
                return self._key(credential, text)
            reasons.append(f"{credential.source}: {problem}")
        raise NoKeyError("; ".join(reasons))

    def report(self, config: CompiledConfig) -> KeyReport:
        """Which credentials of `config` have no usable key; those that are suspended need none."""
        credentials = {
            credential.source: credential
            for pool in config.pools
            for provider in pool.providers
            for credential in provider.credentials
            if not credential.suspended
        }
        return KeyReport(
            lacking=tuple(
                LackingKey(namespace=source.namespace, name=source.name, problem=problem.value)
                for source, credential in sorted(credentials.items())
                if (problem := self._problem_of(credential)) is not None
            )
        )

    def _problem_of(self, credential: CredentialRef) -> KeyProblem | None:
        if credential.secret_key:
            return self._mounted.problem_of(credential.secret_key)
        text = self._environment.get(credential.environment_variable, "")
        if not text.strip():
            return KeyProblem.MISSING
        return None if usable(text)[0] else KeyProblem.UNUSABLE

    def _key(self, credential: CredentialRef, text: str) -> Key:
        """The key of the last call if it is still the same, so that a call need not make its spellings."""
        last = self._last.get(id(credential))
        if last is not None and last.credential is credential and last.reveal() == text:
            return last
        if len(self._last) >= MAX_REMEMBERED:
            self._last.clear()
        key = self._last[id(credential)] = Key(credential, text)
        return key

    def _look_up(self, credential: CredentialRef) -> tuple[str, str]:
        """The key and nothing, or nothing and why there is none."""
        if credential.secret_key:
            text, problem = self._mounted.find(credential.secret_key)
            if text:
                return text, ""
            return "", f"the key {credential.secret_key!r} of the Secret {self._mounted.secret} {problem}"
        variable = credential.environment_variable
        known = self._variables.get(variable)
        if known is None:
            if len(self._variables) >= MAX_REMEMBERED:
                self._variables.clear()
            known = self._variables[variable] = self._of_variable(variable)
        return known

    def _of_variable(self, variable: str) -> tuple[str, str]:
        if not self._environment.get(variable, "").strip():
            return "", f"the variable {variable} is not set"
        text, problem = usable(self._environment[variable])
        return text, f"the variable {variable} {problem}"
