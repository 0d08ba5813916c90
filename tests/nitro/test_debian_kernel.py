"""Debian's stock cloud kernel in place of the production one: `make eif KERNEL=debian`, booted."""
import json
import os
import subprocess
import unittest

import test_boot
from services import run

DEBIAN = os.environ["EML_DEBIAN_KERNEL"]
IMAGE = os.environ["EML_DEBIAN_IMAGE_DIR"]


def setUpModule():
    test_boot.setUpModule()


class Debian(test_boot.Boots):
    def test_inference(self):
        """That kernel ignores devices named on its command line, where QEMU's machine puts them; it finds them by ACPI."""
        s = test_boot.S
        image = s.build("debian", kernel=os.path.join(DEBIAN, "bzImage"), cmdline=os.path.join(DEBIAN, "cmdline"),
                        boot=os.path.join(IMAGE, "boot"))
        khz = subprocess.run([os.environ["EML_TSC_KHZ"]], check=True, capture_output=True, text=True).stdout.strip()
        machine = self.boot(image, acpi=True, words=["tsc_early_khz=" + khz])
        test_boot.say(f"booted to ready in {machine.wait_ready():.1f} s")
        console = machine.console()
        for event in ("init.settings", "init.nsm", "init.entropy", "init.clock"):
            self.assertIn(f'event={event} class="ok"', console)
        self.assertIn("Kernel is locked down from command line", console)
        self.assertRegex(console, "mem auto-init: .*heap alloc:on, heap free:on")
        done = s.attest(s.policy(image), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(IMAGE, "eml.pcrs.json"), encoding="utf-8") as f:
            self.assertEqual(json.loads(done.stdout)["document"]["pcrs"]["1"], json.load(f)["Measurements"]["PCR1"])
        self.infer_on(image)
        done = run("eml", "audit", "verify", machine.path("audit"), "--policy", s.policy(image))
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
