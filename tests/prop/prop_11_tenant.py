"""Property 11: of a tenant who means harm nobody else sees anything.

Malicious keys and requests (hostile.py), through real programs, by a client that checks nothing (tenant.c). Each is refused, or its
worker dies; the broker is the same process to the end; and an honest tenant, served all the while, gets bit for bit what it gets alone,
in time. No result of the hostile ones holds a piece of the honest one's weights, inputs or outputs.
"""
import concurrent.futures
import os
import random
import subprocess
import sys
import threading
import time
import unittest

import numpy as np
from onnx import numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "integration")]
import hostile  # noqa: E402
import scan  # noqa: E402
from services import BIN, PATIENCE, Services, assured, run, small_model  # noqa: E402
from shrink import shrunk  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "100"))
SEED = int(os.environ.get("EML_SEED", "20210"))
REQUEST_SECONDS = 15
HONEST_SECONDS = 60  # a request of the honest tenant among hostile ones: a bound for any machine; bench/ measures
HOSTILE_AT_ONCE = 3


class Honest(threading.Thread):
    """A session after the other, until told to stop; its first result is made while nobody else is there."""

    def __init__(self, services, folder):
        super().__init__()
        self.s, self.folder, self.over = services, folder, threading.Event()
        self.inits = small_model(services.path("honest.onnx"), seed=3, width=200, layers=3)
        for args in (("decompose", services.path("honest.onnx"), "-o", folder), ("push", folder, "--host", services.host)):
            done = run("eml", *args)
            assert done.returncode == 0, done.stderr
        self.x = np.random.RandomState(8).standard_normal((64, 16)).astype(np.float32)
        np.save(services.path("honest.npy"), self.x)
        self.seconds, self.wrong = [], []
        self.alone = self.result()

    def result(self):
        out = self.s.path("honest.out")
        start = time.monotonic()
        done = self.s.infer(self.folder, [("x", self.s.path("honest.npy"))] * 4, out, "--mode", "session", "--timeout", 4 * HONEST_SECONDS,
                            timeout=8 * HONEST_SECONDS)
        self.seconds.append((time.monotonic() - start) / 4)
        if done.returncode != 0:
            return done.stderr
        results = []
        for k in range(4):
            with open(os.path.join(out, str(k + 1), "y.npy"), "rb") as f:
                results.append(f.read())
        return results

    def run(self):
        while not self.over.is_set():
            result = self.result()
            if result != self.alone:
                self.wrong.append(result)

    def markers(self):
        secrets = [numpy_helper.to_array(t).tobytes() for t in self.inits] + [self.x.tobytes(), self.alone[0][128:]]
        return scan.Markers(*[scan.markers_of(s) for s in secrets])


class Tenant(unittest.TestCase):
    def setUp(self):
        self.s = Services(enclave_args=("--request-seconds", REQUEST_SECONDS, "--memory-bytes", 1 << 30, "--flops", 10**11))
        self.addCleanup(self.s.close)
        small_model(self.s.path("m.onnx"), width=600)
        for args in (("decompose", self.s.path("m.onnx"), "-o", self.s.path("model")),
                     ("push", self.s.path("model"), "--host", self.s.host)):
            done = run("eml", *args)
            self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.s.path("model", "topology.key"), "rb") as f:
            self.sound = f.read()
        self.assertEqual(hostile.cbor(hostile.parse(self.sound)[0]), self.sound)

    def attack(self, number, requests):
        """What came of each request, and the bytes of all results."""
        files = []
        for k, r in enumerate(requests):
            files.append(self.s.path(f"{number}.{k}.request"))
            with open(files[-1], "wb") as f:
                f.write(r)
        answer = self.s.path(f"{number}.results")
        program = [os.path.join(BIN, "tests", "integration", "tenant"), self.s.host, self.s.path("policy.json"), answer, *files]
        done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=PATIENCE)
        if done.returncode != 0:
            return [done.stderr], b""
        with open(answer, "rb") as f:
            results = f.read()
        for path in [answer, *files]:
            os.unlink(path)
        return done.stdout.splitlines(), results

    @staticmethod
    def wrong(outcomes, results, right, markers):
        if not outcomes or outcomes[0] not in right:
            return f"{outcomes}, not {sorted(right)}"
        return "holds what is the honest tenant's" if markers.search(results).size else None

    def again(self, seed, edits, right, markers):
        requests = hostile.edited(self.sound, seed, edits)
        if requests:
            outcomes, results = self.attack(f"again{seed}", requests)
            self.assertIsNone(self.wrong(outcomes, results, right, markers), f"edited {seed} {edits}")

    def test_nobody_else_is_harmed(self):
        honest = Honest(self.s, self.s.path("honest"))
        self.assertIsInstance(honest.alone, list, honest.alone)
        markers, tally, broken = honest.markers(), {}, []
        all_cases = list(hostile.cases(self.sound, random.Random(SEED), CASES))
        honest.start()
        try:
            with concurrent.futures.ThreadPoolExecutor(HOSTILE_AT_ONCE) as pool:
                attacks = [pool.submit(self.attack, i, requests) for i, (_, requests, _) in enumerate(all_cases)]
                for (name, _, right), attack in zip(all_cases, attacks):
                    outcomes, results = attack.result()
                    for outcome in outcomes:
                        tally[outcome] = tally.get(outcome, 0) + 1
                    wrong = self.wrong(outcomes, results, right, markers)
                    if wrong:
                        broken.append((name, wrong, right))
                    if self.s.processes["enclave"].poll() is not None:
                        self.fail(f"the broker ended at {name}, seed {SEED}: {self.s.logs()[-2000:]}")
        finally:
            honest.over.set()
            honest.join()
        slow = max(honest.seconds)
        print(f"seed {SEED}: {len(all_cases)} cases, {tally}; honest requests: {4 * len(honest.seconds)}, slowest {slow:.2f} s",
              file=sys.stderr)
        for name, wrong, right in broken:
            if name.startswith("edited "):  # the one kind of case that has parts
                seed, edits = map(int, name.split()[1:])
                shrunk(lambda n, seed=seed, right=right: self.again(seed, n, right, markers), edits, SEED)
        self.assertEqual([b[:2] for b in broken], [], f"seed {SEED}")
        self.assertEqual(honest.wrong, [])
        self.assertGreater(len(honest.seconds), 2, "the honest tenant was not served meanwhile")
        self.assertLess(slow, HONEST_SECONDS)
        self.assertGreaterEqual(len(all_cases), 200)
        self.assertTrue(markers.search(honest.alone[0]).size, "the search finds nothing where something is")
        assured(len(all_cases), "hostile keys and requests: refused or their worker dies; an honest tenant beside them is served as if alone")


if __name__ == "__main__":
    unittest.main(verbosity=1)
