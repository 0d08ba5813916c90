"""Properties 5 and 10: however a session ends, nothing of it is left; also when it cannot wipe anything itself.

A worker in the middle of a run is frozen and found to hold the model's weights, names and key, the input, and the channel's keys. Then
it is killed, or its broker is, so that no process of the enclave can run another instruction for it; or it is left to a limit:
of the request, of work, of the session, of idleness, of the handshake. Afterwards everything is searched: each process of the enclave, with
another tenant's session among them, the host's, what the kernel holds for them (files without a name, bytes that nobody has read from
pipes and sockets), store, audit log and logs. The count must be 0. Each session is its own control: what is searched for
was there before.

Requests of request mode end within their session: between two of them the worker lives and waits, and all is searched then.

The channel's keys are not known to the test, but they are what both of its ends have in memory, that never crossed the wire, and that
another session does not have.
"""
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from generated import Model  # noqa: E402
from relay import Relay, framed  # noqa: E402
import hostile  # noqa: E402
import scan  # noqa: E402
from services import PATIENCE, Services, assured, program  # noqa: E402
from test_receipt import AIR, parse  # noqa: E402

CASES = int(os.environ.get("EML_CASES", "3"))  # of each way to be killed, and half of it for each limit
SEED = int(os.environ.get("EML_SEED", "5107"))
HELLO, OPEN, REQUEST = 1, 2, 3  # frames of the stream, up
FOR_LONG = 10**7 - 1  # trips of the model's loop: more than can be made before it is stopped
PATIENT = ("--idle-seconds", 3600, "--request-seconds", 3600, "--session-seconds", 3600)
PROGRAMS = ("eml-enclaved-dev", "eml-hostd")


class Session:
    """`eml infer` in the background, through a relay that can hold one of its frames back."""

    def __init__(self, services, model, *options, trips=(3,), hold=None):
        """trips: of the model's loop, for each request."""
        self.s, self.model, self.hold = services, model, hold
        self.broker = services.processes["enclave"].pid
        self.known, self.worker = set(scan.workers(self.broker)), None
        self.begun, self.held, self.go = threading.Event(), threading.Event(), threading.Event()
        self.keys, self.handshake, self.receipt = np.empty(0, np.uint64), {}, b""
        self.relay = Relay(services.host, self.tamper)
        args = ["infer", "--host", self.relay.address, "--policy", services.path("policy.json"), "--topology",
                os.path.join(model.folder, "sealed", "topology.key"), "--output", os.path.join(model.folder, "out"), "--timeout",
                str(PATIENCE), *options]
        for number, n in enumerate(trips):
            for name, file in model.write_inputs(trips=n):
                args.append(f"--input={name}={shutil.copy(file, f'{file[:-4]}-{number}.npy')}")
        self.client = subprocess.Popen([program("eml"), *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, env=services.environment)

    def tamper(self, stream, frame):
        if stream.up and stream.n == HELLO:
            Services.wait(lambda: set(scan.workers(self.broker)) - self.known, "the worker")
            (self.worker,) = set(scan.workers(self.broker)) - self.known
            self.begun.set()
        if stream.up and stream.n == self.hold:
            self.held.set()
            self.go.wait(PATIENCE)
            self.go.clear()
        if stream.n == HELLO:
            self.handshake["hello" if stream.up else "evidence"] = frame
        return [framed(frame)]

    def release(self, hold=None):
        """Lets go the frame that is held; hold: the next one."""
        self.held.clear()
        self.hold = hold
        self.go.set()

    def public(self):
        """What the host has or can compute: the object's id and digest, the document's, the messages', the session's id; and the digests in
        the log, of the topology key and of a receipt that was given."""
        digest = [hashlib.sha256(self.handshake[k]).digest() for k in ("hello", "evidence")]
        document = self.handshake["evidence"][len(b"\x82\x68evidence\x59\x11\x11"):]
        return scan.markers_of(b"".join([self.model.object_id, self.model.digest, *digest, hashlib.sha256(document).digest(),
                                         hashlib.sha256(b"eml/1 session" + b"".join(digest)).digest(), self.model.key_digest,
                                         hashlib.sha256(self.receipt).digest()]), 1)

    def markers(self):
        return scan.Markers(self.model.markers.all, self.keys)

    def kinds_in(self, pid):
        """Of the secrets, which kinds are in its memory now. None, if it has ended."""
        try:
            return set().union(*self.model.explain(scan.find(pid, self.model.markers)).values())
        except (ProcessLookupError, FileNotFoundError):
            return None

    def has_now(self, *more):
        """Whether the worker holds the model, and more: in a run an input. None: it has ended."""
        kinds = self.kinds_in(self.worker)
        return None if kinds is None else kinds >= {"weight", "name", "topology key", *more}

    def has_model(self):
        """Waits until it holds the model. False: it has ended before."""
        while (now := self.has_now()) is False:
            time.sleep(0.001)
        return bool(now)

    def freeze(self):
        """In the middle of the run: no instruction is executed any more, and all is there. False: it has ended before."""
        while True:
            start = time.monotonic()
            try:
                scan.freeze(self.worker)
            except (ProcessLookupError, FileNotFoundError):
                return False
            if self.has_now("input"):
                return True
            scan.thaw(self.worker)
            # As long as it was looked at: a slow machine would let it do nothing before its deadlines.
            time.sleep(time.monotonic() - start)

    def find_keys(self, other):
        """Of the channel. other: another session, for what all sessions have. False: one of them has ended before."""
        try:
            keys = np.intersect1d(scan.words(self.worker), scan.words(self.client.pid))
            wire = [scan.markers_of(data, 1) for data in (self.relay.bytes_up, self.relay.bytes_down)]
            for known in (scan.words(other.worker), scan.words(other.client.pid), self.model.markers.all, self.public(), *wire):
                keys = np.setdiff1d(keys, known)
            self.keys = scan.runs(self.worker, keys, 7)  # 32 bytes; a time or a length that both know is shorter
        except (ProcessLookupError, FileNotFoundError, ValueError):
            return False
        return True

    def close(self):
        self.go.set()
        self.relay.close()
        self.client.kill()
        self.client.wait()


class End(threading.Thread):
    """Stops a worker right before it ends, and searches it then. It has begun when the constructor returns."""

    def __init__(self, session):
        super().__init__(daemon=True)
        self.session, self.found, self.stopped, self.error, self.seized = session, {}, False, None, threading.Event()
        self.start()
        self.seized.wait(PATIENCE)

    def run(self):
        try:
            scan.seize(self.session.worker)
        except OSError as e:
            self.error = e
            return
        finally:
            self.seized.set()
        self.stopped = scan.wait_exit(self.session.worker)
        if self.stopped:
            self.found = scan.find(self.session.worker, self.session.markers())
            scan.release(self.session.worker)


def programs_of(services):
    """(pid, name) of every process that runs for these services, but the clients'."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        name = os.path.basename(words[0].decode(errors="replace"))
        if name in PROGRAMS and any(services.dir.encode() in word for word in words):
            out.append((int(pid), name))
    return out


def files_of(services):
    """{path: bytes} of all that the host keeps. What is renamed meanwhile is read again."""
    while True:
        paths = [os.path.join(folder, f) for top in ("store", "audit") for folder, _, files in os.walk(services.path(top)) for f in files]
        paths += [services.path(f) for f in os.listdir(services.dir) if f.endswith(".log")]
        kept = {}
        for path in paths:
            try:
                with open(path, "rb") as f:
                    kept[path] = f.read()
            except FileNotFoundError:
                break
        else:
            return kept


class Endings(unittest.TestCase):
    def services(self, *enclave_args, kms=False):
        s = Services(enclave_args=enclave_args, kms=kms)
        self.addCleanup(s.close)
        return s

    def model(self, s, case, name, trips=(3,)):
        folder = s.path(name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for path in s.store_objects():  # who has them open keeps them
            os.unlink(path)
        model = Model(random.Random(f"{SEED} {case} {name}"), folder, long=name == "long")
        model.prepare(s, trips)
        # What is there before is not of it: the format's own pieces, in the topology keys of others.
        for pid, _ in programs_of(s):
            try:
                model.forget(set().union(*scan.find(pid, model.markers).values()))
            except (ProcessLookupError, FileNotFoundError):
                continue
        return model

    def session(self, *args, **kwargs):
        session = Session(*args, **kwargs)
        self.addCleanup(session.close)
        self.assertTrue(session.begun.wait(PATIENCE), "no worker")
        return session

    def assert_nothing_left(self, s, session):
        markers = session.markers()
        for pid, name in programs_of(s):
            try:
                found = scan.find(pid, markers)
                for what, data in scan.unread(pid):
                    hits = markers.search(data)
                    if hits.size:
                        found.setdefault(what, set()).update(hits.tolist())
            except (ProcessLookupError, FileNotFoundError):
                continue
            self.assert_none(session, found, f"in {name}")
        for path, data in files_of(s).items():
            hits = markers.search(data)
            self.assert_none(session, {path: set(hits.tolist())} if hits.size else {}, "on the disk")

    def assert_none(self, session, found, where):
        keys = {name: n for name, hits in found.items() if (n := int(np.isin(session.keys, list(hits)).sum()))}
        self.assertEqual((session.model.explain(found), keys), ({}, {}), f"left {where}: of the model or request, of keys")

    def assert_no_result(self, session):
        self.assertEqual(os.path.exists(os.path.join(session.model.folder, "out", session.model.output_name + ".npy")), False)

    def two_sessions(self, s, case):
        """One of another tenant, open, with a model in clear; and one that was stopped in the middle of its run, with its keys. Tried again
        where a busy machine met one of the enclave's own deadlines."""
        for _ in range(10):
            other = self.session(s, self.model(s, case, "first"), "--mode", "session", trips=(3, 3), hold=REQUEST + 1)
            s.wait(lambda other=other: other.held.is_set() or other.client.poll() is not None, "the first session")
            victim = self.session(s, self.model(s, case, "long"), trips=(FOR_LONG,))
            if other.held.is_set() and victim.freeze() and victim.find_keys(other):
                break
            other.close()
            victim.close()
        else:
            self.fail("two sessions were never there together")
        self.assertGreaterEqual(victim.keys.size, 14, "two keys of 32 bytes are shared")
        return other, victim

    def test_worker_killed(self):
        s = self.services(*PATIENT)
        for case in range(CASES):
            with self.subTest(case=case, seed=SEED):
                other, victim = self.two_sessions(s, case)
                os.kill(victim.worker, signal.SIGKILL)
                self.assertEqual(victim.client.wait(PATIENCE), 5)
                s.wait(lambda victim=victim: not os.path.exists(f"/proc/{victim.worker}"), "the worker's end")
                self.assert_no_result(victim)
                self.assertEqual({name for _, name in programs_of(s)}, set(PROGRAMS))
                self.assert_nothing_left(s, victim)
                other.go.set()
                self.assertEqual(other.client.wait(PATIENCE), 0, "the other tenant is served")
                victim.close()
                other.close()
        assured(CASES, "workers killed (SIGKILL) in the middle of a run, beside another tenant's session, which goes on: nothing of model, "
                "request, result or channel keys in any process, unread socket or pipe, unnamed file, log or store")

    def test_broker_killed(self):
        """The frozen worker cannot notice: the kernel must end it."""
        s = self.services(*PATIENT)
        for case in range(CASES):
            with self.subTest(case=case, seed=SEED):
                other, victim = self.two_sessions(s, 1000 + case)
                s.stop("enclave", signal.SIGKILL)
                s.wait(lambda: {name for _, name in programs_of(s)} == {"eml-hostd"}, "the end of all workers")
                for session in (other, victim):
                    self.assertEqual(session.client.poll() or session.client.wait(PATIENCE), 5)
                    self.assert_no_result(victim)
                    self.assert_nothing_left(s, session)
                    session.close()
                s.start_enclave()
        assured(CASES, "brokers killed (SIGKILL) while a worker is in the middle of a run and another has a model open: all workers end, and "
                "nothing of either session in the host's memory, sockets, log or store")

    def between(self, s, model, session, n, trips):
        """Request n has its answer, and the next one does not leave the client. What the worker has to wipe it wipes before it waits, and
        that is seen from outside: it sends no more, since all that it sends has come; so when it blocks in poll(), it reads."""
        s.wait(lambda: session.held.is_set() or session.client.poll() is not None, "the answer")
        self.assertTrue(session.held.is_set(), f"the client has ended without a request after the {n}th")
        result = np.load(os.path.join(model.folder, "out", str(n), model.output_name + ".npy"))
        np.testing.assert_allclose(result, model.results[trips], rtol=1e-3, atol=1e-5)
        with open(os.path.join(model.folder, f"receipt.{n}.opening"), "rb") as f:
            opening, _ = hostile.parse(f.read())
        for salt in (opening[1], opening[2]):
            model.learn("salt", salt)
        s.wait(lambda: scan.polls(session.worker), "the worker to wait for a request")
        self.assert_nothing_left(s, session)
        self.assertTrue(scan.polls(session.worker), "the session is open and idle")

    def test_between_requests(self):
        """In request mode, every other session with requests under a KMS key. The session's third request is the control: in the middle of
        its run all is in the memory of the same worker. The channel's keys live as long as the session."""
        s = self.services(*PATIENT, kms=True)
        trips, arn = (3, 5), s.create_key(s.pcrs["0"])
        for case in range(CASES):
            with self.subTest(case=case, seed=SEED):
                model = self.model(s, 2000 + case, "long", trips)
                self.assertFalse(np.allclose(*model.results.values(), rtol=1e-3, atol=1e-5), "the requests cannot be told apart")
                options = ["--receipt", os.path.join(model.folder, "receipt"), *(s.kms_options(arn) if case % 2 else [])]
                session = self.session(s, model, *options, trips=(*trips, FOR_LONG), hold=REQUEST + 1)
                for n, t in enumerate(trips, 1):
                    self.between(s, model, session, n, t)
                    session.release(REQUEST + 1 + n if n < len(trips) else None)
                self.assertTrue(session.freeze(), "the third request ended early")
                os.kill(session.worker, signal.SIGKILL)
                session.close()
        assured(CASES * len(trips), "pauses between two requests of request mode in one session, with the worker alive and waiting: nothing of "
                "model, request or result in any process, unread socket or pipe, unnamed file, log or store; the next request is served")

    def two_open(self, s, case):
        """Sessions of two tenants, each with its model in clear and a request still to come; and the second one's keys."""
        opened = []
        for name in ("first", "second"):
            model = self.model(s, 3000 + case, name)
            path = os.path.join(model.folder, "receipt")
            session = self.session(s, model, "--mode", "session", "--receipt", path, trips=(3, 3), hold=REQUEST + 1)
            s.wait(lambda session=session: session.held.is_set() or session.client.poll() is not None, "a session")
            self.assertTrue(session.held.is_set(), "a session has ended early")
            session.receipt = parse(path + ".1")[AIR]
            opened.append(session)
        first, second = opened
        self.assertIn("weight", second.kinds_in(second.worker) or ())
        self.assertTrue(second.find_keys(first), "a session has ended early")
        self.assertGreaterEqual(second.keys.size, 14, "two keys of 32 bytes are shared")
        return first, second

    def test_success(self):
        """A session that ends in order wipes its channel's keys, too."""
        s = self.services(*PATIENT)
        for case in range(CASES):
            with self.subTest(case=case, seed=SEED):
                other, session = self.two_open(s, case)
                end = End(session)
                self.assertIsNone(end.error)
                session.go.set()
                self.assertEqual(session.client.wait(PATIENCE), 0)
                end.join(PATIENCE)
                self.assertTrue(end.stopped, "the worker did not end")
                self.assert_none(session, end.found, "in the worker")
                self.assert_nothing_left(s, session)
                other.go.set()
                self.assertEqual(other.client.wait(PATIENCE), 0, "the other tenant is served")
                session.close()
                other.close()
        assured(CASES, "sessions that ended in order, beside another tenant's, which goes on: nothing of model, request, result or channel keys in "
                "any process, unread socket or pipe, unnamed file, log or store")

    def limited(self, what, efforts, code, *options, trips=(FOR_LONG,), hold=None):
        """Sessions that a limit ends. efforts: option of the enclave that sets it, the smallest first; where a busy machine came too late
        to see the model in clear before the limit, the next is tried."""
        n = (CASES + 1) // 2
        for case in range(n):
            with self.subTest(case=case, seed=SEED):
                for option in efforts:
                    s = self.services(*option)
                    model = self.model(s, case, "long")
                    session = self.session(s, model, *options, trips=trips, hold=hold)
                    end = End(session)
                    seen = end.error is None and session.has_model()
                    # Who holds a frame back lets it go when the worker is no more.
                    end.join(PATIENCE)
                    session.go.set()
                    said = session.client.wait(PATIENCE)
                    self.assert_none(session, end.found, "in the worker")
                    self.assert_nothing_left(s, session)
                    session.close()
                    s.close()
                    if seen and end.stopped:
                        self.assertEqual(said, code)
                        break
                else:
                    self.fail("a session was never seen before its limit")
        assured(n, f"sessions that {what} ended, with the model in clear before: nothing of model, request or result in worker, broker, host, "
                "unread sockets and pipes, log or store")

    def test_request_limit(self):
        self.limited("the limit of a request", [("--request-seconds", n) for n in (2, 8, 32)], 5)

    def test_session_limit(self):
        self.limited("the limit of a session", [("--session-seconds", n) for n in (2, 8, 32)], 5)

    def test_idle_limit(self):
        self.limited("the limit of idleness", [("--idle-seconds", n) for n in (2, 8, 32)], 5, "--mode", "session", trips=(3, 3),
                     hold=REQUEST + 1)

    def test_work_limit(self):
        """In a session's second request: it fails for good, and the client is told."""
        self.limited("the limit of work", [("--flops", 10**n) for n in (10, 11, 12)], 4, "--mode", "session", trips=(3, FOR_LONG))

    def test_handshake_limit(self):
        """A client that never opens the channel: there are no secrets yet, but there is a worker, and it must go."""
        s = self.services()
        session = self.session(s, self.model(s, 0, "first"), hold=OPEN)
        end = End(session)
        self.assertIsNone(end.error)
        end.join(PATIENCE)
        self.assertTrue(end.stopped, "the worker did not end")
        self.assert_none(session, end.found, "in the worker")
        session.close()
        self.assert_nothing_left(s, session)

    def test_no_core_can_be_written(self):
        s = self.services()
        other = self.session(s, self.model(s, 0, "first"), "--mode", "session", trips=(3, 3), hold=REQUEST + 1)
        self.assertTrue(other.held.wait(PATIENCE))
        broker = s.processes["enclave"].pid
        workers = [pid for pid, name in programs_of(s) if name == "eml-enclaved-dev" and pid != broker]
        self.assertIn(other.worker, workers)
        for pid in (broker, other.worker):
            with open(f"/proc/{pid}/limits", encoding="ascii") as f:
                (core,) = [line.split()[4:6] for line in f if line.startswith("Max core file size")]
            self.assertEqual(core, ["0", "0"])
        # Whoever may be dumped owns its own files in /proc; root owns those of the others.
        self.assertEqual(os.stat(f"/proc/{other.worker}/maps").st_uid, 0)
        with open(f"/proc/{other.worker}/status", encoding="ascii") as f:
            self.assertIn("Uid:\t65534", f.read())
        os.kill(broker, signal.SIGSEGV)
        _, status = os.waitpid(broker, 0)
        s.processes.pop("enclave")
        self.assertTrue(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV)
        self.assertFalse(os.WCOREDUMP(status), "the broker left a core")

    def test_the_search_finds_what_is_there(self):
        """In the kernel's keeping, too: in a pipe, in sockets of both kinds, in a file without a name."""
        secret = os.urandom(4096)
        markers = scan.Markers(scan.markers_of(secret))
        with open(__file__, "rb") as f:
            self.assertEqual(markers.search(f.read()).size, 0)
        ends = []
        for kind in (scan.socket.SOCK_STREAM, scan.socket.SOCK_SEQPACKET):
            near, far = scan.socket.socketpair(scan.socket.AF_UNIX, kind)
            near.send(secret)
            ends += [near, far]
        reader, writer = os.pipe()
        os.write(writer, secret)
        memory = os.memfd_create("secret")
        os.write(memory, secret)
        for _ in range(2):  # and nothing is taken away
            found = [what for what, data in scan.unread(os.getpid()) if markers.search(data).size == markers.all.size]
            self.assertEqual(sorted(what.partition(":")[0] for what in set(found)), ["/memfd", "pipe", "socket", "socket"])
        for fd in (reader, writer, memory):
            os.close(fd)
        for end in ends:
            end.close()


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: reading another process's memory needs root")
        sys.exit(0)
    print(f"seed {SEED}, {CASES} cases", file=sys.stderr)
    unittest.main(verbosity=1)
