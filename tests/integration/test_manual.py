"""The manual and --help name the same options, and no others."""
import os
import re
import subprocess
import unittest

from services import run

MAN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/man")
PAGES = {"eml-hostd": "eml-hostd.8", "eml-enclaved-dev": "eml-enclaved.8", "eml-kmsd": "eml-kmsd.8", "eml-eif": "eml-eif.1",
         "eml-devpki": "eml-devpki.1"}
# A command of `eml` as it is called for help, and as the manual names it.
COMMANDS = {("check",): ["check"], ("decompose",): ["decompose"], ("run",): ["run"], ("push",): ["push"], ("policy",): ["policy"],
            ("attest",): ["attest"], ("infer",): ["infer"], ("receipt",): ["receipt verify", "receipt show"],
            ("audit", "verify"): ["audit verify"], ("audit", "report"): ["audit report"], ("audit", "proof"): ["audit proof"],
            ("kms", "lint"): ["kms lint"]}


def page(name):
    with open(os.path.join(MAN, name), encoding="utf-8") as f:
        return f.read()


def in_page(text):
    return {"output" if o == "o" else o.lstrip("-") for o in re.findall(r"\bFl (-?[a-z][a-z0-9-]*)", text)} - {"help"}


def in_help(text):
    return set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", text)) - {"help"}


class Manual(unittest.TestCase):
    def help_of(self, program, *args):
        done = run(program, *args, "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""), (program, args))
        return done.stdout

    def test_programs(self):
        for program, name in PAGES.items():
            with self.subTest(program=program):
                options = in_help(self.help_of(program))
                self.assertTrue(options)
                self.assertEqual(options, in_page(page(name)))

    def test_commands(self):
        synopsis = re.search(r"^\.Sh SYNOPSIS$(.*?)^\.Sh DESCRIPTION$", page("eml.1"), re.M | re.S).group(1)
        manual = {}
        for block in re.split(r"^\.Nm$", synopsis, flags=re.M)[1:]:
            command = re.match(r"\s*\.Cm (.*)", block)
            if command:
                manual[command.group(1)] = manual.get(command.group(1), set()) | in_page(block)
        self.assertEqual(set(manual), {c for names in COMMANDS.values() for c in names})
        for args, names in COMMANDS.items():
            with self.subTest(command=args):
                # Lines of options only: their help may speak of others.
                lines = re.findall(r"^  (--.*)$", self.help_of("eml", *args), re.M)
                self.assertEqual({re.match(r"--([a-z0-9-]+)", line).group(1) for line in lines}, set().union(*(manual[n] for n in names)))
        listed = re.findall(r"^  ([a-z]+) ", self.help_of("eml"), re.M)
        self.assertEqual(set(listed), {args[0] for args in COMMANDS})

    def test_pages_are_well_formed(self):
        for name in sorted(os.listdir(MAN)):
            done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", os.path.join(MAN, name)], capture_output=True, text=True,
                                  check=False)
            self.assertEqual((done.returncode, done.stdout), (0, ""), name)


if __name__ == "__main__":
    unittest.main()
