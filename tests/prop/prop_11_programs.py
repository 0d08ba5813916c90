"""Property 11: whatever allocation, or call to the NSM, fails in a program that a request passes, it fails closed and cleans up.

Whole programs, as they are, with allocators that fail on command (faulty.c): one of them, alone or with all after it, in the client, the
host, the broker, the worker that serves, the fetcher of sealed weights and the connector (a worker that is started ahead makes none but
in the start of OpenSSL and of seccomp);
of the heap (ours, OpenSSL's, jansson's, the C library's) and of the arena. The request opens its topology key by KMS (over TLS), asks for a
receipt, and remembers what was seen; its weights are not in the cache. What must hold then says under_faults.py. Besides: no program
ended by a signal; no block was freed that still held a weight, a value or a name; broker and host have as many blocks as before, and
the client has no more at its end than one whose request went well.

A request makes some 50 000 allocations, most of them in OpenSSL's arithmetic. EML_EVERY=1: each call stack that leads to one, at its first
time (alone, and with all after it) and at its last (alone). What lies between has the same callers, with more or fewer of the same things
before it; prop_11_allocations tries all n of parts of the path. Those come first that differ in the program's own calls, then those that
differ within a library. Else: the first of all, and others at random.
"""
import collections
import contextlib
import ctypes
import mmap
import os
import random
import re
import subprocess
import sys
import time
import unittest

from onnx import numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from services import BIN, PATIENCE, Services, assured, program  # noqa: E402
from under_faults import EVERY, SEED, UnderFaults  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "16"))  # of each program
SECONDS = int(os.environ.get("EML_SECONDS", "1000000"))  # of each program: begins no more after that, and tells how many there were
TOGETHER = 8 if EVERY else 1  # faults, one request each, before it is looked whether all is as before
WHO = ["nobody", "client", "host", "broker", "worker", "worker started ahead", "fetcher", "connector", "NSM"]
PROGRAM = {"client": "client", "host": "host", **dict.fromkeys(WHO[3:], "enclave")}
NSM = ["no answer", "no answer in time", "nothing", "its error", "another call's answer", "garbage", "all but the last byte",
       *(f"a bit flipped in part {i} of 64" for i in range(64))]
PLAIN = 7  # of these, those that are no answer at all
LIBRARY = os.path.join(BIN, "tests", "integration", "libfaulty.so")
MARKER = 16  # bytes


class Page(ctypes.Structure):
    """As faulty.c has it."""
    _fields_ = [("turn", ctypes.c_uint64), ("n", ctypes.c_int64), ("who", ctypes.c_uint64), ("how", ctypes.c_uint64),
                ("made", ctypes.c_uint64 * len(WHO)), ("live", ctypes.c_int64 * len(WHO)), ("failed", ctypes.c_uint64),
                ("secrets", ctypes.c_uint64), ("secret_who", ctypes.c_uint64), ("secret_marker", ctypes.c_uint64),
                ("secret_bytes", ctypes.c_uint64), ("stack", ctypes.c_uint64), ("n_markers", ctypes.c_uint64),
                ("marker", (ctypes.c_uint8 * MARKER) * 64), ("begins", ctypes.c_uint8 * 65536), ("records", ctypes.c_uint64), ("record", ctypes.c_uint64 * 65536),
                ("own", ctypes.c_uint64 * 65536)]


class FaultyServices(Services):
    def __init__(self, **kwargs):
        self.page = None
        super().__init__(image="eml-enclaved-faulty", **kwargs)

    def spawn(self, name, *args, env=None):
        path = self.path("enclave.sock.faults")
        if self.page is None:
            with open(path, "w+b") as f:
                f.truncate(ctypes.sizeof(Page))
                self.page = Page.from_buffer(mmap.mmap(f.fileno(), ctypes.sizeof(Page)))
                self.page.n = -1
        self.preload = {"LD_PRELOAD": LIBRARY, "EML_FAULTS": path}
        return super().spawn(name, *args, env=dict(env or {}, **(self.preload if name == "host" else {})))


class Programs(UnderFaults):
    def make_services(self):
        return FaultyServices(kms=True)

    def setUp(self):
        super().setUp()
        self.page = self.s.page
        self.heard = 0  # of the enclave's log
        self.receipt = os.path.join(self.dir, "receipt")
        self.options = ["--receipt", self.receipt, "--remember", os.path.join(self.dir, "seen"),
                        *self.s.kms_options(self.s.create_key(self.s.pcrs["0"]))]

    def infer(self, *under, **env):
        for file in (self.receipt, self.receipt + ".opening"):
            if os.path.exists(file):
                os.unlink(file)
        return super().infer(*under, **self.s.preload, **env)

    def judge(self, done, codes):
        super().judge(done, codes)
        self.assertEqual(os.path.exists(self.receipt), done.returncode == 0)

    def mark(self):
        """What no freed block may hold."""
        secrets = []
        for m in self.models:
            weights = [numpy_helper.to_array(t).tobytes() for t in m.inits]
            secrets += [w[len(w) // 3 & ~3:][:MARKER] for w in weights] + [m.x.tobytes()[:MARKER], m.results[3].tobytes()[:MARKER]]
            secrets += [n.encode() for n in m.names[:8]]
        for i, secret in enumerate(secrets):
            ctypes.memmove(self.page.marker[i], secret, MARKER)
            self.page.begins[secret[0] | secret[1] << 8] = 1
        self.page.n_markers = len(secrets)

    def turn(self, who, n, how, record=False):
        p = self.page
        p.n = -1
        p.who, p.how, p.failed, p.stack, p.secrets, p.records = WHO.index(who), how, 0, 0, 0, record
        for i in range(len(WHO)):
            p.made[i] = 0
        p.turn += 1
        p.n = n

    def start_of(self, who):
        """How many allocations the start of OpenSSL takes, which follows null pointers without memory; nothing is read yet."""
        if who != "client":
            return 0
        p = self.page
        of_request = list(p.made)
        self.turn("nobody", -1, 0)
        subprocess.run([program("eml"), "infer", "--help"], capture_output=True, check=True, timeout=PATIENCE, env=dict(os.environ, **self.s.preload))
        start = p.made[WHO.index(who)]
        p.made[:] = of_request
        return start

    def record(self, who):
        """The allocations that `who` makes in a request that goes well: [(n, call stack, those of it that are in the program itself)]."""
        done = None
        for _ in range(5):  # of a busy machine
            if done is None or done.returncode != 0:
                self.turn(who, -1, 0, record=True)
                done = self.infer()
        self.judge(done, {0})
        self.assert_nothing_left()
        start = self.start_of(who)
        made = min(self.page.made[WHO.index(who)], len(self.page.record))
        known = zip(range(made), self.page.record, self.page.own)
        return [k for k in known if k[1] != 0 and k[0] >= start]  # 0: libseccomp's or getaddrinfo's (faulty.c)

    def base(self):
        """Blocks that are there between two requests; how many records the log's last page has makes a difference of a few."""
        for _ in range(3):
            self.assert_works()
            self.assert_nothing_left()
        self.blocks = dict(zip(WHO, self.page.live))

    def assert_no_blocks_left(self, who, slack):
        i = WHO.index(who)
        most = self.blocks[who] + slack
        try:
            Services.wait(lambda: self.page.live[i] <= most, who, 60)
        except TimeoutError:
            self.fail(f"{who} has {self.page.live[i] - self.blocks[who]} blocks more than before")

    def assert_ended_well(self, done, who):
        """Whoever ended did so by itself. What the enclave's children end by is in the broker's log."""
        self.assertGreaterEqual(done.returncode, 0, f"the client ended by a signal: {done.stderr}")
        with open(self.s.path("enclave.log"), encoding="utf-8", errors="replace") as f:
            f.seek(self.heard)
            said = f.read()
            self.heard = f.tell()
        for name, process in self.s.processes.items():
            self.assertIn(process.poll(), {None, *range(1, 6)}, f"{name} ended by a signal: {said}")
        self.assertLessEqual(set(re.findall(r"signal=(\d+)", said)), {"0", "9"}, f"a worker ended by a signal: {said}")

    def fail_one(self, who, n, how):
        """The request of which one allocation fails, and what can be told of it at once."""
        if who != "client" and self.s.processes[PROGRAM[who]].poll() is not None:
            self.restart(PROGRAM[who])
        self.turn(who, n, how)
        done = self.infer()
        if who != "client":
            self.settle(PROGRAM[who], 0.3)
        self.page.n = -1
        self.assert_ended_well(done, who)
        self.judge(done, {0, 1, 3, 4, 5})
        self.assertEqual((self.page.secrets, WHO[self.page.secret_who], self.page.secret_marker), (0, WHO[self.page.secret_who], self.page.secret_marker),
                         "blocks were freed with a secret in them")
        if who == "client":
            self.assert_no_blocks_left("client", 8)  # OpenSSL may keep parts of what it could not finish
        return done

    def assert_as_before(self, who):
        if who == "client":
            self.assert_works()
        else:
            self.assert_serves(PROGRAM[who])
        self.assert_nothing_left()
        for w in ("broker", "host"):
            self.assert_no_blocks_left(w, 8)

    @staticmethod
    def cases(known):
        """[(n, whether all after it fail too)]: first where the program's own calls differ, then where a library's do, at the first time;
        then at the last."""
        own, first, last = ({k[i]: k[0] for k in order} for i, order in ((2, known[::-1]), (1, known[::-1]), (1, known)))
        ns = [*dict.fromkeys(sorted(own.values()))]
        rest = sorted({*first.values()} - {*ns})
        rng = random.Random(SEED)
        parts = [[(n, how) for n in part] for part in (ns, rest) for how in (1, 0)]
        parts.append([(n, 0) for n in sorted({*last.values()} - {*ns, *rest})])
        for part in parts:
            rng.shuffle(part)
        cases = sum(parts, [])
        return cases if EVERY else [(ns[0], 0), *rng.sample(cases, min(CASES, len(cases)))]

    @contextlib.contextmanager
    def told(self, **what):
        """Failures are told at once: a run of everything takes long."""
        with self.subTest(**what, seed=SEED):
            try:
                yield
            except AssertionError as e:
                print(f"{what}: {e}", file=sys.stderr, flush=True)
                raise

    def run_all(self, who):
        self.mark()
        self.base()
        known = self.record(who)
        self.assertGreater(len(known), 5)
        cases, end = self.cases(known), time.monotonic() + SECONDS
        self.heard = os.path.getsize(self.s.path("enclave.log"))
        ends, hits, stacks, tried = collections.Counter(), 0, [set(), set()], 0
        for i in range(0, len(cases), TOGETHER):
            if time.monotonic() > end:
                break
            with self.told(who=who, faults=cases[i:i + TOGETHER]):
                for n, how in cases[i:i + TOGETHER]:
                    tried += 1
                    done = self.fail_one(who, n, how)
                    if self.page.failed == 0 and who != "client":  # what the one before led to may have come between
                        self.assert_as_before(who)
                        done = self.fail_one(who, n, how)
                    ends[done.returncode] += 1
                    hits += self.page.failed != 0
                    stacks[how].add(self.page.stack)
                self.assert_as_before(who)
        self.assert_works()
        self.assert_nothing_left()
        alone, all_after = (len({k[1] for k in known} & s) for s in stacks)
        print(f"seed {SEED}, {who}: {tried} of {len(cases)} faults, {hits} hit; of {len({k[1] for k in known})} call stacks "
              f"({len({k[2] for k in known})} of its own calls) {alone} alone, {all_after} with all after it; client's exit codes {dict(ends)}; "
              f"{self.restarts} restarts", file=sys.stderr)
        self.assertGreater(hits, tried // 2, "the faults do not hit")
        assured(hits, f"{who}: an allocation fails under a request, alone or with all after it: an error or the right answer, no crash, "
                "nothing freed with a secret in it, nothing left, service goes on")

    def test_nsm(self):
        """Each call of a request, each wrong answer: an error, from the same broker as before. Without an answer no enclave starts."""
        self.base()
        self.heard = os.path.getsize(self.s.path("enclave.log"))
        kinds = list(range(len(NSM)))
        if not EVERY:
            kinds = kinds[:PLAIN] + random.Random(SEED).sample(kinds[PLAIN:], 8)
        tried = 0
        for how in kinds:
            for n in range(2):  # the document of the session, and the one for KMS
                with self.subTest(call=n, how=NSM[how], seed=SEED):
                    self.assertNotEqual(self.fail_one("NSM", n, how).returncode, 0)
                    self.assertEqual(self.page.failed, 1)
                    self.assert_as_before("NSM")
                    self.assertEqual(self.restarts, 0)
                    tried += 1
        for how in range(PLAIN):
            self.s.stop("enclave")
            self.turn("NSM", 0, how)
            with self.subTest(how=NSM[how]), self.assertRaises(ChildProcessError):
                self.s.start_enclave()
            self.assertIn(self.s.processes["enclave"].returncode, range(1, 6))
            tried += 1
        self.page.n = -1
        self.restart("enclave")
        self.assert_works()
        self.assert_nothing_left()
        print(f"seed {SEED}, NSM: {tried} faults", file=sys.stderr)
        assured(tried, "a call to the NSM fails, or its answer is not one, is another call's, cut or changed: no result and no start of an "
                "enclave; nothing left, service goes on")

    def test_client(self):
        self.run_all("client")

    def test_host(self):
        self.run_all("host")

    def test_broker(self):
        self.run_all("broker")

    def test_worker(self):
        self.run_all("worker")

    def test_fetcher(self):
        self.run_all("fetcher")

    def test_connector(self):
        self.run_all("connector")


if __name__ == "__main__":
    unittest.main(verbosity=1)
