"""The stand-in's certificates: made by openssl as `cockroach cert` makes them, and loaded with CockroachDB's check of who may read a key.

Called by cockroach.py; in the image it lies under /cockroach as it does here. It knows nothing of nodes, SQL or the chart.
"""

import argparse
import asyncio
import os
import re
import ssl
import stat
import subprocess
import sys
import uuid
from pathlib import Path

GROUP_MAY_READ, NOBODY_ELSE = 0o740, 0o700


def make_certificate(asked: argparse.Namespace) -> None:
    """`cockroach cert create-ca|create-node|create-client`, by openssl."""
    folder, authority_key = asked.certs_dir, asked.ca_key
    days = str(int(asked.lifetime.removesuffix("h")) // 24)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    if asked.what == "create-ca":
        openssl("req", "-x509", *new_key, "-days", days, "-subj", "/O=Cockroach/CN=Cockroach CA",
                "-keyout", str(authority_key), "-out", str(folder / "ca.crt"))  # fmt: skip
        return
    user = asked.names[0] if asked.what == "create-client" else "node"
    target = folder / (f"client.{user}" if asked.what == "create-client" else "node")
    usage = "clientAuth" if asked.what == "create-client" else "serverAuth,clientAuth"
    extensions = f"extendedKeyUsage={usage}\n"
    if asked.what == "create-node":
        alternatives = (f"{'IP' if re.fullmatch('[0-9.]+', name) else 'DNS'}:{name}" for name in asked.names)
        extensions += f"subjectAltName={','.join(alternatives)}\n"
    work = folder / "unsigned"
    work.with_suffix(".ext").write_text(extensions)
    openssl(
        "req", "-new", *new_key, "-subj", f"/O=Cockroach/CN={user}", "-keyout", f"{target}.key", "-out", f"{work}.csr"
    )
    openssl("x509", "-req", "-in", f"{work}.csr", "-CA", str(folder / "ca.crt"), "-CAkey", str(authority_key),
            "-set_serial", f"0x{uuid.uuid4().hex}", "-days", days, "-extfile", f"{work}.ext", "-out", f"{target}.crt")  # fmt: skip
    for leftover in (".ext", ".csr"):
        work.with_suffix(leftover).unlink()


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def context(certs_dir: Path, name: str, *, server: bool) -> ssl.SSLContext:
    """TLS with both sides' certificates, after CockroachDB's check of who may read the key."""
    key = certs_dir / f"{name}.key"
    seen = key.stat()
    limit = GROUP_MAY_READ if (seen.st_uid, seen.st_gid) == (0, os.getgid()) else NOBODY_ELSE
    if stat.S_IMODE(seen.st_mode) & ~limit:
        sys.exit(f"ERROR: key file {key} has permissions {stat.S_IMODE(seen.st_mode):o}, exceeds {limit:o}")
    tls = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH, cafile=str(certs_dir / "ca.crt")
    )
    tls.load_cert_chain(certs_dir / f"{name}.crt", key)
    tls.verify_mode = ssl.CERT_REQUIRED
    return tls


def end_of(certificate: Path) -> int:
    """When it ends, in Unix time."""
    words = ["openssl", "x509", "-noout", "-enddate", "-in", str(certificate)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter="))


def common_name(writer: asyncio.StreamWriter) -> str:
    certificate = writer.get_extra_info("ssl_object").getpeercert()
    return str(next(value for part in certificate["subject"] for key, value in part if key == "commonName"))
