"""A QEMU machine of type nitro-enclave that boots an image, with what is around an enclave on Nitro: the parent at CID 3 with its
heartbeat, the hypervisor's signature on documents (a test PKI's here), and on the host the Unix sockets of vsock.

The kernel, the program and everything else in the image are those of production, byte for byte.
"""
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
from services import Services, free_port, program, run  # noqa: E402

QEMU = os.environ["EML_QEMU"]
VSOCKD = os.environ["EML_VSOCKD"]
SIGNER = os.environ["EML_NSM_SIGNER"]
IMAGE = os.environ["EML_IMAGE_DIR"]
KERNEL = os.environ["EML_KERNEL"]
CMDLINE = os.path.join(HERE, "..", "..", "tools", "image", "cmdline")
MIB = 1 << 20
PATIENCE, BOOTS = 240, 3  # seconds that a step may take, on a machine with much else to do


class Machine:
    """Boots `image`; folder is for sockets and logs. signer: None (documents stay unsigned), "sign", or an option of the signer's.
    acpi: devices are found by ACPI, not by words of the command line. words: more such, as from the hypervisor: not measured."""

    def __init__(self, image, folder, pki, signer="sign", parent_cid=3, heartbeat=True, memory_mib=512, cpus=1, acpi=False, words=()):
        os.makedirs(folder)
        self.image, self.folder, self.parent_cid, self.memory_mib, self.cpus = image, folder, parent_cid, memory_mib, cpus
        self.acpi, self.words = acpi, words
        self.processes, self.beats, self.listener = [], [], None
        self.environment = dict(os.environ)
        if heartbeat:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.path("vm.vsock_9000"))
            self.listener.listen()
            threading.Thread(target=self.beat, daemon=True).start()
        if signer is not None:
            self.spawn("signer", SIGNER, pki, "unix:" + self.path("signer"), *([] if signer == "sign" else ["--" + signer]))
            Services.wait(lambda: "FOR TESTS ONLY" in self.log("signer"), "signer", PATIENCE)
            self.environment["EML_TEST_NSM_SIGNER"] = self.path("signer")
        self.start_qemu()

    def start_qemu(self):
        self.spawn("vsockd", VSOCKD, self.path("vhost"), self.path("vm.vsock"), "4", str(self.parent_cid))
        Services.wait(lambda: os.path.exists(self.path("vhost")), "vsockd", PATIENCE)
        machine = "nitro-enclave,vsock=c,id=i-0123456789abcdef0-enc0123456789abcde" + (",acpi=on" if self.acpi else "")
        self.start = time.monotonic()
        self.qemu = self.spawn(
            "console", QEMU, "-M", machine, "-accel", "tcg", "-cpu", "max", "-smp", str(self.cpus), "-m", str(self.memory_mib), "-kernel",
            self.image,
            # A timer check of the kernel's fails now and then when this machine is busy. Not measured, as on Nitro, where the hypervisor
            # adds words of its own; a KVM guest, as on Nitro, makes no such check.
            "-append", " ".join(("no_timer_check", *self.words)), "-chardev", f"socket,id=c,path={self.path('vhost')}", "-display",
            "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", env=self.environment)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def spawn(self, name, *command, env=None):
        with open(self.path(name + ".log"), "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env)
        self.processes.append(process)
        return process

    def beat(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            with c:
                self.beats.append(c.recv(1))
                c.sendall(b"\xb7")

    def log(self, name):
        with open(self.path(name + ".log"), errors="replace", encoding="utf-8") as f:
            return f.read()

    def console(self):
        return self.log("console")

    def wait_init(self):
        """Until the kernel starts PID 1. QEMU's emulated timers can leave a kernel waiting for ever before that; then it is started anew.
        Nothing of what is tested has run by then."""
        for attempt in range(BOOTS):
            try:
                Services.wait(lambda: "as init process" in self.console() or self.qemu.poll() is not None, "PID 1", PATIENCE)
                return
            except TimeoutError:
                if attempt == BOOTS - 1:
                    raise
                print(f"    QEMU's kernel did not start PID 1 in {PATIENCE} s; started anew", flush=True)
                self.stop(self.qemu)
                self.stop(self.processes[-2])  # its vsockd
                self.start_qemu()

    def wait_ready(self):
        """Until the broker serves. Returns how long it took from starting QEMU."""
        self.wait_init()
        Services.wait(lambda: "event=ready" in self.console() or self.qemu.poll() is not None, "boot", PATIENCE)
        assert self.qemu.poll() is None, self.console()
        return time.monotonic() - self.start

    def wait_end(self):
        self.wait_init()
        self.qemu.wait(PATIENCE)
        return self.console()

    def memory(self):
        """The guest's whole physical memory, as it is now."""
        base = f"/proc/{self.qemu.pid}/fd"
        for fd in os.listdir(base):
            if "memory-backend" in os.readlink(f"{base}/{fd}"):
                with open(f"{base}/{fd}", "rb") as f:
                    size = os.fstat(f.fileno()).st_size
                    assert size == self.memory_mib * MIB
                    return mmap.mmap(f.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ)
        raise AssertionError("QEMU's memory file was not found")

    @staticmethod
    def stop(process):
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()

    def close(self):
        for process in reversed(self.processes):
            self.stop(process)
        if self.listener is not None:
            self.listener.close()


class Nitro(Services):
    """The services around a machine: host and KMS as in the other integration tests, with the enclave behind vsock."""

    OPTIONS = ("--listen=vsock:any:5000", "--host=vsock:3:5001", "--kms-ca=/etc/kms-ca.pem", "--kms-endpoint=localhost:443",
               f"--memory-bytes={200 * MIB}", f"--cache-bytes={100 * MIB}", "--request-seconds=600", "--session-seconds=900")

    def __init__(self, folder):
        self.dir, self.processes, self.mounted, self.machines = folder, {}, False, []
        self.host_args, self.kms_port = [], free_port()
        self.environment = dict(os.environ, AWS_ACCESS_KEY_ID=self.KEY, AWS_SECRET_ACCESS_KEY=self.SECRET)
        for args in (("eml-devpki", self.path("pki")), ("eml-devpki", "--tls", self.path("tls"), "localhost")):
            done = run(*args)
            assert done.returncode == 0, done.stderr
        with open(self.path("credentials.json"), "w", encoding="utf-8") as f:
            f.write(f'{{"AccessKeyId": "{self.KEY}", "SecretAccessKey": "{self.SECRET}", "Region": "us-east-1"}}')
        os.chmod(self.path("credentials.json"), 0o600)

    def build(self, name, options=OPTIONS, kernel=KERNEL, cmdline=CMDLINE, boot=os.path.join(IMAGE, "boot")):
        """An image of the production kernel and program with a configuration for tests. Returns its path and measurements."""
        config, image = self.path(name + ".config"), self.path(name + ".eif")
        os.makedirs(os.path.join(config, "etc"))
        with open(os.path.join(config, "etc", "eml-enclaved.options"), "w", encoding="utf-8") as f:
            f.write("\n".join(options) + "\n")
        with open(self.path("tls", "kms-ca.pem"), "rb") as ca, open(os.path.join(config, "etc", "kms-ca.pem"), "wb") as f:
            f.write(ca.read())
        done = run("eml-eif", "build", "--kernel", kernel, "--cmdline-file", cmdline, "--ramdisk", boot, "--ramdisk", config,
                   "--output", image)
        assert done.returncode == 0, done.stderr
        return image

    def policy(self, image):
        out = image + ".policy.json"
        if not os.path.exists(out):
            done = run("eml", "policy", "--from-eif", image, "--root", self.path("pki/root.pem"), "-o", out)
            assert done.returncode == 0, done.stderr
        return out

    def boot(self, image, name, **options):
        """With a host in front of it, which the broker asks for the audit log before it serves."""
        machine = Machine(image, self.path(name), self.path("pki"), **options)
        self.machines.append(machine)
        self.start_host_for(machine)
        return machine

    def start_host_for(self, machine):
        self.stop("host")
        self.host_port = free_port()
        self.spawn("host", "eml-hostd", "--listen", f"tcp:127.0.0.1:{self.host_port}", "--enclave",
                   f"vsock-unix:{machine.path('vm.vsock')}:5000", "--service", "unix:" + machine.path("vm.vsock_5001"), "--store",
                   self.path("store"), "--audit", machine.path("audit"), "--kms-endpoint", f"tcp:127.0.0.1:{self.kms_port}",
                   "--credentials", self.path("credentials.json"), "--grace-seconds", "1")

    def attest(self, policy, *options):
        return run("eml", "attest", "--host", self.host, "--policy", policy, *options)

    def close(self):
        for machine in self.machines:
            machine.close()
        super().close()


assert program("eml")
