"""Properties 5 and 10: the exposure window that receipt and log state is true.

While a worker runs, it is frozen again and again at random moments, and all its memory searched for the model's weights. As it stands
still meanwhile, a sample that finds some shows that they were in clear from its beginning to its end. So the window stated must be at
least as long as from the beginning of the first such sample to the end of the last; nothing may be found before the request was let
through, nor (in request mode) in a sample that begins after the result came out, since it leaves after the wipe. All of this is order
and containment: no machine is too slow for it.
"""
import json
import os
import random
import shutil
import sys
import threading
import time
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from relay import Cut, Relay, framed  # noqa: E402
import scan  # noqa: E402
from services import PATIENCE, Services, assured, run  # noqa: E402
from shrink import shrunk  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "18"))
SEED = int(os.environ.get("EML_SEED", "510"))
LAYERS = 20, 50  # of a model, at least and at most
GAP = 0.02  # seconds that the worker runs between samples, at most
HELLO, REQUEST, RESULT = 1, 3, 2  # frames of the stream, up, up and down


def heavy_model(rng, path, dynamic, layers):
    """So many layers over many rows: little memory, much work. Returns its weights. dynamic: sizes depend on data, so that it runs
    with all weights in clear."""
    numbers, width = np.random.RandomState(rng.getrandbits(31)), rng.randint(40, 80)
    nodes, inits, last = [], [], "x"
    for i in range(layers):
        inits.append(numpy_helper.from_array((numbers.standard_normal((width, width)) / width**0.5).astype(np.float32), f"w{i}"))
        nodes += [helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]), helper.make_node("Tanh", [f"m{i}"], [f"t{i}"])]
        last = f"t{i}"
    nodes.append(helper.make_node("ReduceMax", [last], ["y" if not dynamic else "r"], axes=[0], keepdims=0))
    if dynamic:
        nodes.append(helper.make_node("NonZero", ["r"], ["y"]))
    y = helper.make_tensor_value_info("y", TensorProto.INT64 if dynamic else TensorProto.FLOAT, None)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], inits), opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    rows = 2**27 // (width * width * max(layers, LAYERS[0]))
    return inits, numbers.standard_normal((rows * 10, width)).astype(np.float32)


class Sampler(threading.Thread):
    """Freezes and searches a process until told to stop, or until it ends. samples: (begin, end, markers found), in nanoseconds of
    the clock that the worker reads too."""

    def __init__(self, pid, markers, rng):
        super().__init__(daemon=True)
        self.pid, self.markers, self.rng, self.samples, self.over = pid, markers, rng, [], threading.Event()

    def run(self):
        try:
            while not self.over.is_set():
                self.sample()
                time.sleep(self.rng.random() * GAP)
        except (ProcessLookupError, FileNotFoundError):
            pass
        finally:
            self.over.set()

    def sample(self):
        try:
            scan.freeze(self.pid)
            begin = time.monotonic_ns()
            found = set().union(*scan.find(self.pid, self.markers, 4).values())  # floats lie at multiples of 4
            self.samples.append((begin, time.monotonic_ns(), len(found)))
        finally:
            scan.thaw(self.pid)

    def wait_for_one_since(self, moment):
        Services.wait(lambda: self.over.is_set() or (self.samples and self.samples[-1][0] >= moment), "a sample")


class Watch:
    """Between client and host: finds the session's worker, and notes when request and last result pass."""

    def __init__(self, services, markers, rng, mode):
        self.mode = mode
        self.broker, self.markers, self.rng = services.processes["enclave"].pid, markers, rng
        self.known, self.sampler, self.asked, self.answered = set(scan.workers(self.broker)), None, None, None
        self.relay = Relay(services.host, self.tamper)

    def tamper(self, stream, frame):
        if stream.up and stream.n == HELLO:
            Services.wait(lambda: set(scan.workers(self.broker)) - self.known, "the worker")
            (worker,) = set(scan.workers(self.broker)) - self.known  # nobody else has a session here
            self.sampler = Sampler(worker, self.markers, self.rng)
            self.sampler.start()
        if self.sampler is None:
            return [framed(frame)]
        if stream.up and stream.n == REQUEST:
            self.sampler.wait_for_one_since(0)
            self.asked = time.monotonic_ns()
        if not stream.up and stream.n >= RESULT and len(frame) > 272:  # not the farewell
            self.answered = time.monotonic_ns()
            self.sampler.wait_for_one_since(self.answered)
            if self.mode == "request":
                self.sampler.over.set()  # all is wiped by now
        return [framed(frame)]

    def close(self):
        self.relay.close()
        if self.sampler is not None:
            self.sampler.over.set()
            self.sampler.join()


class Exposure(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Services(enclave_args=["--request-seconds", "600"])
        cls.addClassCleanup(cls.s.close)

    def records(self):
        """Of the log: (event, {name of a number: its value}) in order."""
        done = run("eml", "audit", "report", self.s.path("audit"), "--format", "csv")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [line.split(",", 6) for line in done.stdout.splitlines()[1:]]
        return [(r[4], dict(p.split("=", 1) for p in r[6].strip('"').split() if "=" in p)) for r in rows]

    def closed(self, sessions):
        return sum(event == "session-close" for event, _ in self.records()) >= sessions

    def one(self, rng, mode, dynamic, layers):
        folder = self.s.path("case")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        inits, x = heavy_model(rng, os.path.join(folder, "m.onnx"), dynamic, layers)
        np.save(os.path.join(folder, "x.npy"), x)
        for args in (("decompose", os.path.join(folder, "m.onnx"), "-o", os.path.join(folder, "m")),
                     ("push", os.path.join(folder, "m"), "--host", self.s.host)):
            done = run("eml", *args)
            self.assertEqual(done.returncode, 0, done.stderr)
        markers = scan.Markers(*[scan.markers_of(numpy_helper.to_array(t).tobytes(), 32) for t in inits])
        before = sum(event == "session-close" for event, _ in self.records())
        watch = Watch(self.s, markers, rng, mode)
        inputs = ["--input", "x=" + os.path.join(folder, "x.npy")] * (2 if mode == "session" else 1)
        try:
            done = run("eml", "infer", "--host", watch.relay.address, "--policy", self.s.path("policy.json"), "--topology",
                       os.path.join(folder, "m", "topology.key"), "--mode", mode, "--output", os.path.join(folder, "out"), "--json",
                       "--timeout", PATIENCE, *inputs, timeout=2 * PATIENCE)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.s.wait(lambda: self.closed(before + 1), "the end of the session")
            ended = time.monotonic_ns()
        finally:
            watch.close()
        told = [r["exposure_us"] for r in json.loads(done.stdout)["results"]]
        logged = [int(numbers["exposure_us"]) for event, numbers in self.records() if event == "destruction"][-1]
        return watch, told, logged, ended

    def judge(self, mode, watch, told, logged, ended):
        """How many samples found weights, and the part of the window stated that they span."""
        samples = watch.sampler.samples
        hits = [(begin, end) for begin, end, found in samples if found]
        self.assertIsNotNone(watch.answered, "no result was seen")
        for begin, end in hits:
            self.assertGreater(end, watch.asked, "weights before there was a request")
            if mode == "request":
                self.assertLess(begin, watch.answered, "weights after the result")
        if mode == "request":
            self.assertEqual(told, [logged], "receipt and log differ")
        else:
            self.assertEqual(sorted(told), told)
            self.assertGreaterEqual(logged, told[-1], "the session's window is the longest")
        latest = watch.answered if mode == "request" else ended
        self.assertLessEqual(logged * 1000, latest - watch.asked, "longer than all that can have been")
        if not hits:
            return 0, 0
        seen = hits[-1][1] - hits[0][0]
        self.assertGreaterEqual((logged + 1) * 1000, seen, f"stated {logged} us, seen for {seen // 1000} us")
        return len(hits), seen / 1000 / logged

    def test_the_window_stated_holds_all_that_is_found(self):
        print(f"seed {SEED}, {CASES} cases", file=sys.stderr)
        kinds = [("request", False), ("session", False), ("request", True)]
        found = {kind: 0 for kind in kinds}
        spans, samples = [], 0
        for case in range(CASES):
            kind = kinds[case % len(kinds)]
            with self.subTest(case=case, kind=kind, seed=SEED):
                def session(layers, case=case, kind=kind):
                    nonlocal samples
                    watch, *stated = self.one(random.Random(SEED * 1000 + case), *kind, layers)
                    n, span = self.judge(kind[0], watch, *stated)
                    found[kind] += n
                    spans.append(span)
                    samples += len(watch.sampler.samples)
                shrunk(session, random.Random(SEED * 1000 + case).randint(*LAYERS), SEED)
        print(f"{samples} samples, with weights: {found}; they span {np.median(spans):.0%} of the window stated (median)", file=sys.stderr)
        if CASES >= len(kinds):
            self.assertTrue(all(found.values()), f"nothing was ever found: {found}")
        assured(samples, f"moments in {CASES} sessions at which a frozen worker was searched: weights in clear only within the exposure window "
                "that receipt and log state")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: reading another process's memory needs root")
        sys.exit(0)
    unittest.main(verbosity=1)
