"""How the image starts and ends: with two processors, on an NSM that is not as it must be, without what it needs; and the NSM itself."""
import os
import re
import shutil
import tempfile
import unittest

import numpy as np

from machine import Nitro
from services import expected, run, small_model


def setUpModule():
    global S
    S = Nitro(tempfile.mkdtemp(prefix="eml-boot-"))
    unittest.addModuleCleanup(S.close)


def say(text):
    print("    " + text, flush=True)


class Boots(unittest.TestCase):
    def boot(self, image, **options):
        machine = S.boot(image, self.id().rsplit(".", 1)[1] + f".{len(S.machines)}", **options)
        self.addCleanup(machine.close)
        return machine

    def infer_on(self, image):
        """A small model's result, from the machine that serves now."""
        inits = small_model(S.path("small.onnx"))
        x = np.random.RandomState(7).standard_normal((5, 16)).astype(np.float32)
        np.save(S.path("x.npy"), x)
        model, out = S.path(self.id() + ".model"), S.path(self.id() + ".out")
        for command in (("decompose", S.path("small.onnx"), "-o", model), ("push", model, "--host", S.host),
                        ("infer", "--host", S.host, "--policy", S.policy(image), "--topology", model + "/topology.key", "--input",
                         "x=" + S.path("x.npy"), "--output", out, "--timeout", "600")):
            done = run("eml", *command, timeout=900)
            self.assertEqual(done.returncode, 0, done.stderr)
        np.testing.assert_allclose(np.load(out + "/y.npy"), expected(inits, x), rtol=1e-4, atol=1e-5)


class TwoProcessors(Boots):
    def test_inference(self):
        """QEMU's emulated NSM now and then leaves a kernel with two processors without an answer: the kernel gives up after two minutes,
        and the machine ends, as it must. Then it is booted again."""
        image = S.build("two")
        for _ in range(3):
            machine = self.boot(image, cpus=2)
            machine.wait_init()
            S.wait(lambda: "event=ready" in machine.console() or machine.qemu.poll() is not None, "boot", 600)
            if machine.qemu.poll() is None:
                break
            self.assertIn("init: the NSM does not answer", machine.console())
            say("the NSM did not answer; booted again")
        self.assertIn("event=ready", machine.console())
        self.assertRegex(machine.console(), r"Brought up 1 node, 2 CPUs")
        self.infer_on(image)


class Device(Boots):
    def test_every_call(self):
        """nsm_probe.c as PID 1 of the production kernel: all seven calls on /dev/nsm, their errors, and buffers that are too short."""
        boot = S.path("probe")
        for folder in ("dev", "proc", "sys"):
            os.makedirs(os.path.join(boot, folder))
        shutil.copy(os.environ["EML_NSM_PROBE"], os.path.join(boot, "init"))
        os.chmod(os.path.join(boot, "init"), 0o755)
        console = self.boot(S.build("probe-image", boot=boot), signer=None).wait_end()
        # QEMU may start the kernel anew when it restarts the machine, with the NSM as the first run left it.
        first, done, rest = console.partition("\ndone ")
        checks = re.findall(r"^(ok|not ok) (.+?)\r?$", first, re.M)
        self.assertEqual([name for verdict, name in checks if verdict != "ok"], [], console)
        self.assertEqual((done, rest.split()[0]), ("\ndone ", str(len(checks))), console)
        self.assertGreaterEqual(len(checks), 25)
        say(f"{len(checks)} checks on /dev/nsm")


class Ends(Boots):
    """What cannot be set up does not serve: the machine ends."""

    def end_of(self, image, **options):
        console = self.boot(image, **options).wait_end()
        self.assertNotIn("event=ready", console)
        return console

    def test_no_heartbeat(self):
        self.assertIn("no heartbeat from the parent", self.end_of(S.build("no-heartbeat"), heartbeat=False))

    def test_no_options(self):
        self.assertIn("event=init.end", self.end_of(S.build("no-options", options=())))

    def test_words_of_the_hypervisor_are_no_options(self):
        """Words that the kernel does not know become arguments and environment of PID 1, which looks at neither."""
        cmdline = S.path("arguments")
        with open(cmdline, "w", encoding="utf-8") as f:
            f.write("reboot=k panic=-1 console=ttyS0 --role=worker --listen=vsock:any:5000 --host=vsock:3:5001 TZ=x help")
        console = self.end_of(S.build("arguments", options=(), cmdline=cmdline))
        self.assertIn("event=init.end", console)
        self.assertIn("usage: eml-enclaved", console)  # of the broker, which got no option

    def test_nsm_that_is_not_as_it_must_be(self):
        """Measurements that could still be extended; too few random bytes; none."""
        image = S.build("nsm")
        for signer, rule in (("unlocked", "PCR 0 to 15 are not locked"), ("short", "fewer than 32 random bytes"),
                             ("mute", "InternalError")):
            with self.subTest(signer):
                console = self.end_of(image, signer=signer)
                self.assertIn("init: ", console)
                self.assertIn(rule, console)
                self.assertNotIn("event=init.entropy", console)


if __name__ == "__main__":
    unittest.main(verbosity=2)
