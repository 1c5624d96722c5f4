"""What can be wrong with a value of the contract.

Each error names the place (a field path such as ``pools[0].retry.max_attempts``) and what would be right. Callers
catch `ContractError`; the subclasses say who has to act: the writer of a value, or whoever runs two versions that
do not understand each other.
"""

from __future__ import annotations


class ContractError(ValueError):
    """Base of all errors of this package; never raised itself."""


class UnitError(ContractError):
    """A duration, rate or amount is not written as the unit demands."""


class DecodeError(ContractError):
    """A document is not a value of the contract.

    Attributes:
        path: where, from the root of the document, e.g. ``pools[0].name``; empty for the document itself.
        reason: what is wrong there and what was expected.
    """

    def __init__(self, path: str, reason: str) -> None:
        """Keep `path` and `reason` apart, so that a caller can group errors by place."""
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path
        self.reason = reason


class SchemaVersionError(ContractError):
    """The document has a schema version that this process does not understand.

    Attributes:
        found: the version in the document.
        supported: the versions this process reads.
    """

    def __init__(self, found: int, supported: tuple[int, ...]) -> None:
        """Say both sides: whoever reads the message must know which one to upgrade."""
        known = ", ".join(str(version) for version in supported)
        super().__init__(
            f"schema_version: the document has version {found}, this process reads {known}; "
            "run the same release of operator and sidecar, or one release apart"
        )
        self.found = found
        self.supported = supported
