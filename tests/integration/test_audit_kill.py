"""Host or enclave killed (SIGKILL) at random moments under load, EML_KILLS times: no acknowledged event is lost.

An event is acknowledged when a client has its result. The log must verify in the end, hold for each result the record
that its receipt names, at its place and with its digest, and contain every checkpoint that was seen on the way."""
import hashlib
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
import unittest

import numpy as np

import services
from test_receipt import AIR, parse


class Load(threading.Thread):
    """Asks for one inference after the other; counts the results that came."""

    def __init__(self, s):
        super().__init__()
        self.s, self.results, self.failures, self.stop = s, 0, 0, False
        self.receipts = tempfile.mkdtemp(dir=s.dir)

    def run(self):
        out = tempfile.mkdtemp(dir=self.s.dir)
        while not self.stop:
            receipt = os.path.join(self.receipts, str(self.results))
            done = self.s.infer(self.s.path("model"), [("x", self.s.path("x.npy"))], out, "--timeout", "20", "--receipt", receipt)
            if done.returncode == 0:
                self.results += 1
            else:
                self.failures += 1
                time.sleep(0.02)


class Kills(unittest.TestCase):
    def test_no_acknowledged_event_is_lost(self):
        kills = int(os.environ.get("EML_KILLS", "12"))
        seed = int(os.environ.get("EML_SEED", str(time.time_ns())))
        print(f"EML_SEED={seed}", flush=True)
        rng = random.Random(seed)
        s = services.Services()
        self.addCleanup(s.close)
        services.small_model(s.path("m.onnx"))
        self.assertEqual(services.run("eml", "decompose", s.path("m.onnx"), "-o", s.path("model")).returncode, 0)
        self.assertEqual(services.run("eml", "push", s.path("model"), "--host", s.host).returncode, 0)
        np.save(s.path("x.npy"), np.ones((1, 16), np.float32))
        loads = [Load(s) for _ in range(2)]
        for load in loads:
            load.start()
        killed = {"host": 0, "enclave": 0}
        try:
            for i in range(kills):
                time.sleep(rng.uniform(0.05, 0.5))
                victim = rng.choice(sorted(killed))
                s.stop(victim, signal.SIGKILL)
                killed[victim] += 1
                time.sleep(rng.choice((0, 0.05)))
                (s.start_host if victim == "host" else s.start_enclave)()
                if i % 5 == 0 and os.path.exists(s.path("audit/checkpoint")):
                    shutil.copy(s.path("audit/checkpoint"), s.path(f"seen{i}"))
            before = sum(load.results for load in loads)
            s.wait(lambda: sum(load.results for load in loads) > before, "a result after the last kill")
        finally:
            for load in loads:
                load.stop = True
            for load in loads:
                load.join()
        s.stop("enclave")
        s.stop("host")
        results = sum(load.results for load in loads)
        done = services.run("eml", "audit", "report", s.path("audit"), "--format", "json", "--policy",
                            s.path("policy.json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        logged = report["events"]["inference"].get("ok", 0)
        print(f"killed {killed}; results {results}, failures {sum(load.failures for load in loads)}; "
              f"logged {logged}, records {report['size']}, boots {report['boots']}", flush=True)
        self.assertGreater(results, 0)
        self.assertGreaterEqual(logged, results)
        self.assertGreaterEqual(report["boots"], killed["enclave"] + 1)
        rows = services.run("eml", "audit", "report", s.path("audit"), "--format", "csv").stdout.splitlines()[1:]
        for load in loads:
            for k in range(load.results):
                path = os.path.join(load.receipts, str(k))
                shown = json.loads(services.run("eml", "receipt", "show", path, "--json").stdout)
                row = rows[shown["log"]["index"]].split(",", 6)
                self.assertEqual(row[4:6], ["inference", "ok"])
                self.assertIn("receipt_sha256=" + hashlib.sha256(parse(path)[AIR]).hexdigest(), row[6])
        for i in range(0, kills, 5):
            if os.path.exists(s.path(f"seen{i}")):
                done = services.run("eml", "audit", "verify", s.path("audit"), "--checkpoint", s.path(f"seen{i}"))
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
