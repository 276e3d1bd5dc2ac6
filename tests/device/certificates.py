"""Certificates for tests: of stations, of collectors, and such as nobody should trust."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_certificate(folder: Path, name: str, *, authority: Path, expired: bool = False) -> tuple[Path, Path]:
    """A certificate with this common name and its key, by the authority that `make_certificates` made in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cert, key, request = (folder / f"{name}{suffix}" for suffix in (".pem", ".key", ".csr"))
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    signing = ["-CA", authority / "ca.pem", "-CAkey", authority / "ca.key", "-CAcreateserial"]
    for command in (
        ["openssl", "req", *new_key, "-subj", f"/O=test/CN={name}", "-keyout", key, "-out", request],
        ["openssl", "x509", "-req", "-in", request, *signing, "-days", "-1" if expired else "2", "-out", cert],
    ):
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return cert, key
