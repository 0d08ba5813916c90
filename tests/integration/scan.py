"""Looks into the memory of other processes (root, or the same user where the kernel lets it): which of some secrets are there?

A marker is 8 bytes that occur nowhere by chance: a piece of a weight, an input, a name, a key. `find` counts those that occur at
any offset of any mapping that has pages in memory: heap, freed heap, stacks, arenas are all seen. `unread` gives what the kernel holds
for a process and would give out: files without a name, and what has come in pipes and sockets.
"""
import ctypes
import fcntl
import os
import signal
import socket
import time

import numpy as np

PTRACE_SEIZE, PTRACE_CONT, PTRACE_DETACH = 0x4206, 7, 17
PTRACE_O_TRACEEXIT, PTRACE_EVENT_EXIT = 0x40, 6
WALL = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.tee.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint]
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PAGE = os.sysconf("SC_PAGE_SIZE")


def markers_of(data, step=4):
    """Pieces of 8 bytes out of bytes, at multiples of `step`, that are not too plain to be told from chance."""
    raw = np.frombuffer(bytes(data), np.uint8)
    if raw.size < 8:
        return np.empty(0, np.uint64)
    pieces = np.lib.stride_tricks.sliding_window_view(raw, 8)[::step]
    return telling(np.unique(np.ascontiguousarray(pieces).view(np.uint64).ravel()))


def telling(pieces):
    """Those with 6 different bytes or more."""
    octets = np.sort(pieces.view(np.uint8).reshape(-1, 8), axis=1)
    return pieces[(np.diff(octets, axis=1) != 0).sum(axis=1) >= 5]


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


def descriptors(pid):
    """(number, what it leads to) of those that it has open."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield int(fd), os.readlink(f"/proc/{pid}/fd/{fd}")
        except (FileNotFoundError, ProcessLookupError):
            continue


def unread(pid):
    """[(what, bytes)] that are in the kernel for a process: in its files without a name, and not read yet from its pipes and sockets, of
    which nothing is taken away. A socket of packets shows its first one. ProcessLookupError or FileNotFoundError: it ended."""
    out = []
    for fd, what in list(descriptors(pid)):
        kind, _, rest = what.partition(":")
        try:
            if kind == "socket":
                out.append((what, peek_socket(pid, fd)))
            elif kind == "pipe":
                out.append((what, peek_pipe(f"/proc/{pid}/fd/{fd}")))
            elif what.startswith("/memfd:") or what.startswith("/dev/shm/"):
                with open(f"/proc/{pid}/fd/{fd}", "rb") as f:
                    out.append((what.split()[0], f.read()))
        except OSError:  # closed meanwhile, or its end that writes
            continue
    return out


PIDFD_GETFD, PEEK_BYTES = 438, 1 << 24  # the system call has this number on all machines


def peek_socket(pid, fd):
    process = os.pidfd_open(pid)
    try:
        copy = libc.syscall(PIDFD_GETFD, process, fd, 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        with socket.socket(fileno=copy) as s:
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return b""
            return s.recv(PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    finally:
        os.close(process)


def peek_pipe(path):
    source = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    near, far = os.pipe()
    try:
        fcntl.fcntl(far, fcntl.F_SETPIPE_SZ, fcntl.fcntl(source, fcntl.F_GETPIPE_SZ))
        n = libc.tee(source, far, 1 << 30, 2)  # SPLICE_F_NONBLOCK
        return os.read(near, n) if n > 0 else b""
    finally:
        for fd in (source, near, far):
            os.close(fd)


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


def writable(pid):
    """The bytes of each piece of memory that it can write to."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem, open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as f:
        for line in f:
            fields = line.split()
            if fields[1][:2] == "rw":
                for a, b in pages(pid, *(int(x, 16) for x in fields[0].split("-"))):
                    yield read(mem, a, b)


def at_fours(data):
    """Its pieces of 8 bytes at multiples of 4."""
    halves = np.frombuffer(data, np.uint32).astype(np.uint64)
    return halves[:-1] | halves[1:] << np.uint64(32)


def words(pid):
    """All distinct pieces of 8 bytes, not too plain, at multiples of 4 in the memory that it can write to."""
    return telling(np.unique(np.concatenate([np.unique(at_fours(data)) for data in writable(pid)])))


def runs(pid, pieces, n):
    """Those of the pieces that stand there in a row of n or more, each 4 bytes after the one before."""
    found = [np.empty(0, np.uint64)]
    for data in writable(pid):
        there = at_fours(data)
        hit = np.isin(there, pieces)
        for first, end in np.flatnonzero(np.diff(np.concatenate(([0], hit.view(np.int8), [0])))).reshape(-1, 2):
            if end - first >= n:
                found.append(there[first:end])
    return np.unique(np.concatenate(found))


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


POLL = 7 if os.uname().machine == "x86_64" else 73  # elsewhere the library's poll() is ppoll


def polls(pid):
    """Whether its first thread is blocked in poll(2) now. FileNotFoundError or ProcessLookupError: it ended."""
    with open(f"/proc/{pid}/syscall", encoding="ascii") as f:
        return f.read().split()[0] == str(POLL)


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
