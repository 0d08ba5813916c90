"""Smaller cases: what the properties over composite cases do when one fails.

A case is plain data: numbers, lists, tuples, dicts. The smallest one that still fails is what the failure speaks of.
"""
import os
import unittest

LEFT = [int(os.environ.get("EML_SHRINK", "60"))]  # attempts at a smaller case that a run may still make: some take seconds


def smaller(case):
    """Cases that are simpler than this one, the smallest first: a list without one half of it or one element, a number halved (never
    below 1) or one less, and the same of one member of a list, tuple or dict."""
    if isinstance(case, bool):
        return
    if isinstance(case, int):
        yield from sorted({case // 2, case - 1} - {0}) if case > 1 else ()
    elif isinstance(case, list):
        part = len(case) // 2
        while part > 0:
            for at in range(0, len(case), part):
                if part < len(case):
                    yield case[:at] + case[at + part:]
            part = part // 2
        for i, member in enumerate(case):
            yield from (case[:i] + [m] + case[i + 1:] for m in smaller(member))
    elif isinstance(case, tuple):
        yield from (tuple(c) for c in smaller(list(case)) if len(c) == len(case))
    elif isinstance(case, dict):
        for key, member in case.items():
            yield from ({**case, key: m} for m in smaller(member))


def shrunk(attempt, case, seed):
    """Runs attempt(case). If it fails, then with smaller cases, and fails with the smallest of them that does."""
    try:
        attempt(case)
        return
    except unittest.SkipTest:
        raise
    except Exception as e:
        failure = e
    found = True
    while found:
        found = False
        for candidate in smaller(case):
            if LEFT[0] == 0:
                break
            LEFT[0] -= 1
            try:
                attempt(candidate)
            except Exception as e:
                case, failure, found = candidate, e, True
                break
    raise AssertionError(f"seed {seed}, smallest case that fails: {case!r}: {failure}") from failure
