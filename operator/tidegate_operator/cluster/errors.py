"""What can go wrong in a call to the API server.

Callers catch `ClusterError`; the kubernetes package's and urllib3's own exceptions do not get past `client.py`.
`UnreachableError`: nobody answered, so nothing is known about what happened. `RefusedError`: the server answered, and
its subclasses are the answers that callers act upon. No message has a token or the body of a request in it.
"""

from __future__ import annotations

import logging


class ClusterError(Exception):
    """Base of all errors of this package; never raised itself.

    Attributes:
        level: of a log line about it.
    """

    level = logging.WARNING


class NoAccessError(ClusterError):
    """There is neither a ServiceAccount nor a kubeconfig that works."""


class UnreachableError(ClusterError):
    """No answer: refused connection, broken connection, or the deadline passed. The client tells of the outage."""

    level = logging.DEBUG


class UnstableListError(ClusterError):
    """A list does not say of which moment it is, or its parts are of several: what it lacks may be there nevertheless."""


class RefusedError(ClusterError):
    """The server answered with an error.

    Attributes:
        status: of HTTP.
        reason: in one word, as in `metav1.Status`; empty when the answer was none.
    """

    def __init__(self, what: str, status: int, reason: str, message: str) -> None:
        """`what` names the call: ``PATCH /api/v1/…``."""
        super().__init__(
            f"{what}: {status} {reason}: {message}" if reason else f"{what}: {status}: {message}"
        )
        self.status = status
        self.reason = reason


class UnauthorizedError(RefusedError):
    """401: the server does not know us."""


class ForbiddenError(RefusedError):
    """403: we may not do that; rights.py says what we should be allowed."""


class NotFoundError(RefusedError):
    """404: the object, or its whole kind, is not there."""


class ConflictError(RefusedError):
    """409: the object has changed since it was read, or exists already."""


class BusyError(RefusedError):
    """429 or a 5xx: the same call may do later."""


_KINDS: dict[int, type[RefusedError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    429: BusyError,
}
_SERVER_ERROR = 500


def refused(what: str, status: int, reason: str, message: str) -> RefusedError:
    """The error for an answer's status."""
    kind = _KINDS.get(status, BusyError if status >= _SERVER_ERROR else RefusedError)
    return kind(what, status, reason, message)
