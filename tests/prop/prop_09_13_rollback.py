"""Properties 9 and 13: what is older than the client has seen is refused.

A client with a memory (--remember) lives through a generated history: topology keys of several versions, policies of several
serials that give the image several versions, a log that grows, weights in the host's store. The host has kept everything that it
ever had and puts an older state in the newer one's place, or the client is handed an older key or policy, or another of the same
version. A naive memory of the highest of each says what must come of each step: a result, or exit code 4 with a message that names
what was older and no output, and what is then in the file. A failing history is shrunk.
"""
import json
import os
import random
import shutil
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from services import Services, assured, program, run, small_model  # noqa: E402
from shrink import shrunk  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "100"))
SEED = int(os.environ.get("EML_SEED", "913"))
REFUSED = 4
KEYS = 5  # versions of the model

OLDER = "older than remembered (rolled back)"
IMAGE, LOG, OTHER_LOG = f"enclave image: {OLDER}", f"audit log: {OLDER}", "audit log: not the log that is remembered"
POLICY, OTHER_POLICY = f"policy: {OLDER}", "policy: another of the same serial is remembered"
KEY, OTHER_KEY = f"topology key: {OLDER}", "topology key: another of the same model and version is remembered"
WEIGHTS = "not authentic"
WAYS = [IMAGE, LOG, OTHER_LOG, POLICY, OTHER_POLICY, KEY, OTHER_KEY, WEIGHTS]


def history(rng, way):
    """Steps that go up, then one that goes down in this way, then the newest again."""
    key, serial, image, steps = rng.randint(1, KEYS - 1), rng.randint(2, 50), rng.randint(2, 50), []
    for _ in range(rng.randint(1, 4)):
        steps.append({"key": key, "serial": serial, "image": image})
        key = rng.randint(key, KEYS - 1)
        if rng.random() < 0.5:
            serial += rng.randint(1, 1 << rng.randint(1, 40))
            image += rng.randint(0, 3)
    newest = steps[-1]
    serial, image = newest["serial"], newest["image"]
    down = {IMAGE: {"serial": serial + 1, "image": rng.randint(0, image - 1)}, LOG: {"log": rng.randint(1000, 1 << 40)},
            OTHER_LOG: {"other_log": True}, POLICY: {"serial": rng.randint(0, serial - 1)}, OTHER_POLICY: {"other_policy": True},
            KEY: {"key": rng.randint(0, newest["key"] - 1)}, OTHER_KEY: {"twin": True}, WEIGHTS: {"older_weights": True}}[way]
    return [*steps, {**newest, **down}, newest]


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Services()
        cls.addClassCleanup(cls.s.close)
        small_model(cls.s.path("m.onnx"))
        np.save(cls.s.path("x.npy"), np.ones((2, 16), np.float32))
        with open(cls.s.path("policy.json"), encoding="utf-8") as f:
            cls.policy = json.load(f)
        cls.n = 0
        rng = random.Random(SEED)
        # Versions of one model, and another sealing of each.
        cls.versions = sorted(rng.sample(range(1, 1000), KEYS))
        first, cls.older = cls.sealed("--model-version", cls.versions[0])
        cls.keys, cls.twins = [first], [first]
        for version in cls.versions[1:]:
            options = ("--model-version", version, "--min-version", rng.randint(1, version), "--replaces", cls.keys[-1] + "/topology.key")
            cls.keys.append(cls.sealed(*options)[0])
            cls.twins.append(cls.sealed(*options)[0])

    @classmethod
    def fresh(cls, name):
        cls.n += 1
        return cls.s.path(f"{name}{cls.n}")

    @classmethod
    def sealed(cls, *options):
        """(model directory, the stored object)"""
        model = cls.fresh("model")
        before = set(cls.s.store_objects())
        for args in (("decompose", cls.s.path("m.onnx"), "-o", model, *options), ("push", model, "--host", cls.s.host)):
            done = run("eml", *args)
            assert done.returncode == 0, done.stderr
        (stored,) = set(cls.s.store_objects()) - before
        return model, stored

    def write_policy(self, serial, **members):
        path = self.fresh("policy")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({**self.policy, "serial": serial, **members}, f)
        return path

    def measured(self, version, pcrs=None):
        return {**(pcrs or self.s.pcrs), "version": version}

    def infer(self, kept, model, policy):
        """A result is written if and only if this is the exit code of success."""
        out = self.s.path("out")
        shutil.rmtree(out, ignore_errors=True)
        done = self.s.infer(model, [("x", self.s.path("x.npy"))], out, "--remember", kept, policy=policy)
        self.assertEqual(done.returncode == 0, os.path.exists(os.path.join(out, "y.npy")), done.stderr)
        return done

    def served(self, *args):
        done = self.infer(*args)
        self.assertEqual(done.returncode, 0, done.stderr)

    def refused(self, rule, kept, *args):
        before = contents(kept)
        done = self.infer(kept, *args)
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        self.assertIn(rule, done.stderr)
        self.assertEqual(contents(kept), before, "a refusal was written down")

    def restart(self, image):
        self.s.stop("enclave")
        self.s.start_enclave(image=image)


class Histories(Base):
    def step(self, kept, naive, step):
        """One inference of a history. naive: {what: the highest seen}."""
        policy = (step["serial"], step["image"], "other_policy" in step)
        model, key = (self.twins if "twin" in step else self.keys)[step["key"]], (step["key"], "twin" in step)
        path = self.write_policy(step["serial"], measurements=[self.measured(step["image"])],
                                 max_age_ms=200000 if "other_policy" in step else 300000)
        wrong = [rule for rule, is_so in (
            (POLICY, policy[0] < naive["policy"][0]), (OTHER_POLICY, policy[0] == naive["policy"][0] and policy != naive["policy"]),
            (KEY, key[0] < naive["key"][0]), (OTHER_KEY, key[0] == naive["key"][0] and key != naive["key"]),
            (IMAGE, step["image"] < naive["image"])) if is_so]
        if "older_weights" in step:  # of a model of its own: what the enclave has kept of others' is theirs
            model, stored = self.sealed("--model-version", self.versions[-1])
            shutil.copyfile(self.older, stored)
        memory, own = json.loads(contents(kept) or "{}"), None
        if "checkpoint" in memory and ("log" in step or "other_log" in step):
            own = memory["checkpoint"]
            origin, size, rest = own.split("\n", 2)
            ahead = "another/log\n1" if "other_log" in step else f"{origin}\n{int(size) + step['log']}"
            with open(kept, "w", encoding="utf-8") as f:
                json.dump({**memory, "checkpoint": f"{ahead}\n{rest}"}, f)
        before = contents(kept)
        done = self.infer(kept, model, path)
        late = [WEIGHTS] if "older_weights" in step else [] if own is None else [OTHER_LOG if "other_log" in step else LOG]
        self.assertEqual(done.returncode, REFUSED if wrong + late else 0, done.stderr)
        if wrong + late:
            self.assertTrue(any(rule in done.stderr for rule in wrong or late), (done.stderr, wrong, late))
        if wrong:
            self.assertEqual(contents(kept), before, "a refusal was written down")
        else:
            naive.update(policy=policy, image=step["image"])
            if "older_weights" not in step:
                naive["key"] = key
        self.compare(kept, naive, own)

    def compare(self, kept, naive, own):
        """The file holds what the naive memory holds. own: the checkpoint that belongs there."""
        if not os.path.exists(kept):
            self.assertIsNone(naive["policy"][1])
            return
        memory = json.loads(contents(kept))
        self.assertEqual((memory["policy"]["serial"], memory["image"]), (naive["policy"][0], naive["image"]))
        if naive["key"][0] >= 0:
            self.assertIn(self.versions[naive["key"][0]], [m["version"] for m in memory["models"]])
        if own is not None:
            with open(kept, "w", encoding="utf-8") as f:
                json.dump({**memory, "checkpoint": own}, f)

    def live(self, steps):
        kept, naive = self.fresh("kept"), {"policy": (-1, None, False), "image": 0, "key": (-1, False)}
        for step in steps:
            self.step(kept, naive, step)

    def test_histories(self):
        print(f"seed {SEED}, {CASES} cases", file=sys.stderr)
        for case in range(CASES):
            way = WAYS[case % len(WAYS)]
            with self.subTest(case=case, way=way):
                shrunk(self.live, history(random.Random(SEED * 1000 + case), way), SEED)
        assured(CASES, "histories of a client that remembers, with older weights, key, policy, image or log, or another of the same "
                "version, at some step: refused, named, no output, nothing written down; the newest is served")


class OlderImage(Base):
    def test_an_older_image(self):
        """Two images that are really run. The client has seen the newer one; the host starts the older one again."""
        newer = self.s.path("newer-image")
        shutil.copy(program("eml-enclaved-dev"), newer)
        with open(newer, "ab") as f:
            f.write(b"newer")
        done = run("eml-devpki", "--pcrs", newer)
        self.assertEqual(done.returncode, 0, done.stderr)
        pcrs, rng, clients = json.loads(done.stdout), random.Random(SEED), []
        self.assertNotEqual(pcrs["0"], self.s.pcrs["0"])
        for _ in range(max(1, CASES // 5)):
            old, new = sorted(rng.sample(range(1000), 2))
            serial = rng.randint(1, 1000)
            both = [self.measured(old), self.measured(new, pcrs)]
            rng.shuffle(both)
            clients.append((self.fresh("kept"), self.write_policy(serial, measurements=both),
                            self.write_policy(serial + 1, measurements=[self.measured(new, pcrs)]),
                            self.write_policy(serial + rng.choice([-1, 1]), measurements=[self.measured(old)])))
        model = self.keys[0]
        self.restart(newer)
        for kept, both, _, _ in clients:
            self.served(kept, model, both)
        self.restart("eml-enclaved-dev")
        for kept, both, only_newer, only_older in clients:
            self.refused(IMAGE, kept, model, both)
            self.refused("measurements", kept, model, only_newer)
            self.refused(OLDER, kept, model, only_older)
            self.served(self.fresh("kept"), model, both)  # who has not seen the newer cannot know
        self.restart(newer)
        for kept, both, only_newer, _ in clients:
            self.served(kept, model, both)
            self.served(kept, model, only_newer)
            self.refused(POLICY, kept, model, both)
        assured(len(clients), "two images run in turn: after the newer, the older is refused, by a policy that accepts both and by one "
                "that accepts only the older; a policy that has dropped it cannot be replaced by the one before")


class WholeHost(Base):
    def test_the_whole_host_put_back(self):
        """Store and log as they were at an earlier time: the log that verifies is older than the one that is remembered."""
        model, kept, policy = self.keys[0], self.fresh("kept"), self.s.path("policy.json")
        self.served(kept, model, policy)
        self.s.stop("enclave")
        self.s.stop("host")
        shutil.copytree(self.s.path("audit"), self.s.path("earlier"))
        self.s.start_host()
        self.s.start_enclave()
        for _ in range(12):
            self.served(kept, model, policy)
        self.s.stop("enclave")
        self.s.stop("host")
        shutil.rmtree(self.s.path("audit"))
        os.rename(self.s.path("earlier"), self.s.path("audit"))
        done = run("eml", "audit", "verify", self.s.path("audit"), "--policy", policy)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.s.start_host()
        self.s.start_enclave()
        self.refused(LOG, kept, model, policy)
        done = run("eml", "audit", "verify", self.s.path("audit"), "--policy", policy, "--remember", kept)
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        os.unlink(kept)  # the owner decides to go on with it
        self.served(kept, model, policy)


def contents(path):
    """Empty if there is no such file."""
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as f:
        return f.read()


if __name__ == "__main__":
    unittest.main(verbosity=1)
