"""One kept-alive connection to an API server, as its administrator."""

from __future__ import annotations

import base64
import json
import re
import ssl
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from tidegate_operator.api.kinds import API_VERSION, Kind, Scope
from tidegate_operator.api.problems import format_path

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate_operator.api.problems import FieldPath

TIMEOUT_S: Final = 30

_UNKNOWN_FIELD: Final = re.compile(r'(unknown field) "([^"]*)"')
_NOT_METADATA: Final = re.compile(r"(cannot unmarshal \w+) into Go struct field ObjectMeta\.(\w+)")
_KEY_IN_BRACKETS: Final = re.compile(r"\[([^\]0-9][^\]]*)\]")
_ECHOES: Final = ("some validation rules were not checked", "Checked value must be of type")
"""What the server adds to a complaint, at some other place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One thing that the server refuses, and where it is."""

    field: str
    message: str

    def is_at(self, field: FieldPath) -> bool:
        """Whether it is about a field, or something in it."""
        wanted = format_path(field)
        # CEL writes the keys of a map in brackets, as the items of a list
        named = _KEY_IN_BRACKETS.sub(r".\1", self.field)
        return named == wanted or named.startswith((f"{wanted}.", f"{wanted}["))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server answered."""

    status: int
    document: dict[str, Any]
    warnings: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[Complaint]:
        """What is wrong; empty when the request was accepted."""
        if self.status < 400:
            return []
        causes = [
            Complaint(field=cause.get("field", ""), message=cause.get("message", ""))
            for cause in (self.document.get("details") or {}).get("causes", ())
            if not any(echo in cause.get("message", "") for echo in _ECHOES)
        ]
        message = self.document["message"]
        found = [Complaint(field=it[2], message=it[1]) for it in _UNKNOWN_FIELD.finditer(message)]
        found += [
            Complaint(field=f"metadata.{it[2]}", message=it[1]) for it in _NOT_METADATA.finditer(message)
        ]
        return causes or found or [Complaint(field="", message=message)]


class Server:
    """Sends requests one after the other; for one thread."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        """Read who and where from a kubeconfig of `tidegate_cluster`; nothing is sent yet.

        Args:
            kubeconfig: as written by the control plane: JSON, with one context, everything inline.
            folder: for the client's key, which the ssl module reads from files alone.
        """
        content = json.loads(kubeconfig.read_text(encoding="utf-8"))
        (cluster,), (user,) = content["clusters"], content["users"]
        authority = base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode("ascii")
        pair = (user["user"][f"client-{part}-data"] for part in ("certificate", "key"))
        key_file = folder / "client.pem"
        key_file.touch(mode=0o600)
        key_file.write_bytes(b"".join(base64.b64decode(part) for part in pair))
        tls = ssl.create_default_context(cadata=authority)
        tls.load_cert_chain(key_file)
        address = urlsplit(cluster["cluster"]["server"]).netloc
        self._connection = HTTPSConnection(address, context=tls, timeout=TIMEOUT_S)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        **query: str,
    ) -> Reply:
        """Send a request; the body is sent as JSON unless it is text."""
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        url = f"{path}?{urlencode(query)}" if query else path
        self._connection.request(method, url, body=None if body is None else data, headers=headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        is_json = response.headers.get_content_type() == "application/json"
        return Reply(
            status=response.status,
            document=json.loads(text)
            if is_json
            else {"message": text},  # paths not served yet: "page not found"
            warnings=response.headers.get_all("Warning") or [],
        )

    def apply(self, path: str, document: object, manager: str, **query: str) -> Reply:
        """Server-side apply."""
        query = {"fieldManager": manager, "fieldValidation": "Strict"} | query
        return self.send("PATCH", path, document, content_type="application/apply-patch+yaml", **query)

    def try_out(self, kind: Kind[Any], document: object) -> Reply:
        """Ask whether an object could be created; nothing is stored."""
        return self.send("POST", collection(kind), document, dryRun="All", fieldValidation="Strict")


def collection(kind: Kind[Any], namespace: str = "default") -> str:
    """Path of a kind's objects."""
    inside = f"/namespaces/{namespace}" if kind.scope is Scope.NAMESPACED else ""
    return f"/apis/{API_VERSION}{inside}/{kind.plural}"
