"""Starts and stops the services for integration tests, makes small models, runs `eml`.

Everything is real but the NSM (development) and the KMS (development). Ports and sockets are fresh for each Services.
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BIN = os.environ["EML_BIN"]
CANARY = "canarytopologyname"
PATIENCE = 300  # seconds for what must happen: long, since the machine may be busy; nothing waits for it to pass


def program(name):
    for folder in ("client/cli", "host", "enclave", "mock/kmsd", "mock/pki", "tools/eif", "tests/integration"):
        path = os.path.join(BIN, folder, name)
        if os.path.exists(path):
            return path
    raise FileNotFoundError(name)


def run(*args, **kwargs):
    kwargs.setdefault("timeout", PATIENCE)
    return subprocess.run([program(args[0]), *map(str, args[1:])], capture_output=True, text=True, check=False, **kwargs)


def assured(cases, what):
    """Says what a property test tried, once it has passed: a line of docs/assurance.md."""
    print(f"assured: {cases}: {what}", flush=True)


def small_model(path, seed=1, width=24, layers=2, opset=13):
    """x [N, 16] -> MatMul/Add/Relu layers -> y [N, 10]; names carry the canary."""
    rng = np.random.RandomState(seed)
    nodes, inits, last, n_in = [], [], "x", 16
    for i in range(layers):
        n_out = 10 if i == layers - 1 else width
        w, b = f"{CANARY}_w{i}", f"{CANARY}_b{i}"
        inits.append(numpy_helper.from_array(rng.standard_normal((n_in, n_out)).astype(np.float32), w))
        inits.append(numpy_helper.from_array(rng.standard_normal(n_out).astype(np.float32), b))
        nodes.append(helper.make_node("MatMul", [last, w], [f"{CANARY}_m{i}"]))
        out = "y" if i == layers - 1 else f"{CANARY}_r{i}"
        nodes.append(helper.make_node("Add", [f"{CANARY}_m{i}", b], [f"{CANARY}_a{i}" if out != "y" else "y"]))
        if out != "y":
            nodes.append(helper.make_node("Relu", [f"{CANARY}_a{i}"], [out]))
        last, n_in = out, n_out
    graph = helper.make_graph(nodes, CANARY, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])], inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, path)
    return inits


def expected(inits, x):
    """What small_model computes, in double precision."""
    arrays = [numpy_helper.to_array(t).astype(np.float64) for t in inits]
    for i in range(0, len(arrays), 2):
        x = x @ arrays[i] + arrays[i + 1]
        if i + 2 < len(arrays):
            x = np.maximum(x, 0)
    return x


PORTS = []  # names in the abstract socket namespace, one for each port that this process took


def free_port():
    """A TCP port of loopback that nobody else gets, also while nothing listens there: out of the range from which the kernel gives
    ports to who connects, and taken by name from other tests until this process ends."""
    while True:
        port = random.SystemRandom().randrange(10000, 30000)
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0eml-test-port-{port}")
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        except OSError:
            name.close()
            continue
        PORTS.append(name)
        return port


class Services:
    """A host, an enclave and a KMS with their own PKI. `enclave_args`, `host_args`: further options."""

    KEY, SECRET = "AKIADEVELOPMENT", "development-secret"

    def __init__(self, enclave_args=(), host_args=(), kms=False, store_bytes=None, image="eml-enclaved-dev"):
        """store_bytes: the store lies on a file system of that size (needs root: PermissionError otherwise). image: the enclave's program."""
        self.image = image
        self.mounted = False
        self.dir = tempfile.mkdtemp(prefix="eml-test-")
        self.processes = {}
        self.enclave_args, self.host_args = list(map(str, enclave_args)), list(map(str, host_args))
        self.kms_port = free_port()
        for args in (("eml-devpki", self.path("pki")), ("eml-devpki", "--tls", self.path("tls"), "localhost")):
            done = run(*args)
            assert done.returncode == 0, done.stderr
        pcrs = run("eml-devpki", "--pcrs", program(image))
        assert pcrs.returncode == 0, pcrs.stderr
        self.pcrs = json.loads(pcrs.stdout)
        with open(self.path("pcrs.json"), "w", encoding="utf-8") as f:
            f.write(pcrs.stdout)
        with open(self.path("credentials.json"), "w", encoding="utf-8") as f:
            json.dump({"AccessKeyId": self.KEY, "SecretAccessKey": self.SECRET, "Region": "us-east-1"}, f)
        os.chmod(self.path("credentials.json"), 0o600)
        self.make_policy("policy.json")
        self.environment = dict(os.environ, AWS_ACCESS_KEY_ID=self.KEY, AWS_SECRET_ACCESS_KEY=self.SECRET)
        if store_bytes is not None:
            self.mount_store(store_bytes)
        if kms:
            self.start_kms()
        self.start_host()
        self.start_enclave()

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def mount_store(self, size):
        os.mkdir(self.path("store"), 0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", self.path("store")],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.close()
            raise PermissionError(done.stderr.strip())
        self.mounted = True

    def spawn(self, name, *args, env=None):
        """Returns when it says that it is ready."""
        with open(self.path(name + ".log"), "ab") as log:
            start = log.tell()
            process = subprocess.Popen([program(args[0]), *args[1:]], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                       env=dict(os.environ, **(env or {})))
        self.processes[name] = process

        def is_ready():
            with open(self.path(name + ".log"), "rb") as f:
                f.seek(start)
                said = f.read()
            if process.poll() is not None:
                raise ChildProcessError(f"{args[0]} ended: {said.decode(errors='replace')}")
            return b"event=ready" in said or b"listening " in said
        self.wait(is_ready, f"{args[0]} to be ready")
        return process

    def start_kms(self):
        self.spawn("kms", "eml-kmsd", "--listen", f"127.0.0.1:{self.kms_port}", "--store", self.path("kms"),
                   "--tls-cert", self.path("tls/kms.pem"), "--tls-key", self.path("tls/kms.key"),
                   "--root", self.path("pki/root.pem"), "--access-key", f"{self.KEY}={self.SECRET}")

    def start_host(self, port=None, kms_port=None):
        """kms_port: where the host's tunnels to KMS end, if that is not this KMS."""
        self.host_port = port or free_port()
        self.spawn("host", "eml-hostd", "--listen", f"tcp:127.0.0.1:{self.host_port}", "--enclave",
                   "unix:" + self.path("enclave.sock"), "--service", "unix:" + self.path("service.sock"), "--store",
                   self.path("store"), "--audit", self.path("audit"), "--kms-endpoint", f"tcp:127.0.0.1:{kms_port or self.kms_port}", "--credentials",
                   self.path("credentials.json"), *self.host_args)

    def start_enclave(self, service=None, image=None):
        """service: where the enclave finds its host, if that is not this host. image: the program, or a path, if not the policy's."""
        if os.path.exists(self.path("enclave.sock")):
            os.unlink(self.path("enclave.sock"))
        self.spawn("enclave", image or self.image, "--listen", "unix:" + self.path("enclave.sock"), "--host",
                   service or "unix:" + self.path("service.sock"), "--kms-ca", self.path("tls/kms-ca.pem"), "--kms-endpoint",
                   f"localhost:{self.kms_port}", *self.enclave_args, env={"EML_DEV_PKI": self.path("pki")})

    @staticmethod
    def wait(condition, what, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(what)
            time.sleep(0.02)

    @property
    def host(self):
        return f"tcp:127.0.0.1:{self.host_port}"

    def make_policy(self, name, pcrs=None, root=None):
        measurements = self.path(name + ".pcrs")
        with open(measurements, "w", encoding="utf-8") as f:
            json.dump(pcrs or self.pcrs, f)
        done = run("eml", "policy", "--measurements", measurements, "--root", root or self.path("pki/root.pem"),
                   "-o", self.path(name))
        assert done.returncode == 0, done.stderr
        return self.path(name)

    def infer(self, model_dir, inputs, out, *options, policy=None, topology=None, **kwargs):
        args = ["eml", "infer", "--host", self.host, "--policy", policy or self.path("policy.json"), "--topology",
                topology or os.path.join(model_dir, "topology.key"), "--output", out, *options]
        for name, file in inputs:
            args += ["--input", f"{name}={file}"]
        return run(*args, env=self.environment, **kwargs)

    def create_key(self, pcr0):
        """At KMS: its ARN. Only an enclave with this PCR0 may have it decrypt."""
        account = {"AWS": "arn:aws:iam::000000000000:root"}
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": account, "Resource": "*",
             "Action": ["kms:DescribeKey", "kms:PutKeyPolicy", "kms:GenerateDataKey", "kms:Encrypt"]},
            {"Effect": "Allow", "Principal": account, "Resource": "*", "Action": "kms:Decrypt",
             "Condition": {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": pcr0}}}]}
        done = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "--cacert", self.path("tls/kms-ca.pem"), "--aws-sigv4", "aws:amz:us-east-1:kms", "--user",
             f"{self.KEY}:{self.SECRET}", "-H", "Content-Type: application/x-amz-json-1.1", "-H", "X-Amz-Target: TrentService.CreateKey",
             "--data-binary", json.dumps({"Policy": json.dumps(policy)}), f"https://localhost:{self.kms_port}/"],
            capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["KeyMetadata"]["Arn"]

    def kms_options(self, arn):
        return ["--kms-key", arn, "--kms-endpoint", f"https://localhost:{self.kms_port}", "--kms-ca", self.path("tls/kms-ca.pem")]

    def store_objects(self):
        return [os.path.join(d, f) for d, _, files in os.walk(self.path("store")) for f in files]

    def logs(self):
        text = ""
        for name in os.listdir(self.dir):
            if name.endswith(".log"):
                with open(self.path(name), errors="replace", encoding="utf-8") as f:
                    text += f.read()
        return text

    def stop(self, name, how=signal.SIGTERM):
        process = self.processes.pop(name, None)
        if process is not None:
            process.send_signal(how)
            process.wait(PATIENCE)
            return process.returncode
        return None

    def close(self):
        for name in reversed(list(self.processes)):
            self.stop(name)
        if self.mounted:
            subprocess.run(["umount", self.path("store")], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
