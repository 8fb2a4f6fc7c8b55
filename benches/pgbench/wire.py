"""A client that reads results and keeps nothing: its own cost is that of receiving bytes.

It logs in by SCRAM-SHA-256 (RFC 5802, RFC 7677), over TLS or not, sends one simple query at a time and receives into one buffer until
ReadyForQuery (PostgreSQL manual, 55.2 and 55.7). It looks at the first and the last bytes of an answer only.
"""

import base64
import hashlib
import hmac
import re
import secrets
import socket
import ssl
import struct
import time

ITERATIONS = 4096
# CommandComplete, then ReadyForQuery outside a transaction.
DONE = re.compile(rb"C\0\0\0.[A-Z]+ [0-9 ]+\0Z\0\0\0\x05I\Z", re.S)
READY = b"Z\0\0\0\x05I"


class Refused(Exception):
    """What the server said instead of an answer."""


def _keys(password, salt, iterations):
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return client, hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")


def verifier(password):
    """What is kept of a password: `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`."""
    salt = secrets.token_bytes(16)
    _, stored, server = _keys(password, salt, ITERATIONS)
    text = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{text[0]}${text[1]}:{text[2]}"


class Session:
    """One login."""

    def __init__(self, port, user, password, database, tls):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket.sendall(struct.pack("!II", 8, 80877103))
            if self.socket.recv(1) != b"S":
                raise Refused("no TLS")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.buffer = bytearray(1 << 20)
        parts = b"".join(p.encode() + b"\0" for p in ("user", user, "database", database)) + b"\0"
        self.socket.sendall(struct.pack("!II", len(parts) + 8, 196608) + parts)
        self._log_in(password)

    def close(self):
        self.socket.close()

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise Refused("the connection ended")
            data += more
        return bytes(data)

    def _message(self):
        kind, length = struct.unpack("!cI", self._exactly(5))
        body = self._exactly(length - 4)
        if kind == b"E":
            raise Refused(body.replace(b"\0", b" ").decode(errors="replace"))
        return kind, body

    def _asked(self, code):
        kind, body = self._message()
        if kind != b"R" or struct.unpack("!I", body[:4])[0] != code:
            raise Refused(f"another way to log in is asked for: {body[:4]!r}")
        return body[4:]

    def _say(self, kind, body):
        self.socket.sendall(kind + struct.pack("!I", len(body) + 4) + body)

    def _log_in(self, password):
        self._asked(10)
        nonce = base64.b64encode(secrets.token_bytes(18)).decode()
        bare = f"n=,r={nonce}"
        first = f"n,,{bare}".encode()
        self._say(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
        challenge = self._asked(11).decode()
        fields = dict(field.split("=", 1) for field in challenge.split(","))
        client, stored, server = _keys(password, base64.b64decode(fields["s"]), int(fields["i"]))
        final = f"c=biws,r={fields['r']}"
        signed = f"{bare},{challenge},{final}".encode()
        proof = bytes(a ^ b for a, b in zip(client, hmac.digest(stored, signed, "sha256")))
        self._say(b"p", f"{final},p={base64.b64encode(proof).decode()}".encode())
        answer = dict(field.split("=", 1) for field in self._asked(12).decode().split(","))
        if base64.b64decode(answer["v"]) != hmac.digest(server, signed, "sha256"):
            raise Refused("the server does not know the password")
        self._asked(0)
        while self._message()[0] != b"Z":
            pass

    def query(self, sql):
        """Seconds until the whole answer was here, and its bytes."""
        self._say(b"Q", sql.encode() + b"\0")
        start, total, head, tail = time.perf_counter(), 0, b"", b""
        while not tail.endswith(READY):
            count = self.socket.recv_into(self.buffer)
            if count == 0:
                raise Refused("the connection ended")
            if total < 4096:
                head += bytes(self.buffer[: min(count, 4096)])
            tail = (tail + bytes(self.buffer[max(0, count - 64) : count]))[-64:]
            total += count
        seconds = time.perf_counter() - start
        if not DONE.search(tail):
            raise Refused(head[:300].replace(b"\0", b" ").decode(errors="replace"))
        return seconds, total
