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
before it; prop_11_allocations tries all n of parts of the path. Else: the first of all, and others at random.
"""
import collections
import ctypes
import mmap
import os
import random
import re
import sys
import unittest

from onnx import numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from services import BIN, PATIENCE, Services, assured  # noqa: E402
from under_faults import EVERY, SEED, UnderFaults  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "16"))  # of each program
WHO = ["nobody", "client", "host", "broker", "worker", "worker started ahead", "fetcher", "connector", "NSM"]
PROGRAM = {"client": "client", "host": "host", **dict.fromkeys(WHO[3:], "enclave")}
NSM = ["no answer", "no answer in time", "nothing", "its error", "another call's answer", "garbage", "all but the last byte",
       *(f"a bit flipped in part {i} of 64" for i in range(64))]
START = {"client": 2500}  # OpenSSL's start, the client's first 2200 or so, follows null pointers without memory; nothing is read yet
PLAIN = 7  # of these, those that are no answer at all
LIBRARY = os.path.join(BIN, "tests", "integration", "libfaulty.so")
MARKER = 16  # bytes


class Page(ctypes.Structure):
    """As faulty.c has it."""
    _fields_ = [("turn", ctypes.c_uint64), ("n", ctypes.c_int64), ("who", ctypes.c_uint64), ("how", ctypes.c_uint64),
                ("made", ctypes.c_uint64 * len(WHO)), ("live", ctypes.c_int64 * len(WHO)), ("failed", ctypes.c_uint64),
                ("secrets", ctypes.c_uint64), ("secret_who", ctypes.c_uint64), ("secret_marker", ctypes.c_uint64),
                ("secret_bytes", ctypes.c_uint64), ("n_markers", ctypes.c_uint64), ("marker", (ctypes.c_uint8 * MARKER) * 64),
                ("records", ctypes.c_uint64), ("record", ctypes.c_uint64 * 65536)]


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
        self.page.n_markers = len(secrets)

    def turn(self, who, n, how, record=False):
        p = self.page
        p.n = -1
        p.who, p.how, p.failed, p.secrets, p.records = WHO.index(who), how, 0, 0, record
        for i in range(len(WHO)):
            p.made[i] = 0
        p.turn += 1
        p.n = n

    def record(self, who):
        """Allocations that `who` makes in a request that goes well: [the first of each call stack, the last of each]."""
        self.turn(who, -1, 0, record=True)
        self.judge(self.infer(), {0})
        self.assert_nothing_left()
        stacks = self.page.record[:self.page.made[WHO.index(who)]]
        known = [(s, n) for n, s in enumerate(stacks) if s != 0 and n >= START.get(who, 0)]  # 0: libseccomp's (faulty.c)
        return [sorted(dict(m).values()) for m in (reversed(known), known)]

    def base(self):
        """Blocks that are there between two requests; how many records the log's last page has makes a difference of a few."""
        for _ in range(3):
            self.judge(self.infer(), {0})
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
            self.assert_no_blocks_left("client", 0)
            return done
        self.assert_serves(PROGRAM[who])
        self.assert_nothing_left()
        for w in ("broker", "host"):
            self.assert_no_blocks_left(w, 8)
        return done

    def run_all(self, who):
        rng = random.Random(SEED)
        self.mark()
        self.base()
        first, last = self.record(who)
        self.assertGreater(len(first), 5)
        cases = [(n, 0) for n in {*first, *last}] + [(n, 1) for n in first]
        rng.shuffle(cases)
        cases = [(first[0], 0), *cases[:len(cases) if EVERY else CASES]]
        self.heard = os.path.getsize(self.s.path("enclave.log"))
        ends, hits = collections.Counter(), 0
        for n, how in cases:
            with self.subTest(who=who, n=n, all_after=how, seed=SEED):
                if who != "client" and self.s.processes[PROGRAM[who]].poll() is not None:
                    self.restart(PROGRAM[who])
                ends[self.fail_one(who, n, how).returncode] += 1
                hits += self.page.failed != 0
        self.judge(self.infer(), {0})
        self.assert_nothing_left()
        print(f"seed {SEED}, {who}: {len(cases)} faults, {hits} hit, of {len(first)} call stacks; client's exit codes {dict(ends)}; "
              f"{self.restarts} restarts", file=sys.stderr)
        self.assertGreater(hits, len(cases) // 2, "the faults do not hit")
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
                    self.assertEqual((self.page.failed, self.restarts), (1, 0))
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
        self.assertTrue(self.works_within(PATIENCE))
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
