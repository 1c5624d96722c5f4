"""Webhooks of others: a mesh, an agent that adds its container."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.loopback import ADDRESS

from injecting_site.injector import CONFIGURATIONS, next_bundle

Patch = Callable[[dict[str, Any]], list[dict[str, Any]]]


@contextmanager
def other_webhook(
    control_plane: ControlPlane,
    folder: Path,
    namespace: str,
    name: str,
    patch: Patch,
    *,
    again: str = "Never",
) -> Iterator[None]:
    """Someone else's webhook for pods of one namespace, called after ours when its name says so.

    With `again="IfNeeded"` it is called once more after ours was.
    """
    bundle = next_bundle(None, days_ago=1)
    pem = folder / f"{name}.pem"
    pem.write_bytes(bundle.leaf.certificate_pem + bundle.leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["content-length"])))
            operations = json.dumps(patch(review["request"]["object"])).encode()
            response = {"uid": review["request"]["uid"], "allowed": True}
            if operations != b"[]":
                response |= {"patchType": "JSONPatch", "patch": base64.b64encode(operations).decode()}
            body = json.dumps(
                {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}
            ).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((ADDRESS, 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, name=name)
        thread.start()
        url = f"https://{ADDRESS}:{server.server_address[1]}/"
        document = _configuration(name, namespace, url, bundle.trust)
        document["webhooks"][0]["reinvocationPolicy"] = again
        try:
            answer = control_plane.request("POST", CONFIGURATIONS, body=document)
            assert answer.status == 201, answer.text
            yield
        finally:
            control_plane.request("DELETE", f"{CONFIGURATIONS}/{name}")
            server.shutdown()
            thread.join()


def _configuration(name: str, namespace: str, url: str, trust: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "other.example.com",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": url, "caBundle": base64.b64encode(trust.encode()).decode()},
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                    }
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "timeoutSeconds": 10,
            }
        ],
    }
