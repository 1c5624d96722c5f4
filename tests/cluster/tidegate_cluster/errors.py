"""What can go wrong between asking for a cluster and having one.

Everything that this package raises on purpose is a `ClusterError` whose text tells a person what happened and
what to do. The command line prints the text and leaves; under pytest it fails the test.
"""


class ClusterError(Exception):
    """Any expected failure of this package."""


class BuildFailedError(ClusterError):
    """A program could be neither found nor built."""


class StartFailedError(ClusterError):
    """A process ended, or stayed silent, before it was ready. The text carries the tail of its log."""


class PortTakenError(StartFailedError):
    """A process found its port in use; another port, or a little later, may do."""


class KubectlFailedError(ClusterError):
    """A kubectl call ended with an error, or not in time. The text carries what it printed."""


class DeadlinePassedError(ClusterError):
    """A condition did not come true in time."""


class AlreadyRunningError(ClusterError):
    """The one control plane that `up` keeps for a person is there already, running or left behind."""
