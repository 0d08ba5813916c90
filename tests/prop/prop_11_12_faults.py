"""Properties 11 and 12: any error fails closed, cleans up, and says nothing secret.

A system call of the enclave (broker, fetcher or worker), of the host or of the client fails, the n-th of its kind in a process, while a request
passes: memory, files, sockets, processes, time. strace injects the error. The client gets the right answer or an error with a message
and no file; nothing that host or enclave printed holds a name, weight or value of the model or the request; and without the fault the next request works, on the same
processes if they are still there (a broker whose own calls fail may end, and is then started again, as an init would). EML_EVERY=1:
every n of every call, until there is no n-th one any more; else the first of each, and others at random.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from generated import Model  # noqa: E402
import scan  # noqa: E402
from services import PATIENCE, Services, assured, program  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "120"))
SEED = int(os.environ.get("EML_SEED", "1111"))

# System call, the errors that it may well return, and how many of them one request makes at most, about.
ENCLAVE = [
    ("mmap", "ENOMEM", 60), ("mprotect", "ENOMEM", 30), ("brk", "ENOMEM", 8), ("mlock2", "ENOMEM", 2), ("madvise", "EINVAL", 4),
    ("munmap", "EINVAL", 10), ("mremap", "ENOMEM", 4), ("recvmsg", "ECONNRESET", 12), ("recvfrom", "ECONNRESET", 40),
    ("sendmsg", "EPIPE", 12), ("sendto", "EPIPE", 12), ("read", "EIO", 20), ("pwrite64", "ENOSPC", 6), ("poll", "ENOMEM", 30),
    ("ppoll", "ENOMEM", 30), ("accept4", "EMFILE", 2), ("socketpair", "EMFILE", 2), ("socket", "EMFILE", 2),
    ("connect", "ECONNREFUSED", 2), ("memfd_create", "EMFILE", 1), ("ftruncate", "ENOSPC", 1), ("fcntl", "EINVAL", 4),
    ("clone", "EAGAIN", 2), ("clone3", "EAGAIN", 2), ("fork", "EAGAIN", 2), ("vfork", "EAGAIN", 2), ("execveat", "ENOMEM", 2),
    ("execve", "ENOMEM", 2), ("openat", "EMFILE", 20), ("dup3", "EBADF", 4), ("dup2", "EBADF", 4), ("prctl", "EINVAL", 6),
    ("prlimit64", "EPERM", 8), ("setresuid", "EAGAIN", 2), ("seccomp", "EINVAL", 2), ("landlock_restrict_self", "EPERM", 1),
    ("getrandom", "EAGAIN", 4), ("fstat", "EIO", 10), ("newfstatat", "EIO", 10), ("futex", "EAGAIN", 10), ("wait4", "ECHILD", 2),
    ("clock_gettime", "EINVAL", 4), ("rt_sigaction", "EINVAL", 4), ("close", "EIO", 20),
]
HOST = [
    ("mmap", "ENOMEM", 4), ("brk", "ENOMEM", 2), ("read", "EIO", 6), ("pread64", "EIO", 4), ("sendfile", "EIO", 4),
    ("openat", "EMFILE", 3), ("accept4", "EMFILE", 3), ("recvfrom", "ECONNRESET", 20), ("sendto", "EPIPE", 20), ("write", "EIO", 4),
    ("recvmsg", "ECONNRESET", 6), ("sendmsg", "EPIPE", 6), ("poll", "ENOMEM", 20), ("epoll_wait", "EINTR", 20), ("connect", "EAGAIN", 2),
    ("socket", "EMFILE", 2), ("clone3", "EAGAIN", 2), ("clone", "EAGAIN", 2), ("fsync", "EIO", 4), ("fdatasync", "EIO", 4),
    ("fstat", "EIO", 2), ("newfstatat", "EIO", 2), ("close", "EIO", 6), ("rename", "ENOSPC", 2), ("ftruncate", "ENOSPC", 2),
    ("pwrite64", "ENOSPC", 3), ("pwrite64", "EIO", 3), ("renameat", "ENOSPC", 2), ("renameat", "EIO", 2), ("renameat2", "ENOSPC", 2), ("renameat2", "EIO", 2), ("unlinkat", "EIO", 2),
    ("mkdirat", "ENOSPC", 2),
]


# Of the client: also what it writes; its results are files. Not brk, which never returns an error: the C library would take it for an
# address.
CLIENT = [
    ("mmap", "ENOMEM", 40), ("mprotect", "ENOMEM", 20), ("munmap", "EINVAL", 4), ("read", "EIO", 20),
    ("pread64", "EIO", 2), ("write", "ENOSPC", 12), ("write", "EIO", 12), ("pwrite64", "ENOSPC", 2), ("openat", "EMFILE", 20),
    ("openat", "ENOSPC", 20), ("close", "EIO", 16), ("fsync", "EIO", 3), ("rename", "ENOSPC", 3), ("renameat", "ENOSPC", 3),
    ("renameat2", "ENOSPC", 3), ("linkat", "ENOSPC", 3), ("mkdir", "ENOSPC", 2), ("mkdirat", "ENOSPC", 2), ("unlink", "EIO", 2),
    ("unlinkat", "EIO", 2), ("fstat", "EIO", 8), ("newfstatat", "EIO", 12), ("socket", "EMFILE", 2), ("connect", "ECONNREFUSED", 2),
    ("setsockopt", "EINVAL", 2), ("fcntl", "EINVAL", 4), ("poll", "ENOMEM", 12), ("recvfrom", "ECONNRESET", 12),
    ("sendto", "EPIPE", 6), ("getrandom", "EAGAIN", 4), ("clock_gettime", "EINVAL", 4), ("mlock2", "ENOMEM", 2), ("madvise", "EINVAL", 2),
    ("prctl", "EINVAL", 2), ("lseek", "EIO", 2), ("ftruncate", "ENOSPC", 2), ("clone3", "EAGAIN", 2),
]
EVERY = os.environ.get("EML_EVERY") is not None


def injected(call, error, n, trace):
    """strace, in which the n-th `call` of each process fails; what it saw goes into a file."""
    return ["strace", "-f", "-qqq", "-o", trace, "-e", f"trace={call},openat", "-e", f"inject={call}:error={error}:when={n}"]


def said_in(trace, what):
    with open(trace, encoding="utf-8", errors="replace") as f:
        return what in f.read()


def has_hit(trace):
    return said_in(trace, "(INJECTED)")


class Fault:
    """Until closed, the n-th `call` of every process of `pid` and of its children fails."""

    def __init__(self, pid, call, error, n, trace):
        self.process = subprocess.Popen([*injected(call, error, n, trace),
                                         # Those that wait for a client too, who would else be served by one that meets no fault.
                                         *[a for p in (*scan.children(pid), pid) for a in ("-p", str(p))]],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        Services.wait(lambda: self.process.poll() is not None or scan.traced(pid), "strace")

    def known(self):
        """False: this kernel or strace has no such call."""
        return self.process.poll() is None

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


class Faults(unittest.TestCase):
    def setUp(self):
        self.s = Services()
        self.addCleanup(self.s.close)
        self.dir = self.s.path("client")
        os.makedirs(self.dir)
        self.model = Model(random.Random(SEED), self.dir)
        self.model.prepare(self.s)
        self.expected = self.model.results[3]
        self.inputs = [f"--input={n}={p}" for n, p in self.model.write_inputs()]

        self.trace = os.path.join(self.dir, "trace")

    def infer(self, *under):
        shutil.rmtree(os.path.join(self.dir, "out"), ignore_errors=True)
        return subprocess.run([*under, program("eml"), "infer", "--host", self.s.host, "--policy", self.s.path("policy.json"), "--topology",
                               os.path.join(self.dir, "sealed", "topology.key"), "--output", os.path.join(self.dir, "out"), "--timeout",
                               "10", *self.inputs], capture_output=True, text=True, check=False, timeout=PATIENCE)

    def judge(self, done, codes):
        result = os.path.join(self.dir, "out", self.model.output_name + ".npy")
        self.assertIn(done.returncode, codes, done.stderr)
        if done.returncode == 0:
            np.testing.assert_array_equal(np.load(result), self.expected)
        else:
            self.assertNotEqual(done.stderr.strip(), "", "no message")
            self.assertFalse(os.path.exists(result), "a result in spite of an error")
        hits = self.model.markers.search(self.s.logs().encode())
        self.assertEqual(self.model.explain({"logs": hits.tolist()} if hits.size else {}), {}, "secrets in a log")

    def assert_serves(self, name):
        """Again as if nothing had been. A process that gave up is started anew, and so is one that refuses until it is: a host whose
        audit disk failed (EIO) writes nothing more to it."""
        restarted = self.s.processes[name].poll() is not None
        if not restarted and not self.works_within(8):
            self.s.stop(name)
            restarted = True
        elif not restarted:
            return False
        self.s.processes.pop(name, None)
        (self.s.start_enclave if name == "enclave" else lambda: self.s.start_host(self.s.host_port))()
        self.assertTrue(self.works_within(PATIENCE), "no service any more")
        return True

    def works_within(self, seconds):
        end = time.monotonic() + seconds
        while True:
            done = self.infer()
            self.judge(done, {0, 1, 3, 4, 5})
            if done.returncode == 0:
                return True
            if time.monotonic() > end:
                return False

    def plan(self, calls, cases):
        """(call, error, n), one at a time. Who takes it says in self.hit whether there was an n-th call."""
        if EVERY:
            for call, error, _ in calls:
                n, self.hit = 0, True
                while self.hit:
                    n += 1
                    yield call, error, n
            return
        rng = random.Random(SEED)
        for call, error, _ in calls:
            yield call, error, 1
        for _ in range(cases - len(calls)):
            call, error, most = rng.choice(calls)
            yield call, error, rng.randint(1, most)

    def run_all(self, name, calls, cases):
        tried = failed = restarts = 0
        unknown = set()
        for call, error, n in self.plan(calls, cases):
            if call in unknown:
                self.hit = False
                continue
            with self.subTest(call=call, error=error, n=n, seed=SEED):
                fault = Fault(self.s.processes[name].pid, call, error, n, self.trace)
                try:
                    known = fault.known()
                    done = self.infer() if known else None
                finally:
                    fault.close()
                self.hit = known and has_hit(self.trace)
                if not known:
                    unknown.add(call)
                    continue
                tried += 1
                self.judge(done, {0, 1, 2, 3, 4, 5})
                failed += done.returncode != 0
                restarts += self.assert_serves(name)
        print(f"seed {SEED}, {name}: {tried} faults, {failed} requests failed, {restarts} restarts; not here: {sorted(unknown)}",
              file=sys.stderr)
        self.assertGreater(failed, 5, "the faults do not hit")
        assured(tried, f"system calls of the {name} fail under a request: an error or the right answer, nothing secret in any "
                "message, service goes on")

    def test_client(self):
        """Its own calls, from its start on. Before it opens its first file it is the dynamic linker's, who may end it in any way."""
        tried = hits = failed = 0
        for call, error, n in self.plan(CLIENT, CASES):
            with self.subTest(call=call, error=error, n=n, seed=SEED):
                done = self.infer(*injected(call, error, n, self.trace))
                self.hit = os.path.exists(self.trace) and has_hit(self.trace)
                tried += 1
                hits += self.hit
                failed += done.returncode != 0
                left = sorted(f for _, _, files in os.walk(os.path.join(self.dir, "out")) for f in files)
                if not said_in(self.trace, "policy.json"):
                    self.assertEqual(left, [])
                elif call == "write" and left == [self.model.output_name + ".npy"]:  # only the report could not be printed
                    np.testing.assert_array_equal(np.load(os.path.join(self.dir, "out", left[0])), self.expected)
                else:
                    self.judge(done, {0, 1, 2, 3, 4, 5})
                    self.assertEqual(left, [self.model.output_name + ".npy"] if done.returncode == 0 else [])
                hits_said = self.model.markers.search((done.stderr + done.stdout).encode())
                self.assertEqual(hits_said.size, 0, "secrets in what it says")
        done = self.infer()
        self.judge(done, {0})
        print(f"seed {SEED}, client: {tried} faults, {hits} hit, {failed} requests failed", file=sys.stderr)
        self.assertGreater(failed, 5, "the faults do not hit")
        assured(tried, "system calls of the client fail under a request: an error and no file, or the right answer; nothing secret in "
                "any message")

    def test_enclave(self):
        self.run_all("enclave", ENCLAVE, CASES)

    def test_host(self):
        self.run_all("host", HOST, CASES // 2)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: tracing another user's process needs root")
        sys.exit(0)
    unittest.main(verbosity=1)
