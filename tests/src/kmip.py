"""PyKMIP's server without the processes that it starts beside itself (they would outlive a test that is killed), and
PyKMIP's own client to make keys with and to change them. argv: a word of the table at the end, a folder, a port, more."""

import datetime
import ipaddress
import json
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from kmip.core import enums
from kmip.core.messages.contents import ProtocolVersion
from kmip.pie.client import ProxyKmipClient
from kmip.services.server import engine, monitor, server

word, folder, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
more = sys.argv[4:]


def path(name):
    return os.path.join(folder, name)


def make_certificates():
    """An authority with a server and two clients, and another authority with a client."""
    begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)

    def write(name, data):
        with open(os.open(path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)

    def issue(file, name, issuer=None, usage=None):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer_name, issuer_key = issuer or (subject, key)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=usage is None, path_length=None), critical=True)
        )
        if usage is not None:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        write(file + ".pem", certificate.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write(file + ".key", private)
        return subject, key

    client = ExtendedKeyUsageOID.CLIENT_AUTH
    authority = issue("ca", "KMIP tests")
    issue("server", "localhost", authority, ExtendedKeyUsageOID.SERVER_AUTH)
    issue("client", "signet", authority, client)
    issue("stranger", "stranger", authority, client)
    issue("foreign", "signet", issue("foreign-ca", "somebody else"), client)


def serve():
    class Here:
        """A policy folder that nobody watches."""

        def __init__(self, *_):
            pass

        start = stop = join = __init__

    class Manager:
        dict = staticmethod(dict)

    monitor.PolicyDirectoryMonitor = Here
    server.multiprocessing.Manager = Manager
    if more:
        made = engine.KmipEngine.__init__

        def older(self, *arguments, **named):
            made(self, *arguments, **named)
            self._protocol_versions = [ProtocolVersion(1, minor) for minor in range(int(more[0]), -1, -1)]

        engine.KmipEngine.__init__ = older
    with open(path("server.conf"), "w") as file:
        # The suites on a line of their own: PyKMIP splits them at white space. rustls speaks no CBC.
        file.write(
            f"[server]\nhostname=127.0.0.1\nport={port}\ncertificate_path={path('server.pem')}\n"
            f"key_path={path('server.key')}\nca_path={path('ca.pem')}\nauth_suite=TLS1.2\npolicy_path={folder}\n"
            f"enable_tls_client_auth=True\nlogging_level=INFO\ndatabase_path={path('kmip.db')}\n"
            "tls_cipher_suites=\n    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n"
        )
    running = server.KmipServer(config_path=path("server.conf"), log_path=path("pykmip.log"))
    with running:
        running.serve()


def client():
    return ProxyKmipClient(
        hostname="127.0.0.1",
        port=port,
        cert=path("client.pem"),
        key=path("client.key"),
        ca=path("ca.pem"),
        config_file=os.devnull,
    )


def make_keys():
    both = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]
    made = {}
    with client() as kmip:
        for name, bits in [("seal", 256), ("other_seal", 256), ("inactive", 256), ("short", 128)]:
            made[name] = kmip.create(enums.CryptographicAlgorithm.AES, bits, cryptographic_usage_mask=both)
            if name != "inactive":
                kmip.activate(made[name])
    print(json.dumps(made))


def deactivate():
    with client() as kmip:
        kmip.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, more[0])


def destroy():
    with client() as kmip:
        kmip.destroy(more[0])


{
    "certificates": make_certificates,
    "serve": serve,
    "keys": make_keys,
    "deactivate": deactivate,
    "destroy": destroy,
}[word]()
