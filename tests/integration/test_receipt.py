"""Receipts through real processes: kept by eml infer, verified offline afterwards, refused when anything about them is altered."""
import json
import os
import tempfile
import unittest

import numpy as np

from services import Services, run, small_model
from test_end_to_end import Base

USAGE, INPUT, REFUSED = 2, 3, 4


# --- the receipt's CBOR, read and written independently of the programs ---

def cbor_head(major, n):
    for size, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if n < 24:
            return bytes([major << 5 | n])
        if n < 1 << 8 * size:
            return bytes([major << 5 | code]) + n.to_bytes(size, "big")
    raise ValueError(n)


def cbor_item(data, at):
    """(value, end) for the types that a receipt's file has."""
    major, n = data[at] >> 5, data[at] & 31
    at += 1
    if n >= 24:
        size = 1 << (n - 24)
        n = int.from_bytes(data[at:at + size], "big")
        at += size
    if major == 0:
        return n, at
    if major == 2:
        return data[at:at + n], at + n
    if major == 3:
        return data[at:at + n].decode(), at + n
    assert major == 5
    result = {}
    for _ in range(n):
        key, at = cbor_item(data, at)
        result[key], at = cbor_item(data, at)
    return result, at


def parse(path):
    with open(path, "rb") as f:
        data = f.read()
    value, end = cbor_item(data, 0)
    assert end == len(data) and build(value) == data
    return value


def build(parts):
    out = cbor_head(5, len(parts))
    for key in sorted(parts):
        value = parts[key]
        out += cbor_head(0, key)
        out += cbor_head(3, len(value)) + value.encode() if isinstance(value, str) else cbor_head(2, len(value)) + value
    return out


AIR, STATEMENT, RECORD, PROOF, DOCUMENT = 1, 2, 3, 4, 5


class Receipt(Base):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made = 0
        cls.receipt, cls.y = cls.make()
        cls.other, _ = cls.make()

    @classmethod
    def make(cls, *options, host=None):
        cls.made += 1
        path, out = cls.s.path(f"r{cls.made}.receipt"), cls.s.path(f"r{cls.made}")
        done = cls.s.infer(cls.model, [("x", cls.s.path("x.npy"))], out, "--receipt", path, *options)
        assert done.returncode == 0, done.stderr
        return path, os.path.join(out, "y.npy")

    def verify(self, path, *options, policy=None, evaluation=True):
        args = ["eml", "receipt", "verify", path, "--policy", policy or self.s.path("policy.json"), "--json", *options]
        done = run(*args, *(["--allow-evaluation"] if evaluation else []))
        return done, json.loads(done.stdout) if done.stdout else None

    def refused(self, path, rule, *options, **kwargs):
        done, report = self.verify(path, *options, **kwargs)
        self.assertIn(done.returncode, (INPUT, REFUSED), done.stderr)
        self.assertFalse(report["verified"])
        self.assertIn(rule, report["refused"]["rule"])
        self.assertFalse(report["checks"][-1]["passed"])
        self.assertTrue(all(c["passed"] for c in report["checks"][:-1]))
        self.assertNotIn("receipt", report)

    def altered(self, **parts):
        value = parse(self.receipt)
        for name, part in parts.items():
            value[globals()[name]] = part
        path = self.s.path("altered.receipt")
        with open(path, "wb") as f:
            f.write(build(value))
        return path


class Verify(Receipt):
    def test_all_that_was_given(self):
        done, report = self.verify(self.receipt, "--input", "x=" + self.s.path("x.npy"), "--output", "y=" + self.y,
                                   "--topology", self.model + "/topology.key")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(report["verified"] and all(c["passed"] for c in report["checks"]))
        rules = [c["rule"] for c in report["checks"]]
        for rule in ("AIR receipt is signed by the document's key", "log record lies under a checkpoint signed by the same key",
                     "request is the inputs given", "response is the outputs given", "model is the one given"):
            self.assertIn(rule, rules)
        air = report["receipt"]["air"]
        self.assertEqual(air["security_mode"], "evaluation")
        self.assertEqual(air["pcrs"]["0"], self.s.pcrs["0"])
        self.assertEqual(air["sequence_number"], 1)
        self.assertGreater(report["receipt"]["statement"]["exposure_us"], 0)
        self.assertLess(report["receipt"]["log"]["index"], report["receipt"]["log"]["size"])

    def test_for_people(self):
        done = run("eml", "receipt", "verify", self.receipt, "--policy", self.s.path("policy.json"), "--allow-evaluation")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("ok     statement, record and proof name the same place in the log", done.stdout)
        self.assertNotIn("FAILED", done.stdout)

    def test_show_and_bare_air(self):
        bare = self.s.path("bare.air")
        done = run("eml", "receipt", "show", self.receipt, "--json", "--air", bare)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["air"]["iss"], "eml-enclaved")
        with open(bare, "rb") as f:
            self.assertEqual(f.read(), parse(self.receipt)[AIR])
        done = run("eml", "receipt", "show", self.receipt)
        self.assertIn("not verified", done.stdout)

    def test_document_of_its_own_file(self):
        document = self.s.path("document.bin")
        parts = parse(self.receipt)
        with open(document, "wb") as f:
            f.write(parts.pop(DOCUMENT))
        path = self.s.path("without.receipt")
        with open(path, "wb") as f:
            f.write(build(parts))
        self.assertEqual(self.verify(path, "--attestation", document)[0].returncode, 0)
        self.assertEqual(self.verify(self.receipt, "--attestation", document)[0].returncode, 0)
        self.refused(path, "no attestation document in it or given")

    def test_opening_is_the_owners(self):
        self.assertEqual(os.stat(self.receipt + ".opening").st_mode & 0o777, 0o600)
        self.refused(self.receipt, "L4 REQUEST_HASH_MISMATCH", "--input", "x=" + self.s.path("x.npy"), "--opening",
                     self.other + ".opening")
        np.save(self.s.path("x2.npy"), self.x + 1)
        self.refused(self.receipt, "L4 REQUEST_HASH_MISMATCH", "--input", "x=" + self.s.path("x2.npy"))
        self.refused(self.receipt, "L4 REQUEST_HASH_MISMATCH", "--input", "z=" + self.s.path("x.npy"))
        self.refused(self.receipt, "L4 RESPONSE_HASH_MISMATCH", "--output", "y=" + self.s.path("x.npy"))

    def test_session_has_one_for_each_request(self):
        path, out = self.s.path("many.receipt"), self.s.path("many")
        done = self.s.infer(self.model, [("x", self.s.path("x.npy"))] * 3, out, "--mode", "session", "--receipt", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        for k in (1, 2, 3):
            done, report = self.verify(f"{path}.{k}", "--input", "x=" + self.s.path("x.npy"), "--output", f"y={out}/{k}/y.npy")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(report["receipt"]["air"]["sequence_number"], k)
            self.assertEqual(report["receipt"]["statement"]["mode"], "session")
        self.s.wait(lambda: self.destroyed(report["receipt"]), "the record of the session's destruction")

    def destroyed(self, receipt):
        """The whole exposure of a session stands in the log; its receipts have what it was until then."""
        since, so_far = receipt["log"]["index"], receipt["statement"]["exposure_us"]
        report = run("eml", "audit", "report", self.s.path("audit"), "--format", "csv")
        self.assertEqual(report.returncode, 0, report.stderr)
        events = [line.split(",", 6) for line in report.stdout.splitlines()[1:]]
        return any(e[4] == "destruction" and int(e[0]) > since and int(e[6].rsplit("exposure_us=", 1)[1]) > so_far for e in events)

    def test_usage(self):
        self.assertEqual(run("eml", "receipt", "verify", self.receipt).returncode, USAGE)
        self.assertEqual(run("eml", "receipt", "eat", self.receipt).returncode, USAGE)
        self.assertEqual(run("eml", "receipt", "verify").returncode, USAGE)
        self.assertEqual(run("eml", "receipt", "show", self.s.path("x.npy")).returncode, INPUT)


class Tamper(Receipt):
    def test_evaluation_must_be_asked_for(self):
        self.refused(self.receipt, "L4 EVALUATION_MODE_REJECTED", evaluation=False)

    def test_other_policy(self):
        other = dict(self.s.pcrs, **{"2": self.s.pcrs["0"]})
        self.refused(self.receipt, "measurements match none", policy=self.s.make_policy("other.json", pcrs=other))

    def test_every_byte_of_the_signatures(self):
        parts = parse(self.receipt)
        for name, part in (("AIR", parts[AIR]), ("STATEMENT", parts[STATEMENT])):
            for i in range(len(part) - 64, len(part), 7):
                changed = part[:i] + bytes([part[i] ^ 1]) + part[i + 1:]
                rule = "L2 SIG_FAILED" if name == "AIR" else "statement: signature"
                self.refused(self.altered(**{name: changed}), rule)

    def test_parts_of_another_receipt(self):
        other = parse(self.other)
        self.refused(self.altered(AIR=other[AIR]), "L4 ATTESTATION_DOC_HASH_MISMATCH")
        self.refused(self.altered(STATEMENT=other[STATEMENT]), "statement is on another AIR receipt")
        self.refused(self.altered(RECORD=other[RECORD]), "record is of another AIR receipt")
        self.refused(self.altered(PROOF=other[PROOF]), "")
        self.refused(self.altered(DOCUMENT=other[DOCUMENT]), "L4 ATTESTATION_DOC_HASH_MISMATCH")
        self.refused(self.altered(AIR=other[AIR], DOCUMENT=other[DOCUMENT]), "statement is on another AIR receipt")
        self.refused(self.altered(RECORD=other[RECORD], PROOF=other[PROOF]), "record is of another AIR receipt")

    def test_cut_or_lengthened(self):
        with open(self.receipt, "rb") as f:
            data = f.read()
        path = self.s.path("cut.receipt")
        for n in (0, 1, 100, len(data) - 1):
            with open(path, "wb") as f:
                f.write(data[:n])
            self.assertEqual(run("eml", "receipt", "verify", path, "--policy", self.s.path("policy.json")).returncode, INPUT)
        with open(path, "wb") as f:
            f.write(data + b"\0")
        self.assertEqual(run("eml", "receipt", "verify", path, "--policy", self.s.path("policy.json")).returncode, INPUT)

    def test_no_flip_passes(self):
        with open(self.receipt, "rb") as f:
            data = f.read()
        path = self.s.path("flip.receipt")
        for at in range(0, len(data), 67):
            with open(path, "wb") as f:
                f.write(data[:at] + bytes([data[at] ^ 4]) + data[at + 1:])
            done = run("eml", "receipt", "verify", path, "--policy", self.s.path("policy.json"), "--allow-evaluation")
            self.assertIn(done.returncode, (INPUT, REFUSED), f"byte {at}")


class BareAir(unittest.TestCase):
    def test_vectors(self):
        """AIR's own, levels 1 to 3; those that break only a policy pass, as AIR says that they must."""
        vectors = os.path.join(os.path.dirname(__file__), "..", "vectors", "air")
        with tempfile.TemporaryDirectory() as d:
            n = 0
            for folder in ("valid", "invalid"):
                for name in sorted(os.listdir(os.path.join(vectors, folder))):
                    with open(os.path.join(vectors, folder, name), encoding="utf-8") as f:
                        v = json.load(f)
                    path = os.path.join(d, name)
                    with open(path, "wb") as f:
                        f.write(bytes.fromhex(v["receipt_hex"]))
                    done = run("eml", "receipt", "verify", path, "--key", v.get("wrong_public_key_hex") or v["public_key_hex"], "--json")
                    failure = v.get("expected_failure", {"layer": 4})
                    self.assertEqual(done.returncode == 0, failure["layer"] == 4, name)
                    self.assertEqual(len(json.loads(done.stdout)["checks"]), min(failure["layer"], 3))
                    if failure["layer"] < 4:
                        self.assertIn(f"L{failure['layer']} {failure['code']}", done.stderr)
                    n += 1
            self.assertEqual(n, 10)


class Remember(Receipt):
    def test_an_older_log_is_refused(self):
        kept = self.s.path("kept.json")

        def read():
            with open(kept, encoding="utf-8") as f:
                return json.load(f)
        self.make("--remember", kept)
        first = read()
        self.make("--remember", kept)
        second = read()
        size = lambda memory: int(memory["checkpoint"].split("\n")[1])
        self.assertGreater(size(second), size(first))
        origin, _, rest = second["checkpoint"].split("\n", 2)
        for text, rule in ((f"{origin}\n{size(second) + 1000}", "older than remembered"),
                           ("ephemeralml/other\n1", "not the log that is remembered")):
            with open(kept, "w", encoding="utf-8") as f:
                json.dump(dict(second, checkpoint=text + "\n" + rest), f)
            done = self.s.infer(self.model, [("x", self.s.path("x.npy"))], self.s.path("never"), "--remember", kept)
            self.assertEqual(done.returncode, REFUSED, done.stderr)
            self.assertIn(rule, done.stderr)
            self.assertFalse(os.path.exists(self.s.path("never")))
        with open(kept, "w", encoding="utf-8") as f:
            json.dump(first, f)
        self.make("--remember", kept)
        done = run("eml", "audit", "verify", self.s.path("audit"), "--remember", kept)
        self.assertEqual(done.returncode, 0, done.stderr)


class OtherEnclave(unittest.TestCase):
    def test_a_restarted_enclave_has_another_key(self):
        s = Services()
        self.addCleanup(s.close)
        small_model(s.path("m.onnx"))
        self.assertEqual(run("eml", "decompose", s.path("m.onnx"), "-o", s.path("model")).returncode, 0)
        self.assertEqual(run("eml", "push", s.path("model"), "--host", s.host).returncode, 0)
        np.save(s.path("x.npy"), np.zeros((2, 16), np.float32))
        for k in (1, 2):
            done = s.infer(s.path("model"), [("x", s.path("x.npy"))], s.path(f"out{k}"), "--receipt", s.path(f"{k}.receipt"))
            self.assertEqual(done.returncode, 0, done.stderr)
            s.stop("enclave")
            s.start_enclave()
        for k in (1, 2):  # each verifies with the key of its own start, in the same log
            done = run("eml", "receipt", "verify", s.path(f"{k}.receipt"), "--policy", s.path("policy.json"),
                       "--allow-evaluation", "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
        first, second = parse(s.path("1.receipt")), parse(s.path("2.receipt"))
        first[STATEMENT] = second[STATEMENT]
        with open(s.path("mixed.receipt"), "wb") as f:
            f.write(build(first))
        done = run("eml", "receipt", "verify", s.path("mixed.receipt"), "--policy", s.path("policy.json"), "--allow-evaluation")
        self.assertEqual(done.returncode, REFUSED)
        self.assertIn("statement: signature is not this key's", done.stderr)


if __name__ == "__main__":
    unittest.main()
