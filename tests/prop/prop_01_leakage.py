"""Property 1, the stored half: sealed weights carry no architecture.

Detectors that read the structure of a model out of its plain weights are turned on what the host stores. On the plain weights of
every model they must succeed, or they would prove nothing; on the sealed bytes they must do no better than on random bytes. Real
models if EML_MODELS names a folder of them, and 100 generated ones. And what the host sees of a request is the same for any two
inputs of one shape, byte for byte in number and order.
"""
import glob
import math
import os
import random
import shutil
import sys
import tempfile
import unittest
import zlib

import numpy as np
import onnx
from onnx import numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from relay import Relay, framed  # noqa: E402
from services import Services, assured, run, small_model  # noqa: E402
from shrink import shrunk  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "100"))
SEED = int(os.environ.get("EML_SEED", "101"))
MAX_BYTES = 1 << 23  # of one object, for the time's sake: its beginning, middle and end
LAGS = 1 << 16


def some(data):
    if len(data) <= MAX_BYTES:
        return np.frombuffer(data, np.uint8)
    third, n = MAX_BYTES // 3, len(data)
    return np.frombuffer(data[:third] + data[(n - third) // 2:(n + third) // 2] + data[-third:], np.uint8)


# Each detector returns a number of standard deviations, or the like, and has its limit: random bytes stay below it but once in
# some millions of tries.
def byte_counts(x):
    """Chi-square of the byte values, as a normal deviate."""
    counts, n = np.bincount(x, minlength=256), x.size / 256
    chi2 = float(((counts - n) ** 2 / n).sum())
    return abs(math.sqrt(2 * chi2) - math.sqrt(2 * 255 - 1))


def period(x):
    """The largest autocorrelation over all lags up to LAGS: numbers repeat every few bytes, rows with the length of a row. Without
    the highest bit, which is a float's sign every fourth time and hides its exponent from a mean."""
    y = (x & 0x7F).astype(np.float64)
    y -= y.mean()
    n = 1 << (2 * y.size - 1).bit_length()
    r = np.fft.irfft(np.abs(np.fft.rfft(y, n)) ** 2, n)[1:min(LAGS, y.size // 2)]
    return float(np.abs(r).max() / (y.var() * math.sqrt(y.size)))


def boundaries(x):
    """The largest deviation of a block's mean from all others': tensors differ in scale, and a change tells where one ends."""
    block = 4096 if x.size >= 1 << 16 else 256
    means = (x & 0x7F)[: x.size // block * block].reshape(-1, block).mean(axis=1)
    return float(np.abs(means - 63.5).max() / (math.sqrt((128**2 - 1) / 12) / math.sqrt(block)))


def repeats(x):
    """Equal aligned pieces of 16 bytes: zeros, padding, tied weights."""
    pieces = x[: x.size // 16 * 16].reshape(-1, 16)
    return float(pieces.shape[0] - np.unique(pieces.view("V16")).size)


def compressible(x):
    """Percent that zlib saves."""
    return max(0.0, 100 - 100 * len(zlib.compress(x.tobytes(), 6)) / x.size)


DETECTORS = {byte_counts: 6.0, period: 7.0, boundaries: 6.5, repeats: 0.5, compressible: 0.0}


def must(done):
    assert done.returncode == 0, done.stderr


def plain_weights(path):
    tensors, graphs = [], [onnx.load(path).graph]
    while graphs:
        graph = graphs.pop()
        tensors += graph.initializer
        for a in (a for n in graph.node for a in n.attribute):
            if a.type == onnx.AttributeProto.TENSOR:
                tensors.append(a.t)
            elif a.type == onnx.AttributeProto.GRAPH:
                graphs.append(a.g)
    return b"".join(numpy_helper.to_array(t).tobytes() for t in tensors)


class Leakage(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="eml-leak-")
        self.addCleanup(shutil.rmtree, self.dir)

    def seal(self, path):
        out = os.path.join(self.dir, "sealed")
        shutil.rmtree(out, ignore_errors=True)
        must(run("eml", "decompose", path, "-o", out, timeout=600))
        with open(os.path.join(out, "weights.sealed"), "rb") as f:
            return f.read()

    def look(self, name, path):
        """(does each detector see something in the plain weights, sealed size)"""
        sealed = self.seal(path)
        x, noise = some(sealed), np.frombuffer(random.Random(SEED).randbytes(min(len(sealed), MAX_BYTES)), np.uint8)
        plain = some(plain_weights(path))
        seen = {}
        for detect, limit in DETECTORS.items():
            on = {"plain": detect(plain), "sealed": detect(x), "random": detect(noise)}
            self.assertLessEqual(on["random"], limit, f"{detect.__name__} sees structure in random bytes")
            self.assertLessEqual(on["sealed"], limit, f"{name}: {detect.__name__} sees structure in sealed bytes")
            seen[detect.__name__] = on
        return seen, len(sealed)

    def test_real_models(self):
        paths = sorted(glob.glob(os.path.join(os.environ.get("EML_MODELS") or "/nowhere", "*.onnx")))
        paths = [p for p in paths if os.path.getsize(p) < 200e6]
        if len(paths) < 5:
            self.skipTest("EML_MODELS names no folder with five models")
        for path in paths:
            name = os.path.basename(path)
            with self.subTest(model=name):
                seen, size = self.look(name, path)
                row = "  ".join(f"{k} {v['plain']:.1f}/{v['sealed']:.1f}/{v['random']:.1f}" for k, v in seen.items())
                print(f"{name}: {size} bytes; plain/sealed/random: {row}", file=sys.stderr)
                for detect in (byte_counts, period, boundaries):
                    on = seen[detect.__name__]
                    self.assertGreater(on["plain"], 1.5 * on["random"], "it sees nothing in plain weights either")
        assured(len(paths), "real models: the same; on their plain weights the detectors do see structure")

    def test_generated_models(self):
        rng = random.Random(SEED)
        sizes = set()
        for case in range(CASES):
            width, layers, seed = rng.choice([16, 24, 48, 96]), rng.randint(1, 5), rng.getrandbits(31)

            def attempt(layers, case=case, width=width, seed=seed):
                path = os.path.join(self.dir, "m.onnx")
                small_model(path, seed=seed, width=width, layers=layers)
                seen, size = self.look(f"case {case}", path)
                sizes.add(size)
                self.assertGreater(seen["byte_counts"]["plain"], DETECTORS[byte_counts])
            with self.subTest(case=case, width=width):
                shrunk(attempt, layers, SEED)
        print(f"seed {SEED}: {CASES} models in {len(sizes)} size classes", file=sys.stderr)
        assured(CASES, "generated models: five detectors of structure see no more in the sealed object than in random bytes")

    def test_size_classes(self):
        """Whole chunks, as many as Padme allows (PURBs, Nikitin et al. 2019): a mantissa as short as the exponent is."""
        for width in (16, 40, 100, 333, 777, 1234, 1999):
            path = os.path.join(self.dir, "m.onnx")
            small_model(path, width=width, layers=4)
            chunks, rest = divmod(len(self.seal(path)), 65552)
            exponent = chunks.bit_length() - 1
            free = max(0, exponent - exponent.bit_length())
            self.assertEqual((rest, chunks % (1 << free)), (0, 0), f"{chunks} chunks are in no class")


class View(unittest.TestCase):
    """What passes the host: the frames of a request by direction, number and length, and what the enclave fetches for it."""

    def setUp(self):
        self.s = Services()
        self.addCleanup(self.s.close)
        self.fetched = []
        service = Relay("unix:" + self.s.path("service.sock"), self.service_frames, self.s.path("tapped.sock"))
        self.addCleanup(service.close)
        self.s.stop("enclave")
        self.s.start_enclave(service=service.address)

    def service_frames(self, stream, frame):
        """Notes what is asked for, and the answer, which tells the object's size."""
        if stream.up and stream.n == 0:
            stream.kind = frame[:1]
        if not stream.up and stream.other.kind == b"G":
            stream.raw = True
            self.fetched.append(frame)
        return [framed(frame)]

    def push(self, name):
        must(run("eml", "decompose", self.s.path("m.onnx"), "-o", self.s.path(name)))
        must(run("eml", "push", self.s.path(name), "--host", self.s.host))

    def view(self, name, x):
        seen = {True: [], False: []}

        def tamper(stream, frame):
            seen[stream.up].append(len(frame))
            return [framed(frame)]
        relay = Relay(self.s.host, tamper)
        np.save(self.s.path("x.npy"), x.astype(np.float32))
        self.fetched.clear()
        must(run("eml", "infer", "--host", relay.address, "--policy", self.s.path("policy.json"), "--topology",
                 self.s.path(name, "topology.key"), "--input", "x=" + self.s.path("x.npy"), "--output", self.s.path("out")))
        relay.close()
        # Not the document, whose length varies with its certificates' random serial numbers and signatures, nor each side's
        # farewell, which may find the other gone.
        return tuple(seen[True][:4]), seen[False][0], tuple(seen[False][2:3]), tuple(self.fetched)

    def test_inputs_of_one_shape_look_the_same(self):
        small_model(self.s.path("m.onnx"))
        self.push("model")
        rng = np.random.RandomState(SEED)
        views = set()
        for case in range(CASES // 2):
            x = [rng.standard_normal((40, 16)), np.zeros((40, 16)), np.full((40, 16), 1e30)][case % 3]
            views.add(self.view("model", x)[:3])  # the object is in the enclave's cache from the second on
        self.assertEqual(len(views), 1, views)
        assured(CASES // 2, "inputs of one shape: the host sees frames of the same number and lengths")

    def test_models_of_one_class_look_the_same(self):
        """Models of other depths, widths and numbers, whose weights are in one size class and whose keys fill one record."""
        rng = random.Random(SEED)
        views, n = set(), max(4, CASES // 5)
        for case in range(n):
            small_model(self.s.path("m.onnx"), seed=case, width=rng.choice([16, 24, 40, 64]), layers=rng.randint(1, 4))
            self.push(f"model{case}")
            views.add(self.view(f"model{case}", np.ones((40, 16))))
        self.assertEqual(len(views), 1, views)
        self.assertEqual(len(views.pop()[3]), 1, "the weights were not fetched")
        assured(n, "models of one size class: the host sees frames of the same number and lengths, and an object of the same size")


if __name__ == "__main__":
    unittest.main(verbosity=1)
