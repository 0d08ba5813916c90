"""Kinds of host that lie: between client and enclave, and between the enclave and what the host serves it (prop_08_09_host.py)."""
import struct
import time

from relay import Cut, connect, framed

OK, INPUT, REFUSED, PEER = 0, 3, 4, 5
ANY = {INPUT, REFUSED, PEER}
# Frames of the client's stream: 0 route or status, 1 hello or evidence, 2 open, then records (down: from 2 on).
UP_RECORD, DOWN_RECORD = 3, 2


def attest(host, hello):
    """What the enclave behind this host answers to a hello."""
    s = connect(host)
    s.sendall(framed(b"R") + framed(hello))
    with s, s.makefile("rb") as f:
        for _ in range(2):  # status, evidence
            frame = f.read(struct.unpack(">I", f.read(4))[0])
    return frame


def flip(rng, data):
    data = bytearray(data)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


class Tamper:
    """One thing done to one frame of one direction. `do(stream, frame)` returns what goes on instead."""

    def __init__(self, up, n, do):
        self.up, self.n, self.do, self.done = up, n, do, False

    def __call__(self, stream, frame):
        if stream.up == self.up and stream.n == self.n and not self.done:
            self.done = True
            return self.do(stream, frame)
        return [framed(frame)]


def cut(_stream, _frame):
    raise Cut


class Swap:
    """Holds one frame back and sends it after the next."""

    def __init__(self, up, n):
        self.up, self.n, self.held, self.done = up, n, None, False

    def __call__(self, stream, frame):
        if stream.up == self.up and stream.n == self.n:
            self.held = frame
            return []
        if stream.up == self.up and self.held is not None:
            held, self.held, self.done = self.held, None, True
            return [framed(frame), framed(held)]
        return [framed(frame)]


class Slow:
    """Passes everything, in small pieces with pauses."""

    def __init__(self, rng, pause):
        self.rng, self.pause, self.done = rng, pause, True

    def __call__(self, stream, frame):
        data, out = framed(frame), []
        if len(data) > 4096:
            time.sleep(self.pause * 10)
            return [data]
        while data:
            n = self.rng.randint(1, 64)
            stream.send(data[:n])
            data = data[n:]
            time.sleep(self.pause)
        return out


class Kinds:
    """Every method named as_... is one kind of host: it returns (tamper, exit codes that the client may end with)."""

    def __init__(self, rng, sessions, twin):
        """sessions: recorded ones: earlier, before (host and enclave started anew), foreign (another owner's enclave). twin: address
        of another host, whose enclave is another start of the same program under the same root."""
        self.rng, self.twin = rng, twin
        self.earlier, self.before, self.foreign = sessions["earlier"], sessions["before"], sessions["foreign"]

    def up_record(self):
        return UP_RECORD + self.rng.randrange(3)

    def down_record(self):
        return DOWN_RECORD + self.rng.randrange(2)

    def flip(self, up, n, codes):
        return Tamper(up, n, lambda s, f: [framed(flip(self.rng, f))]), codes

    def as_flip_in_record_up(self):
        return self.flip(True, self.up_record(), ANY)

    def as_flip_in_record_down(self):
        return self.flip(False, self.down_record(), {REFUSED})

    def as_flip_in_hello(self):
        return self.flip(True, 1, ANY)

    def as_flip_in_evidence(self):
        return self.flip(False, 1, {INPUT, REFUSED})

    def as_flip_in_open(self):
        return self.flip(True, 2, ANY)

    def length(self, up, n, change):
        return Tamper(up, n, lambda s, f: [struct.pack(">I", change(len(f)) & 0xFFFFFFFF) + f]), ANY

    def as_longer_length_up(self):
        return self.length(True, self.up_record(), lambda n: n + 16)

    def as_longer_length_down(self):
        return self.length(False, self.down_record(), lambda n: n + 16)

    def as_shorter_length_up(self):
        return self.length(True, self.up_record(), lambda n: n - 16)

    def as_shorter_length_down(self):
        return self.length(False, self.down_record(), lambda n: n - 16)

    def as_zero_length(self):
        return self.length(bool(self.rng.randrange(2)), 2, lambda n: 0)

    def as_huge_length(self):
        return self.length(bool(self.rng.randrange(2)), 2, lambda n: 0xFFFFFFF0)

    def part(self, up, n):
        def do(stream, frame):
            stream.send(framed(frame)[: self.rng.randrange(1, len(frame) + 4)])
            raise Cut
        return Tamper(up, n, do), {PEER}

    def as_truncated_up(self):
        return self.part(True, self.up_record())

    def as_truncated_down(self):
        return self.part(False, self.down_record())

    def as_truncated_evidence(self):
        return self.part(False, 1)

    def as_record_dropped_up(self):
        return Tamper(True, UP_RECORD + self.rng.randrange(2), lambda s, f: []), ANY

    def as_record_dropped_down(self):
        return Tamper(False, DOWN_RECORD, lambda s, f: []), {REFUSED}

    def as_record_twice_up(self):
        return Tamper(True, UP_RECORD + self.rng.randrange(2), lambda s, f: [framed(f), framed(f)]), ANY

    def as_record_twice_down(self):
        return Tamper(False, DOWN_RECORD, lambda s, f: [framed(f), framed(f)]), {REFUSED}

    def as_records_swapped_up(self):
        return Swap(True, UP_RECORD + self.rng.randrange(2)), ANY

    def as_records_swapped_down(self):
        return Swap(False, DOWN_RECORD), {REFUSED}

    def as_hello_twice(self):
        return Tamper(True, 1, lambda s, f: [framed(f), framed(f)]), ANY

    def as_evidence_twice(self):
        return Tamper(False, 1, lambda s, f: [framed(f), framed(f)]), {INPUT, REFUSED}

    def as_record_reflected(self):
        """The client's own first record comes back as the answer."""
        kept = []

        def do(stream, frame):
            if stream.up and stream.n == UP_RECORD:
                kept.append(frame)
            if not stream.up and stream.n == DOWN_RECORD and kept:
                do.done = True
                return [framed(kept[0])]
            return [framed(frame)]
        do.done = False
        return do, {REFUSED}

    def as_record_of_earlier_session_up(self):
        n = self.up_record()
        return Tamper(True, n, lambda s, f: [framed(self.earlier.up[n])]), ANY

    def as_record_of_earlier_session_down(self):
        n = self.down_record()
        return Tamper(False, n, lambda s, f: [framed(self.earlier.down[n])]), {REFUSED}

    def as_evidence_of_earlier_session(self):
        return Tamper(False, 1, lambda s, f: [framed(self.earlier.down[1])]), {REFUSED}

    def as_hello_of_earlier_session(self):
        return Tamper(True, 1, lambda s, f: [framed(self.earlier.up[1])]), {REFUSED}

    def as_open_of_earlier_session(self):
        return Tamper(True, 2, lambda s, f: [framed(self.earlier.up[2])]), ANY

    def as_whole_answer_of_earlier_session(self):
        return self.answer_of(self.earlier), {REFUSED}

    @staticmethod
    def answer_of(session):
        def do(stream, frame):
            if stream.up:
                return [framed(frame)]
            do.done = True
            return [framed(session.down[stream.n])] if stream.n < len(session.down) else []
        do.done = False
        return do

    def as_whole_request_of_earlier_session(self):
        """The enclave hears an old client; the new one must not be told anything it could take for an answer."""
        return self.request_of(self.earlier), ANY

    @staticmethod
    def request_of(session):
        def do(stream, frame):
            if not stream.up:
                return [framed(frame)]
            do.done = True
            return [framed(session.up[stream.n])] if stream.n < len(session.up) else []
        do.done = False
        return do

    def as_evidence_from_before_restart(self):
        return Tamper(False, 1, lambda s, f: [framed(self.before.down[1])]), {REFUSED}

    def as_records_from_before_restart(self):
        n = self.up_record()
        return Tamper(True, n, lambda s, f: [framed(self.before.up[n])]), ANY

    def as_whole_answer_from_before_restart(self):
        return self.answer_of(self.before), {REFUSED}

    def as_whole_request_from_before_restart(self):
        return self.request_of(self.before), ANY

    def as_evidence_of_a_twin(self):
        """Right in all that a document says, and fresh; but its key is another enclave's than the one that is talked to."""
        def do(stream, frame):
            if stream.up and stream.n == 1:
                do.evidence = attest(self.twin, frame)
            if not stream.up and stream.n == 1:
                do.done = True
                return [framed(do.evidence)]
            return [framed(frame)]
        do.done = False
        return do, ANY

    def as_evidence_of_another_owner(self):
        return Tamper(False, 1, lambda s, f: [framed(self.foreign.down[1])]), {REFUSED}

    def as_open_for_another_key(self):
        def do(_stream, frame):
            frame = bytearray(frame)
            at = frame.index(b"open") + 6  # enc follows its two-byte head
            frame[at:at + 32] = self.rng.randbytes(32)
            return [framed(bytes(frame))]
        return Tamper(True, 2, do), ANY

    def as_status_says_error(self):
        return Tamper(False, 0, lambda s, f: [framed(bytes([self.rng.randint(1, 8)]))]), ANY

    def as_status_is_garbage(self):
        return Tamper(False, 0, lambda s, f: [framed(self.rng.randbytes(self.rng.choice([0, 2, 40])))]), ANY

    def as_evidence_is_garbage(self):
        return Tamper(False, 1, lambda s, f: [framed(self.rng.randbytes(self.rng.choice([0, 1, 500, 30000])))]), {INPUT, REFUSED}

    def as_route_is_refused(self):
        return Tamper(True, 0, lambda s, f: [framed(b"X")]), ANY

    def as_frame_added_up(self):
        return Tamper(True, self.up_record(), lambda s, f: [framed(self.rng.randbytes(272)), framed(f)]), ANY

    def as_frame_added_down(self):
        return Tamper(False, self.down_record(), lambda s, f: [framed(self.rng.randbytes(272)), framed(f)]), {REFUSED}

    def as_error_in_clear(self):
        return Tamper(False, DOWN_RECORD, lambda s, f: [framed(b"\x03")]), {INPUT, REFUSED}

    def as_end_dropped(self):
        """The answer is there, whole by its own length; the farewell is not. The client may not wait for it."""
        def do(stream, frame):
            if not stream.up and len(frame) == 272 and stream.n > DOWN_RECORD:
                raise Cut
            return [framed(frame)]
        return do, {OK, PEER}

    def as_flood_down(self):
        def do(stream, _frame):
            for _ in range(64):
                stream.send(framed(self.rng.randbytes(65552)))
            raise Cut
        return Tamper(False, DOWN_RECORD, do), {REFUSED}

    def as_flood_up(self):
        def do(stream, _frame):
            for _ in range(64):
                stream.send(framed(self.rng.randbytes(65552)))
            return []
        return Tamper(True, UP_RECORD, do), ANY

    def as_cut(self):
        return Tamper(bool(self.rng.randrange(2)), self.rng.randrange(3), cut), {PEER}

    def as_cut_after_result(self):
        return Tamper(False, DOWN_RECORD + 1, cut), {PEER}

    def as_silence(self):
        def do(_stream, _frame):
            time.sleep(4)
            raise Cut
        return Tamper(bool(self.rng.randrange(2)), self.rng.randrange(1, 3), do), {PEER}

    def as_half_close_up(self):
        def do(stream, frame):
            stream.send(framed(frame))
            stream.sink.shutdown(1)
            return []
        return Tamper(True, self.rng.randrange(1, 4), do), ANY | {OK}

    def as_half_close_down(self):
        def do(stream, frame):
            stream.send(framed(frame))
            stream.sink.shutdown(1)
            return []
        return Tamper(False, self.rng.randrange(0, 3), do), {PEER}

    def as_slow_in_pieces(self):
        return Slow(self.rng, 0.001), {OK}

    def as_honest(self):
        return lambda s, f: [framed(f)], {OK}


class StoreKinds:
    """What the host may do to weights on their way to the enclave; as in Kinds. `data` are the stored bytes."""

    def __init__(self, rng, other, older):
        self.rng, self.other, self.older = rng, other, older

    @staticmethod
    def instead(change):
        """A tamper for the service port: status and size, then raw bytes, which `change` may replace. Only fetches (G)."""
        class Fetch:
            done = False

            def __call__(self, stream, frame):
                if stream.up:
                    stream.fetch = frame[:1] == b"G"
                    stream.raw = True
                    return [framed(frame)]
                if not stream.other.fetch:
                    stream.raw = True
                    return [framed(frame)]
                self.done = True
                status, size = frame[:1], struct.unpack(">Q", frame[1:9])[0]
                data = stream.read(size)
                return change(status, size, data)
        return Fetch()

    def replaced(self, change, codes):
        return self.instead(lambda st, n, d: [framed(st + struct.pack(">Q", n)), change(d)]), codes

    def as_weights_one_bit(self):
        return self.replaced(lambda d: flip(self.rng, d), {REFUSED})

    def as_weights_of_another_model(self):
        return self.replaced(lambda d: (self.other * (len(d) // len(self.other) + 1))[: len(d)], {REFUSED})

    def as_weights_older(self):
        return self.replaced(lambda d: self.older[: len(d)], {REFUSED})

    def as_weights_chunks_swapped(self):
        def change(d):
            half = len(d) // 2
            return d[half:] + d[:half]
        return self.replaced(change, {REFUSED})

    def as_weights_zero(self):
        return self.replaced(lambda d: bytes(len(d)), {REFUSED})

    def as_weights_cut(self):
        def change(st, n, d):
            raise Cut
        return self.instead(change), ANY

    def as_weights_part_then_cut(self):
        return self.instead(lambda st, n, d: [framed(st + struct.pack(">Q", n)), d[: self.rng.randrange(n)]]), ANY

    def as_weights_size_lie(self):
        return self.instead(lambda st, n, d: [framed(st + struct.pack(">Q", self.rng.choice([0, n - 1, n + 1, 2**63]))), d]), ANY

    def as_weights_no_such_object(self):
        return self.instead(lambda st, n, d: [framed(b"\x02")]), ANY

    def as_weights_status_garbage(self):
        return self.instead(lambda st, n, d: [framed(self.rng.randbytes(self.rng.choice([0, 1, 30])))]), ANY

    def as_weights_flood(self):
        return self.instead(lambda st, n, d: [framed(st + struct.pack(">Q", n)), d, bytes(1 << 20)]), ANY | {OK}

    def as_weights_slow(self):
        def change(st, n, d):
            time.sleep(0.3)
            return [framed(st + struct.pack(">Q", n)), d]
        return self.instead(change), {OK}


class LogKinds:
    """What the host may do to the audit log's traffic; as in Kinds. The enclave has recorded its start honestly by then: of what it
    records afterwards, no result may leave before the host acknowledged it."""

    def __init__(self, rng):
        self.rng = rng

    class Later:
        """Does something to commits (up) or their answers (down) after the first, on any connection."""

        def __init__(self, up, do):
            self.up, self.do, self.booted, self.done = up, do, False, False

        def __call__(self, stream, frame):
            if stream.up and stream.n == 0:
                stream.log = frame == b"A"
                stream.raw = stream.other.raw = not stream.log  # weights and tunnels are no frames
            if not (stream if stream.up else stream.other).log or stream.n == 0:
                return [framed(frame)]
            if not self.booted:
                self.booted = not stream.up
                return [framed(frame)]
            if stream.up != self.up:
                return [framed(frame)]
            self.done = True
            return self.do(stream, frame)

    def as_log_acknowledgements_dropped(self):
        return self.Later(False, lambda s, f: []), {REFUSED, PEER}

    def as_log_commits_dropped(self):
        return self.Later(True, lambda s, f: []), {REFUSED, PEER}

    def as_log_refuses(self):
        return self.Later(False, lambda s, f: [framed(bytes([self.rng.randint(1, 8)]))]), {INPUT, REFUSED, PEER}

    def as_log_answer_is_garbage(self):
        return self.Later(False, lambda s, f: [framed(self.rng.choice([b"", b"\0\0", self.rng.randbytes(300)]))]), {INPUT, REFUSED, PEER}

    def as_log_cut(self):
        """If the host has kept the record before, it says so when it is dialled again."""
        return self.Later(self.rng.random() < 0.5, cut), {OK, REFUSED, PEER}

    def as_log_of_another_state(self):
        """The connection breaks, and the next one shows a log that it never acknowledged."""
        def do(stream, frame):
            do.broken = True
            raise Cut

        def tamper(stream, frame):
            if do.broken and not stream.up and stream.n == 0 and stream.other.log:
                frame = frame[:1] + struct.pack(">Q", struct.unpack(">Q", frame[1:9])[0] + 1) + frame[9:]
                tamper.done = True
                return [framed(frame)]
            return later(stream, frame)
        do.broken, tamper.done, later = False, False, self.Later(False, do)
        return tamper, {INPUT, REFUSED, PEER}

    def as_log_commit_altered(self):
        """It keeps something else and says that it has kept it: only who verifies the log sees that."""
        return self.Later(True, lambda s, f: [framed(f[:12] + flip(self.rng, f[12:]))]), {OK, INPUT, REFUSED, PEER}

    def as_log_answered_twice(self):
        return self.Later(False, lambda s, f: [framed(f), framed(f)]), {OK, INPUT, REFUSED, PEER}


class KmsKinds:
    """What the host may do to the tunnel between enclave and KMS, whose TLS ends in the enclave: (tamper of raw bytes, codes)."""

    def __init__(self, rng, earlier):
        self.rng, self.earlier = rng, earlier

    class Bytes:
        def __init__(self, up, do):
            self.up, self.do, self.done = up, do, False

        def __call__(self, stream, data):
            if stream.up != self.up:
                return data
            self.done = True
            return self.do(data)

    def as_kms_one_bit_down(self):
        return self.Bytes(False, lambda d: flip(self.rng, d)), ANY

    def as_kms_one_bit_up(self):
        return self.Bytes(True, lambda d: flip(self.rng, d)), ANY

    def as_kms_answers_of_earlier_session(self):
        left = [bytes(self.earlier)]
        return self.Bytes(False, lambda d: left.pop() if left else b""), ANY

    def as_kms_forged_in_clear(self):
        body = b'{"KeyId":"x","CiphertextForRecipient":"AAAA"}'
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        return self.Bytes(False, lambda d: answer), ANY

    def as_kms_garbage(self):
        return self.Bytes(False, lambda d: self.rng.randbytes(self.rng.choice([1, 5, 700]))), ANY

    def as_kms_cut(self):
        def do(_):
            raise Cut
        return self.Bytes(self.rng.random() < 0.5, do), {REFUSED, PEER}

    def as_kms_silent(self):
        return self.Bytes(False, lambda d: b""), {REFUSED, PEER}

    def as_kms_honest(self):
        return self.Bytes(False, lambda d: d), {OK}


class Recorded:
    """A session that passed earlier: its frames, to be replayed."""

    def __init__(self):
        self.up, self.down = [], []

    def __call__(self, stream, frame):
        return [framed(self.take(stream, frame))]

    def take(self, stream, data):
        (self.up if stream.up else self.down).append(data)
        return data


def names(kinds):
    return sorted(n for n in dir(kinds) if n.startswith("as_"))
