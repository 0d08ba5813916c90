"""Requests while something fails in the client, host or enclave: what they may end in, and that nothing stays behind. Shared by the
properties that inject faults.

Right is the right answer, or an error with a message and no file; nothing that host or enclave printed holds a name, weight or value of
the model or the request; the next request works, on the same processes if they are still there (a broker whose own calls fail may end,
and is then started again, as an init would); and then broker and host have the descriptors, processes and threads that they had
before the first fault, and no others.
"""
import collections
import glob
import os
import random
import shutil
import subprocess
import time
import unittest

import numpy as np

import scan
from generated import Model
from services import PATIENCE, Services, program

SEED = int(os.environ.get("EML_SEED", "1111"))
EVERY = os.environ.get("EML_EVERY") is not None

# What each has between two requests. Files: standard ones, and the program and /dev/null for children, or store, log, its two
# journals and the three files made ahead for the next commit. Memory files: the page of shares, the weights of one of the two models.
# Sockets: two that listen, or one and the log's connection to the host; a spare worker has one. The signals' descriptor is an
# anon_inode. Threads of the host: who accepts, who keeps the log, who makes files ahead.
QUIET = {"enclave": {"file": 5, "memfd": 2, "anon_inode": 1, "socket": 4, "process": 2, "thread": 1},
         "host": {"file": 10, "anon_inode": 1, "socket": 3, "thread": 3}}


def holdings(pid):
    """How many it has of what could be left over."""
    kinds = collections.Counter()
    for _, what in scan.descriptors(pid):
        kinds["memfd" if what.startswith("/memfd:") else "file" if what.startswith("/") else what.split(":")[0]] += 1
    kinds["process"] = len(scan.children(pid))  # also those that ended, and nobody asked how
    kinds["thread"] = len(os.listdir(f"/proc/{pid}/task"))
    return {k: n for k, n in kinds.items() if n != 0}


class UnderFaults(unittest.TestCase):
    def make_services(self):
        return Services()

    def setUp(self):
        self.s = self.make_services()
        self.addCleanup(self.s.close)
        self.dir = self.s.path("client")
        self.models = [self.make_model(i) for i in range(2)]
        sizes = [os.path.getsize(os.path.join(m.folder, "sealed", "weights.sealed")) for m in self.models]
        self.s.enclave_args += ["--cache-bytes", str(max(sizes))]  # so the enclave keeps one, and fetches for each request
        self.s.stop("enclave")
        self.s.start_enclave()
        self.model = self.models[0]
        self.options = []  # of `eml infer`, besides
        self.out = os.path.join(self.dir, "out")
        self.restarts = 0
        self.judged = {}  # how far each log was searched

    def make_model(self, i):
        folder = os.path.join(self.dir, str(i))
        os.makedirs(folder)
        model = Model(random.Random(SEED + i), folder)
        model.prepare(self.s)
        return model

    @property
    def result(self):
        return os.path.join(self.out, self.model.output_name + ".npy")

    def infer(self, *under, **env):
        """With the other model than the time before. under: a program that runs it. env: variables of its environment, besides."""
        self.model = self.models[self.model is self.models[0]]
        inputs = [f"--input={n}={p}" for n, p in self.model.write_inputs()]
        shutil.rmtree(self.out, ignore_errors=True)
        return subprocess.run([*under, program("eml"), "infer", "--host", self.s.host, "--policy", self.s.path("policy.json"), "--topology",
                               os.path.join(self.model.folder, "sealed", "topology.key"), "--output", self.out, "--timeout",
                               "10", *self.options, *inputs], capture_output=True, text=True, check=False, timeout=PATIENCE,
                              env=dict(self.s.environment, **env))

    def judge(self, done, codes):
        self.assertIn(done.returncode, codes, done.stderr)
        if done.returncode == 0:
            np.testing.assert_array_equal(np.load(self.result), self.model.results[3])
        else:
            self.assertNotEqual(done.stderr.strip(), "", "no message")
            self.assertFalse(os.path.exists(self.result), "a result in spite of an error")
        logs = self.new_logs()
        for model in self.models:
            hits = model.markers.search(logs)
            self.assertEqual(model.explain({"logs": hits.tolist()} if hits.size else {}), {}, "secrets in a log")

    def new_logs(self):
        """What was printed since it was asked for last, and a little before that, which may have been half a line."""
        new = b""
        for path in glob.glob(self.s.path("*.log")):
            with open(path, "rb") as f:
                f.seek(max(0, self.judged.get(path, 0) - 4096))
                new += f.read()
                self.judged[path] = f.tell()
        return new

    def assert_serves(self, name):
        """Again as if nothing had been. A process that gave up is started anew, and so is one that refuses until it is: a host whose
        audit disk failed (EIO) writes nothing more to it."""
        if self.s.processes[name].poll() is not None or not self.works_within(8):
            self.restart(name)
            self.assert_works()

    def restart(self, name):
        self.s.stop(name)
        (self.s.start_enclave if name == "enclave" else lambda: self.s.start_host(self.s.host_port))()
        self.restarts += 1

    def works_within(self, seconds):
        end = time.monotonic() + seconds
        while True:
            done = self.infer()
            self.judge(done, {0, 1, 3, 4, 5})
            if done.returncode == 0:
                return True
            if time.monotonic() > end:
                return False

    def assert_works(self):
        """Sooner or later: the machine may be so busy that a request meets a deadline."""
        self.assertTrue(self.works_within(PATIENCE), "no service any more")

    def settle(self, name, seconds):
        """What a request leads to after its end is under the fault too; but who cannot come to rest because of it need not."""
        try:
            Services.wait(lambda: self.s.processes[name].poll() is not None or self.is_quiet(name), name, seconds)
        except (TimeoutError, FileNotFoundError, ProcessLookupError):
            pass

    def is_quiet(self, name):
        return holdings(self.s.processes[name].pid) == QUIET[name]

    def assert_nothing_left(self):
        """After a request that was served. Of one that has just ended something may still be on its way out."""
        for name in QUIET:
            try:
                Services.wait(lambda n=name: self.is_quiet(n), name, 60)
            except TimeoutError:
                self.assertEqual(holdings(self.s.processes[name].pid), QUIET[name], f"{name} keeps descriptors, processes or threads")
