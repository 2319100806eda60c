"""moto's server with two things that its KMS lacks: MessageType DIGEST (it would hash the digest once more), and key ids
that are the same in each server, so that a test can put another key in a key's place."""

import contextvars
import itertools
import threading

import moto.kms.models
import moto.kms.responses
import moto.kms.utils
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.server import main

digest = contextvars.ContextVar("digest", default=False)
lock = threading.Lock()
numbers = itertools.count(1)


class Prehashed:
    """A private key that takes digests."""

    def __init__(self, key):
        self.key = key

    def sign(self, message, *how):
        last = how[-1]
        if isinstance(last, ec.ECDSA):
            return self.key.sign(message, ec.ECDSA(utils.Prehashed(last.algorithm)))
        return self.key.sign(message, *how[:-1], utils.Prehashed(last))


def teach(kind):
    sign = kind.sign

    def taught(self, message, algorithm):
        if not digest.get():
            return sign(self, message, algorithm)
        with lock:
            key = self.private_key
            self.private_key = Prehashed(key)
            try:
                return sign(self, message, algorithm)
            finally:
                self.private_key = key

    kind.sign = taught


def answer(self, sign=moto.kms.responses.KmsResponse.sign):
    token = digest.set(self._get_param("MessageType") == "DIGEST")
    try:
        return sign(self)
    finally:
        digest.reset(token)


def key_id(multi_region=False):
    return f"{'mrk-' if multi_region else ''}00000000-0000-4000-8000-{next(numbers):012}"


teach(moto.kms.utils.RSAPrivateKey)
teach(moto.kms.utils.ECDSAPrivateKey)
moto.kms.responses.KmsResponse.sign = answer
moto.kms.models.generate_key_id = key_id
main()
