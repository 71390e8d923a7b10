#!/usr/bin/python3
"""Makes the certificates that tests in C use: certificates.py DIRECTORY. CTest runs it before them."""
import pathlib
import shutil
import sys

from xebec_testing.certificates import Authority, openssl


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    ours, others = Authority(directory), Authority(directory, "other_ca")
    server = ours.issue("server")
    ours.issue("client")
    ours.issue("expired", days=-1)
    others.issue("stranger")
    openssl("pkey", "-in", server.key, "-aes256", "-passout", "pass:secret", "-out", directory / "encrypted.key")
    shutil.copy(server.key, directory / "exposed.key")
    (directory / "exposed.key").chmod(0o644)
    text = server.certificate.read_text()
    (directory / "broken.crt").write_text(text + text.replace("MII", "???"))
    (directory / "empty.crt").write_text("")
    (directory / "large.crt").write_text("x" * (2 << 20))


main(pathlib.Path(sys.argv[1]))
