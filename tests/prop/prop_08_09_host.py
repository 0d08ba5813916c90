"""Properties 8, 9 and 11: a host that lies, and what comes of it.

A relay stands where root on the host stands: between client and enclave, and between the enclave and what the host serves it:
weights, audit log, tunnel to KMS. It does one of the things in lying.py to a request, at a place drawn at random. The client must get the right answer, or an error of the class that the thing
allows, with a message, no output file, and within its deadline; nothing that it prints may hold a secret; and the next request must
work as if nothing had been. A wrong answer, a hang or a crash fails the test.
"""
import os
import random
import shutil
import socket
import sys
import time
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lying import ANY, DOWN_RECORD, OK, PEER, REFUSED, UP_RECORD, Kinds, KmsKinds, LogKinds, Recorded, StoreKinds, names  # noqa: E402
from relay import Relay, framed  # noqa: E402
from services import CANARY, Services, assured, expected, free_port, run, small_model  # noqa: E402
from shrink import shrunk  # noqa: E402

ROUNDS = int(os.environ.get("EML_ROUNDS", "2"))
SEED = int(os.environ.get("EML_SEED", "9090"))
# Seconds that the client gives the host: few where it may wait in vain, else enough for any machine. It ends soon after.
IMPATIENT, PATIENT, DEADLINE = 3, 60, 120


class HostileHost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Services(kms=True)
        cls.addClassCleanup(cls.s.close)
        cls.inits = small_model(cls.s.path("m.onnx"))
        small_model(cls.s.path("other.onnx"), seed=2)
        cls.model = cls.push("m.onnx", "--model-version", "2")
        cls.x = np.random.RandomState(3).standard_normal((3000, 16)).astype(np.float32)
        np.save(cls.s.path("x.npy"), cls.x)
        # Two owners: a PKI of its own, and then a second enclave under the first one's root.
        cls.twin = Services()
        cls.addClassCleanup(cls.twin.close)
        cls.sessions = {"foreign": Recorded(), "before": Recorded(), "earlier": Recorded()}
        relay = Relay(cls.twin.host, cls.sessions["foreign"])
        run("eml", "attest", "--host", relay.address, "--policy", cls.twin.path("policy.json"))
        relay.close()
        cls.twin.stop("enclave")
        shutil.rmtree(cls.twin.path("pki"))
        shutil.copytree(cls.s.path("pki"), cls.twin.path("pki"))
        cls.twin.start_enclave()
        cls.record("before")
        cls.restart()
        cls.record("earlier")
        assert len(cls.sessions["foreign"].down) > 1

    @classmethod
    def record(cls, name):
        session = cls.sessions[name]
        relay = Relay(cls.s.host, session)
        done = cls.infer(relay.address)
        assert done.returncode == 0, done.stderr
        relay.close()
        assert len(session.up) > UP_RECORD + 2 and len(session.down) > DOWN_RECORD + 2, "several records each way"

    @classmethod
    def restart(cls, fresh_log=False, service=None, kms_port=None):
        """Host and enclave; with the enclave goes its cache."""
        cls.s.stop("enclave")
        cls.s.stop("host")
        if fresh_log:
            shutil.rmtree(cls.s.path("audit"))
        cls.s.start_host(kms_port=kms_port)
        cls.s.start_enclave(service=service)

    @classmethod
    def push(cls, source, *options):
        model = cls.s.path(f"model.{source}.{len(options)}.{time.monotonic_ns()}")
        done = run("eml", "decompose", cls.s.path(source), "-o", model, *options)
        assert done.returncode == 0, done.stderr
        assert run("eml", "push", model, "--host", cls.s.host).returncode == 0
        return model

    @classmethod
    def infer(cls, host, codes=(OK,), options=(), tamper=None):
        """Patient again if the client gave up before the host got to do anything, as on a busy machine."""
        out = cls.s.path("out")
        for patience in (IMPATIENT if PEER in codes else PATIENT, PATIENT):
            shutil.rmtree(out, ignore_errors=True)
            done = run("eml", "infer", "--host", host, "--policy", cls.s.path("policy.json"), "--topology",
                       cls.model + "/topology.key", "--input", "x=" + cls.s.path("x.npy"), "--output", out, "--timeout", patience,
                       *options, timeout=DEADLINE, env=cls.s.environment)
            if done.returncode != PEER or getattr(tamper, "done", True):
                break
        return done

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

    def each(self, place, kinds, rounds, one):
        """Each kind of lie that there is at a place, so many times, with its place in the traffic drawn at random: one(case, tamper,
        codes). kinds: makes the object whose methods are the kinds. The number of cases."""
        all_names = names(type(kinds(random.Random(SEED))))
        for case, name in enumerate(all_names * rounds):
            with self.subTest(kind=name, case=case, seed=SEED):
                one(case, *getattr(kinds(random.Random(SEED * 10000 * place + case)), name)())
        print(f"seed {SEED}: {len(all_names)} kinds, {len(all_names) * rounds} cases", file=sys.stderr)
        return len(all_names) * rounds

    def through_service(self, case, tamper, codes, fresh_log=False):
        """A lie between the enclave, started anew, and what the host serves it."""
        relay = Relay("unix:" + self.s.path("service.sock"), tamper, self.s.path(f"evil{case}{fresh_log}.sock"))
        try:
            self.restart(fresh_log=fresh_log, service=relay.address)
            self.judge(self.infer(self.s.host, codes, tamper=tamper), codes, tamper)
            self.assertIsNone(self.s.processes["enclave"].poll(), "the enclave ended")
        finally:
            relay.close()

    def test_between_client_and_enclave(self):
        def one(case, tamper, codes):
            relay = Relay(self.s.host, tamper)
            try:
                self.judge(self.infer(relay.address, codes, tamper=tamper), codes, tamper)
            finally:
                relay.close()
            if case % 10 == 9:
                self.assert_serves()
        cases = self.each(1, lambda rng: Kinds(rng, self.sessions, self.twin.host), ROUNDS, one)
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
        cases = self.each(2, lambda rng: StoreKinds(rng, other, older), ROUNDS, self.through_service)
        assured(cases, f"{len(names(StoreKinds))} kinds of lying weight store: likewise")
        self.s.stop("enclave")
        self.s.start_enclave()
        self.assert_serves()

    def test_forwards_unmodified(self):
        """What goes into the real host at one side comes out at the other, byte for byte; requests of few bytes and of several MiB."""
        rng = random.Random(SEED)
        real = self.s.path("real.sock")
        os.rename(self.s.path("enclave.sock"), real)
        sizes = [1, 60000] + [rng.randint(1, 2 ** rng.randint(1, 16)) for _ in range(8 * ROUNDS)]
        try:
            for rows in sizes:
                with self.subTest(rows=rows):
                    value = rng.random()
                    shrunk(lambda n, value=value: self.forwards(real, np.ones((n, 16), np.float32) * value), rows, SEED)
        finally:
            os.rename(real, self.s.path("enclave.sock"))
        assured(len(sizes), "requests of all sizes: the bytes on both sides of the host are the same")

    def forwards(self, enclave, x):
        """One request, seen by relays of its own: what is late of another is not in it."""
        np.save(self.s.path("sized.npy"), x)
        far, near = Relay("unix:" + enclave, None, self.s.path("enclave.sock")), Relay(self.s.host)
        try:
            done = run("eml", "infer", "--host", near.address, "--policy", self.s.path("policy.json"), "--topology",
                       self.model + "/topology.key", "--input", "x=" + self.s.path("sized.npy"), "--output", self.s.path("out"))
            up, down = framed(b"R"), framed(b"\0")  # what is said to the host itself
            self.assertEqual((near.connections, far.connections), (1, 1))
            # The farewell of either side may still be on its way.
            self.same(near.bytes_up, up + far.bytes_up, len(x) * 64)
            self.same(down + far.bytes_down, near.bytes_down, len(x) * 40)
            self.assertEqual(done.returncode, OK, done.stderr)
        finally:
            near.close()
            far.close()
            os.unlink(self.s.path("enclave.sock"))

    def same(self, sent, came, least):
        """What came so far is how what was sent begins, and holds at least so many bytes."""
        sent, came = bytes(sent), bytes(came)
        self.assertGreater(len(came), least)
        n = min(len(sent), len(came))
        self.assertTrue(sent[:n] == came[:n], "the host changed what it forwards")

    def test_between_enclave_and_log(self):
        cases = self.each(3, LogKinds, 1 + ROUNDS // 4, lambda *case: self.through_service(*case, fresh_log=True))
        assured(cases, f"{len(names(LogKinds))} kinds of lying audit log: likewise; no result leaves unless its record was acknowledged")
        self.restart(fresh_log=True)
        self.assert_serves()

    def test_between_enclave_and_kms(self):
        options = self.s.kms_options(self.s.create_key(self.s.pcrs["0"]))
        earlier = Recorded()
        self.through_kms(earlier.take, {OK}, options)
        cases = self.each(4, lambda rng: KmsKinds(rng, b"".join(earlier.down)), 1 + ROUNDS // 4,
                          lambda case, tamper, codes: self.through_kms(tamper, codes, options))
        with self.subTest(kind="another KMS", seed=SEED):
            self.through_kms(None, {REFUSED}, options, self.another_kms())
        cases += 1
        assured(cases, f"{len(names(KmsKinds)) + 1} kinds of forged KMS: likewise")
        self.restart()
        self.assert_serves()

    def through_kms(self, tamper, codes, options, target=None):
        relay = Relay(f"tcp:127.0.0.1:{target or self.s.kms_port}", tamper, raw=True)
        try:
            self.restart(kms_port=int(relay.address.rpartition(":")[2]))
            self.judge(self.infer(self.s.host, codes, options, tamper), codes, tamper)
            self.assertGreater(relay.connections, 0, "KMS was not asked")
        finally:
            relay.close()

    def another_kms(self):
        """The same keys, policies and certificates' names; only that its TLS key is the host's own."""
        done = run("eml-devpki", "--tls", self.s.path("tls2"), "localhost")
        self.assertEqual(done.returncode, 0, done.stderr)
        port = free_port()
        self.s.spawn("kms2", "eml-kmsd", "--listen", f"127.0.0.1:{port}", "--store", self.s.path("kms"), "--tls-cert",
                     self.s.path("tls2/kms.pem"), "--tls-key", self.s.path("tls2/kms.key"), "--root", self.s.path("pki/root.pem"),
                     "--access-key", f"{self.s.KEY}={self.s.SECRET}")
        return port

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
