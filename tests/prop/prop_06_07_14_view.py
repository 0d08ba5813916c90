"""Properties 6 to 9 and 14: nothing but sealed records leaves the enclave, the host keeps nothing, nothing reaches a disk.

For generated models and inputs, everything that the host ever has is searched for pieces of weights, names, topology key, input,
computed values and result: all bytes on both sides of it, its store, its audit log, its logs and metrics, its memory; after success,
after errors, and after a crash of host or enclave in the middle. And a trace of the enclave's system calls shows that no process of
it opens a file for writing.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from generated import LAYERS, Model  # noqa: E402
from relay import Relay, framed  # noqa: E402
import scan  # noqa: E402
from services import Services, assured, run  # noqa: E402
from shrink import shrunk  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "100"))
SEED = int(os.environ.get("EML_SEED", "707"))


class View(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Services()
        cls.addClassCleanup(cls.s.close)
        cls.service = Relay("unix:" + cls.s.path("service.sock"), cls.service_frames, cls.s.path("tapped.sock"))
        cls.addClassCleanup(cls.service.close)
        cls.s.stop("enclave")
        cls.s.start_enclave(service=cls.service.address)

    @staticmethod
    def service_frames(stream, frame):
        """Weights and tunnels go on as raw bytes after the first answer."""
        if not stream.up and stream.other.n > 0 and stream.other.kind in (b"G", b"E"):
            stream.raw = stream.other.raw = True
        if stream.up and stream.n == 0:
            stream.kind = frame[:1]
        return [framed(frame)]

    def setUp(self):
        self.dir = self.s.path("client")
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        for path in self.s.store_objects():
            os.unlink(path)

    def infer(self, model, host, inputs=None):
        args = [f"--input={n}={p}" for n, p in inputs or model.write_inputs()]
        return run("eml", "infer", "--host", host, "--policy", self.s.path("policy.json"), "--topology",
                   os.path.join(self.dir, "sealed", "topology.key"), "--output", os.path.join(self.dir, "out"), *args)

    def kept_by_host(self):
        """Everything on its disk by path: the store, the audit log, logs of all programs."""
        paths = [os.path.join(folder, f) for top in ("store", "audit") for folder, _, files in os.walk(self.s.path(top)) for f in files]
        paths += [self.s.path(f) for f in os.listdir(self.s.dir) if f.endswith(".log")]
        kept = {}
        for path in paths:
            with open(path, "rb") as f:
                kept[path] = f.read()
        return kept

    def settled_on_host(self):
        """The same; from the start again if the host renamed a file meanwhile, as it does when it commits its log."""
        for _ in range(100):
            try:
                return self.kept_by_host()
            except FileNotFoundError:
                time.sleep(0.02)
        raise AssertionError("the host's files never settle")

    def assert_clean(self, model, relay):
        for what, data in (("client side", relay.bytes_up), ("client side, answers", relay.bytes_down),
                           ("service side", self.service.bytes_up), ("service side, answers", self.service.bytes_down)):
            hits = model.markers.search(bytes(data))
            self.assertEqual(model.explain({what: hits.tolist()} if hits.size else {}), {}, f"seen on the wire, {what}")
        for path, data in self.settled_on_host().items():
            hits = model.markers.search(data)
            self.assertEqual(model.explain({path: hits.tolist()} if hits.size else {}), {}, "kept on the disk")
        if os.geteuid() == 0:
            self.assertEqual(model.explain(scan.find(self.s.processes["host"].pid, model.markers)), {}, "in the host's memory")

    def one(self, case, seed, most):
        """A session over a model of at most so many layers."""
        self.setUp()
        for data in (self.service.bytes_up, self.service.bytes_down):
            data.clear()
        model = Model(random.Random(seed), self.dir, most)
        relay = Relay(self.s.host)
        self.addCleanup(relay.close)
        model.prepare(self.s)
        crashed = case % 20 == 1
        if case % 4 == 0:
            done = self.infer(model, relay.address, model.write_inputs(np.full(model.rows, 50, np.int64)))
            self.assertEqual(done.returncode, 3, done.stderr)
        elif crashed:
            self.crash(model, relay, case)
        else:
            done = self.infer(model, relay.address)
            self.assertEqual(done.returncode, 0, done.stderr)
        relay.close()
        self.assertGreater(len(relay.bytes_up), 40 if crashed else 300, "nothing was seen")
        self.assert_clean(model, relay)

    def test_all_that_the_host_has(self):
        rng = random.Random(SEED)
        print(f"seed {SEED}, {CASES} cases", file=sys.stderr)
        for case in range(CASES):
            with self.subTest(case=case, seed=SEED):
                seed = rng.getrandbits(40)
                shrunk(lambda most, case=case, seed=seed: self.one(case, seed, most), LAYERS, SEED)
        assured(CASES, "sessions over generated models, with errors and crashes: nothing of them in the bytes on both sides of the "
                "host, its disk, logs and memory; the enclave opens no file for writing")

    def crash(self, model, relay, case):
        """Host or enclave is killed while a request is under way; started again, it has nothing of it."""
        victim = "host" if case % 40 == 1 else "enclave"
        thread = threading.Thread(target=self.infer, args=(model, relay.address))
        thread.start()
        time.sleep(random.Random(case).random() * 0.2)
        self.s.stop(victim, signal.SIGKILL)
        thread.join()
        if victim == "host":
            self.s.start_host(self.s.host_port)
        else:
            self.s.start_enclave(service=self.service.address)
        # The enclave finds the host's audit log again within a second or so, and says "try again" until then.
        self.s.wait(lambda: self.infer(model, relay.address).returncode == 0, "service after the crash")

    def test_the_search_finds_what_is_there(self):
        model = Model(random.Random(SEED), self.dir)
        model.prepare(self.s)
        for name in ("x.npy", "m.onnx", "sealed/topology.key"):
            with open(os.path.join(self.dir, name), "rb") as f:
                self.assertGreater(model.markers.search(f.read()).size, 3, name)

    def test_no_file_is_opened_for_writing(self):
        model = Model(random.Random(SEED), self.dir)
        model.prepare(self.s)
        trace = os.path.join(self.dir, "trace")
        strace = subprocess.Popen(["strace", "-f", "-qqq", "-o", trace, "-e", "trace=%file,memfd_create", "-p",
                                   str(self.s.processes["enclave"].pid)], stderr=subprocess.DEVNULL)
        self.addCleanup(strace.wait)
        self.addCleanup(strace.kill)
        self.s.wait(lambda: strace.poll() is not None or scan.traced(self.s.processes["enclave"].pid), "strace")
        for _ in range(3):
            self.assertEqual(self.infer(model, self.s.host).returncode, 0)
        self.s.wait(lambda: not scan.workers(self.s.processes["enclave"].pid), "the workers' end")
        strace.send_signal(signal.SIGINT)  # it detaches and writes what it still holds
        strace.wait()
        with open(trace, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        self.assertTrue(any("execve" in line for line in lines), "no worker was traced")
        changes = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|\b(creat|mkdir|mknod|rename|link|symlink|unlink|truncate)\w*\(")
        # Libraries may open /dev/null; a file without a name is memory.
        wrong = [line for line in lines if changes.search(line) and "/dev/null" not in line]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main(verbosity=1)
