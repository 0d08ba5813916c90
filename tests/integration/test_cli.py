"""The command line by itself: usage, help, eml check's report, eml policy. No services."""
import json
import os
import shutil
import tempfile
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper

from services import run, small_model

COMMANDS = ("check", "decompose", "run", "push", "policy", "attest", "infer", "kms")


class Cli(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="eml-test-")
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def test_help(self):
        self.assertEqual(run("eml", "--help").returncode, 0)
        for command in COMMANDS:
            done = run("eml", command, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn(f"usage: eml {command}", done.stdout)

    def test_usage_errors(self):
        cases = [[], ["nonsense"], ["check"], ["check", "a", "b"], ["check", "a", "--unknown"], ["decompose", "a"],
                 ["decompose", "a", "-o"], ["push", "d"], ["infer", "--host", "tcp:h:1"], ["policy", "-o", "p"],
                 ["decompose", "a", "-o", "b", "--model-version", "0"], ["check", "a", "--json=1"],
                 ["attest", "--host", "x", "--host", "y", "--policy", "p"]]
        for args in cases:
            with self.subTest(args=args):
                done = run("eml", *args)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertNotEqual(done.stderr, "")

    def test_check_lists_every_unsupported_node(self):
        nodes = [helper.make_node("NoSuchOperator", ["x"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["b"]),
                 helper.make_node("Softmax", ["b"], ["c"], name="second", no_such_attribute=1),
                 helper.make_node("Other", ["c"], ["y"], name="third", domain="unknown.domain")]
        graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid("unknown.domain", 1)])
        onnx.save(model, self.path("bad.onnx"))
        done = run("eml", "check", "--json", self.path("bad.onnx"))
        self.assertEqual(done.returncode, 3, done.stderr)
        report = json.loads(done.stdout)
        self.assertFalse(report["supported"])
        self.assertEqual({"first", "second", "third"}, {p["name"] for p in report["problems"] if p["name"]})
        for problem in report["problems"]:
            self.assertTrue(problem["reason"])
        human = run("eml", "check", self.path("bad.onnx"))
        self.assertEqual(human.returncode, 3)
        for word in ("NoSuchOperator", "no_such_attribute", "unknown.domain"):
            self.assertIn(word, human.stdout)
        self.assertEqual(run("eml", "decompose", self.path("bad.onnx"), "-o", self.path("out")).returncode, 3)
        self.assertFalse(os.path.exists(self.path("out")))

    def test_check_accepts(self):
        small_model(self.path("m.onnx"))
        done = run("eml", "check", "--json", self.path("m.onnx"))
        self.assertEqual((done.returncode, json.loads(done.stdout)["supported"]), (0, True))

    def test_topology_key_is_never_overwritten(self):
        small_model(self.path("m.onnx"))
        self.assertEqual(run("eml", "decompose", self.path("m.onnx"), "-o", self.path("d")).returncode, 0)
        with open(self.path("d/topology.key"), "rb") as f:
            before = f.read()
        again = run("eml", "decompose", self.path("m.onnx"), "-o", self.path("d"))
        self.assertEqual(again.returncode, 2)
        self.assertIn("never overwritten", again.stderr)
        with open(self.path("d/topology.key"), "rb") as f:
            self.assertEqual(f.read(), before)

    def test_policy(self):
        pcr = ["--pcr0", "11" * 48, "--pcr1", "22" * 48, "--pcr2", "33" * 48]
        self.assertEqual(run("eml", "policy", *pcr, "--root", "aws", "-o", self.path("p.json")).returncode, 0)
        with open(self.path("p.json"), encoding="utf-8") as f:
            self.assertIn("11" * 48, f.read())
        for bad, code in ((["--pcr0", "00" * 48] + pcr[2:], 4), (["--pcr0", "zz" * 48] + pcr[2:], 3),
                          (["--pcr0", "11"] + pcr[2:], 3), (pcr[:4], 2)):
            with self.subTest(bad=bad):
                done = run("eml", "policy", *bad, "--root", "aws", "-o", self.path("bad.json"))
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertFalse(os.path.exists(self.path("bad.json")))
        self.assertEqual(run("eml", "policy", *pcr, "--root", self.path("none.pem"), "-o", self.path("q")).returncode, 2)

    def test_kms_lint(self):
        policies = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vectors/kms-policies")
        clean = run("eml", "kms", "lint", os.path.join(policies, "clean-pcr-0-1-2-8.json"))
        self.assertEqual(clean.returncode, 0, clean.stderr)
        self.assertIn("kms:Decrypt needs PCR0 PCR1 PCR2 PCR8", clean.stdout)
        bad = os.path.join(policies, "root-delegation.json")
        human = run("eml", "kms", "lint", bad)
        self.assertEqual(human.returncode, 1)
        self.assertIn("error    statement 0 (Enable IAM User Permissions): root-delegation: ", human.stdout)
        done = run("eml", "kms", "lint", "--json", bad)
        report = json.loads(done.stdout)
        self.assertEqual((done.returncode, report["errors"], report["warnings"]), (1, 1, 0))
        self.assertEqual([(f["rule"], f["statement"]) for f in report["findings"]], [("root-delegation", 0)])
        self.assertEqual(report["decrypt"], [{"statement": 0, "pcrs": []}, {"statement": 1, "pcrs": [0]}])
        for name, text in (("none.json", None), ("empty.json", ""), ("array.json", "[]"), ("twice.json", '{"Id":"a","Id":"b"}'),
                           ("shape.json", '{"Statement":[{"Effect":"Allow"}]}'), ("long.json", " " * 40000)):
            if text is not None:
                with open(self.path(name), "w", encoding="utf-8") as f:
                    f.write(text)
            with self.subTest(name=name):
                done = run("eml", "kms", "lint", self.path(name))
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(name, done.stderr)
        self.assertEqual(run("eml", "kms", "mend", bad).returncode, 2)

    def test_run_names_the_inputs_that_it_wants(self):
        small_model(self.path("m.onnx"))
        self.assertEqual(run("eml", "decompose", self.path("m.onnx"), "-o", self.path("d")).returncode, 0)
        np.save(self.path("x.npy"), np.zeros((2, 16), np.float32))
        done = run("eml", "run", "--topology", self.path("d/topology.key"), "--weights", self.path("d/weights.sealed"),
                   "--input", "wrong=" + self.path("x.npy"), "--output", self.path("out"))
        self.assertEqual(done.returncode, 3)
        self.assertIn("x  float32 [?, 16]", done.stderr)


if __name__ == "__main__":
    unittest.main()
