"""What nodes prove with, made for a test: each function leaves files in a directory and returns the flags for the daemon."""

import os
import subprocess

SECRET = "a secret that is in no log and no list"


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


def make_certificates(directory, names):
    """An authority, and one certificate for all of the nodes of a development cluster."""
    authority = f"{directory}/ca.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=test", "-keyout", f"{directory}/ca.key", "-out", authority)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=node",
            "-keyout", f"{directory}/node.key", "-out", f"{directory}/node.csr")
    with open(f"{directory}/names", "w", encoding="utf-8") as file:
        file.write("subjectAltName=" + ",".join(f"DNS:{name}" for name in names))
    openssl("x509", "-req", "-in", f"{directory}/node.csr", "-CA", authority, "-CAkey", f"{directory}/ca.key",
            "-days", "2", "-extfile", f"{directory}/names", "-out", f"{directory}/node.pem", "-CAcreateserial")
    os.chmod(f"{directory}/node.key", 0o600)
    return ["--tls-cert", f"{directory}/node.pem", "--tls-key", f"{directory}/node.key", "--tls-ca", authority]


def write_secret(directory, secret=SECRET):
    path = f"{directory}/secret"
    with open(path, "w", encoding="utf-8", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(secret + "\n")
    return ["--secret-file", path]
