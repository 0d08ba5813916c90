"""The production kernel and program, booted as an enclave image: what it measures, proves, computes, and leaves behind."""
import json
import os
import shutil
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import numpy as np
from onnx import numpy_helper

from machine import CMDLINE, IMAGE, KERNEL, Nitro, PATIENCE
from services import expected, run, small_model

REFUSED, PEER = 4, 5
DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "demo")
MODELS = os.environ["EML_MODELS"]


def setUpModule():
    global S
    S = Nitro(tempfile.mkdtemp(prefix="eml-nitro-"))
    unittest.addModuleCleanup(S.close)
    S.start_kms()


def say(text):
    print("    " + text, flush=True)


def measurements(image):
    done = run("eml-eif", "describe", image)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["Measurements"]


class Booted(unittest.TestCase):
    """One machine for all tests of a class."""

    memory_mib = 512

    @classmethod
    def setUpClass(cls):
        cls.s = S
        cls.image = S.build(cls.__name__)
        cls.machine = S.boot(cls.image, cls.__name__ + ".run", memory_mib=cls.memory_mib)
        cls.addClassCleanup(cls.machine.close)
        say(f"booted to ready in {cls.machine.wait_ready():.2f} s")
        cls.policy = S.policy(cls.image)

    def decompose(self, onnx, name):
        model = S.path(name)
        done = run("eml", "decompose", onnx, "-o", model)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = run("eml", "push", model, "--host", S.host)
        self.assertEqual(done.returncode, 0, done.stderr)
        return model

    def infer(self, model, x, *options, name="x"):
        out = S.path("out", self.id().rsplit(".", 1)[1])
        os.makedirs(os.path.dirname(out), exist_ok=True)
        np.save(out + ".in.npy", x)
        done = run("eml", "infer", "--host", S.host, "--policy", self.policy, "--topology", model + "/topology.key", "--input",
                   f"{name}={out}.in.npy", "--output", out, "--timeout", "600", "--json", *options, env=S.environment, timeout=900)
        return done, out


class Works(Booted):
    def test_console(self):
        lines = self.machine.console()
        for event in ("init.settings", "init.nsm", "init.entropy", "init.clock"):
            self.assertIn(f'event={event} class="ok"', lines)
        self.assertIn("locked_pcrs=16 debug=0", lines)
        self.assertIn("nsm_bytes=256", lines)
        self.assertIn("Kernel is locked down", lines)
        self.assertIn("landlock: Up and running", lines)
        self.assertEqual(self.machine.beats, [b"\xb7"])

    def test_the_document_holds_the_announced_measurements(self):
        done = S.attest(self.policy, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        pcrs, announced = json.loads(done.stdout)["document"]["pcrs"], measurements(self.image)
        for i in "012":
            self.assertEqual(pcrs[i], announced["PCR" + i])
        # Kernel, command line and program are those that `make eif` announces; only the configuration is the test's.
        with open(os.path.join(IMAGE, "eml.pcrs.json"), encoding="utf-8") as f:
            self.assertEqual(pcrs["1"], json.load(f)["Measurements"]["PCR1"])

    def test_a_real_model_under_kms(self):
        """PP-OCRv4 recognition reads a drawn line of text; the request is sealed under a KMS key whose policy names PCR0."""
        text = "Enclave 42"
        drawn = S.path("drawn.npy")
        subprocess.run(["/usr/bin/python3", os.path.join(DEMO, "draw.py"), text, drawn], check=True)
        model = self.decompose(os.path.join(MODELS, "ppocr-rec.onnx"), "ocr")
        arn = S.create_key(measurements(self.image)["PCR0"])
        start = time.monotonic()
        done, out = self.infer(model, np.load(drawn), *S.kms_options(arn))
        self.assertEqual(done.returncode, 0, done.stderr)
        (result,) = [f for f in os.listdir(out) if f.endswith(".npy")]
        read = subprocess.run(["/usr/bin/python3", os.path.join(DEMO, "read.py"), os.path.join(out, result),
                               os.path.join(MODELS, "ppocr-keys.txt")], check=True, capture_output=True, text=True)
        self.assertEqual(read.stdout.strip(), text)
        local = run("eml", "run", "--topology", model + "/topology.key", "--weights", model + "/weights.sealed", "--input",
                    f"x={drawn}", "--output", out + ".local")
        self.assertEqual(local.returncode, 0, local.stderr)
        np.testing.assert_allclose(np.load(os.path.join(out, result)), np.load(os.path.join(out + ".local", result)), atol=1e-3)
        report = json.loads(done.stdout)
        self.assertTrue(report["checks"] and all(c["passed"] for c in report["checks"]))
        say(f"read {read.stdout.strip()!r} in {time.monotonic() - start:.1f} s; stages {json.dumps(report['results'][0])}")

    def test_kms_refuses_another_measurement(self):
        model = self.small("kms-small")
        arn = S.create_key("ab" * 48)
        done, out = self.infer(model, self.x, *S.kms_options(arn))
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        self.assertFalse(os.path.exists(out))

    def small(self, name):
        self.inits = small_model(S.path(name + ".onnx"))
        self.x = np.random.RandomState(7).standard_normal((5, 16)).astype(np.float32)
        return self.decompose(S.path(name + ".onnx"), name)

    def test_many_sessions(self):
        model = self.small("small")
        times = []
        for _ in range(20):
            start = time.monotonic()
            done, out = self.infer(model, self.x)
            times.append(time.monotonic() - start)
            self.assertEqual(done.returncode, 0, done.stderr)
            np.testing.assert_allclose(np.load(out + "/y.npy"), expected(self.inits, self.x), rtol=1e-4, atol=1e-5)
        say(f"20 sessions, median {sorted(times)[10] * 1000:.0f} ms")

    def test_the_audit_log_verifies(self):
        """What the host stored of the booted enclave's log, offline, under the same policy."""
        done, _ = self.infer(self.small("audited"), self.x)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = run("eml", "audit", "verify", self.machine.path("audit"), "--policy", self.policy)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_refused_by_a_policy_of_another_root(self):
        self.assertEqual(run("eml-devpki", S.path("other-pki")).returncode, 0)
        policy = S.path("other-root.json")
        done = run("eml", "policy", "--from-eif", self.image, "--root", S.path("other-pki/root.pem"), "-o", policy)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(S.attest(policy).returncode, REFUSED)


class Leaves(Booted):
    """All of the machine's memory is searched: kernel, page cache, every process."""

    memory_mib = 256

    def setUp(self):
        inits = small_model(S.path("leaves.onnx"), width=700, layers=6)
        self.model = self.decompose(S.path("leaves.onnx"), self.id().rsplit(".", 1)[1] + ".model")
        self.x = np.random.RandomState(3).standard_normal((120, 16)).astype(np.float32)
        self.y = expected(inits, self.x)
        with open(self.model + "/topology.key", "rb") as f:
            key = f.read()
        w = numpy_helper.to_array(inits[2])
        self.marks = {"input": [self.x[i].tobytes()[:32] for i in (0, 60, 119)], "topology": [key[i:i + 32] for i in (64, len(key) // 2)],
                      "weights": [w[i, j:j + 8].tobytes() for i, j in ((0, 0), (350, 320), (699, 688))]}
        self.memory = self.machine.memory()

    def tearDown(self):
        self.memory.close()

    def found(self):
        return {kind for kind, marks in self.marks.items() for mark in marks if self.memory.find(mark) >= 0}

    def check(self, *options):
        """Runs an inference, searches all the while, and when it is over. Returns what was found while it ran."""
        results, seen, looks = [], set(), 0
        thread = threading.Thread(target=lambda: results.append(self.infer(self.model, self.x, *options)))
        thread.start()
        while thread.is_alive():
            seen |= self.found()
            looks += 1
        thread.join()
        done, out = results[0]
        self.assertEqual(done.returncode, 0, done.stderr)
        y = np.load(os.path.join(out, "1/y.npy" if options else "y.npy"))
        np.testing.assert_allclose(y, self.y, rtol=1e-3, atol=1e-2)
        self.marks["output"] = [y[i].tobytes()[:32] for i in (0, 60, 119)]
        over, last = time.monotonic(), time.monotonic() + PATIENCE
        while self.found() and time.monotonic() < last:  # the worker ends after the client has its answer
            pass
        self.assertEqual(self.found(), set())
        say(f"{looks} searches of {self.memory_mib} MiB while it ran found {sorted(seen)}; nothing {time.monotonic() - over:.1f} s later")
        return seen

    def test_request_mode(self):
        self.assertGreaterEqual(self.check(), {"input", "topology"})

    def test_session_mode(self):
        """All of the model lies in memory for a while here: that the search finds it shows that it could have found it above."""
        np.save(S.path("again.npy"), self.x)
        self.assertEqual(self.check("--mode", "session", "--input", "x=" + S.path("again.npy")), {"input", "topology", "weights"})


class Identity(unittest.TestCase):
    """What differs is refused."""

    def boot(self, image, **options):
        machine = S.boot(image, self.id().rsplit(".", 1)[1], **options)
        self.addCleanup(machine.close)
        machine.wait_ready()
        return machine

    @classmethod
    def setUpClass(cls):
        cls.image = S.build("original")

    def refused_as_changed(self, changed):
        self.boot(changed)
        self.assertEqual(S.attest(S.policy(changed)).returncode, 0)  # the image is what its file says
        done = S.attest(S.policy(self.image))
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        self.assertIn("measurements match none", done.stderr)

    def changed_file(self, path, old, new):
        with open(path, "rb") as f:
            data = f.read()
        self.assertEqual(len(old), len(new))
        self.assertIn(old, data)
        out = S.path("changed-" + os.path.basename(path))
        with open(out, "wb") as f:
            f.write(data.replace(old, new, 1))
        return out

    def test_kernel(self):
        with open(KERNEL, "rb") as f:
            setup = f.read(0x8000)
        at = 0x200 + struct.unpack_from("<H", setup, 0x20e)[0]  # Documentation/arch/x86/boot.rst: kernel_version
        text = setup[at:at + 16]
        self.refused_as_changed(S.build("kernel", kernel=self.changed_file(KERNEL, text, b"X" + text[1:])))

    def test_command_line(self):
        self.refused_as_changed(S.build("cmdline", cmdline=self.changed_file(CMDLINE, b"random.", b"Random.")))

    def test_program(self):
        boot = S.path("changed-boot")
        shutil.copytree(os.path.join(IMAGE, "boot"), boot)
        shutil.copy(self.changed_file(os.path.join(boot, "init"), b"usage: eml-enclaved", b"Usage: eml-enclaved"), boot + "/init")
        os.chmod(boot + "/init", 0o755)
        self.refused_as_changed(S.build("program", boot=boot))

    def test_configuration(self):
        self.refused_as_changed(S.build("configuration", options=(*Nitro.OPTIONS, "# one line more")))

    def test_debug_mode(self):
        machine = self.boot(self.image, signer="debug")
        self.assertIn("debug=1", machine.console())
        done = S.attest(S.policy(self.image))
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        self.assertIn("debug", done.stderr)

    def test_unsigned_documents(self):
        self.boot(self.image, signer=None)
        done = S.attest(S.policy(self.image))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("COSE", done.stderr)

    def test_only_the_parent_is_heard(self):
        """A caller with another CID than the parent's."""
        machine = self.boot(self.image, parent_cid=7)
        self.assertEqual(S.attest(S.policy(self.image)).returncode, PEER)
        self.assertIn("event=peer.refused", machine.console())

    def test_production_image(self):
        """The file that `make eif` made, as it is."""
        image = os.path.join(IMAGE, "eml.eif")
        shutil.copy(image, S.path("production.eif"))
        self.boot(S.path("production.eif"))
        done = S.attest(S.policy(S.path("production.eif")), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["document"]["pcrs"]["0"], measurements(image)["PCR0"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
