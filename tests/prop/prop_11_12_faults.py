"""Properties 11 and 12: any error fails closed, cleans up, and says nothing secret.

A system call of the enclave (broker, workers, fetcher), of the host or of the client fails, the n-th of its kind in a process or thread, while
a request passes: memory, files, sockets, processes, time. strace injects the error. What must hold then says under_faults.py. Which calls
there are, and how many, is counted in requests without a fault. A fault hits everything at once in which there is an n-th call; then, so
that the end of one does not hide the next, the broker alone, workers alone, and each of the host's threads alone. EML_EVERY=1: every n of
every call, until there is no n-th one any more; else the first of each, and others at random.
"""
import collections
import os
import random
import re
import signal
import subprocess
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scan  # noqa: E402
from services import Services, assured  # noqa: E402
from under_faults import EVERY, SEED, UnderFaults  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "120"))

# Calls that have other errors than EINVAL, which must be one that the call may well return; some have more than one.
ERRORS = {
    "ENOMEM": "mmap mprotect mremap mlock2 poll ppoll execve execveat clone3",
    "ENOSPC": "write pwrite64 ftruncate fallocate mkdir mkdirat openat rename renameat renameat2 linkat",
    "EIO": "read pread64 write pwrite64 fsync fdatasync fstat newfstatat statx lseek close rename renameat renameat2 unlink unlinkat sendfile",
    "EMFILE": "openat socket socketpair accept4 memfd_create pipe2 epoll_create1 signalfd4 eventfd2",
    "EAGAIN": "clone clone3 fork vfork getrandom setresuid setresgid connect",
    "ECONNRESET": "recvmsg recvfrom recv", "EPIPE": "sendmsg sendto", "ECONNREFUSED": "connect", "ENOTCONN": "shutdown getpeername",
    "EPERM": "prlimit64 setgroups landlock_restrict_self landlock_create_ruleset getsockopt setsockopt", "EBADF": "dup2 dup3 close_range",
    "ECHILD": "wait4", "EINTR": "epoll_wait", "EACCES": "access", "ENOTTY": "ioctl", "ESRCH": "tgkill", "ENOSYS": "seccomp",
}
# These return no error, or end the process; brk's is an address, which the C library takes it for; futex has none that both those who
# wait and those who wake could get, and the C library ends a process that gets another; restart_syscall is not called.
NEVER = {"exit", "exit_group", "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "rt_sigreturn", "restart_syscall", "brk", "futex",
         "set_tid_address", "sysinfo", "arch_prctl"}


def errors_of(call):
    return [e for e, calls in ERRORS.items() if call in calls.split()] or ["EINVAL"]


def injected(call, error, n, trace):
    """strace, in which the n-th `call` of each process fails; what it saw goes into a file."""
    return ["strace", "-qqq", "-o", trace, "-e", f"trace={call},openat", "-e", f"inject={call}:error={error}:when={n}"]


def said_in(trace, what):
    with open(trace, encoding="utf-8", errors="replace") as f:
        return what in f.read()


def has_hit(trace):
    return said_in(trace, "(INJECTED)")


class Attached:
    """strace at work on processes or threads until closed."""

    def __init__(self, strace, pids):
        self.process = subprocess.Popen([*strace, *[a for p in pids for a in ("-p", str(p))]],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        Services.wait(lambda: self.process.poll() is not None or all(scan.traced(p) for p in pids), "strace")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def calls_in(trace):
    """{call: how often at most in one process or thread}"""
    counts, most = collections.defaultdict(collections.Counter), collections.Counter()
    with open(trace, encoding="utf-8", errors="replace") as f:
        for who, call in re.findall(r"^(?:(\d+) +)?(\w+)\(", f.read(), re.M):
            counts[who][call] += 1
    for calls in counts.values():
        most |= calls
    return {c: n for c, n in most.items() if c not in NEVER}


def plan(calls, rng, cases):
    """calls: [(who, call, most)]. Yields [who, call, error, n], one at a time; who takes it appends whether there was an n-th call."""
    if EVERY:
        for who, call, most in calls:
            for error in errors_of(call):
                n, hit = 0, True
                while hit or n < most:
                    n += 1
                    case = [who, call, error, n]
                    yield case
                    hit = case[-1] is True
        return
    known = set()
    for who, call, most in calls:
        if call not in known:
            known.add(call)
            yield [who, call, rng.choice(errors_of(call)), 1]
    for _ in range(cases - len(known)):
        who, call, most = rng.choices(calls, [c[2] for c in calls])[0]
        yield [who, call, rng.choice(errors_of(call)), rng.randint(1, most)]


class Faults(UnderFaults):
    def setUp(self):
        super().setUp()
        self.trace = os.path.join(self.dir, "trace")

    def whom(self, name):
        """{who: (option of strace, function that says which processes or threads)}"""
        def process():
            return self.s.processes[name].pid

        def threads():
            return [int(t) for t in os.listdir(f"/proc/{process()}/task")]
        if name == "host":
            return {"host": (["-f"], lambda: [process()]), "host, who accepts": ([], lambda: [process()]),
                    "host, who keeps the log": ([], lambda: [t for t in threads() if t != process()])}
        # Those that wait for a client too, who would else be served by one that meets no fault.
        return {"enclave": (["-f"], lambda: [process(), *scan.children(process())]), "broker": ([], lambda: [process()]),
                "workers": (["-f"], lambda: scan.children(process()))}

    def run_all(self, name, cases):
        whom, calls = self.whom(name), []
        self.assert_works()
        self.assert_nothing_left()
        for who, (follow, pids) in whom.items():
            attached = Attached(["strace", "-qqq", "-o", self.trace, *follow], pids())
            try:
                self.judge(self.infer(), {0})
                self.settle(name, 1)
            finally:
                attached.close()
            calls += [(who, call, most) for call, most in calls_in(self.trace).items()]
        tried = hits = failed = 0
        for case in plan(calls, random.Random(SEED), cases):
            who, call, error, n = case
            with self.subTest(who=who, call=call, error=error, n=n, seed=SEED):
                follow, pids = whom[who]
                attached = Attached([*injected(call, error, n, self.trace), *follow], pids())
                try:
                    done = self.infer()
                    self.settle(name, 1)
                finally:
                    attached.close()
                case.append(has_hit(self.trace))
                tried += 1
                hits += case[-1]
                self.judge(done, {0, 1, 2, 3, 4, 5})
                failed += done.returncode != 0
                self.assert_serves(name)
                if call == "close" and not self.is_quiet(name):
                    self.restart(name)  # strace fails the call in place of making it: the descriptor is open
                    self.assert_works()
                self.assert_nothing_left()
        print(f"seed {SEED}, {name}: {tried} faults, {hits} hit, {failed} requests failed, {self.restarts} restarts", file=sys.stderr)
        self.assertGreater(failed, 5, "the faults do not hit")
        assured(hits, f"system calls of the {name} fail under a request: an error or the right answer, nothing secret in any "
                "message, service goes on, no descriptor, process or thread is left")

    def test_client(self):
        """Its own calls, from its start on. Before it opens its first file it is the dynamic linker's, who may end it in any way."""
        tried = hits = failed = 0
        self.judge(self.infer("strace", "-f", "-qqq", "-o", self.trace), {0})
        calls = [("client", call, most) for call, most in calls_in(self.trace).items()]
        for case in plan(calls, random.Random(SEED), CASES):
            _, call, error, n = case
            with self.subTest(call=call, error=error, n=n, seed=SEED):
                done = self.infer(*injected(call, error, n, self.trace), "-f")
                case.append(os.path.exists(self.trace) and has_hit(self.trace))
                tried += 1
                hits += case[-1]
                failed += done.returncode != 0
                left = sorted(f for _, _, files in os.walk(self.out) for f in files)
                if not said_in(self.trace, "policy.json"):
                    self.assertEqual(left, [])
                elif call == "write" and left == [os.path.basename(self.result)]:  # only the report could not be printed
                    np.testing.assert_array_equal(np.load(self.result), self.model.results[3])
                else:
                    self.judge(done, {0, 1, 2, 3, 4, 5})
                    self.assertEqual(left, [os.path.basename(self.result)] if done.returncode == 0 else [])
                hits_said = self.model.markers.search((done.stderr + done.stdout).encode())
                self.assertEqual(hits_said.size, 0, "secrets in what it says")
        self.assert_works()
        self.assert_nothing_left()
        print(f"seed {SEED}, client: {tried} faults, {hits} hit, {failed} requests failed", file=sys.stderr)
        self.assertGreater(failed, 5, "the faults do not hit")
        assured(hits, "system calls of the client fail under a request: an error and no file, or the right answer; nothing secret in "
                "any message; nothing of it is left in broker and host")

    def test_enclave(self):
        self.run_all("enclave", CASES)

    def test_host(self):
        self.run_all("host", CASES // 2)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: tracing another user's process needs root")
        sys.exit(0)
    unittest.main(verbosity=1)
