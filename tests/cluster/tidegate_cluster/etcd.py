"""What the tests ask of etcd, over its JSON gateway: is it the one that was started, and compaction."""

from tidegate_cluster.errors import ClusterError
from tidegate_cluster.loopback import UNREACHABLE, Answer, request

_READY_TIMEOUT_S = 2.0
_COMPACT_TIMEOUT_S = 30.0
_COMPACTED_BEFORE = "required revision has been compacted"
_OK = 200


def is_etcd_ready(port: int, name: str) -> bool:
    """Tell whether the etcd of this name serves at the port.

    The name matters: two clusters that start at once may try one port, and each would find the winner's etcd.
    """
    try:
        answer = request(port, "POST", "/v3/cluster/member/list", body={}, timeout_s=_READY_TIMEOUT_S)
        return answer.status == _OK and [m.get("name") for m in answer.json()["members"]] == [name]
    except (*UNREACHABLE, ValueError, KeyError):
        return False


def compact(port: int) -> int:
    """Forget all history before the current revision, on disk too, and return that revision.

    Raises:
        ClusterError: etcd refused, or is out of reach.
    """
    answer = _call(port, "/v3/kv/range", {"key": "AA==", "limit": "1"})
    if answer.status != _OK:
        raise _refusal(port, answer)
    revision = int(answer.json()["header"]["revision"])
    answer = _call(port, "/v3/kv/compaction", {"revision": str(revision), "physical": True})
    # Nothing was written since an earlier compaction: etcd calls that an error, to us it is done.
    if answer.status != _OK and _COMPACTED_BEFORE not in answer.text:
        raise _refusal(port, answer)
    return revision


def _call(port: int, path: str, body: dict[str, object]) -> Answer:
    try:
        return request(port, "POST", path, body=body, timeout_s=_COMPACT_TIMEOUT_S)
    except UNREACHABLE as error:
        raise ClusterError(f"etcd at port {port} did not answer {path}: {error!r}") from error


def _refusal(port: int, answer: Answer) -> ClusterError:
    return ClusterError(f"etcd at port {port} refused with status {answer.status}: {answer.text}")
