"""Properties 8, 9 and 11: a host that lies, and what comes of it.

A relay stands where root on the host stands: between client and enclave, and between enclave and weight store. It does one of the
things below to a request, at a place drawn at random. The client must get the right answer, or an error of the class that the thing
allows, with a message, no output file, and within its deadline; nothing that it prints may hold a secret; and the next request must
work as if nothing had been. A wrong answer, a hang or a crash fails the test.
"""
import os
import random
import shutil
import socket
import struct
import sys
import time
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from relay import Cut, Relay, framed  # noqa: E402
from services import CANARY, Services, assured, expected, run, small_model  # noqa: E402

ROUNDS = int(os.environ.get("EML_ROUNDS", "2"))
SEED = int(os.environ.get("EML_SEED", "9090"))
# Seconds that the client gives the host: few where it may wait in vain, else enough for any machine. It ends soon after.
IMPATIENT, PATIENT, DEADLINE = 3, 60, 120
OK, INPUT, REFUSED, PEER = 0, 3, 4, 5
ANY = {INPUT, REFUSED, PEER}
# Frames of the client's stream: 0 route or status, 1 hello or evidence, 2 open, then records (down: from 2 on).
UP_RECORD, DOWN_RECORD = 3, 2


def flip(rng, data):
    data = bytearray(data)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


class Tamper:
    """One thing done to one frame of one direction. `do(stream, frame)` returns what goes on instead."""

    def __init__(self, up, n, do):
        self.up, self.n, self.do, self.done = up, n, do, False

    def __call__(self, stream, frame):
        if stream.up == self.up and stream.n == self.n and not self.done:
            self.done = True
            return self.do(stream, frame)
        return [framed(frame)]


def cut(_stream, _frame):
    raise Cut


class Swap:
    """Holds one frame back and sends it after the next."""

    def __init__(self, up, n):
        self.up, self.n, self.held, self.done = up, n, None, False

    def __call__(self, stream, frame):
        if stream.up == self.up and stream.n == self.n:
            self.held = frame
            return []
        if stream.up == self.up and self.held is not None:
            held, self.held, self.done = self.held, None, True
            return [framed(frame), framed(held)]
        return [framed(frame)]


class Slow:
    """Passes everything, in small pieces with pauses."""

    def __init__(self, rng, pause):
        self.rng, self.pause, self.done = rng, pause, True

    def __call__(self, stream, frame):
        data, out = framed(frame), []
        if len(data) > 4096:
            time.sleep(self.pause * 10)
            return [data]
        while data:
            n = self.rng.randint(1, 64)
            stream.send(data[:n])
            data = data[n:]
            time.sleep(self.pause)
        return out


class Kinds:
    """Every method named as_... is one kind of host: it returns (tamper, exit codes that the client may end with)."""

    def __init__(self, rng, earlier, foreign):
        self.rng, self.earlier, self.foreign = rng, earlier, foreign

    def up_record(self):
        return UP_RECORD + self.rng.randrange(3)

    def down_record(self):
        return DOWN_RECORD + self.rng.randrange(2)

    def flip(self, up, n, codes):
        return Tamper(up, n, lambda s, f: [framed(flip(self.rng, f))]), codes

    def as_flip_in_record_up(self):
        return self.flip(True, self.up_record(), ANY)

    def as_flip_in_record_down(self):
        return self.flip(False, self.down_record(), {REFUSED})

    def as_flip_in_hello(self):
        return self.flip(True, 1, ANY)

    def as_flip_in_evidence(self):
        return self.flip(False, 1, {INPUT, REFUSED})

    def as_flip_in_open(self):
        return self.flip(True, 2, ANY)

    def length(self, up, n, change):
        return Tamper(up, n, lambda s, f: [struct.pack(">I", change(len(f)) & 0xFFFFFFFF) + f]), ANY

    def as_longer_length_up(self):
        return self.length(True, self.up_record(), lambda n: n + 16)

    def as_longer_length_down(self):
        return self.length(False, self.down_record(), lambda n: n + 16)

    def as_shorter_length_up(self):
        return self.length(True, self.up_record(), lambda n: n - 16)

    def as_shorter_length_down(self):
        return self.length(False, self.down_record(), lambda n: n - 16)

    def as_zero_length(self):
        return self.length(bool(self.rng.randrange(2)), 2, lambda n: 0)

    def as_huge_length(self):
        return self.length(bool(self.rng.randrange(2)), 2, lambda n: 0xFFFFFFF0)

    def part(self, up, n):
        def do(stream, frame):
            stream.send(framed(frame)[: self.rng.randrange(1, len(frame) + 4)])
            raise Cut
        return Tamper(up, n, do), {PEER}

    def as_truncated_up(self):
        return self.part(True, self.up_record())

    def as_truncated_down(self):
        return self.part(False, self.down_record())

    def as_truncated_evidence(self):
        return self.part(False, 1)

    def as_record_dropped_up(self):
        return Tamper(True, UP_RECORD + self.rng.randrange(2), lambda s, f: []), ANY

    def as_record_dropped_down(self):
        return Tamper(False, DOWN_RECORD, lambda s, f: []), {REFUSED}

    def as_record_twice_up(self):
        return Tamper(True, UP_RECORD + self.rng.randrange(2), lambda s, f: [framed(f), framed(f)]), ANY

    def as_record_twice_down(self):
        return Tamper(False, DOWN_RECORD, lambda s, f: [framed(f), framed(f)]), {REFUSED}

    def as_records_swapped_up(self):
        return Swap(True, UP_RECORD + self.rng.randrange(2)), ANY

    def as_records_swapped_down(self):
        return Swap(False, DOWN_RECORD), {REFUSED}

    def as_hello_twice(self):
        return Tamper(True, 1, lambda s, f: [framed(f), framed(f)]), ANY

    def as_evidence_twice(self):
        return Tamper(False, 1, lambda s, f: [framed(f), framed(f)]), {INPUT, REFUSED}

    def as_record_reflected(self):
        """The client's own first record comes back as the answer."""
        kept = []

        def do(stream, frame):
            if stream.up and stream.n == UP_RECORD:
                kept.append(frame)
            if not stream.up and stream.n == DOWN_RECORD and kept:
                do.done = True
                return [framed(kept[0])]
            return [framed(frame)]
        do.done = False
        return do, {REFUSED}

    def as_record_of_earlier_session_up(self):
        n = self.up_record()
        return Tamper(True, n, lambda s, f: [framed(self.earlier.up[n])]), ANY

    def as_record_of_earlier_session_down(self):
        n = self.down_record()
        return Tamper(False, n, lambda s, f: [framed(self.earlier.down[n])]), {REFUSED}

    def as_evidence_of_earlier_session(self):
        return Tamper(False, 1, lambda s, f: [framed(self.earlier.down[1])]), {REFUSED}

    def as_hello_of_earlier_session(self):
        return Tamper(True, 1, lambda s, f: [framed(self.earlier.up[1])]), {REFUSED}

    def as_open_of_earlier_session(self):
        return Tamper(True, 2, lambda s, f: [framed(self.earlier.up[2])]), ANY

    def as_whole_answer_of_earlier_session(self):
        def do(stream, frame):
            if stream.up:
                return [framed(frame)]
            do.done = True
            return [framed(self.earlier.down[stream.n])] if stream.n < len(self.earlier.down) else []
        do.done = False
        return do, {REFUSED}

    def as_whole_request_of_earlier_session(self):
        """The enclave hears an old client; the new one must not be told anything it could take for an answer."""
        def do(stream, frame):
            if not stream.up:
                return [framed(frame)]
            do.done = True
            return [framed(self.earlier.up[stream.n])] if stream.n < len(self.earlier.up) else []
        do.done = False
        return do, ANY

    def as_evidence_of_another_owner(self):
        return Tamper(False, 1, lambda s, f: [framed(self.foreign.down[1])]), {REFUSED}

    def as_open_for_another_key(self):
        def do(_stream, frame):
            frame = bytearray(frame)
            at = frame.index(b"open") + 6  # enc follows its two-byte head
            frame[at:at + 32] = self.rng.randbytes(32)
            return [framed(bytes(frame))]
        return Tamper(True, 2, do), ANY

    def as_status_says_error(self):
        return Tamper(False, 0, lambda s, f: [framed(bytes([self.rng.randint(1, 8)]))]), ANY

    def as_status_is_garbage(self):
        return Tamper(False, 0, lambda s, f: [framed(self.rng.randbytes(self.rng.choice([0, 2, 40])))]), ANY

    def as_evidence_is_garbage(self):
        return Tamper(False, 1, lambda s, f: [framed(self.rng.randbytes(self.rng.choice([0, 1, 500, 30000])))]), {INPUT, REFUSED}

    def as_route_is_refused(self):
        return Tamper(True, 0, lambda s, f: [framed(b"X")]), ANY

    def as_frame_added_up(self):
        return Tamper(True, self.up_record(), lambda s, f: [framed(self.rng.randbytes(272)), framed(f)]), ANY

    def as_frame_added_down(self):
        return Tamper(False, self.down_record(), lambda s, f: [framed(self.rng.randbytes(272)), framed(f)]), {REFUSED}

    def as_error_in_clear(self):
        return Tamper(False, DOWN_RECORD, lambda s, f: [framed(b"\x03")]), {INPUT, REFUSED}

    def as_end_dropped(self):
        """The answer is there, whole by its own length; the farewell is not. The client may not wait for it."""
        def do(stream, frame):
            if not stream.up and len(frame) == 272 and stream.n > DOWN_RECORD:
                raise Cut
            return [framed(frame)]
        return do, {OK, PEER}

    def as_flood_down(self):
        def do(stream, _frame):
            for _ in range(64):
                stream.send(framed(self.rng.randbytes(65552)))
            raise Cut
        return Tamper(False, DOWN_RECORD, do), {REFUSED}

    def as_flood_up(self):
        def do(stream, _frame):
            for _ in range(64):
                stream.send(framed(self.rng.randbytes(65552)))
            return []
        return Tamper(True, UP_RECORD, do), ANY

    def as_cut(self):
        return Tamper(bool(self.rng.randrange(2)), self.rng.randrange(3), cut), {PEER}

    def as_cut_after_result(self):
        return Tamper(False, DOWN_RECORD + 1, cut), {PEER}

    def as_silence(self):
        def do(_stream, _frame):
            time.sleep(4)
            raise Cut
        return Tamper(bool(self.rng.randrange(2)), self.rng.randrange(1, 3), do), {PEER}

    def as_half_close_up(self):
        def do(stream, frame):
            stream.send(framed(frame))
            stream.sink.shutdown(1)
            return []
        return Tamper(True, self.rng.randrange(1, 4), do), ANY | {OK}

    def as_half_close_down(self):
        def do(stream, frame):
            stream.send(framed(frame))
            stream.sink.shutdown(1)
            return []
        return Tamper(False, self.rng.randrange(0, 3), do), {PEER}

    def as_slow_in_pieces(self):
        return Slow(self.rng, 0.001), {OK}

    def as_honest(self):
        return lambda s, f: [framed(f)], {OK}


class StoreKinds:
    """What the host may do to weights on their way to the enclave; as in Kinds. `data` are the stored bytes."""

    def __init__(self, rng, other, older):
        self.rng, self.other, self.older = rng, other, older

    @staticmethod
    def instead(change):
        """A tamper for the service port: status and size, then raw bytes, which `change` may replace. Only fetches (G)."""
        class Fetch:
            done = False

            def __call__(self, stream, frame):
                if stream.up:
                    stream.fetch = frame[:1] == b"G"
                    stream.raw = True
                    return [framed(frame)]
                if not stream.other.fetch:
                    stream.raw = True
                    return [framed(frame)]
                self.done = True
                status, size = frame[:1], struct.unpack(">Q", frame[1:9])[0]
                data = stream.read(size)
                return change(status, size, data)
        return Fetch()

    def replaced(self, change, codes):
        return self.instead(lambda st, n, d: [framed(st + struct.pack(">Q", n)), change(d)]), codes

    def as_weights_one_bit(self):
        return self.replaced(lambda d: flip(self.rng, d), {REFUSED})

    def as_weights_of_another_model(self):
        return self.replaced(lambda d: (self.other * (len(d) // len(self.other) + 1))[: len(d)], {REFUSED})

    def as_weights_older(self):
        return self.replaced(lambda d: self.older[: len(d)], {REFUSED})

    def as_weights_chunks_swapped(self):
        def change(d):
            half = len(d) // 2
            return d[half:] + d[:half]
        return self.replaced(change, {REFUSED})

    def as_weights_zero(self):
        return self.replaced(lambda d: bytes(len(d)), {REFUSED})

    def as_weights_cut(self):
        def change(st, n, d):
            raise Cut
        return self.instead(change), ANY

    def as_weights_part_then_cut(self):
        return self.instead(lambda st, n, d: [framed(st + struct.pack(">Q", n)), d[: self.rng.randrange(n)]]), ANY

    def as_weights_size_lie(self):
        return self.instead(lambda st, n, d: [framed(st + struct.pack(">Q", self.rng.choice([0, n - 1, n + 1, 2**63]))), d]), ANY

    def as_weights_no_such_object(self):
        return self.instead(lambda st, n, d: [framed(b"\x02")]), ANY

    def as_weights_status_garbage(self):
        return self.instead(lambda st, n, d: [framed(self.rng.randbytes(self.rng.choice([0, 1, 30])))]), ANY

    def as_weights_flood(self):
        return self.instead(lambda st, n, d: [framed(st + struct.pack(">Q", n)), d, bytes(1 << 20)]), ANY | {OK}

    def as_weights_slow(self):
        def change(st, n, d):
            time.sleep(0.3)
            return [framed(st + struct.pack(">Q", n)), d]
        return self.instead(change), {OK}


class Recorded:
    """A session that passed earlier: its frames, to be replayed."""

    def __init__(self):
        self.up, self.down = [], []

    def __call__(self, stream, frame):
        (self.up if stream.up else self.down).append(frame)
        return [framed(frame)]


def names(kinds):
    return sorted(n for n in dir(kinds) if n.startswith("as_"))


class HostileHost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Services()
        cls.addClassCleanup(cls.s.close)
        cls.inits = small_model(cls.s.path("m.onnx"))
        small_model(cls.s.path("other.onnx"), seed=2)
        cls.model = cls.push("m.onnx", "--model-version", "2")
        cls.x = np.random.RandomState(3).standard_normal((3000, 16)).astype(np.float32)
        np.save(cls.s.path("x.npy"), cls.x)
        cls.earlier, cls.foreign = Recorded(), Recorded()
        relay = Relay(cls.s.host, cls.earlier)
        assert cls.infer(relay.address).returncode == 0
        relay.close()
        other = Services()  # another owner's enclave: other root, same program
        relay = Relay(other.host, cls.foreign)
        run("eml", "attest", "--host", relay.address, "--policy", other.path("policy.json"))
        relay.close()
        other.close()
        assert len(cls.earlier.up) > UP_RECORD + 2 and len(cls.earlier.down) > DOWN_RECORD + 2, "several records each way"
        assert len(cls.foreign.down) > 1

    @classmethod
    def push(cls, source, *options):
        model = cls.s.path(f"model.{source}.{len(options)}.{time.monotonic_ns()}")
        done = run("eml", "decompose", cls.s.path(source), "-o", model, *options)
        assert done.returncode == 0, done.stderr
        assert run("eml", "push", model, "--host", cls.s.host).returncode == 0
        return model

    @classmethod
    def infer(cls, host, codes=(OK,)):
        out = cls.s.path("out")
        shutil.rmtree(out, ignore_errors=True)
        return run("eml", "infer", "--host", host, "--policy", cls.s.path("policy.json"), "--topology",
                   cls.model + "/topology.key", "--input", "x=" + cls.s.path("x.npy"), "--output", out, "--timeout",
                   IMPATIENT if PEER in codes else PATIENT, timeout=DEADLINE)

    def judge(self, done, codes, tamper):
        result = self.s.path("out", "y.npy")
        self.assertIn(done.returncode, codes, done.stderr)
        if done.returncode == OK:
            np.testing.assert_allclose(np.load(result), expected(self.inits, self.x), rtol=1e-4, atol=1e-5)
        else:
            self.assertNotEqual(done.stderr.strip(), "", "no message")
            self.assertFalse(os.path.exists(result), "a result in spite of an error")
        self.assertNotIn(CANARY, done.stderr + done.stdout + self.s.logs())
        self.assertTrue(getattr(tamper, "done", True), "the host did not get to do it")

    def assert_serves(self):
        done = self.infer(self.s.host)
        self.judge(done, {OK}, None)

    def test_between_client_and_enclave(self):
        cases = 0
        for name in names(Kinds) * ROUNDS:
            with self.subTest(kind=name, case=cases, seed=SEED):
                rng = random.Random(SEED * 10000 + cases)
                tamper, codes = getattr(Kinds(rng, self.earlier, self.foreign), name)()
                relay = Relay(self.s.host, tamper)
                try:
                    self.judge(self.infer(relay.address, codes), codes, tamper)
                finally:
                    relay.close()
                if cases % 10 == 9:
                    self.assert_serves()
            cases += 1
        print(f"seed {SEED}: {len(names(Kinds))} kinds of host, {cases} cases", file=sys.stderr)
        assured(cases, f"{len(names(Kinds))} kinds of lying host between client and enclave: an error of the right class or the right "
                "answer, no file, no hang; the next request works")
        self.assert_serves()

    def test_between_enclave_and_store(self):
        older = self.push("m.onnx", "--model-version", "1")
        other = self.push("other.onnx")
        with open(older + "/weights.sealed", "rb") as f:
            older = f.read()
        with open(other + "/weights.sealed", "rb") as f:
            other = f.read()
        cases = 0
        for name in names(StoreKinds) * ROUNDS:
            with self.subTest(kind=name, case=cases, seed=SEED):
                rng = random.Random(SEED * 20000 + cases)
                tamper, codes = getattr(StoreKinds(rng, other, older), name)()
                self.s.stop("enclave")  # with it goes its cache
                relay = Relay("unix:" + self.s.path("service.sock"), tamper, self.s.path(f"evil{cases}.sock"))
                try:
                    self.s.start_enclave(service=relay.address)
                    self.judge(self.infer(self.s.host, codes), codes, tamper)
                    self.assertIsNone(self.s.processes["enclave"].poll(), "the enclave ended")
                finally:
                    relay.close()
            cases += 1
        print(f"seed {SEED}: {len(names(StoreKinds))} kinds of store, {cases} cases", file=sys.stderr)
        assured(cases, f"{len(names(StoreKinds))} kinds of lying weight store: likewise")
        self.s.stop("enclave")
        self.s.start_enclave()
        self.assert_serves()

    def test_floods_of_connections(self):
        """Half-open sessions up to the limit: a client is told so or served, and served when they are gone."""
        held = []
        for _ in range(40):
            c = socket.create_connection(("127.0.0.1", self.s.host_port))
            c.sendall(framed(b"R"))
            held.append(c)
        done = self.infer(self.s.host)
        self.judge(done, ANY | {OK}, None)
        for c in held:
            c.close()
        self.s.wait(lambda: self.infer(self.s.host).returncode == 0, "service after the flood")


if __name__ == "__main__":
    unittest.main(verbosity=1)
