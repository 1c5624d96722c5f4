"""The image that holds a pod's namespaces open (PURE): one static program that sleeps, as an OCI archive.

It is made here, since nothing may be fetched. It has busybox, so tests can use it for its commands as well.
"""

import hashlib
import io
import json
import tarfile
from typing import Any

_PROGRAM = "bin/busybox"


def pause_archive(busybox: bytes, *, name: str, architecture: str) -> bytes:
    """Build the archive.

    Args:
        busybox: the statically linked program.
        name: what the image is called, with its tag.
        architecture: as Go calls it, such as `amd64`.
    """
    layer = _tar({_PROGRAM: busybox}, mode=0o755)
    configuration = _json(
        {
            "architecture": architecture,
            "os": "linux",
            # It is process 1 of the pod where processes are shared: it ends by SIGKILL, as every such image may.
            "config": {"Entrypoint": [f"/{_PROGRAM}", "sleep", "2147483647"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _described("application/vnd.oci.image.config.v1+json", configuration),
            "layers": [_described("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    )
    reference = _described("application/vnd.oci.image.manifest.v1+json", manifest)
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = _json({"schemaVersion": 2, "manifests": [reference | {"annotations": annotations}]})
    blobs = {f"blobs/sha256/{_hex(content)}": content for content in (layer, configuration, manifest)}
    return _tar({"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index, **blobs})


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _described(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{_hex(content)}"


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
