"""Properties 5 and 10: assemble, run, destroy leaves nothing.

For generated models, inputs and ways to end a session: a worker is stopped right before it ends, when nothing can run in it any
more, and all its memory is searched for the model's weights, names and key, the input, what it computed on the way, and the
result; so are the broker's and the host's. The count must be 0. That the search can find anything is shown while a session is
open: there the weights must be found.
"""
import os
import random
import shutil
import signal
import sys
import threading
import time
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from generated import LAYERS, Model  # noqa: E402
from relay import Cut, Relay, framed  # noqa: E402
import scan  # noqa: E402
from services import PATIENCE, Services, assured, run  # noqa: E402
from shrink import shrunk  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "100"))
SEED = int(os.environ.get("EML_SEED", "20250"))


class Watch:
    """Stands between client and host; seizes the worker of each connection and searches it at its end."""

    def __init__(self, services, markers):
        self.s, self.markers = services, markers
        self.found, self.ended, self.missed = {}, 0, 0
        self.broker = services.processes["enclave"].pid
        self.known = set(scan.workers(self.broker))
        self.seized, self.done = threading.Event(), threading.Event()
        self.on_result = lambda watch: None
        self.cut_after = None
        self.worker = None
        self.relay = Relay(services.host, self.tamper)

    def tamper(self, stream, frame):
        if stream.up and stream.n == 1:  # the hello: the worker is there and has heard nothing yet
            threading.Thread(target=self.trace, daemon=True).start()
            if not self.seized.wait(PATIENCE):
                raise Cut
        if stream.up and self.cut_after is not None and stream.n >= self.cut_after:
            raise Cut
        if not stream.up and stream.n == 2:  # the first record after status and evidence
            self.on_result(self)
        return [framed(frame)]

    def trace(self):
        end = time.monotonic() + PATIENCE
        while self.worker is None:
            if time.monotonic() > end:
                return
            for pid in set(scan.workers(self.broker)) - self.known:
                try:
                    scan.seize(pid)
                    self.worker = pid
                except OSError:  # it ended, or is a worker of before that does
                    continue
            time.sleep(0.001)
        self.seized.set()
        if scan.wait_exit(self.worker):
            self.found = scan.find(self.worker, self.markers)
            self.ended += 1
            scan.release(self.worker)
        else:
            self.missed += 1
        self.done.set()

    def close(self):
        self.relay.close()


class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Services(enclave_args=["--request-seconds", "2"])
        cls.addClassCleanup(cls.s.close)

    def setUp(self):
        self.dir = self.s.path("case")
        self.fresh()

    def fresh(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        for path in self.s.store_objects():
            os.unlink(path)

    def infer(self, model, watch, *options, inputs=None, rounds=1):
        args = ["eml", "infer", "--host", watch.relay.address, "--policy", self.s.path("policy.json"), "--topology",
                os.path.join(self.dir, "sealed", "topology.key"), "--output", os.path.join(self.dir, "out"), *options]
        for _ in range(rounds):
            for name, file in inputs or model.write_inputs():
                args += ["--input", f"{name}={file}"]
        return run(*args)

    # Each way returns what the client must say: 0, or one of these exit codes.
    def way_success(self, model, watch):
        self.assertEqual(self.infer(model, watch).returncode, 0)

    def way_session(self, model, watch):
        done = self.infer(model, watch, "--mode", "session", rounds=3)
        self.assertEqual(done.returncode, 0, done.stderr)

    def way_bad_index(self, model, watch):
        """Fails in the middle of the run."""
        done = self.infer(model, watch, inputs=model.write_inputs(np.full(model.rows, 50, np.int64)))
        self.assertEqual(done.returncode, 3, done.stderr)

    def way_bad_shape(self, model, watch):
        x = np.concatenate([model.x, model.x], axis=1)
        inputs = model.write_inputs()
        np.save(inputs[0][1], x)
        self.assertEqual(self.infer(model, watch, inputs=inputs).returncode, 3)

    def way_damaged_weights(self, model, watch):
        for path in self.s.store_objects():
            with open(path, "r+b") as f:
                data = bytearray(f.read())
                data[model.rng.randrange(len(data))] ^= 4
                f.seek(0)
                f.write(data)
        done = self.infer(model, watch)
        self.assertNotEqual(done.returncode, 0)

    def way_cut(self, model, watch):
        """The connection breaks at some frame of the request."""
        watch.cut_after = model.rng.choice([2, 3])
        self.assertEqual(self.infer(model, watch).returncode, 5)

    def way_client_gone(self, model, watch):
        """The client goes when the result comes."""
        def cut(_):
            raise Cut
        watch.on_result = cut
        self.assertEqual(self.infer(model, watch).returncode, 5)

    def way_terminated(self, model, watch):
        """The broker's SIGTERM, as at a time limit, when the worker has opened the model."""
        watch.on_result = lambda w: os.kill(w.worker, signal.SIGTERM)
        self.infer(model, watch, "--mode", "session", rounds=2)

    WAYS = ["success", "session", "bad_index", "bad_shape", "damaged_weights", "cut", "client_gone", "terminated"]

    def one(self, case, way, most):
        self.fresh()
        model = Model(random.Random(SEED * 1000 + case), self.dir, most)
        model.prepare(self.s)
        watch = Watch(self.s, model.markers)
        self.addCleanup(watch.close)
        getattr(self, "way_" + way)(model, watch)
        self.assertTrue(watch.done.wait(PATIENCE), "the worker did not end")
        watch.close()
        self.assertEqual(watch.ended, 1, "the worker's end was not seen")
        self.assertEqual(model.explain(watch.found), {}, "left in the worker")
        for name in ("enclave", "host"):
            self.assertEqual(model.explain(scan.find(self.s.processes[name].pid, model.markers)), {}, f"left in {name}")

    def test_nothing_is_left(self):
        print(f"seed {SEED}, {CASES} cases", file=sys.stderr)
        searched = 0
        for case in range(CASES):
            way = self.WAYS[case % len(self.WAYS)]
            with self.subTest(case=case, way=way, seed=SEED):
                shrunk(lambda most, case=case, way=way: self.one(case, way, most), LAYERS, SEED)
                searched += 1
        self.assertEqual(searched, CASES)
        assured(CASES, f"sessions over generated models that end in {len(self.WAYS)} ways: nothing of model, key, input or result in "
                "the memory of worker, broker and host")

    def test_the_search_finds_what_is_there(self):
        """Within a session the model is assembled: there its weights must be found."""
        model = Model(random.Random(SEED), self.dir)
        model.prepare(self.s)
        watch = Watch(self.s, model.markers)
        self.addCleanup(watch.close)
        seen, weights = [], scan.Markers(model.kinds["weight"])
        watch.on_result = lambda w: seen.append(scan.find(w.worker, weights))
        self.way_session(model, watch)
        self.assertGreater(sum(len(v) for v in seen[0].values()), weights.all.size * 0.9)
        self.assertTrue(watch.done.wait(PATIENCE))


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: reading another process's memory needs root")
        sys.exit(0)
    unittest.main(verbosity=1)
