"""What an attacker who holds the log's directory can do: read it, change records, and make the tree anew.

Written from RFC 6962 and C2SP tlog-tiles, not from the C code, so that it is a second opinion on both."""
import base64
import hashlib
import os
import shutil
import struct
import subprocess


def leaf(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root(hashes):
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node(root(hashes[:k]), root(hashes[k:]))


def number(n):
    digits = f"{n:03d}"
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[i:i + 3] for i in range(0, len(digits), 3)]
    return "/".join(["x" + g for g in groups[:-1]] + groups[-1:])


def tile_path(level, n, width):
    return f"tile/{level}/{number(n)}" + (f".p/{width}" if width < 256 else "")


class Log:
    def __init__(self, path):
        self.path = path
        with open(os.path.join(path, "checkpoint"), "rb") as f:
            self.note = f.read()
        self.origin, size, _ = self.note.decode().split("\n")[:3]
        self.size = int(size)
        self.entries = []
        for n in range((self.size + 255) // 256):
            with open(os.path.join(path, tile_path("entries", n, min(256, self.size - 256 * n))), "rb") as f:
                bundle = f.read()
            while bundle:
                length, = struct.unpack(">H", bundle[:2])
                self.entries.append(bundle[2:2 + length])
                bundle = bundle[2 + length:]

    def find(self, event, start=0):
        """Index of the first record of this event (a number) at or after start."""
        for i in range(start, len(self.entries)):
            if bytes([2, event, 3]) in self.entries[i][:16]:
                return i
        raise LookupError(event)

    def top(self):
        """The tile of level 1: its hashes stand above whole tiles."""
        return tile_path(1, 0, self.size // 256)

    def write(self, path, entries=None, note=None):
        """Another log directory with these entries, and a tree that fits them."""
        entries = self.entries if entries is None else entries
        os.makedirs(path)
        shutil.copytree(os.path.join(self.path, "boots"), os.path.join(path, "boots"))
        def put(name, data):
            os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
            with open(os.path.join(path, name), "wb") as f:
                f.write(data)
        for n in range((len(entries) + 255) // 256):
            part = entries[256 * n:256 * n + 256]
            put(tile_path("entries", n, len(part)), b"".join(struct.pack(">H", len(e)) + e for e in part))
        hashes = [leaf(e) for e in entries]
        level = 0
        while hashes:
            for n in range((len(hashes) + 255) // 256):
                part = hashes[256 * n:256 * n + 256]
                put(tile_path(level, n, len(part)), b"".join(part))
            hashes = [root(hashes[256 * n:256 * n + 256]) for n in range(len(hashes) // 256)]
            level += 1
        put("checkpoint", self.note if note is None else note)
        return path

    def sign(self, entries, key):
        """A checkpoint by another Ed25519 key (a PEM file) under this log's name."""
        text = f"{self.origin}\n{len(entries)}\n{base64.b64encode(root([leaf(e) for e in entries])).decode()}\n".encode()
        with open(key + ".text", "wb") as f:
            f.write(text)
        run = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True).stdout
        signature = run("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", key + ".text")
        public = public_key(key)
        key_id = hashlib.sha256(self.origin.encode() + b"\n\1" + public).digest()[:4]
        line = base64.b64encode(key_id + signature).decode()
        return text + f"\n\u2014 {self.origin} {line}\n".encode()


def public_key(key):
    done = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True)
    return done.stdout[-32:]


def new_key(path):
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    return path
