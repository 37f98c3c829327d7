"""Passwords against their hashes, by this machine's crypt(3): bcrypt as Prometheus has it, and what else it knows."""

import base64
import binascii
import ctypes
import ctypes.util
import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping

_REMEMBERED = 64
_LONGEST = 256
"""Of a password, in bytes: bcrypt reads 72 of them."""


class Passwords:
    """The users of an exporter. One check at a time: hashes are made to be slow, and crypt(3) has one buffer."""

    def __init__(self, users: Mapping[str, str]) -> None:
        """Raises ValueError for no users, and for a hash that this machine cannot check."""
        if not users:
            raise ValueError("has no users, so no request could be answered")
        self._users = dict(users)
        self._crypt = _library()
        self._lock = threading.Lock()
        self._salt = secrets.token_bytes(16)
        self._known: dict[bytes, bool] = {}
        for hashed in self._users.values():
            made = self._hash(b"", hashed)
            if not made or made.startswith(b"*") or len(made) != len(hashed):
                raise ValueError("a hash that crypt(3) of this machine does not know: use bcrypt (htpasswd -nBC 10)")

    def admit(self, header: str | None) -> bool:
        """Whether an Authorization header names a user and that user's password."""
        scheme, _, encoded = (header or "").partition(" ")
        if scheme.lower() != "basic" or len(encoded) > 4 * _LONGEST:
            return False
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
            name = user.decode("utf-8")
        except (binascii.Error, ValueError):
            return False
        if not colon or b"\0" in password or len(password) > _LONGEST:
            return False
        # A stranger's name takes as long as a known one, so that the time does not say which there are.
        hashed = self._users.get(name, next(iter(self._users.values())))
        key = hashlib.blake2b(user + b"\0" + password, key=self._salt).digest()
        with self._lock:
            if key not in self._known:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                is_right = hmac.compare_digest(self._hash(password, hashed), hashed.encode())
                self._known[key] = is_right and name in self._users
            return self._known[key]

    def _hash(self, password: bytes, hashed: str) -> bytes:
        return self._crypt.crypt(password, hashed.encode()) or b""


def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("crypt")
    try:
        library = ctypes.CDLL(name)  # None: on macOS it is in the C library
        library.crypt.restype = ctypes.c_char_p
        library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    except (OSError, AttributeError):
        raise ValueError("this machine has no crypt(3) to check passwords with (libcrypt)") from None
    return library
