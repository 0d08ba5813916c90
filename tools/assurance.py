#!/usr/bin/python3
"""usage: assurance.py BUILD_DIR PAGE: writes the table of PAGE (docs/assurance.md) out of the last test run in BUILD_DIR.

Property tests print lines `assured: CASES: WHAT` when they have passed (unittest's dots may stand before them); the numbers in a test's
name (prop_05_10_memory) are those of the properties. What comes between the markers <!-- table --> and <!-- end --> of the page is
replaced. Fails if a property has no test.
"""
import re
import sys

PROPERTIES = [
    "stored weights carry no architecture; topology keys carry no weight value",
    "a model is accepted if and only if all its operators are supported",
    "a channel opens if and only if the document is valid, measurements match the policy, the chain is the pinned root's",
    "payloads decrypt only in an enclave whose identity matches the key's policy",
    "assembling and destroying leaves nothing",
    "nothing but sealed records leaves the enclave",
    "nothing but sealed records leaves the enclave, on the side of host services",
    "the host forwards unmodified and stores nothing",
    "all that the host holds yields nothing",
    "destroying reaches all memory: stacks, freed heap, other processes",
    "any error fails closed and cleans up",
    "diagnostics say nothing secret",
    "every security event is in the log, and neither log nor receipt can be altered unseen",
    "no model, mapping or secret reaches persistent storage",
]


def results(log):
    """(test, passed, [(cases, what)]) for each test of a CTest log."""
    for part in re.split(r"^\d+/\d+ Testing: ", log, flags=re.M)[1:]:
        name = part.split("\n", 1)[0].strip()
        yield name, "\nTest Passed." in part, re.findall(r"^[.sxuEF]*assured: (\d+): (.*)$", part, flags=re.M)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build, page = sys.argv[1:]
    with open(f"{build}/Testing/Temporary/LastTest.log", encoding="utf-8", errors="replace") as f:
        log = f.read()
    rows = {n: [] for n in range(1, len(PROPERTIES) + 1)}
    for name, passed, lines in results(log):
        numbers = [int(n) for n in re.match(r"prop((?:_\d\d)+)", name).group(1).split("_")[1:]] if name.startswith("prop_") else []
        for n in numbers:
            rows[n] += [(what, cases, name, passed) for cases, what in lines] or [("", "0", name, passed)]
    missing = [n for n, r in rows.items() if not r]
    out = ["| # | property | what was tried | cases | test | result |", "|---|---|---|---|---|---|"]
    for n, found in rows.items():
        for i, (what, cases, name, passed) in enumerate(found):
            head = f"| {n} | {PROPERTIES[n - 1]} |" if i == 0 else "| | |"
            out.append(f"{head} {what} | {cases} | `{name}` | {'holds' if passed else '**fails**'} |")
    with open(page, encoding="utf-8") as f:
        text = f.read()
    start, end = text.index("<!-- table -->"), text.index("<!-- end -->")
    with open(page, "w", encoding="utf-8") as f:
        f.write(text[:start] + "<!-- table -->\n" + "\n".join(out) + "\n" + text[end:])
    if missing:
        sys.exit(f"no test of property {', '.join(map(str, missing))} in the last run")


main()
