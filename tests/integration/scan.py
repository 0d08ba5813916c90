"""Looks into the memory of other processes (root, or the same user where the kernel lets it): which of some secrets are there?

A marker is 8 bytes that occur nowhere by chance: a piece of a weight, an input, a name, a key. `find` counts those that occur at
any offset of any mapping that has pages in memory: heap, freed heap, stacks, arenas, pipes are all seen; what the kernel keeps
(socket buffers) is not.
"""
import ctypes
import os
import signal
import time

import numpy as np

PTRACE_SEIZE, PTRACE_CONT, PTRACE_DETACH = 0x4206, 7, 17
PTRACE_O_TRACEEXIT, PTRACE_EVENT_EXIT = 0x40, 6
WALL = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PAGE = os.sysconf("SC_PAGE_SIZE")


def markers_of(data, step=4):
    """Pieces of 8 bytes out of bytes, at multiples of `step`, that are not too plain to be told from chance."""
    raw = np.frombuffer(bytes(data), np.uint8)
    if raw.size < 8:
        return np.empty(0, np.uint64)
    pieces = np.lib.stride_tricks.sliding_window_view(raw, 8)[::step]
    plain = np.array([len(set(p)) < 6 for p in pieces.tolist()])
    return np.unique(np.ascontiguousarray(pieces[~plain]).view(np.uint64).ravel())


def mappings(pid):
    """(start, end, name) of what has pages in memory."""
    start = end = None
    name = ""
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
        for line in f:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                start, end = (int(x, 16) for x in words[0].split("-"))
                name = words[5] if len(words) > 5 else "anonymous"
            elif words[0] == "Rss:" and int(words[1]) > 0:
                yield start, end, name


def pages(pid, start, end):
    """The pieces of a mapping that are in memory: an arena reserves gigabytes and uses few."""
    n = (end - start) // PAGE
    with open(f"/proc/{pid}/pagemap", "rb") as f:
        f.seek(start // PAGE * 8)
        present = np.frombuffer(f.read(n * 8), np.uint64) >> np.uint64(62) != 0
    edges = np.flatnonzero(np.diff(np.concatenate(([0], present.view(np.int8), [0]))))
    for a, b in zip(edges[::2], edges[1::2]):
        yield start + int(a) * PAGE, start + int(b) * PAGE


def find(pid, markers, step=1):
    """{mapping's name: set of markers found}, at multiples of `step` from the page's beginning. The process may run meanwhile: what it unmaps or maps while the search goes on may be
    missed. ProcessLookupError or FileNotFoundError: it ended."""
    found = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for start, end, name in list(mappings(pid)):
            if name in ("[vvar]", "[vsyscall]", "[vdso]"):
                continue
            for a, b in pages(pid, start, end):
                hits = markers.search(read(mem, a, b), step)
                if hits.size:
                    found.setdefault(name, set()).update(hits.tolist())
    return found


def read(mem, a, b):
    mem.seek(a)
    out = bytearray()
    while len(out) < b - a:
        try:
            part = mem.read(b - a - len(out))
        except OSError:
            break
        if not part:
            break
        out += part
    return bytes(out)


class Markers:
    """A set of markers, ready to be searched for."""

    BITS = 20

    def __init__(self, *groups):
        self.all = np.unique(np.concatenate([np.empty(0, np.uint64), *groups]))
        self.maybe = np.zeros(1 << self.BITS, bool)
        self.maybe[self.low(self.all)] = True

    def low(self, words):
        return (words & np.uint64((1 << self.BITS) - 1)).astype(np.int64)

    def search(self, data, step=1):
        """Which markers occur in data, at any offset (or at multiples of step: 1, 2, 4 or 8)."""
        found = []
        for offset in range(0, min(8, len(data)), step):
            words = np.frombuffer(data, np.uint64, (len(data) - offset) // 8, offset)
            words = words[self.maybe[self.low(words)]]
            found.append(np.intersect1d(words, self.all))
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)


def children(pid):
    """Of a process that lives; its threads may come and go."""
    out = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                out += [int(p) for p in f.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return out


def sockets(pid):
    """How many it has: a worker that waits for a client has one, to its broker; with a client it has two."""
    n = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            n += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except FileNotFoundError:
            continue
    return n


def workers(broker):
    """Of its children, those that serve a session: connectors and fetchers come and go beside them, and spare workers wait."""
    out = []
    for pid in children(broker):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if b"--role=worker" in f.read() and sockets(pid) >= 2:
                    out.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return out


def traced(pid):
    """Does another process trace it? True as well if it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in f)
    except (FileNotFoundError, ProcessLookupError):
        return True


def states(pid):
    """Of all its threads: "R", "S", "T" (stopped), "Z" ..."""
    out = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii", errors="replace") as f:
                out.add(f.read().rpartition(")")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return out


def freeze(pid):
    """Returns when none of its threads runs any more, until thaw. ProcessLookupError: it ended."""
    os.kill(pid, signal.SIGSTOP)
    while True:
        now = states(pid)
        if now & {"Z", "X"} or not now:
            raise ProcessLookupError(pid)
        if now == {"T"}:
            return
        time.sleep(0.0002)


def thaw(pid):
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


def seize(pid):
    """From now on the process stops right before it ends, its memory still there. The calling thread is its tracer."""
    if libc.ptrace(PTRACE_SEIZE, pid, None, PTRACE_O_TRACEEXIT) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def wait_exit(pid):
    """True: it stopped at its exit. False: it was killed and is gone. Signals on the way are passed on."""
    while True:
        _, status = os.waitpid(pid, WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return False
        stop = os.WSTOPSIG(status)
        if status >> 8 == signal.SIGTRAP | PTRACE_EVENT_EXIT << 8:
            return True
        libc.ptrace(PTRACE_CONT, pid, None, stop if stop != signal.SIGTRAP else 0)


def release(pid):
    libc.ptrace(PTRACE_DETACH, pid, None, None)
