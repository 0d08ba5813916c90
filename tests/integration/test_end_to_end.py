"""The main job through real processes, and what happens when things go wrong: exit codes, no partial output, others go on."""
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

import numpy as np

import scan
from services import CANARY, Services, expected, program, run, small_model

USAGE, INPUT, REFUSED, PEER, SYSTEM = 2, 3, 4, 5, 1


class Base(unittest.TestCase):
    kms = False

    @classmethod
    def setUpClass(cls):
        cls.s = Services(kms=cls.kms)
        cls.addClassCleanup(cls.s.close)
        cls.model = cls.s.path("model")
        cls.inits = small_model(cls.s.path("m.onnx"))
        done = run("eml", "decompose", cls.s.path("m.onnx"), "-o", cls.model)
        assert done.returncode == 0, done.stderr
        done = run("eml", "push", cls.model, "--host", cls.s.host)
        assert done.returncode == 0, done.stderr
        cls.x = np.random.RandomState(7).standard_normal((5, 16)).astype(np.float32)
        np.save(cls.s.path("x.npy"), cls.x)

    def setUp(self):
        self.out = self.s.path("out", self.id().rsplit(".", 1)[1])
        os.makedirs(os.path.dirname(self.out), exist_ok=True)

    def infer(self, *options, **kwargs):
        inputs = kwargs.pop("inputs", [("x", self.s.path("x.npy"))])
        return self.s.infer(kwargs.pop("model", self.model), inputs, kwargs.pop("out", self.out), *options, **kwargs)

    def assert_works(self):
        done = self.infer(out=self.out + ".after")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_result(os.path.join(self.out + ".after", "y.npy"))

    def assert_result(self, path, x=None):
        np.testing.assert_allclose(np.load(path), expected(self.inits, self.x if x is None else x), rtol=1e-4, atol=1e-5)

    def assert_fails(self, done, code, *words):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertNotEqual(done.stderr.strip(), "", "no message")
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertFalse(os.path.exists(self.out) and os.listdir(self.out), "partial output")

    def copy_model(self):
        target = self.s.path("copy", self.id().rsplit(".", 1)[1])
        shutil.copytree(self.model, target)
        return target


class Works(Base):
    def test_request(self):
        done = self.infer("--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_result(os.path.join(self.out, "y.npy"))
        report = json.loads(done.stdout)
        self.assertTrue(report["checks"] and all(c["passed"] for c in report["checks"]))
        self.assertGreater(report["results"][0]["exposure_us"], 0)
        self.assertGreater(report["results"][0]["wiped_bytes"], 0)

    def test_equals_local_run_bit_for_bit(self):
        self.assertEqual(self.infer().returncode, 0)
        local = run("eml", "run", "--topology", self.model + "/topology.key", "--weights", self.model + "/weights.sealed",
                    "--input", "x=" + self.s.path("x.npy"), "--output", self.out + ".local")
        self.assertEqual(local.returncode, 0, local.stderr)
        with open(self.out + "/y.npy", "rb") as a, open(self.out + ".local/y.npy", "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_several_requests_in_a_session(self):
        inputs = []
        for k in range(4):
            np.save(self.s.path(f"x{k}.npy"), self.x[: k + 1] * (k + 1))
            inputs.append(("x", self.s.path(f"x{k}.npy")))
        for mode in ("request", "session"):
            out = f"{self.out}.{mode}"
            done = self.infer("--mode", mode, "--json", inputs=inputs, out=out)
            self.assertEqual(done.returncode, 0, done.stderr)
            for k, result in enumerate(json.loads(done.stdout)["results"]):
                self.assert_result(os.path.join(out, str(k + 1), "y.npy"), self.x[: k + 1] * (k + 1))
                self.assertEqual(result["wiped_bytes"] > 0, mode == "request")

    def test_attest(self):
        done = run("eml", "attest", "--host", self.s.host, "--policy", self.s.path("policy.json"), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["document"]["pcrs"]["0"], self.s.pcrs["0"])

    def test_many_clients_at_once(self):
        results = []
        def one(k):
            results.append((k, self.infer(out=f"{self.out}.{k}")))
        threads = [threading.Thread(target=one, args=(k,)) for k in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for k, done in results:
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assert_result(f"{self.out}.{k}/y.npy")

    def test_push_again_is_fine(self):
        self.assertEqual(run("eml", "push", self.model, "--host", self.s.host).returncode, 0)

    def test_decompose_twice_gives_unrelated_bytes(self):
        other = self.s.path("again")
        self.assertEqual(run("eml", "decompose", self.s.path("m.onnx"), "-o", other).returncode, 0)
        a = np.fromfile(self.model + "/weights.sealed", np.uint8)
        b = np.fromfile(other + "/weights.sealed", np.uint8)
        self.assertEqual(a.size, b.size)
        self.assertAlmostEqual(np.mean(a == b), 1 / 256, delta=0.002)

    def test_topology_is_private(self):
        self.assertEqual(os.stat(self.model + "/topology.key").st_mode & 0o777, 0o600)


class BadFiles(Base):
    def damaged(self, name, change):
        with open(os.path.join(self.model, name), "rb") as f:
            data = bytearray(f.read())
        model = self.copy_model()
        with open(os.path.join(model, name), "wb") as f:
            f.write(change(data))
        return model

    def test_onnx(self):
        with open(self.s.path("m.onnx"), "rb") as f:
            good = f.read()
        cases = {"truncated": good[: len(good) // 2], "garbage": os.urandom(5000), "empty": b"",
                 "huge length": b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + good}
        for name, data in cases.items():
            with self.subTest(name):
                path = self.s.path("bad.onnx")
                with open(path, "wb") as f:
                    f.write(data)
                for command in (["check", path], ["decompose", path, "-o", self.out]):
                    self.assert_fails(run("eml", *command), INPUT)

    def test_no_such_file(self):
        self.assert_fails(run("eml", "check", self.s.path("missing.onnx")), USAGE, "missing.onnx")

    def test_topology(self):
        for name, change in {"truncated": lambda d: d[:-7], "longer": lambda d: d + b"\0", "empty": lambda d: b"",
                             "nonsense": lambda d: os.urandom(len(d))}.items():
            with self.subTest(name):
                model = self.damaged("topology.key", change)
                self.assert_fails(self.infer(model=model), INPUT)
                local = run("eml", "run", "--topology", model + "/topology.key", "--weights", model + "/weights.sealed",
                            "--input", "x=" + self.s.path("x.npy"), "--output", self.out)
                self.assert_fails(local, INPUT)
                shutil.rmtree(model)
        self.assert_works()

    def test_topology_readable_by_others(self):
        model = self.copy_model()
        os.chmod(model + "/topology.key", 0o644)
        self.assert_fails(self.infer(model=model), REFUSED, "chmod 600")

    def test_tensor_files(self):
        np.save(self.s.path("good.npy"), self.x)
        with open(self.s.path("good.npy"), "rb") as f:
            good = f.read()
        cases = {"truncated": good[:-1], "longer": good + b"\0", "no magic": b"X" + good[1:], "empty": b"",
                 "object": good.replace(b"'<f4'", b"'|O8'"), "big dims": good.replace(b"(5, 16)", b"(5,9999999)")}
        for name, data in cases.items():
            with self.subTest(name):
                with open(self.s.path("bad.npy"), "wb") as f:
                    f.write(data)
                self.assert_fails(self.infer(inputs=[("x", self.s.path("bad.npy"))]), INPUT)

    def test_inputs_that_do_not_fit(self):
        np.save(self.s.path("f8.npy"), self.x.astype(np.float64))
        np.save(self.s.path("wide.npy"), np.zeros((5, 17), np.float32))
        np.save(self.s.path("rank.npy"), np.zeros(16, np.float32))
        x = self.s.path("x.npy")
        for inputs in ([("x", self.s.path("f8.npy"))], [("x", self.s.path("wide.npy"))], [("x", self.s.path("rank.npy"))],
                       [("z", x)], [("x", x), ("z", x)]):
            with self.subTest(inputs=inputs):
                self.assert_fails(self.infer(inputs=inputs), INPUT)
        self.assert_works()

    def test_policy(self):
        with open(self.s.path("policy.json"), encoding="utf-8") as f:
            good = f.read()
        for name, text in {"truncated": good[:-3], "not json": "policy", "unknown member": good.replace("{", '{"debug": true,', 1),
                           "empty": ""}.items():
            with self.subTest(name):
                with open(self.s.path("bad.json"), "w", encoding="utf-8") as f:
                    f.write(text)
                self.assert_fails(self.infer(policy=self.s.path("bad.json")), INPUT)


class BadWeights(Base):
    """Each test decomposes for itself: the host's store is damaged in between."""

    def push(self, source="m.onnx", *options):
        model = self.s.path(f"model.{time.monotonic_ns()}")
        done = run("eml", "decompose", self.s.path(source), "-o", model, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        before = set(self.s.store_objects())
        self.assertEqual(run("eml", "push", model, "--host", self.s.host).returncode, 0)
        (path,) = set(self.s.store_objects()) - before
        return model, path

    def assert_refused(self, model, code=REFUSED):
        self.assert_fails(self.infer(model=model), code, "push the weights again")
        self.assert_works()

    def test_missing(self):
        model, path = self.push()
        os.unlink(path)
        self.assertIn(self.infer(model=model).returncode, (INPUT, PEER, REFUSED))
        self.assert_works()

    def test_one_bit(self):
        model, path = self.push()
        with open(path, "r+b") as f:
            f.seek(12345)
            byte = f.read(1)[0]
            f.seek(12345)
            f.write(bytes([byte ^ 1]))
        self.assert_refused(model)

    def test_another_models(self):
        small_model(self.s.path("other.onnx"), seed=2)
        model, path = self.push()
        _, other = self.push("other.onnx")
        shutil.copyfile(other, path)
        self.assert_refused(model)

    def test_older_version(self):
        model, path = self.push("m.onnx", "--model-version", "2")
        _, older = self.push("m.onnx", "--model-version", "1")
        shutil.copyfile(older, path)
        self.assert_refused(model)

    def test_truncated(self):
        model, path = self.push()
        os.truncate(path, os.path.getsize(path) - 1)
        done = self.infer(model=model)
        self.assertIn(done.returncode, (INPUT, REFUSED, PEER))
        self.assert_works()


class BadEnclave(Base):
    def test_other_measurement(self):
        for i in ("0", "1", "2"):
            with self.subTest(pcr=i):
                policy = self.s.make_policy("other.json", dict(self.s.pcrs, **{i: "ab" * 48}))
                self.assert_fails(self.infer(policy=policy), REFUSED, "measurements")

    def test_foreign_root(self):
        self.assertEqual(run("eml-devpki", self.s.path("pki2")).returncode, 0)
        policy = self.s.make_policy("foreign.json", root=self.s.path("pki2/root.pem"))
        self.assert_fails(self.infer(policy=policy), REFUSED, "root")

    def test_replayed_evidence(self):
        evidence = self.record_evidence()
        port, thread = self.serve(lambda c: (read_frame(c), send_frame(c, b"\0"), read_frame(c), send_frame(c, evidence)))
        done = run("eml", "infer", "--host", f"tcp:127.0.0.1:{port}", "--policy", self.s.path("policy.json"), "--topology",
                   self.model + "/topology.key", "--input", "x=" + self.s.path("x.npy"), "--output", self.out)
        thread.join()
        self.assert_fails(done, REFUSED, "nonce")

    def test_garbage_evidence(self):
        for answer in (b"", b"\xa0", os.urandom(3000)):
            port, thread = self.serve(lambda c, a=answer: (read_frame(c), send_frame(c, b"\0"), read_frame(c), send_frame(c, a)))
            done = run("eml", "attest", "--host", f"tcp:127.0.0.1:{port}", "--policy", self.s.path("policy.json"))
            thread.join()
            self.assert_fails(done, INPUT)

    def test_silent_host_is_given_up(self):
        port, thread = self.serve(lambda c: (read_frame(c), c.recv(1)))
        done = run("eml", "attest", "--host", f"tcp:127.0.0.1:{port}", "--policy", self.s.path("policy.json"), "--timeout", "1")
        self.assert_fails(done, PEER)
        thread.join()

    def record_evidence(self):
        with socket.create_connection(("127.0.0.1", self.s.host_port)) as c:
            send_frame(c, b"R")
            read_frame(c)
            send_frame(c, self.hello())
            return read_frame(c)

    def hello(self):
        """The first frame of a real client, recorded."""
        got = []
        port, thread = self.serve(lambda c: (read_frame(c), send_frame(c, b"\0"), got.append(read_frame(c))))
        run("eml", "attest", "--host", f"tcp:127.0.0.1:{port}", "--policy", self.s.path("policy.json"))
        thread.join()
        return got[0]

    @staticmethod
    def serve(talk):
        listener = socket.create_server(("127.0.0.1", 0))
        def one():
            c, _ = listener.accept()
            with c, listener:
                talk(c)
        thread = threading.Thread(target=one)
        thread.start()
        return listener.getsockname()[1], thread


def read_exactly(c, n):
    data = b""
    while len(data) < n:
        part = c.recv(n - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def read_frame(c):
    return read_exactly(c, struct.unpack(">I", read_exactly(c, 4))[0])


def send_frame(c, data):
    c.sendall(struct.pack(">I", len(data)) + data)


class PeersDie(Base):
    def workers(self):
        return set(scan.workers(self.s.processes["enclave"].pid))

    def test_no_host(self):
        done = run("eml", "attest", "--host", "tcp:127.0.0.1:1", "--policy", self.s.path("policy.json"))
        self.assert_fails(done, PEER)

    def test_no_enclave_then_enclave(self):
        self.s.stop("enclave")
        self.assert_fails(self.infer(), PEER)
        self.s.start_enclave()
        self.assert_works()

    def test_worker_killed_while_another_works(self):
        """A session is open and its worker is killed: its client fails, a second client is served."""
        before = self.workers()
        with socket.create_connection(("127.0.0.1", self.s.host_port)) as idle:
            send_frame(idle, b"R")
            read_frame(idle)
            self.s.wait(lambda: self.workers() - before, "a worker")
            (worker,) = self.workers() - before
            os.kill(worker, signal.SIGKILL)
            self.assertEqual(idle.recv(1), b"")
        self.assert_works()

    def test_enclave_killed_in_mid_inference(self):
        slow = self.s.path("slow.onnx")
        small_model(slow, width=3000, layers=6)
        model = self.s.path("slow")
        self.assertEqual(run("eml", "decompose", slow, "-o", model).returncode, 0)
        self.assertEqual(run("eml", "push", model, "--host", self.s.host).returncode, 0)
        np.save(self.s.path("big.npy"), np.zeros((20000, 16), np.float32))
        results = []
        thread = threading.Thread(target=lambda: results.append(
            self.infer(model=model, inputs=[("x", self.s.path("big.npy"))])))
        before = self.workers()
        thread.start()
        self.s.wait(lambda: self.workers() - before, "a worker")
        time.sleep(1.0)  # somewhere in the middle; wherever it is, the client must say the same
        self.s.stop("enclave", signal.SIGKILL)
        thread.join()
        self.assert_fails(results[0], PEER)
        self.s.start_enclave()
        self.assert_works()

    def test_output_that_cannot_be_put_in_place(self):
        os.makedirs(os.path.join(self.out, "y.npy"))
        done = self.infer()
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertEqual(os.listdir(self.out), ["y.npy"], "partial output")

    def test_no_address_space(self):
        done = self.infer(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)))
        self.assert_fails(done, SYSTEM, "ulimit")

    def test_client_killed(self):
        client = subprocess.Popen([program("eml"), "infer", "--host", self.s.host, "--policy", self.s.path("policy.json"),
                                   "--topology", self.model + "/topology.key", "--input", "x=" + self.s.path("x.npy"),
                                   "--output", self.out], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(0.01)
        client.kill()
        client.wait()
        self.assert_works()

    def test_output_disk_full(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
        done = self.infer(preexec_fn=limit)
        self.assert_fails(done, SYSTEM)
        self.assert_works()

    def test_store_object_limit(self):
        small = Services(host_args=["--object-bytes", "1000"])
        self.addCleanup(small.close)
        done = run("eml", "push", self.model, "--host", small.host)
        self.assert_fails(done, REFUSED)
        self.assertEqual(small.store_objects(), [])

    def test_store_disk_full(self):
        # A file system one page smaller than the object.
        size = os.path.getsize(self.model + "/weights.sealed") // 4096 * 4096
        try:
            full = Services(store_bytes=size)
        except PermissionError as e:
            self.skipTest(f"a small file system needs root: {e}")
        self.addCleanup(full.close)
        done = run("eml", "push", self.model, "--host", full.host)
        self.assert_fails(done, REFUSED, "disk full")
        self.assertEqual(full.store_objects(), [])
        done = run("eml", "attest", "--host", full.host, "--policy", full.path("policy.json"))
        self.assertEqual(done.returncode, 0, done.stderr)


class WithKms(Base):
    kms = True

    def test_right_measurement(self):
        done = self.infer(*self.s.kms_options(self.s.create_key(self.s.pcrs["0"])))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_result(os.path.join(self.out, "y.npy"))

    def test_wrong_measurement_is_refused_by_kms(self):
        done = self.infer(*self.s.kms_options(self.s.create_key("ab" * 48)))
        self.assert_fails(done, REFUSED)
        self.assert_works()

    def test_endpoint_without_key(self):
        self.assert_fails(self.infer("--kms-endpoint", "https://localhost:1"), USAGE, "--kms-key")

    def test_unknown_key(self):
        done = self.infer(*self.s.kms_options("arn:aws:kms:us-east-1:000000000000:key/00000000-0000-4000-8000-000000000000"))
        self.assertNotEqual(done.returncode, 0)
        self.assertFalse(os.path.exists(self.out))

    def test_untrusted_kms_certificate(self):
        self.assertEqual(run("eml-devpki", "--tls", self.s.path("tls2"), "localhost").returncode, 0)
        options = self.s.kms_options(self.s.create_key(self.s.pcrs["0"]))
        options[-1] = self.s.path("tls2/kms-ca.pem")
        self.assert_fails(self.infer(*options), REFUSED)

    def test_kms_gone(self):
        arn = self.s.create_key(self.s.pcrs["0"])
        self.s.stop("kms")
        try:
            self.assert_fails(self.infer(*self.s.kms_options(arn)), PEER)
            self.assert_works()
        finally:
            self.s.start_kms()


class SaysNothingSecret(Base):
    def test_logs_after_success_and_failures(self):
        self.infer()
        self.infer(inputs=[("z", self.s.path("x.npy"))])
        self.infer(policy=self.s.make_policy("other.json", dict(self.s.pcrs, **{"0": "ab" * 48})))
        run("eml", "run", "--topology", self.model + "/topology.key", "--weights", self.s.path("x.npy"), "--input",
            "x=" + self.s.path("x.npy"), "--output", self.out)
        logs = self.s.logs()
        self.assertNotEqual(logs, "")
        self.assertNotIn(CANARY, logs)
        for path in self.s.store_objects() + [self.model + "/topology.key"]:
            with open(path, "rb") as f:
                self.assertNotIn(CANARY.encode(), f.read(), path)


if __name__ == "__main__":
    unittest.main()
