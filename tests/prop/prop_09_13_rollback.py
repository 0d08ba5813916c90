"""Properties 9 and 13: what is older than the client has seen is refused.

The host keeps everything that it ever had and puts an older state in place of the newer: weights, the image behind an enclave, the
audit log, all of it; or a client comes with the key of an older sealing that was replaced. For generated versions each is refused,
nothing is given out, and the newest is served. What the client must keep for that are its newest topology key and policy, and of the
log a checkpoint (--remember): it has no memory of keys and policies that it used before.
"""
import os
import random
import shutil
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from services import Services, assured, run, small_model  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "24"))
SEED = int(os.environ.get("EML_SEED", "913"))
INPUT, REFUSED = 3, 4


class Rollback(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Services()
        cls.addClassCleanup(cls.s.close)
        small_model(cls.s.path("m.onnx"))
        np.save(cls.s.path("x.npy"), np.ones((2, 16), np.float32))
        cls.kept = cls.s.path("kept.checkpoint")
        cls.n = 0

    def sealed(self, version, least):
        """(model directory, the stored object)"""
        type(self).n += 1
        model = self.s.path(f"model{self.n}")
        before = set(self.s.store_objects())
        for args in (("decompose", self.s.path("m.onnx"), "-o", model, "--model-version", version, "--min-version", least),
                     ("push", model, "--host", self.s.host)):
            done = run("eml", *args)
            self.assertEqual(done.returncode, 0, done.stderr)
        (stored,) = set(self.s.store_objects()) - before
        return model, stored

    def infer(self, model, policy=None):
        out = self.s.path("out")
        shutil.rmtree(out, ignore_errors=True)
        done = self.s.infer(model, [("x", self.s.path("x.npy"))], out, "--remember", self.kept, policy=policy)
        self.assertEqual(done.returncode == 0, os.path.exists(os.path.join(out, "y.npy")))
        return done

    def served(self, *args, **kwargs):
        done = self.infer(*args, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)

    def refused(self, rule, *args, **kwargs):
        done = self.infer(*args, **kwargs)
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        self.assertIn(rule, done.stderr)

    def pcrs(self, rng):
        return dict(self.s.pcrs, **{str(rng.randrange(3)): rng.randbytes(48).hex()})

    # Each: what the client has seen, then the older state.
    def older_weights(self, rng):
        old, new = sorted(rng.sample(range(1, 1000), 2))
        _, older = self.sealed(old, old)
        model, stored = self.sealed(new, rng.randint(1, new))
        shutil.copyfile(older, stored)
        self.refused("not authentic", model)

    def older_topology(self, rng):
        """Of the older sealing nothing is left with the host: whoever holds its key gets nothing. (If the host has kept it, the
        older key is as good as it was: the client must not lose the newer.)"""
        old, new = sorted(rng.sample(range(1, 1000), 2))
        older, stored = self.sealed(old, old)
        newer, replaced_by = self.sealed(new, new)
        shutil.copyfile(replaced_by, stored)
        self.refused("not authentic", older)
        self.served(newer)

    def older_image(self, rng):
        """The client's policy names a newer image than the one that runs."""
        policy = self.s.make_policy("newer.json", self.pcrs(rng))
        self.refused("measurements", self.model, policy=policy)

    def older_checkpoint(self, rng):
        """The log ends before what the client remembers."""
        self.served(self.model)
        with open(self.kept, "rb") as f:
            note = f.read()
        origin, size, rest = note.split(b"\n", 2)
        with open(self.kept, "wb") as f:
            f.write(b"%s\n%d\n%s" % (origin, int(size) + rng.randint(10, 1 << rng.randint(4, 40)), rest))
        self.refused("older than remembered", self.model)
        with open(self.kept, "wb") as f:
            f.write(note)

    WAYS = ["older_weights", "older_topology", "older_image", "older_checkpoint"]

    def test_older_states_are_refused(self):
        print(f"seed {SEED}, {CASES} cases", file=sys.stderr)
        self.model, _ = self.sealed(1, 1)
        for case in range(CASES):
            way = self.WAYS[case % len(self.WAYS)]
            with self.subTest(case=case, way=way, seed=SEED):
                getattr(self, way)(random.Random(SEED * 1000 + case))
                if case % 10 == 9:
                    self.served(self.model)
        assured(CASES, "older weights, sealing, image or audit log in place of the newer: refused, and nothing is given out")

    def test_the_whole_host_put_back(self):
        """Store and log as they were at an earlier time: the log that verifies is older than the one that is remembered."""
        model, _ = self.sealed(1, 1)
        self.served(model)
        self.s.stop("enclave")
        self.s.stop("host")
        shutil.copytree(self.s.path("audit"), self.s.path("earlier"))
        self.s.start_host()
        self.s.start_enclave()
        for _ in range(12):
            self.served(model)
        self.s.stop("enclave")
        self.s.stop("host")
        shutil.rmtree(self.s.path("audit"))
        os.rename(self.s.path("earlier"), self.s.path("audit"))
        done = run("eml", "audit", "verify", self.s.path("audit"), "--policy", self.s.path("policy.json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.s.start_host()
        self.s.start_enclave()
        self.refused("older than remembered", model)
        done = run("eml", "audit", "verify", self.s.path("audit"), "--policy", self.s.path("policy.json"), "--remember", self.kept)
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        os.unlink(self.kept)  # the owner decides to go on with it
        self.served(model)


if __name__ == "__main__":
    unittest.main(verbosity=1)
