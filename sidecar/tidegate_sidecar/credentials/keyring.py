"""Keys by the credential that names them."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate_policy.model import CredentialRef, Provider


class Key:
    """A provider's key. Its text shows only where `reveal` is called; everywhere else it is the credential's name."""

    __slots__ = ("_text", "credential")

    def __init__(self, credential: CredentialRef, text: str) -> None:
        """Keep `text` out of every representation."""
        self.credential = credential
        self._text = text

    def reveal(self) -> str:
        """The key itself: for the request header and for redaction, nothing else."""
        return self._text

    def __repr__(self) -> str:
        return f"<Key of {self.credential.source}>"


class NoKeyError(LookupError):
    """None of a provider's credentials has a key that may be used; the message says why for each."""


class Keyring:
    """Finds keys of source Environment.

    The environment of a process cannot change while it runs, so keys are looked up when they are needed and a
    variable that is missing is reported with the provider that misses it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read keys from `environment`."""
        self._environment = environment

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
            # A trailing line break is what `export KEY=$(cat file)` and mounted files leave behind.
            text = self._environment.get(credential.environment_variable, "").strip()
            if text and text.isascii() and text.isprintable():
                return Key(credential, text)
            problem = "holds characters that no header can carry" if text else "is not set"
            reasons.append(f"{credential.source}: the variable {credential.environment_variable} {problem}")
        raise NoKeyError("; ".join(reasons))
