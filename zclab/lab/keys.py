"""SSH keys of a lab, made with the lab and gone with it: nothing is shipped, nobody asked to trust.

The host and the guest each get a host key from here, so their identity is checked like that of
any machine.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

_TYPE = b"ssh-ed25519"


@dataclass(frozen=True)
class KeyPair:
    """An Ed25519 key pair."""

    key: Ed25519PrivateKey

    @classmethod
    def generate(cls, seed: bytes | None = None, name: str = "") -> KeyPair:
        """Make a new one, or with ``seed`` always the same one for a ``name``.

        Keys from a seed are no secret. They are for machines that nothing outside can reach and
        that have to be the same to the last bit on every start.
        """
        if seed is None:
            return cls(Ed25519PrivateKey.generate())
        return cls(Ed25519PrivateKey.from_private_bytes(sha256(seed + name.encode()).digest()))

    @property
    def public(self) -> str:
        """The public key as ``authorized_keys`` and ``known_hosts`` have it."""
        blob = _string(_TYPE) + _string(self._public_bytes())
        return f"{_TYPE.decode()} {base64.b64encode(blob).decode()}"

    @property
    def openssh(self) -> bytes:
        """The private key in OpenSSH's format."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    @property
    def dropbear(self) -> bytes:
        """The private key in Dropbear's format (its signkey.c: type, then seed and public key)."""
        seed = self.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return _string(_TYPE) + _string(seed + self._public_bytes())

    def _public_bytes(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _string(data: bytes) -> bytes:
    """Encode a string of RFC 4251, section 5."""
    return struct.pack(">I", len(data)) + data
