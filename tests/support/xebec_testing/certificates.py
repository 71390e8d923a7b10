"""Certificates for a test, made as it runs by the openssl command, in a directory of its own. Nothing of them is kept."""
import pathlib
import subprocess


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **options)


class Authority:
    """
    A CA. authority.issue("server", "DNS:localhost,IP:127.0.0.1") -> Pair(certificate, key), two PEM files. Issued again
    under the same name, the files are replaced.
    """

    def __init__(self, directory, name="ca"):
        self.directory = pathlib.Path(directory)
        self.certificate, self.key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
                "-subj", f"/CN=test {name}", "-keyout", self.key, "-out", self.certificate)

    def issue(self, name, names="DNS:localhost,IP:127.0.0.1", days=30, common_name=None):
        """days: negative: it has expired already."""
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={common_name or name}", "-keyout", pair.key, "-out", request)
        extensions.write_text(f"subjectAltName={names}\n")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                "-days", days, "-extfile", extensions, "-out", pair.certificate)
        return pair


class Pair:
    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    @property
    def tls(self):
        """As a gateway's configuration has it."""
        return {"certificate": str(self.certificate), "key": str(self.key)}

    @property
    def serial(self):
        return openssl("x509", "-in", self.certificate, "-noout", "-serial", text=True).stdout.strip().partition("=")[2]
