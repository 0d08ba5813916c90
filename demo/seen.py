#!/usr/bin/python3
"""usage: seen.py LABEL=FILE ... [--secret FILE ...]: what can be learnt from bytes by looking at them.

For each file: size, entropy per byte (8 is random), readable strings too long to be chance (with certificate names of the
public attestation document told apart), and whether any 16-byte piece of a secret file occurs in it. Exit 1 if one does.
"""
import math
import re
import sys
from collections import Counter

PUBLIC = re.compile(rb"nitro|attest|module_id|digest|SHA384|timestamp|pcrs|certificate|cabundle|public_key|user_data|"
                    rb"nonce|i-[0-9a-f]{8}|[Dd]evelopment|ephemeral|Amazon|[0-9]{12}Z")


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
    for a in sys.argv[1:]:
        if a == "--secret":
            into_secrets = True
        elif into_secrets:
            secrets.append(a)
        else:
            files.append(a.split("=", 1))
    if not files:
        sys.exit(__doc__)
    wanted = set().union(*(pieces(s) for s in secrets)) if secrets else set()
    found = 0
    print(f"   {'':34}{'bytes':>12}{'entropy/byte':>14}{'readable':>10}{'public':>8}{'secrets':>9}")
    for label, path in files:
        with open(path, "rb") as f:
            data = f.read()
        run = longest_by_chance(len(data))
        strings = re.findall(rb"[\x20-\x7e]{%d,}" % run, data)
        public = [s for s in strings if PUBLIC.search(s)]
        hits = sum(data[i:i + 16] in wanted for i in range(len(data) - 15)) if wanted else 0
        found += hits
        print(f"   {label:34}{len(data):>12}{entropy(data):>14.4f}{len(strings) - len(public):>10}{len(public):>8}{hits:>9}")
    print(f"   secrets looked for: {len(wanted)} pieces of 16 bytes out of {len(secrets)} files")
    sys.exit(1 if found else 0)


main()
