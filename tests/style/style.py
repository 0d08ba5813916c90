#!/usr/bin/python3
"""Holds every C file to the house rules that a tool can check: the format, functions that are not used here, words for what is
unfinished, and sizes. Prints each breach; fails if there is one. usage: style.py ROOT"""
import os
import re
import subprocess
import sys

ZONES = ("bench", "client", "enclave", "host", "mock", "src", "tests", "tools")
CLANG_FORMAT = "14"  # another version formats otherwise

# Part of QEMU when it is compiled: QEMU's style.
FOREIGN = {"tests/nitro/qemu-nsm-signer.h"}

# Unbounded, of hidden state, or without a way to tell failure. Why not X is a question with an answer: snprintf, memcpy, eml_u64_get,
# eml_random, eml_wipe, open and fork.
BANNED = re.compile(r"\b(sprintf|vsprintf|strcpy|stpcpy|strcat|strncpy|strncat|strtok|gets|atoi|atol|atoll|atof|alloca|rand|srand|random|"
                    r"tmpnam|tempnam|mktemp|system|popen|bzero|setjmp|longjmp|asctime|ctime|gmtime|localtime)\s*\(")
# jansson's reader has no other end when its memory fails.
ALLOWED = {"src/wire/json.c": {"setjmp", "longjmp"}}
# Tests and benchmarks read what they themselves, or the kernel, wrote.
BANNED_OUTSIDE_TESTS = re.compile(r"\b(scanf|fscanf|sscanf|strtok_r)\s*\(")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|TBD)\b|not (yet )?implemented", re.IGNORECASE)
# A local array named todo is none.
UNFINISHED_CODE = re.compile(r"\btodo\b\s*[\[,;)]|n_todo")

FUNCTION_LINES_MAX = 100
FILE_LINES_MAX = 700  # about 600 is the aim
# What is over: none may grow beyond what it is here.
LONG_FILES = {
    "tests/prop/prop_03_attestation.c": 710,
    "tests/zones/test_enclave.c": 765,
}


def sources(root):
    for zone in ZONES:
        for folder, folders, files in os.walk(os.path.join(root, zone)):
            folders.sort()
            for name in sorted(files):
                path = os.path.relpath(os.path.join(folder, name), root)
                if name.endswith((".c", ".h")) and path not in FOREIGN:
                    yield path


def code_only(text):
    """The text with comments and string literals blanked, line for line."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.DOTALL)


def rules(path, text):
    lines = text.splitlines()
    for number, line in enumerate(code_only(text).splitlines(), 1):
        found = BANNED.search(line) or (None if path.startswith(("tests/", "bench/")) else BANNED_OUTSIDE_TESTS.search(line))
        if found and found.group(1) in ALLOWED.get(path, ()):
            found = None
        if found:
            yield f"{path}:{number}: {found.group(1)} is not used here"
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(UNFINISHED_CODE.sub("", line)):
            yield f"{path}:{number}: unfinished: {line.strip()}"
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            if number - start - 1 > FUNCTION_LINES_MAX:
                yield f"{path}:{start}: a function of {number - start - 1} lines (at most {FUNCTION_LINES_MAX})"
            start = None
    most = LONG_FILES.get(path, FILE_LINES_MAX)
    if len(lines) > most:
        yield f"{path}: {len(lines)} lines (at most {most})"


def formatted(root, paths):
    """What clang-format would change; a note if there is no clang-format of that version."""
    for program in ("clang-format-" + CLANG_FORMAT, "clang-format"):
        try:
            version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        except OSError:
            continue
        if re.search(rf"version {CLANG_FORMAT}\.", version):
            done = subprocess.run([program, "--dry-run", "-Werror", *paths], cwd=root, capture_output=True, text=True, check=False)
            return [line for line in done.stderr.splitlines() if ": error:" in line] or ([done.stderr] if done.returncode else [])
    print(f"style: no clang-format {CLANG_FORMAT}: the format was not checked")
    return []


def main():
    root = sys.argv[1]
    paths = list(sources(root))
    breaches = formatted(root, paths)
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            breaches += rules(path, f.read())
    for breach in breaches:
        print(breach)
    print(f"style: {len(paths)} files, {len(breaches)} breaches")
    return 1 if breaches or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
