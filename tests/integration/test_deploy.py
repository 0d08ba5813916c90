"""deploy/: templates, units, scripts and alert rules, as far as they can be checked without AWS.

cfn-lint and promtool are used where they are installed; what they would find is not all that is checked here."""
import http.server
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

import yaml

from services import PATIENCE, free_port, program, run, Services

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
DEPLOY = os.path.join(REPOSITORY, "deploy")
VECTORS = os.path.join(REPOSITORY, "tests/vectors")
TEMPLATES = ("key.yaml", "store.yaml", "host.yaml")
PCR0 = ["3f" * 48, "a0" * 48]
PARAMETERS = {"KeyAdministratorArn": "arn:aws:iam::111122223333:role/key-administrator",
              "ModelOwnerArn": "arn:aws:iam::111122223333:user/owner", "HostRoleArns": ["arn:aws:iam::444455556666:role/host"],
              "ImagePcr0": PCR0[0]}


def read(*parts):
    with open(os.path.join(DEPLOY, *parts), encoding="utf-8") as f:
        return f.read()


# --- templates ---

class Loader(yaml.SafeLoader):
    """CloudFormation's short forms as the long ones."""


def intrinsic(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix == "Ref" else "Fn::" + suffix: value}


Loader.add_multi_constructor("!", intrinsic)


def template(name):
    return yaml.load(read("cloudformation", name), Loader)


def nodes(tree):
    yield tree
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nodes(value)


def references(tree):
    """Names that a template refers to: parameters, resources (and their attributes' owners), pseudo parameters."""
    for node in nodes(tree):
        if not isinstance(node, dict):
            continue
        if "Ref" in node:
            yield node["Ref"]
        if "Fn::GetAtt" in node:
            yield node["Fn::GetAtt"][0]
        if "Fn::Sub" in node:
            for name in re.findall(r"\$\{([^!}]+)\}", node["Fn::Sub"]):
                yield name.split(".")[0]


def resolve(tree, values, conditions):
    if isinstance(tree, list):
        return [resolve(v, values, conditions) for v in tree]
    if not isinstance(tree, dict):
        return tree
    if "Ref" in tree:
        return values[tree["Ref"]]
    if "Fn::If" in tree:
        name, yes, no = tree["Fn::If"]
        return resolve(yes if conditions[name] else no, values, conditions)
    return {k: resolve(v, values, conditions) for k, v in tree.items()}


# What CloudFormation refuses a resource without, of the types that are used.
REQUIRED = {"AWS::KMS::Key": {"KeyPolicy"}, "AWS::S3::Bucket": set(), "AWS::S3::BucketPolicy": {"Bucket", "PolicyDocument"},
            "AWS::Logs::LogGroup": set(), "AWS::IAM::Role": {"AssumeRolePolicyDocument"},
            "AWS::IAM::RolePolicy": {"PolicyName", "RoleName"}, "AWS::IAM::InstanceProfile": {"Roles"},
            "AWS::EC2::SecurityGroup": {"GroupDescription"}, "AWS::EC2::SecurityGroupIngress": {"IpProtocol"},
            "AWS::EC2::Instance": {"ImageId", "SubnetId"}, "AWS::CloudWatch::Alarm": {"ComparisonOperator", "EvaluationPeriods"}}


class Templates(unittest.TestCase):
    def test_references_and_required_properties(self):
        for name in TEMPLATES:
            t = template(name)
            parameters, resources = set(t.get("Parameters", {})), t["Resources"]
            used = set(references({k: v for k, v in t.items() if k != "Parameters"}))
            pseudo = {n for n in used if n.startswith("AWS::")}
            with self.subTest(template=name):
                self.assertEqual(used - parameters - set(resources) - pseudo, set(), "undefined")
                self.assertEqual(parameters - used, set(), "unused parameters")
                self.assertLessEqual(pseudo, {"AWS::Region", "AWS::Partition", "AWS::StackName", "AWS::NoValue"})
                named = {r["Condition"] for r in resources.values() if "Condition" in r}
                named |= {n["Fn::If"][0] for n in nodes(t) if isinstance(n, dict) and "Fn::If" in n}
                self.assertEqual(named, set(t.get("Conditions", {})))
                for resource in resources.values():
                    self.assertLessEqual(REQUIRED[resource["Type"]], set(resource["Properties"]))

    @unittest.skipUnless(shutil.which("cfn-lint"), "cfn-lint is not installed")
    def test_cfn_lint(self):
        files = [os.path.join(DEPLOY, "cloudformation", f) for f in TEMPLATES]
        done = subprocess.run(["cfn-lint", *files], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_key_policy_is_clean(self):
        key = template("key.yaml")["Resources"]["Key"]["Properties"]
        with tempfile.TemporaryDirectory(prefix="eml-test-") as folder:
            for previous in ("", PCR0[1]):
                policy = resolve(key["KeyPolicy"], dict(PARAMETERS, PreviousPcr0=previous), {"HasPrevious": previous != ""})
                path = os.path.join(folder, "policy.json")
                with open(path, "w", encoding="utf-8") as f:
                    json.dump(policy, f)
                done = run("eml", "kms", "lint", "--json", path)
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertEqual(json.loads(done.stdout)["decrypt"], [{"statement": 2, "pcrs": [0]}])
                values = policy["Statement"][2]["Condition"]["StringEqualsIgnoreCase"]["kms:RecipientAttestation:PCR0"]
                self.assertEqual(values, [PCR0[0]] + ([previous] if previous else []))
        self.assertIs(key["BypassPolicyLockoutSafetyCheck"], False)
        self.assertIs(key["MultiRegion"], False)

    def test_parameters_refuse_what_they_must(self):
        parameters = template("key.yaml")["Parameters"]
        for name, good, bad in (("ImagePcr0", PCR0[0], ["", "3F" * 48, "3f" * 47, PCR0[0] + "\n", "*"]),
                                ("PreviousPcr0", "", ["x", "3f" * 47]),
                                ("HostRoleArns", PARAMETERS["HostRoleArns"][0], ["*", "arn:aws:iam::444455556666:root",
                                                                           "arn:aws:iam::444455556666:role/*"]),
                                ("KeyAdministratorArn", PARAMETERS["KeyAdministratorArn"], ["arn:aws:iam::111122223333:root"])):
            self.assertRegex(good, parameters[name]["AllowedPattern"])
            for value in bad:
                self.assertIsNone(re.fullmatch(parameters[name]["AllowedPattern"], value), (name, value))

    def test_host_has_least_privilege(self):
        resources = template("host.yaml")["Resources"]
        statements = [s for p in resources["HostRole"]["Properties"]["Policies"] for s in p["PolicyDocument"]["Statement"]]
        statements += resources["EnclaveKeyPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        allowed = set()
        for s in statements:
            actions = s["Action"] if isinstance(s["Action"], list) else [s["Action"]]
            allowed |= set(actions)
            self.assertNotIn("*", "".join(actions))
            self.assertTrue(s["Resource"] != "*" or "Condition" in s, s)
        self.assertEqual(allowed, {"s3:GetObject", "s3:PutObject", "s3:ListBucket", "kms:Decrypt", "logs:CreateLogStream",
                                   "logs:DescribeLogStreams", "logs:PutLogEvents", "cloudwatch:PutMetricData"})
        self.assertEqual(statements[-1]["Resource"], {"Ref": "KmsKeyArn"})

    def test_host_is_closed(self):
        resources = template("host.yaml")["Resources"]
        host = resources["Host"]["Properties"]
        self.assertIs(host["EnclaveOptions"]["Enabled"], True)
        self.assertEqual((host["MetadataOptions"]["HttpTokens"], host["MetadataOptions"]["HttpPutResponseHopLimit"]), ("required", 1))
        self.assertTrue(all(b["Ebs"]["Encrypted"] for b in host["BlockDeviceMappings"]))
        self.assertNotIn("KeyName", host)
        bucket = template("store.yaml")["Resources"]["Bucket"]
        self.assertEqual(set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()), {True})
        self.assertEqual(bucket["DeletionPolicy"], "Retain")
        unit = read("systemd", "eml-hostd.service")
        ingress = resources["HostSecurityGroup"]["Properties"]["SecurityGroupIngress"] + [resources["MonitoringIngress"]["Properties"]]
        for rule in ingress:
            self.assertEqual(rule["FromPort"], rule["ToPort"])
            self.assertNotEqual(rule["CidrIp"], "0.0.0.0/0")
            self.assertIn(f"0.0.0.0:{rule['FromPort']}", unit)

    def test_user_data_calls_install_rightly(self):
        script = template("host.yaml")["Resources"]["Host"]["Properties"]["UserData"]["Fn::Base64"]["Fn::Sub"]
        filled = re.sub(r"\$\{[A-Za-z0-9:]+\}", "x", script)
        done = subprocess.run(["shellcheck", "-"], input=filled, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertLess(script.index("sha256sum -c"), script.index("tar "))
        self.assertEqual(set(re.findall(r"--(region|bucket|log-group|cpus|memory)\b", script)),
                         {"region", "bucket", "log-group", "cpus", "memory"})


# --- units, configuration, alerts ---

class Installed(unittest.TestCase):
    """install.sh --root: what a host gets."""

    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="eml-test-")
        cls.addClassCleanup(shutil.rmtree, cls.root)
        subprocess.run([os.path.join(DEPLOY, "install.sh"), "--region", "eu-west-1", "--bucket", "weights", "--log-group", "logs",
                        "--cpus", "6", "--memory", "12288", "--root", cls.root], check=True)
        shutil.copytree(DEPLOY, os.path.join(cls.root, "opt/ephemeralml/deploy"))
        os.mkdir(os.path.join(cls.root, "opt/ephemeralml/bin"))
        shutil.copy(program("eml-hostd"), os.path.join(cls.root, "opt/ephemeralml/bin"))
        shutil.copytree("/usr/lib/systemd/system", os.path.join(cls.root, "usr/lib/systemd/system"), symlinks=True)
        # As Amazon's nitro-cli package brings it.
        cls.write("etc/systemd/system/nitro-enclaves-allocator.service", "[Service]\nType=oneshot\nExecStart=/opt/ephemeralml/bin/eml-hostd\n")

    @classmethod
    def path(cls, name):
        return os.path.join(cls.root, name)

    @classmethod
    def write(cls, name, text):
        with open(cls.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    @classmethod
    def text(cls, name):
        with open(cls.path(name), encoding="utf-8") as f:
            return f.read()

    def units(self):
        return sorted(f for f in os.listdir(os.path.join(DEPLOY, "systemd")))

    def test_nothing_is_left_to_fill_in(self):
        for folder, _, files in os.walk(self.path("etc")):
            for name in files:
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    self.assertNotRegex(f.read(), r"@[A-Z_]+@")
        self.assertIn("EML_KMS_HOST=kms.eu-west-1.amazonaws.com\n", self.text("etc/ephemeralml/hostd.env"))

    def test_units_verify(self):
        for unit in self.units():
            with self.subTest(unit=unit):
                done = subprocess.run(["systemd-analyze", "verify", "--man=no", f"--root={self.root}", unit],
                                      capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_units_are_hardened(self):
        """systemd's own score: 0 is closed, 10 is open; a service that says nothing has 9.6."""
        for unit, most in (("eml-hostd.service", 20), ("eml-credentials.service", 20), ("eml-sync.service", 20),
                           ("eml-enclave.service", 30)):
            with self.subTest(unit=unit):
                done = subprocess.run(["systemd-analyze", "security", "--no-pager", "--offline=true", f"--root={self.root}",
                                       f"--threshold={most}", unit], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stdout[-200:])

    def test_host_and_enclave_agree(self):
        def settings(name):
            return dict(re.findall(r"^(?:export )?(\w+)=(.*)$", self.text("etc/ephemeralml/" + name), re.M))
        host, enclave = settings("hostd.env"), settings("enclave.env")
        for name in set(host) & set(enclave):
            self.assertEqual(host[name], enclave[name], name)
        self.assertIn("EML_CID", set(host) & set(enclave))
        allocator = yaml.safe_load(self.text("etc/nitro_enclaves/allocator.yaml"))
        self.assertEqual(allocator, {"memory_mib": int(enclave["EML_MEMORY_MIB"]), "cpu_count": int(enclave["EML_CPUS"])})
        for name in re.findall(r"\$\{(\w+)\}", self.text("etc/systemd/system/eml-hostd.service")):
            self.assertIn(name, host)

    def test_cloudwatch_agent(self):
        agent = json.loads(self.text("etc/ephemeralml/cloudwatch-agent.json"))
        files = {f["file_path"] for f in agent["logs"]["logs_collected"]["files"]["collect_list"]}
        units = "".join(read("systemd", u) for u in self.units())
        for path in files:
            self.assertIn(f"append:{path}\n", units)
        prometheus = agent["logs"]["metrics_collected"]["prometheus"]
        scraped = yaml.safe_load(self.text(prometheus["prometheus_config_path"].lstrip("/")))
        declaration = prometheus["emf_processor"]["metric_declaration"][0]
        self.assertRegex(scraped["scrape_configs"][0]["job_name"], declaration["label_matcher"])
        namespace = template("host.yaml")["Resources"]["EnclaveUnreachable"]["Properties"]["Namespace"]
        self.assertEqual(namespace, prometheus["emf_processor"]["metric_namespace"])
        self.assertIn(f"--namespace {namespace} --metric-name eml_enclave_up", read("bin", "put-metric"))

    def metrics(self):
        """From a running host: {metric name: {values of its labels}}."""
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="eml-test-") as folder:
            trace = os.path.join(folder, "trace")
            process = subprocess.Popen(
                ["strace", "-D", "-f", "-q", "-o", trace, program("eml-hostd"), "--listen", "tcp:127.0.0.1:0", "--enclave",
                 f"unix:{folder}/enclave", "--service", f"unix:{folder}/service", "--store", f"{folder}/store", "--http",
                 f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
            try:
                Services.wait(lambda: self.answers(port), "the metrics")
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
                    text = answer.read().decode()
            finally:
                process.terminate()
                process.wait(PATIENCE)
            # strace ends after what it traces; then all is written.
            Services.wait(lambda: re.search(rf"^{process.pid} +\+\+\+ ", self.read_all(trace), re.M), "the trace")
            calls = set(re.findall(r"^\d+ +(\w+)\(", self.read_all(trace), re.M))
        found = {}
        for name, labels in re.findall(r"^(\w+)(?:\{([^}]*)\})? ", text, re.M):
            found.setdefault(name, set()).update(re.findall(r'"([^"]*)"', labels))
        return found, calls

    @staticmethod
    def read_all(path):
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()

    @staticmethod
    def answers(port):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE) as answer:
                return answer.status == 200
        except OSError:
            return False

    def test_alerts_and_agent_name_metrics_that_exist(self):
        found, calls = self.metrics()
        rules = [r for g in yaml.safe_load(read("etc", "alerts.yml"))["groups"] for r in g["rules"]]
        self.assertGreater(len(rules), 5)
        for rule in rules:
            self.assertTrue(rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"])
            for name, labels in re.findall(r"\b(eml_\w+)(?:\{([^}]*)\})?", rule["expr"]):
                self.assertIn(name, found, rule["alert"])
                for value in re.findall(r'"([^"]*)"', labels):
                    self.assertIn(value, found[name], rule["alert"])
        agent = json.loads(self.text("etc/ephemeralml/cloudwatch-agent.json"))
        for declaration in agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]["metric_declaration"]:
            for selector in declaration["metric_selectors"]:
                self.assertTrue(any(re.match(selector, name) for name in found), selector)
        self.calls_pass_the_filter(calls)

    def calls_pass_the_filter(self, calls):
        """The unit's system call filter allows what the host was seen to call."""
        unit = self.text("etc/systemd/system/eml-hostd.service")
        self.assertEqual(re.findall(r"^SystemCallFilter=(.*)$", unit, re.M), ["@system-service", "~@privileged"])
        # systemd.exec(5): these need no mention.
        always = {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn", "clock_gettime", "time"}
        self.assertGreater(len(calls), 20)
        self.assertEqual(calls - (self.system_calls("@system-service") - self.system_calls("@privileged")) - always, set())

    def system_calls(self, group):
        done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
        names = set(re.findall(r"^    ([@\w-]+)$", done.stdout, re.M))
        return names.union(*(self.system_calls(name) for name in names if name.startswith("@")))

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool(self):
        for args in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"]):
            subprocess.run(["promtool", *args], cwd=os.path.join(DEPLOY, "etc"), check=True, capture_output=True)


# --- scripts ---

FAKE = {
    "nitro-cli": r"""
import json, os, subprocess, sys
state = os.environ["FAKE"] + "/enclaves.json"
enclaves = json.load(open(state)) if os.path.exists(state) else []
def option(name): return sys.argv[sys.argv.index(name) + 1]
command = sys.argv[1]
if command == "run-enclave":
    if "--debug-mode" in sys.argv or enclaves: sys.exit("E29")
    image = option("--eif-path")
    measured = json.loads(subprocess.run(["eml-eif", "describe", image], capture_output=True, check=True).stdout)
    pcrs = measured["Measurements"]
    enclaves = [{"EnclaveName": option("--enclave-name"), "EnclaveID": "i-0-enc1", "EnclaveCID": int(option("--enclave-cid")),
                 "NumberOfCPUs": int(option("--cpu-count")), "MemoryMiB": int(option("--memory")), "State": "RUNNING",
                 "Flags": "NONE", "Measurements": pcrs}]
elif command == "terminate-enclave":
    enclaves = []
elif command == "describe-eif":
    os.execvp("eml-eif", ["eml-eif", "describe", option("--eif-path")])
elif command == "console":
    sys.exit(0 if enclaves[0]["Flags"] == "DEBUG_MODE" else "E49")
else:
    print(json.dumps(enclaves))
json.dump(enclaves, open(state, "w"))
""",
    # The real one but for what needs an enclave; an image listed in FAKE/sick never gets to answer.
    "eml": r"""
import json, os, sys
fake = os.environ["FAKE"]
if sys.argv[1] not in ("attest", "infer"):
    os.execv(os.environ["REAL_EML"], ["eml", *sys.argv[1:]])
enclaves = json.load(open(fake + "/enclaves.json"))
policy = json.load(open(sys.argv[sys.argv.index("--policy") + 1]))
if not enclaves or enclaves[0]["Measurements"]["PCR0"] in open(fake + "/sick").read():
    sys.exit(5)
if policy["measurements"][0]["0"] != enclaves[0]["Measurements"]["PCR0"] or not policy["roots"][0].startswith("641a0321"):
    sys.exit(4)
if "--kms-key" in sys.argv and enclaves[0]["Measurements"]["PCR0"] != open(fake + "/key").read():
    sys.exit(4)
""",
    "systemctl": r"""
import os, subprocess, sys
assert sys.argv[1] == "restart"
sys.exit(subprocess.run([os.environ["DEPLOY"] + "/bin/run-enclave", "start"]).returncode)
""",
    "aws": r"""
import os, sys
with open(os.environ["FAKE"] + "/aws.log", "a") as f: f.write(" ".join(sys.argv[1:]) + "\n")
if sys.argv[1:3] == ["kms", "decrypt"]: sys.exit("An error occurred (AccessDeniedException) when calling the Decrypt operation")
""",
    "curl": "print('401', end='')\n",
}


class Scripts(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="eml-test-")
        self.addCleanup(shutil.rmtree, self.dir)
        for folder in ("bin", "images"):
            os.mkdir(self.path(folder))
        os.symlink(program("eml-eif"), self.path("bin/eml-eif"))
        for name, text in FAKE.items():
            self.write("bin/" + name, "#!/usr/bin/python3" + ("\n" if not text.startswith("\n") else "") + text, 0o755)
        self.write("sick", "")
        self.environment = dict(os.environ, PATH=self.path("bin") + ":" + os.environ["PATH"], FAKE=self.dir, DEPLOY=DEPLOY,
                                REAL_EML=program("eml"), EML_CONF="/nonexistent", EML_IMAGES=self.path("images"),
                                EML_START_SECONDS="2", EML_WATCH_SECONDS="0.1", EML_NE_DEVICE="/dev/null", EML_RUNS="3")

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def script(self, name, *args, **environment):
        return subprocess.run([os.path.join(DEPLOY, name), *args], env=dict(self.environment, **environment), capture_output=True,
                              text=True, check=False, timeout=PATIENCE)

    def image(self, name):
        for part in ("kernel", "init", "app"):
            self.write(part, name + part)
        done = run("eml-eif", "build", "--kernel", self.path("kernel"), "--cmdline", "quiet", "--ramdisk", self.path("init"),
                   "--ramdisk", self.path("app"), "--output", self.path(name + ".eif"))
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.path(name + ".eif"), json.loads(done.stdout)["Measurements"]["PCR0"]

    def running(self):
        with open(self.path("enclaves.json"), encoding="utf-8") as f:
            return [e["Measurements"]["PCR0"] for e in json.load(f)]

    def edit(self, **changes):
        with open(self.path("enclaves.json"), encoding="utf-8") as f:
            enclaves = json.load(f)
        enclaves[0].update(changes)
        self.write("enclaves.json", json.dumps(enclaves))

    def test_shellcheck(self):
        files = [os.path.join(DEPLOY, f) for f in ("install.sh", "bundle-host.sh", "validate.sh")]
        files += [os.path.join(DEPLOY, "bin", f) for f in os.listdir(os.path.join(DEPLOY, "bin"))]
        done = subprocess.run(["shellcheck", *files], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        for file in files:
            self.assertTrue(os.stat(file).st_mode & stat.S_IXUSR, file)
            usage = subprocess.run([file, "--nonsense"], cwd=self.dir, env=self.environment, capture_output=True, text=True, check=False)
            self.assertEqual((usage.returncode, usage.stderr[:7]), (2, "usage: "), file)

    def test_install_and_rollback(self):
        (first, first_pcr0), (second, second_pcr0) = self.image("first"), self.image("second")
        self.assertEqual(self.script("bin/run-enclave", "status").returncode, 1)
        for file, pcr0 in ((first, first_pcr0), (second, second_pcr0)):
            done = self.script("bin/run-enclave", "install", file)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.running(), [pcr0])
        self.assertEqual(self.script("bin/run-enclave", "status").returncode, 0)
        self.assertEqual(self.script("bin/run-enclave", "rollback").returncode, 0)
        self.assertEqual(self.running(), [first_pcr0])
        self.assertEqual(self.script("bin/run-enclave", "rollback").returncode, 0)
        self.assertEqual(self.running(), [second_pcr0])

    def test_an_image_that_does_not_get_healthy_is_taken_back(self):
        (first, first_pcr0), (second, second_pcr0) = self.image("first"), self.image("second")
        self.assertEqual(self.script("bin/run-enclave", "install", first).returncode, 0)
        self.write("sick", second_pcr0)
        done = self.script("bin/run-enclave", "install", second)
        self.assertEqual(done.returncode, 1)
        self.assertIn("its attestation document does not verify", done.stderr)
        self.assertEqual(self.running(), [first_pcr0])
        self.assertEqual(self.script("bin/run-enclave", "status").returncode, 0)

    def test_a_first_image_that_does_not_get_healthy_is_stopped(self):
        first, pcr0 = self.image("first")
        self.write("sick", pcr0)
        self.assertEqual(self.script("bin/run-enclave", "install", first).returncode, 1)
        self.assertEqual(self.running(), [])

    def test_a_damaged_image_changes_nothing(self):
        first, pcr0 = self.image("first")
        self.assertEqual(self.script("bin/run-enclave", "install", first).returncode, 0)
        second, _ = self.image("second")
        with open(second, "r+b") as f:
            f.seek(-1, os.SEEK_END)
            f.write(b"!")
        before = sorted(os.listdir(self.path("images")))
        self.assertEqual(self.script("bin/run-enclave", "install", second).returncode, 1)
        self.assertEqual((sorted(os.listdir(self.path("images"))), self.running()), (before, [pcr0]))

    def test_what_is_not_healthy(self):
        first, _ = self.image("first")
        self.assertEqual(self.script("bin/run-enclave", "install", first).returncode, 0)
        with open(self.path("enclaves.json"), encoding="utf-8") as f:
            good = f.read()
        for change in ({"Flags": "DEBUG_MODE"}, {"State": "TERMINATING"}, {"EnclaveName": "other"}, {"Measurements": None},
                       {"Measurements": {"PCR0": "00" * 48, "PCR1": "00" * 48, "PCR2": "00" * 48}}):
            self.write("enclaves.json", good)
            self.edit(**change)
            with self.subTest(change=change):
                self.assertEqual(self.script("bin/run-enclave", "status").returncode, 1)

    def test_run_ends_when_the_enclave_gets_sick(self):
        first, pcr0 = self.image("first")
        self.assertEqual(self.script("bin/run-enclave", "install", first).returncode, 0)
        metric = self.write("metric", f'#!/bin/sh\necho "$1" >>{self.path("metrics")}\n', 0o755)
        def fall_sick():
            end = time.monotonic() + 60
            while not os.path.exists(self.path("metrics")) and time.monotonic() < end:
                time.sleep(0.1)  # it was healthy once
            self.write("sick", pcr0)
        thread = threading.Thread(target=fall_sick)
        thread.start()
        done = self.script("bin/run-enclave", "run", EML_METRIC_COMMAND=metric)
        thread.join()
        self.assertEqual(done.returncode, 1)
        self.assertIn("three times in a row", done.stderr)
        self.assertEqual(self.running(), [])
        with open(self.path("metrics"), encoding="utf-8") as f:
            self.assertRegex(f.read().replace("\n", ""), r"^1+0{3}$")

    def test_credentials(self):
        answers = {"/latest/meta-data/placement/region": "eu-west-1", "/latest/meta-data/iam/security-credentials/": "host",
                   "/latest/meta-data/iam/security-credentials/host":
                       '{\n "Code": "Success",\n "AccessKeyId": "ASIA1",\n "SecretAccessKey": "s/+=",\n "Token": "t=="\n}'}

        class Imds(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                self.reply(200 if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else 400, "token-1")

            def do_GET(self):
                known = self.path in answers and self.headers["X-aws-ec2-metadata-token"] == "token-1"
                self.reply(200 if known else 401, answers.get(self.path, ""))

            def reply(self, code, text):
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Imds)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        os.unlink(self.path("bin/curl"))
        where = {"EML_IMDS": f"http://127.0.0.1:{server.server_port}"}
        done = self.script("bin/fetch-credentials", self.path("credentials.json"), **where)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("credentials.json"), encoding="utf-8") as f:
            written = f.read()
        self.assertEqual(json.loads(written), {"AccessKeyId": "ASIA1", "SecretAccessKey": "s/+=", "Token": "t==", "Region": "eu-west-1"})
        self.assertEqual(os.stat(self.path("credentials.json")).st_mode & 0o777, 0o600)
        answers["/latest/meta-data/iam/security-credentials/host"] = '{"Code": "Failed"}'
        self.assertNotEqual(self.script("bin/fetch-credentials", self.path("credentials.json"), **where).returncode, 0)
        with open(self.path("credentials.json"), encoding="utf-8") as f:
            self.assertEqual(f.read(), written)

    def test_sync_never_deletes(self):
        self.assertNotEqual(self.script("bin/sync-store").returncode, 0)
        self.assertEqual(self.script("bin/sync-store", EML_BUCKET="b", EML_STORE="/s", EML_AUDIT="/a").returncode, 0)
        with open(self.path("aws.log"), encoding="utf-8") as f:
            calls = f.read().splitlines()
        self.assertEqual([c.split()[-2:] for c in calls], [["/s", "s3://b/weights"], ["s3://b/weights", "/s"],
                                                           ["/a", "s3://b/audit/" + os.uname().nodename]])
        self.assertNotIn("--delete", " ".join(calls))

    def table(self, done):
        rows = [tuple(c.strip() for c in row.split("|")[1:3]) for row in done.stdout.splitlines() if row.startswith("| ")][1:]
        return {what: result for result, what in rows}

    def test_validate_dry_run(self):
        done = self.script("validate.sh", "--dry-run", PATH="/usr/bin:/bin")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("nothing is proven", done.stdout)
        self.assertEqual(set(self.table(done).values()), {"dry-run", "skipped"})
        self.assertGreater(len(self.table(done)), 15)

    def validate(self):
        other, _ = self.image("other")
        first, pcr0 = self.image("first")
        self.assertEqual(self.script("bin/run-enclave", "install", first).returncode, 0)
        self.write("key", pcr0)
        shutil.copy(os.path.join(VECTORS, "kms-policies/clean-pcr0.json"), self.path("key-policy.json"))
        return ["--key-policy", self.path("key-policy.json"), "--kms-key", "arn:x", "--ciphertext", self.write("ciphertext", "x"), "--model", self.dir, "--input", "x=x.npy",
                "--other-image", other]

    def test_validate_passes_what_is_sound(self):
        options = self.validate()
        done = self.script("validate.sh", *options, OWNER_ACCESS_KEY_ID="k", EML_CPUS="6", EML_MEMORY_MIB="12288")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(set(self.table(done).values()), {"passed"})

    def test_validate_finds_what_is_not(self):
        options = self.validate()
        faults = [({"Flags": "DEBUG_MODE"}, {"enclave is not in debug mode", "its console is closed to the host"}),
                  ({"EnclaveCID": 17}, {"vsock CID is the one configured"}),
                  ({"NumberOfCPUs": 2}, {"vCPUs and memory are those configured"})]
        with open(self.path("enclaves.json"), encoding="utf-8") as f:
            good = f.read()
        for change, expected in faults:
            self.write("enclaves.json", good)
            self.edit(**change)
            done = self.script("validate.sh", *options[:-2])
            with self.subTest(change=change):
                self.assertEqual(done.returncode, 1)
                self.assertEqual({w for w, r in self.table(done).items() if r == "FAILED"}, expected)
        self.write("enclaves.json", "[]")
        table = self.table(self.script("validate.sh"))
        self.assertLessEqual({"enclave runs", "enclave is not in debug mode", "vsock CID is the one configured",
                              "vCPUs and memory are those configured", "PCRs of the running enclave = eml-eif's of the file",
                              "attestation document verifies to AWS's root"}, {w for w, r in table.items() if r == "FAILED"})
        self.write("enclaves.json", good)
        shutil.copy(os.path.join(VECTORS, "kms-policies/root-delegation.json"), self.path("key-policy.json"))
        self.write("bin/aws", self.read_fake("aws").replace("sys.exit(", "print("), 0o755)
        done = self.script("validate.sh", *options[:-2])
        self.assertEqual({w for w, r in self.table(done).items() if r == "FAILED"},
                         {"key policy has no finding (eml kms lint)", "KMS refuses the host's role without a document"})

    def read_fake(self, name):
        with open(self.path("bin", name), encoding="utf-8") as f:
            return f.read()

    def test_bundle_runs_by_itself_and_is_reproducible(self):
        for name in ("a", "b"):
            done = self.script("bundle-host.sh", os.environ["EML_BIN"], self.path(name + ".tar.gz"))
            self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("a.tar.gz"), "rb") as a, open(self.path("b.tar.gz"), "rb") as b:
            self.assertEqual(a.read(), b.read())
        os.mkdir(self.path("opt"))
        subprocess.run(["tar", "-C", self.path("opt"), "-xzf", self.path("a.tar.gz")], check=True)
        for name in ("eml", "eml-hostd", "eml-eif"):
            needed = subprocess.run(["ldd", self.path("opt/libexec", name)], capture_output=True, text=True, check=True).stdout
            for library in re.findall(r"(\S+\.so\S*) (?:=>|\()", needed):
                if not library.startswith("linux-vdso"):
                    self.assertTrue(os.path.exists(self.path("opt/lib", os.path.basename(library))), library)
            done = subprocess.run([self.path("opt/bin", name), "--help"], cwd="/", capture_output=True, text=True, check=False)
            self.assertIn("usage: " + name, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
