"""Property 13: every security event is in the log, each exactly when it should be.

Sessions of many kinds, drawn at random with their numbers: that succeed, that fail at each stage, that are refused, that meet a
limit, whose worker is made to die. The log must then hold for each session, in its order, the events that its kind has and no
other; and the record of each inference must be the one that its receipt names, by place, digest and model.
"""
import hashlib
import os
import random
import shutil
import signal
import socket
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from relay import Cut, Relay, framed  # noqa: E402
import scan  # noqa: E402
from services import PATIENCE, Services, assured, run, small_model  # noqa: E402
from shrink import shrunk  # noqa: E402
from test_receipt import AIR, parse  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "100"))
SEED = int(os.environ.get("EML_SEED", "1300"))

# An event as "name outcome number": the first number only where it tells a kind.
OPEN, ATTESTED = "session-open ok", "attestation ok use=1"
BEGUN = [OPEN, ATTESTED]
ASSEMBLED, DESTROYED, INFERRED = "assembly ok", "destruction ok", "inference ok"
TELLS = {"attestation", "violation", "budget", "error"}


def records(folder, policy):
    done = run("eml", "audit", "report", folder, "--format", "csv", "--policy", policy)
    assert done.returncode == 0, done.stderr
    out = []
    for line in done.stdout.splitlines()[1:]:
        sequence, _, _, session, event, outcome, fields = line.split(",", 6)
        out.append((int(sequence), int(session), event, outcome, dict(f.split("=", 1) for f in fields.split())))
    return out


def brief(record):
    _, _, event, outcome, fields = record
    words = [event, outcome]
    if event in TELLS:
        words += [f"{k}={fields[k]}" for k in list(fields)[:1]]
    if event == "session-close" and fields["signal"] != "0":
        words.append("signal=" + fields["signal"])
    return " ".join(words)


class Base(unittest.TestCase):
    options = ()

    def setUp(self):
        self.s = Services(enclave_args=self.options, kms=True)
        self.addCleanup(self.s.close)
        self.rng = random.Random(SEED)
        small_model(self.s.path("m.onnx"))
        self.model = self.decompose("model")
        self.object = self.push(self.model)
        np.save(self.s.path("x.npy"), np.ones((3, 16), np.float32))
        np.save(self.s.path("wide.npy"), np.ones((3, 17), np.float32))
        self.other_policy = self.s.make_policy("other.json", dict(self.s.pcrs, **{"1": "ab" * 48}))
        self.receipts, self.n = {}, 0

    def decompose(self, name):
        shutil.rmtree(self.s.path(name), ignore_errors=True)
        done = run("eml", "decompose", self.s.path("m.onnx"), "-o", self.s.path(name))
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.s.path(name)

    def push(self, model):
        before = set(self.s.store_objects())
        done = run("eml", "push", model, "--host", self.s.host)
        self.assertEqual(done.returncode, 0, done.stderr)
        (path,) = set(self.s.store_objects()) - before
        return path

    def infer(self, code, *options, inputs=("x",), host=None, model=None, policy=None):
        """Keeps the receipts of a session that succeeds."""
        self.n += 1
        path = self.s.path(f"{self.n}.receipt")
        args = [f"--input=x={self.s.path(i)}.npy" for i in inputs]
        done = run("eml", "infer", "--host", host or self.s.host, "--policy", policy or self.s.path("policy.json"), "--topology",
                   os.path.join(model or self.model, "topology.key"), "--output", self.s.path(f"out{self.n}"), "--receipt", path,
                   "--timeout", PATIENCE, *args, *options, env=self.s.environment, timeout=2 * PATIENCE)
        self.assertEqual(done.returncode, code, done.stderr)
        return [p for p in [path, *(f"{path}.{k + 1}" for k in range(len(inputs)))] if os.path.exists(p)]

    def held(self, up, n, then=lambda: None):
        """A relay that keeps frame n of a direction back, until what it waits for has ended; first it does `then`."""
        def tamper(stream, frame):
            if stream.up == up and stream.n == n:
                then()
                self.s.wait(lambda: stream.other.ended, "the other side's end")
                raise Cut
            return [framed(frame)]
        return Relay(self.s.host, tamper)

    def workers(self):
        return scan.workers(self.s.processes["enclave"].pid)

    def connect(self, data):
        """A client that says this, and hears all that comes."""
        with socket.create_connection(("127.0.0.1", self.s.host_port)) as c:
            c.sendall(framed(b"R") + data)
            c.shutdown(socket.SHUT_WR)
            while c.recv(1 << 16):
                pass

    def settle(self):
        """No session is left: the next begins when all of the one before is recorded."""
        self.s.wait(lambda: not self.workers(), "the workers' end")

    def judge(self, expected):
        """expected: for each session in order the events, and its receipts; and what belongs to no session."""
        self.s.stop("enclave")
        self.s.stop("host")
        log = records(self.s.path("audit"), self.s.path("policy.json"))
        sessions, others = expected
        wrong = []
        for i, (kind, events, receipts) in enumerate(sessions):
            of_it = [r for r in log if r[1] == i + 1]
            if [brief(r) for r in of_it] != events:
                wrong.append((i + 1, kind, [brief(r) for r in of_it], events))
            inferences = [r for r in of_it if brief(r) == INFERRED]
            self.assertEqual(len(inferences), len(receipts), kind)
            for path, record in zip(receipts, inferences):
                self.match(path, record)
        self.assertEqual(wrong, [], f"seed {SEED}")
        self.assertEqual([brief(r) for r in log if r[1] == 0], ["boot ok", *others])
        self.assertEqual(max(r[1] for r in log), len(sessions))

    def match(self, path, record):
        done = run("eml", "receipt", "show", path, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.model, "topology.key"), "rb") as f:
            model = hashlib.sha256(f.read()).hexdigest()
        sequence, _, _, _, fields = record
        self.assertEqual((fields["receipt_sha256"], fields["model_sha256"]), (hashlib.sha256(parse(path)[AIR]).hexdigest(), model))
        self.assertIn(f'"index": {sequence}', done.stdout)


class Events(Base):
    # Each kind makes one session, and returns its events and receipts.
    def kind_success(self):
        return [*BEGUN, ASSEMBLED, DESTROYED, INFERRED, "session-close ok"], self.infer(0)

    def kind_session(self):
        n = self.rng.randint(1, 5)
        receipts = self.infer(0, "--mode", "session", inputs=["x"] * n)
        return [*BEGUN, ASSEMBLED, *[INFERRED] * n, DESTROYED, "session-close ok"], receipts

    def kind_kms(self):
        receipts = self.infer(0, *self.s.kms_options(self.key))
        return [*BEGUN, "attestation ok use=2", "kms ok", ASSEMBLED, DESTROYED, INFERRED, "session-close ok"], receipts

    def kind_kms_refuses(self):
        self.infer(4, *self.s.kms_options(self.other_key))
        return [*BEGUN, "attestation ok use=2", "kms refused by policy", "destruction ok", "inference refused by policy", "session-close refused by policy"], []

    def kind_bad_input(self):
        self.infer(3, inputs=["wide"])
        return [*BEGUN, ASSEMBLED, DESTROYED, "inference bad input", "session-close bad input"], []

    def kind_bad_second_input(self):
        receipts = self.infer(3, "--mode", "session", inputs=["x", "wide"])
        return [*BEGUN, ASSEMBLED, INFERRED, "inference bad input", DESTROYED, "session-close ok"], receipts

    def kind_damaged_weights(self):
        model = self.decompose("damaged")
        path = self.push(model)
        with open(path, "r+b") as f:
            f.seek(self.rng.randrange(os.path.getsize(path)))
            byte = f.read(1)[0]
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte ^ 1]))
        self.infer(4, model=model)
        return [*BEGUN, "violation not authentic kind=4", ASSEMBLED, DESTROYED, "inference not authentic", "session-close not authentic"], []

    def kind_missing_weights(self):
        self.infer(3, model=self.decompose("missing"))
        self.others.append("error bad input place=1")
        return [*BEGUN, ASSEMBLED, DESTROYED, "inference bad input", "session-close bad input"], []

    def kind_refused_by_client(self):
        self.infer(4, policy=self.other_policy)
        return [*BEGUN, "session-close peer or network"], []

    def kind_silent(self):
        self.connect(b"")
        return [OPEN, "session-close peer or network"], []

    def kind_garbage(self):
        self.connect(framed(self.rng.randbytes(self.rng.randint(1, 200))))
        return [OPEN, "session-close bad input"], []

    def killed(self, signal_number, *events):
        """The worker is made to die when it has opened the model, in the middle of a session."""
        relay = self.held(True, 4, lambda: os.kill(self.workers()[0], signal_number))
        try:
            self.infer(5, "--mode", "session", inputs=["x", "x"], host=relay.address)
        finally:
            relay.close()
        return [*BEGUN, ASSEMBLED, INFERRED, *events, f"session-close system signal={int(signal_number)}"], [self.s.path(f"{self.n}.receipt.1")]

    def kind_killed(self):
        return self.killed(signal.SIGKILL)

    def kind_crashed(self):
        number = self.rng.choice([signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE])
        return self.killed(number, "violation system kind=3")

    def kind_forbidden_call(self):
        return self.killed(signal.SIGSYS, "violation system kind=2")

    def kind_processor_time(self):
        return self.killed(signal.SIGXCPU, "budget refused by policy kind=5")

    def live(self, cases):
        """Sessions of these kinds, each with the numbers that belong to its case, before services of their own."""
        self.setUp()
        self.key, self.other_key = self.s.create_key(self.s.pcrs["0"]), self.s.create_key("ab" * 48)
        self.others, sessions = [], []
        for text in cases:
            kind, case = text.split()
            self.rng = random.Random(SEED * 1000 + int(case))
            sessions.append((kind, *getattr(self, kind)()))
            self.settle()
        self.judge((sessions, self.others))

    def test_each_event_when_it_should_be(self):
        print(f"seed {SEED}, {CASES} cases", file=sys.stderr)
        kinds = sorted(n for n in dir(self) if n.startswith("kind_"))
        rng = random.Random(SEED)
        drawn = [kinds[case] if case < len(kinds) else rng.choice(kinds) for case in range(CASES)]
        shrunk(self.live, [f"{kind} {case}" for case, kind in enumerate(drawn)], SEED)
        assured(CASES, f"sessions of {len(kinds)} kinds, with errors, refusals and crashes: the log has exactly the events of each, in order, and "
                "for each receipt its record")


class Limits(Base):
    """Each kind of limit, with an enclave that has it."""

    def limited(self, options, kind):
        with self.subTest(options=options):
            self.options = options
            self.setUp()
            events = kind()
            self.settle()
            self.judge(([(options, events, [])], []))

    def hold(self, up, n):
        relay = self.held(up, n)
        self.addCleanup(relay.close)
        self.infer(5, host=relay.address)

    def request_time(self):
        self.np_big()
        self.hold(True, 4)
        return [*BEGUN, "budget refused by policy kind=2", "session-close peer or network"]

    def np_big(self):
        np.save(self.s.path("x.npy"), np.ones((30000, 16), np.float32))  # several records

    def session_time(self):
        self.hold(True, 2)
        return [*BEGUN, "budget refused by policy kind=1", "session-close peer or network"]

    def memory(self):
        self.np_big()
        self.infer(4)
        return [*BEGUN, "budget refused by policy kind=6", "inference refused by policy", "session-close refused by policy"]

    def work(self):
        self.infer(4)
        return [*BEGUN, ASSEMBLED, "budget refused by policy kind=6", DESTROYED, "inference refused by policy", "session-close refused by policy"]

    def cache(self):
        self.infer(4)
        return [*BEGUN, "budget refused by policy kind=4", ASSEMBLED, DESTROYED, "inference refused by policy", "session-close refused by policy"]

    def test_each_limit(self):
        for options, kind in ((("--request-seconds", 1), self.request_time), (("--session-seconds", 2), self.session_time),
                              (("--flops", 10), self.work), (("--memory-bytes", 1 << 20), self.memory), (("--cache-bytes", 4096), self.cache)):
            self.limited(options, kind)
        assured(5, "limits of time, work, memory and cache: the log has the limit, and exactly the events of the session")


if __name__ == "__main__":
    unittest.main(verbosity=1)
