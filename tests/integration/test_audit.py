"""The audit log of real services, and every way to tamper with it."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

import numpy as np

import services
import tlog

BOOT, SESSION_OPEN, CLOSE, ASSEMBLY, INFERENCE = 1, 3, 4, 6, 7


def verify(path, *options):
    done = services.run("eml", "audit", "verify", path, "--json", *options)
    return done.returncode, json.loads(done.stdout), done.stderr


def flip(data, at, bit=0):
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1:]


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = services.Services()
        cls.addClassCleanup(cls.s.close)
        services.small_model(cls.s.path("m.onnx"))
        assert services.run("eml", "decompose", cls.s.path("m.onnx"), "-o", cls.s.path("model")).returncode == 0
        assert services.run("eml", "push", cls.s.path("model"), "--host", cls.s.host).returncode == 0
        np.save(cls.s.path("x.npy"), np.ones((1, 16), np.float32))

    @classmethod
    def infer(cls, times=1):
        mode = ["--mode", "session"] if times > 1 else []
        out = tempfile.mkdtemp(dir=cls.s.dir)
        return cls.s.infer(cls.s.path("model"), [("x", cls.s.path("x.npy"))] * times, out, *mode)


class Tampering(Base):
    """One log of two starts of the enclave with more than 256 records; each test changes a copy."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        assert cls.infer(60).returncode == 0
        cls.s.stop("enclave")
        cls.s.stop("host")
        cls.old = shutil.copytree(cls.s.path("audit"), cls.s.path("old"))
        cls.s.start_host()
        cls.s.start_enclave()
        for _ in range(4):
            done = cls.infer(60)
            assert done.returncode == 0, done.stderr
        done = cls.s.infer(cls.s.path("model"), [("y", cls.s.path("x.npy"))], cls.s.path("bad"))
        assert done.returncode != 0
        cls.s.stop("enclave")
        cls.s.stop("host")
        cls.dir = cls.s.path("audit")
        cls.log = tlog.Log(cls.dir)
        assert cls.log.size > 300, cls.log.size
        cls.boot2 = cls.log.find(BOOT, 1)
        cls.key = tlog.new_key(cls.s.path("attacker.pem"))
        cls.policy = ("--policy", cls.s.path("policy.json"))

    def setUp(self):
        self.copy = os.path.join(tempfile.mkdtemp(dir=self.s.dir), "log")

    def refused(self, rule, check, *options, path=None, policy=True):
        code, report, err = verify(path or self.copy, *(self.policy if policy else ()), *options)
        self.assertNotEqual(code, 0, rule)
        self.assertFalse(report["verified"])
        self.assertIn(rule, report["broken_rule"]["rule"])
        failed = [c["rule"].split(":")[0] for c in report["checks"] if c["result"] == "FAILED"]
        self.assertEqual(failed, [check])
        self.assertIn(rule, err)

    def rebuilt(self, entries, note=None):
        self.log.write(self.copy, entries, note)

    def edit(self, i):
        """The first number of a record, in its lowest bit (canonical still), nothing else."""
        def past(at):
            return at + 1 + {24: 1, 25: 2, 26: 4, 27: 8}.get(e[at] & 31, 0)

        e = self.log.entries[i]
        at = 1
        for _ in range(12):  # the pairs of keys 1 to 6: unsigned numbers all
            at = past(at)
        self.assertEqual(e[at], 7)
        return flip(e, past(at + 2) - 1)

    def test_the_log_itself(self):
        self.rebuilt(self.log.entries)
        for path in (self.dir, self.copy):
            code, report, err = verify(path, *self.policy)
            self.assertEqual((code, report["verified"]), (0, True), err)
            self.assertEqual(report["boots"], 2)
        # The second opinion on the tree: the same tiles and the same root, byte for byte.
        for folder, _, files in os.walk(self.copy):
            for f in files:
                own = os.path.join(folder, f)
                with open(own, "rb") as a, open(os.path.join(self.dir, os.path.relpath(own, self.copy)), "rb") as b:
                    self.assertEqual(a.read(), b.read(), own)

    def test_delete(self):
        i = self.log.find(INFERENCE, 100)
        rest = self.log.entries[:i] + self.log.entries[i + 1:]
        for note in (None, self.log.sign(rest, self.key)):
            shutil.rmtree(self.copy, ignore_errors=True)
            self.rebuilt(rest, note)
            self.refused("order: a record is not at its number", "order")
        shutil.rmtree(self.copy)
        self.rebuilt(self.log.entries[:-1])
        self.refused("files: a bundle", "files")

    def test_edit(self):
        i = self.log.find(ASSEMBLY)
        changed = self.log.entries[:i] + [self.edit(i)] + self.log.entries[i + 1:]
        shutil.copytree(self.dir, self.copy)
        bundle = os.path.join(self.copy, "tile/entries/000")
        with open(bundle, "rb") as f:
            data = f.read()
        with open(bundle, "wb") as f:
            f.write(data.replace(self.log.entries[i], changed[i]))
        self.refused("inclusion: an entry", "inclusion")
        shutil.rmtree(self.copy)
        self.rebuilt(changed)  # in the first start's part: the second start's record signs for that
        self.refused("boots: a boot continues another log", "boots")
        i = self.log.find(CLOSE, self.boot2)
        changed = self.log.entries[:i] + [self.edit(i)] + self.log.entries[i + 1:]
        shutil.rmtree(self.copy)
        self.rebuilt(changed)
        self.refused("inclusion: the entries are not the tree", "inclusion")
        shutil.rmtree(self.copy)
        self.rebuilt(changed, self.log.sign(changed, self.key))
        self.refused("note: not signed by this key", "signatures")

    def test_reorder(self):
        e = list(self.log.entries)
        i = self.log.find(INFERENCE)
        e[i], e[i + 2] = e[i + 2], e[i]
        shutil.copytree(self.dir, self.copy)
        with open(os.path.join(self.copy, "tile/entries/000"), "wb") as f:
            f.write(b"".join(len(x).to_bytes(2, "big") + x for x in e[:256]))
        self.refused("inclusion: an entry", "inclusion")
        shutil.rmtree(self.copy)
        self.rebuilt(e, self.log.sign(e, self.key))
        self.refused("order: a record is not at its number", "order")

    def test_truncate(self):
        shutil.copytree(self.dir, self.copy)
        last = os.path.join(self.copy, tlog.tile_path("entries", 1, self.log.size - 256))
        os.truncate(last, os.path.getsize(last) - 1)
        self.refused("files: a bundle of entries is cut short", "files")
        os.unlink(last)
        self.refused("files: a bundle of entries is missing", "files")
        short = self.log.entries[:-5]
        shutil.rmtree(self.copy)
        text = self.log.note.decode().split("\n")
        text[1] = str(len(short))
        self.rebuilt(short, "\n".join(text).encode())
        self.refused("inclusion: the entries are not the tree", "inclusion")
        shutil.rmtree(self.copy)
        self.rebuilt(short, self.log.sign(short, self.key))
        self.refused("note: not signed by this key", "signatures")

    def test_tiles(self):
        for name, rule in ((tlog.tile_path(0, 0, 256), "inclusion: an entry is not"),
                           (self.log.top(), "inclusion: a tile does not have")):
            shutil.copytree(self.dir, self.copy)
            with open(os.path.join(self.copy, name), "r+b") as f:
                data = f.read()
                f.seek(0)
                f.write(flip(data, 5))
            self.refused(rule, "inclusion")
            os.unlink(os.path.join(self.copy, name))
            self.refused("files: a tile is missing", "files")
            shutil.rmtree(self.copy)

    def test_roll_back(self):
        """An older state verifies: only who remembers the newer one can tell."""
        code, _, err = verify(self.old, *self.policy)
        self.assertEqual(code, 0, err)
        remembered = os.path.join(self.dir, "checkpoint")
        self.refused("remembered: rolled back", "remembered", "--checkpoint", remembered, path=self.old)
        for path in (os.path.join(self.old, "checkpoint"), remembered):
            code, report, err = verify(self.dir, *self.policy, "--checkpoint", path)
            self.assertEqual(code, 0, err)
            self.assertEqual(report["checks"][-1]["result"], "passed")

    def test_a_log_that_grows_meanwhile(self):
        """Who has read a checkpoint finds partial tiles replaced by wider ones: what it signed is in those."""
        shutil.copytree(self.dir, self.copy)
        shutil.copy(os.path.join(self.old, "checkpoint"), self.copy)
        for name in (tlog.tile_path(0, 0, self.boot2), tlog.tile_path("entries", 0, self.boot2)):
            self.assertFalse(os.path.exists(os.path.join(self.copy, name)))
        code, report, err = verify(self.copy, *self.policy)
        self.assertEqual((code, report["size"]), (0, self.boot2), err)
        self.assertEqual(services.run("eml", "audit", "proof", self.copy, self.boot2 - 1).returncode, 0)
        # Only what it signed: a wider tile with other bytes there is none.
        bundle = os.path.join(self.copy, "tile/entries/000")
        with open(bundle, "rb") as f:
            data = f.read()
        with open(bundle, "wb") as f:
            i = self.log.find(ASSEMBLY)
            f.write(data.replace(self.log.entries[i], self.edit(i)))
        self.refused("inclusion: an entry", "inclusion")

    def test_remember(self):
        keep = self.s.path("kept")
        for path in (self.old, self.dir, self.dir):
            self.assertEqual(verify(path, *self.policy, "--remember", keep)[0], 0)
        self.refused("remembered: rolled back", "remembered", "--remember", keep, path=self.old)
        with open(keep, encoding="utf-8") as f:
            self.assertEqual(json.load(f)["checkpoint"].encode(), self.log.note)

    def test_swap_keys(self):
        shutil.copytree(self.dir, self.copy)
        first, second = (os.path.join(self.copy, f"boots/{i}.cose") for i in (0, self.boot2))
        os.rename(first, first + ".x")
        os.rename(second, first)
        os.rename(first + ".x", second)
        self.refused("attested: not the document that the boot record names", "attested")
        os.unlink(second)
        os.unlink(first)
        self.refused("attested: a boot's document is missing", "attested")
        # The attacker's own key in the boot record, and all signed by it: nobody attests it.
        e = list(self.log.entries)
        log_id = bytes.fromhex(self.log.origin[-32:])  # its key stands behind it, in its two-byte head
        old = e[0][e[0].index(b"\x50" + log_id) + 1 + len(log_id) + 2:][:32]
        e = [e[0].replace(old, tlog.public_key(self.key))] + e[1:self.boot2]
        shutil.rmtree(self.copy)
        self.rebuilt(e, self.log.sign(e, self.key))
        self.refused("attested: the document is of another key", "attested")
        self.assertEqual(verify(self.copy)[0], 0, "consistent in itself: the policy is what refuses it")

    def test_another_program(self):
        policy = self.s.make_policy("other.json", dict(self.s.pcrs, **{"0": "11" * 48}))
        self.refused("measurement", "attested", "--policy", policy, path=self.dir, policy=False)

    def test_splice_and_fork(self):
        """Another log continued from the same old state, and one of another name."""
        self.s.stop("host")
        fork = shutil.copytree(self.old, self.s.path("fork"))
        old_dir = self.s.path("audit")
        os.rename(old_dir, old_dir + ".real")
        os.rename(fork, old_dir)
        try:
            self.s.start_host()
            self.s.start_enclave()
            self.assertEqual(self.infer(20).returncode, 0)
            self.s.stop("enclave")
            self.s.stop("host")
        finally:
            os.rename(old_dir, fork)
            os.rename(old_dir + ".real", old_dir)
        code, _, err = verify(fork, *self.policy)
        self.assertEqual(code, 0, err)
        other = tlog.Log(fork)
        small, large = (fork, self.dir) if other.size < self.log.size else (self.dir, fork)
        self.refused("remembered: forked", "remembered", "--checkpoint", os.path.join(small, "checkpoint"), path=large)
        # The first part of one, the second of the other.
        self.log.write(self.copy, self.log.entries[:other.size - 3] + other.entries[-3:], other.note)
        shutil.copy(os.path.join(fork, f"boots/{self.boot2}.cose"), os.path.join(self.copy, "boots"))
        code, report, _ = verify(self.copy, *self.policy)
        self.assertNotEqual(code, 0)
        self.assertIn(report["broken_rule"]["rule"].split(":")[0], ("order", "sessions", "attested", "inclusion"))

    def test_of_another_log(self):
        text = self.log.note.decode().replace("ephemeralml/", "ephemeralml/0", 1)
        self.rebuilt(self.log.entries, text.encode())
        self.refused("boots: a boot record is of another log", "boots")

    def test_checkpoint(self):
        shutil.copytree(self.dir, self.copy)
        path = os.path.join(self.copy, "checkpoint")
        lines = self.log.note.decode().split("\n")
        cases = [("\n".join(lines[:1] + [str(self.log.size - 1)] + lines[2:]), "inclusion: the entries"),
                 ("\n".join(lines[:1] + [str(self.log.size + 1)] + lines[2:]), "files: "),
                 ("\n".join(lines[:3]), "note: "), ("", "note: "),
                 (self.log.note.decode().replace(lines[2], "A" * 43 + "="), "inclusion: the entries")]
        bad = self.log.note[:-10] + bytes([self.log.note[-10] ^ 1]) + self.log.note[-9:]
        for note, rule in [(c.encode(), r) for c, r in cases] + [(bad, "note: ")]:
            with open(path, "wb") as f:
                f.write(note)
            code, report, _ = verify(self.copy, *self.policy)
            self.assertNotEqual(code, 0)
            self.assertIn(rule, report["broken_rule"]["rule"])
        os.unlink(path)
        self.refused("checkpoint: there is none here", "checkpoint")

    def test_reports(self):
        for kind, word in (("md", "**Verified**"), ("html", ">Verified<"), ("json", '"verified": true')):
            done = services.run("eml", "audit", "report", self.dir, "--format", kind, *self.policy)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(word, done.stdout)
            self.assertNotIn(services.CANARY, done.stdout)
        rows = services.run("eml", "audit", "report", self.dir, "--format", "csv").stdout.splitlines()
        self.assertEqual(len(rows), self.log.size + 1)
        summary = json.loads(services.run("eml", "audit", "report", self.dir, "--format", "json").stdout)
        self.assertEqual(summary["events"]["inference"]["ok"], 300)
        self.assertEqual(sum(sum(e.values()) for e in summary["events"].values()), self.log.size)
        # A directory's name with markup, and a log that is broken: both said, neither believed.
        evil = os.path.join(os.path.dirname(self.copy), "<script>&'\"")
        shutil.copytree(self.dir, evil)
        os.unlink(os.path.join(evil, self.log.top()))
        done = services.run("eml", "audit", "report", evil, "--format", "html", *self.policy)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(">Not verified<", done.stdout)
        self.assertNotIn("<script", done.stdout)

    def test_proofs(self):
        for index in (0, 1, 255, 256, self.log.size - 1):
            done = services.run("eml", "audit", "proof", self.dir, index)
            self.assertEqual(done.returncode, 0, done.stderr)
            head, note = done.stdout.split("\n\n", 1)
            self.assertEqual(note.encode(), self.log.note)
            lines = head.split("\n")
            self.assertEqual(lines[:2], ["c2sp.org/tlog-proof@v1", f"index {index}"])
            self.assertLessEqual(len(lines) - 2, 10)
        self.assertNotEqual(services.run("eml", "audit", "proof", self.dir, self.log.size).returncode, 0)

    def test_nothing_of_anybody_is_in_it(self):
        everything = b"".join(self.log.entries)
        self.assertNotIn(services.CANARY.encode(), everything)
        self.assertLess(max(map(len, self.log.entries)), 600)


class Living(Base):
    """Anybody may read a log whose host goes on writing it, or has just been killed: what was acknowledged is there."""

    def inferences(self):
        code, report, err = verify(self.s.path("audit"), "--policy", self.s.path("policy.json"))
        self.assertEqual(code, 0, err)
        done = services.run("eml", "audit", "report", self.s.path("audit"), "--format", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        summary = json.loads(done.stdout)
        self.assertGreaterEqual(summary["size"], report["size"])
        return summary["events"].get("inference", {}).get("ok", 0)

    def test_read_while_it_is_written(self):
        failures = []

        def load():
            for _ in range(6):
                done = self.infer(60)
                if done.returncode != 0:
                    failures.append(done.stderr)

        before = self.inferences()
        thread = threading.Thread(target=load)
        thread.start()
        while thread.is_alive():
            self.inferences()
        thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(self.inferences() - before, 360)

    def test_after_a_kill(self):
        for _ in range(3):
            before = self.inferences()
            self.assertEqual(self.infer(7).returncode, 0)
            self.s.stop("host", signal.SIGKILL)
            self.assertEqual(self.inferences() - before, 7)
            self.s.start_host(self.s.host_port)
            # The log goes on as soon as the enclave has noticed.
            self.s.wait(lambda: self.infer(1).returncode == 0, "the enclave")


if __name__ == "__main__":
    unittest.main()
