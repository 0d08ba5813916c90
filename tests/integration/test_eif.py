"""eml-eif and eml policy --from-eif as programs."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from services import run


class Eif(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="eml-test-")
        self.addCleanup(shutil.rmtree, self.dir)
        for name, size in (("kernel", 5000), ("init", 700), ("app", 3000)):
            with open(self.path(name), "wb") as f:
                f.write((name.encode() * size)[:size])

    def path(self, name):
        return os.path.join(self.dir, name)

    def build(self, output, *options, cmdline="quiet"):
        return run("eml-eif", "build", "--kernel", self.path("kernel"), "--cmdline", cmdline, "--ramdisk", self.path("init"),
                   "--ramdisk", self.path("app"), *options, "--output", self.path(output))

    def pcrs(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["Measurements"]

    def make_signer(self):
        subprocess.run(["openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-outform", "DER", "-out",
                        self.path("key.der")], check=True, capture_output=True)
        subprocess.run(["openssl", "req", "-x509", "-new", "-key", self.path("key.der"), "-keyform", "DER", "-subj", "/CN=test",
                        "-days", "30", "-out", self.path("cert.pem")], check=True, capture_output=True)
        return ["--key", self.path("key.der"), "--certificate", self.path("cert.pem")]

    def test_same_input_gives_the_same_bytes(self):
        self.pcrs(self.build("a.eif"))
        self.pcrs(self.build("b.eif"))
        with open(self.path("a.eif"), "rb") as a, open(self.path("b.eif"), "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_every_measured_part_counts(self):
        before = self.pcrs(self.build("a.eif"))
        self.assertNotEqual(self.pcrs(self.build("b.eif", cmdline="quiet x"))["PCR0"], before["PCR0"])
        self.assertEqual(self.pcrs(self.build("b.eif", cmdline="quiet \n")), before)
        self.assertEqual(self.pcrs(self.build("b.eif", "--name", "other", "--image-version", "9")), before)
        for part, changed in (("kernel", ("PCR0", "PCR1")), ("init", ("PCR0", "PCR1")), ("app", ("PCR0", "PCR2"))):
            with open(self.path(part), "r+b") as f:
                f.write(b"X")
            after = self.pcrs(self.build("b.eif"))
            self.assertEqual({k for k in before if before[k] != after[k]}, set(changed), part)
            before = after

    def test_signed(self):
        signed = self.pcrs(self.build("a.eif", *self.make_signer()))
        self.assertEqual(run("eml-eif", "verify", self.path("a.eif")).returncode, 0)
        pcr8 = run("eml-eif", "pcr", "--certificate", self.path("cert.pem"))
        self.assertEqual(json.loads(pcr8.stdout)["PCR"], signed["PCR8"])
        other = self.make_signer()
        self.build("mixed.eif", *other)
        subprocess.run(["openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-outform", "DER", "-out",
                        self.path("key.der")], check=True, capture_output=True)
        done = self.build("wrong.eif", *other)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertFalse(os.path.exists(self.path("wrong.eif")))

    def test_verify(self):
        described = self.build("a.eif").stdout
        with open(self.path("m.json"), "w", encoding="utf-8") as f:
            f.write(described)
        self.assertEqual(run("eml-eif", "verify", self.path("a.eif"), "--measurements", self.path("m.json")).returncode, 0)
        self.build("b.eif", cmdline="other")
        self.assertEqual(run("eml-eif", "verify", self.path("b.eif"), "--measurements", self.path("m.json")).returncode, 4)
        with open(self.path("a.eif"), "r+b") as f:
            f.seek(2000)
            f.write(b"damage")
        done = run("eml-eif", "verify", self.path("a.eif"))
        self.assertEqual(done.returncode, 3)
        self.assertIn("CRC", done.stderr)

    def test_policy_from_image(self):
        pcrs = self.pcrs(self.build("a.eif", *self.make_signer()))
        done = run("eml", "policy", "--from-eif", self.path("a.eif"), "--root", "aws", "-o", self.path("p.json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("p.json"), encoding="utf-8") as f:
            text = f.read()
        for name in ("PCR0", "PCR1", "PCR2", "PCR8"):
            self.assertIn(pcrs[name], text)
        with open(self.path("d.json"), "w", encoding="utf-8") as f:
            f.write(run("eml-eif", "describe", self.path("a.eif")).stdout)
        done = run("eml", "policy", "--measurements", self.path("d.json"), "--root", "aws", "-o", self.path("q.json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("q.json"), encoding="utf-8") as f:
            self.assertEqual(f.read(), text)

    def test_usage(self):
        for args in ([], ["build"], ["describe"], ["verify", "a", "b"], ["pcr"], ["build", "--kernel", "k", "--output", "o"]):
            self.assertEqual(run("eml-eif", *args).returncode, 2)
        self.assertEqual(run("eml-eif", "describe", self.path("none")).returncode, 2)
        self.assertEqual(run("eml-eif", "describe", self.path("kernel")).returncode, 3)


if __name__ == "__main__":
    unittest.main()
