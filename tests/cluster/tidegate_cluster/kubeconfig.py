"""Kubeconfig files: how clients find the server and who they are there."""

import base64
import json

from tidegate_cluster.certificates import KeyPair


def render_kubeconfig(*, server: str, authority_pem: bytes, user: str, credentials: KeyPair) -> bytes:
    """Render a kubeconfig with one context and everything inline.

    It is JSON, which every reader of YAML reads.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tidegate-test",
        "clusters": [
            {
                "name": "tidegate-test",
                "cluster": {"server": server, "certificate-authority-data": _base64(authority_pem)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _base64(credentials.certificate_pem),
                    "client-key-data": _base64(credentials.key_pem),
                },
            }
        ],
        "contexts": [{"name": "tidegate-test", "context": {"cluster": "tidegate-test", "user": user}}],
    }
    return json.dumps(content, indent=2).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
