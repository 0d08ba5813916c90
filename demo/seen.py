#!/usr/bin/python3
"""usage: seen.py LABEL=FILE ... [--public HEX] [--secret FILE ...]: what can be learnt from bytes by looking at them.

For each file: size, entropy per byte (8 is random), readable strings too long to be chance (those of the attestation document,
which is public, told apart), and whether any 16-byte piece of a secret file occurs in it. --public: bytes of a secret file that
the host may know, the object's id. Exit 1 if a secret, or a readable string outside the document, is found. A label with "meant to be read" is searched for secrets only.
"""
import math
import re
import struct
import sys
from collections import Counter

def evidence_frames(data):
    """Where the attestation document travels: frames (be32 length, bytes) that contain its field names."""
    found, at = [], 0
    while at + 4 <= len(data):
        end = at + 4 + struct.unpack(">I", data[at:at + 4])[0]
        if b"cabundle" in data[at:end]:
            found.append((at, end))
        at = end
    return found


def entropy(data):
    n = len(data)
    return -sum(c / n * math.log2(c / n) for c in Counter(data).values()) if n else 0.0


def longest_by_chance(n):
    """Length that a readable run in n random bytes exceeds less than once in a thousand files."""
    return max(8, math.ceil(math.log(max(n, 1) * 1000) / math.log(256 / 95)))


def pieces(path):
    with open(path, "rb") as f:
        data = f.read()
    # Pieces with few distinct bytes (zeros, padding) would be found in anything.
    return {data[i:i + 16] for i in range(0, len(data) - 15, 16) if len(set(data[i:i + 16])) >= 8}


def main():
    files, secrets, into_secrets = [], [], False
    public = b""
    for a in sys.argv[1:]:
        if a == "--secret":
            into_secrets = True
        elif into_secrets:
            secrets.append(a)
        elif a.startswith("--public="):
            public = bytes.fromhex(a.split("=", 1)[1])
        else:
            files.append(a.split("=", 1))
    if not files:
        sys.exit(__doc__)
    wanted = {p for s in secrets for p in pieces(s) if p not in public}
    found = 0
    print(f"   {'':34}{'bytes':>12}{'entropy/byte':>14}{'readable':>10}{'document':>10}{'secrets':>9}")
    for label, path in files:
        with open(path, "rb") as f:
            data = f.read()
        run = longest_by_chance(len(data))
        strings = [m.start() for m in re.finditer(rb"[\x20-\x7e]{%d,}" % run, data)]
        frames = evidence_frames(data)
        in_document = sum(any(a <= s < b for a, b in frames) for s in strings)
        hits = sum(data[i:i + 16] in wanted for i in range(len(data) - 15)) if wanted else 0
        readable = len(strings) - in_document
        found += hits + (0 if "meant to be read" in label else readable)
        print(f"   {label.replace('_', ' '):34}{len(data):>12}{entropy(data):>14.4f}{readable:>10}{in_document:>10}{hits:>9}")
    print(f"   looked for {len(wanted)} pieces of 16 bytes out of {len(secrets)} files (model, topology key, input, result)")
    sys.exit(1 if found else 0)


main()
