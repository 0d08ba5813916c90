"""A host in the middle: relays streams of frames (be32 length, bytes) and may do anything to them.

Relay(target).listen() stands between a client and eml-hostd, or between an enclave and eml-hostd's service port. What it does is
`tamper(stream, frame)`: given the Stream, a direction's state, and the frame's bytes, it returns the list of byte strings to send
on (frames as `framed(x)`, or raw bytes), or raises Cut to close both directions. After `stream.raw = True` bytes pass uncut.
"""
import socket
import struct
import threading

FRAME_MAX = 1 << 24


class Cut(Exception):
    """Close the connection here."""


def framed(data):
    return struct.pack(">I", len(data)) + data


def connect(address):
    kind, _, rest = address.partition(":")
    if kind == "unix":
        s = socket.socket(socket.AF_UNIX)
        s.connect(rest)
        return s
    name, _, port = rest.rpartition(":")
    return socket.create_connection((name, int(port)))


class Stream:
    """One direction of one connection. `n` counts the frames that came; `up`: away from who connected."""

    def __init__(self, relay, connection, up, source, sink):
        self.relay, self.connection, self.up, self.source, self.sink = relay, connection, up, source, sink
        self.n, self.raw, self.ended, self.other = 0, relay.raw, False, None

    def read(self, n):
        data = b""
        while len(data) < n:
            part = self.source.recv(n - len(data))
            if not part:
                return data
            data += part
        return data

    def pump(self):
        try:
            while True:
                if self.raw:
                    data = self.source.recv(1 << 16)
                    if not data:
                        break
                    self.send(self.relay.tamper_raw(self, data))
                    continue
                head = self.read(4)
                if len(head) < 4:
                    break
                size = struct.unpack(">I", head)[0]
                frame = self.read(size) if size <= FRAME_MAX else b""
                if len(frame) != size:
                    break
                self.relay.record(self, head + frame)
                out = self.relay.tamper(self, frame)
                self.n += 1
                for part in out:
                    self.send(part)
            self.sink.shutdown(socket.SHUT_WR)
        except Cut:
            for s in (self.source, self.sink):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        except OSError:
            pass
        self.ended = True
        if self.other.ended:
            self.source.close()
            self.sink.close()

    def send(self, data):
        if data:
            self.sink.sendall(data)


class Relay:
    def __init__(self, target, tamper=None, listen=None, raw=False):
        """target: address to connect to. listen: path of a Unix socket; else a TCP port of loopback. raw: what passes is no frames,
        and tamper(stream, bytes) returns the bytes to send on."""
        self.raw = raw
        self.target, self.path = target, listen
        self.connections, self.bytes_up, self.bytes_down = 0, bytearray(), bytearray()
        self.lock = threading.Lock()
        if tamper is not None and raw:
            self.tamper_raw = tamper
        elif tamper is not None:
            self.tamper = tamper
        if listen is None:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(listen)
            self.listener.listen(64)
            self.address = "unix:" + listen
        threading.Thread(target=self.accept, daemon=True).start()

    def tamper(self, stream, frame):  # pylint: disable=method-hidden
        return [framed(frame)]

    def tamper_raw(self, stream, data):  # pylint: disable=method-hidden
        return data

    def record(self, stream, data):
        with self.lock:
            (self.bytes_up if stream.up else self.bytes_down).extend(data)

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = connect(self.target)
            except OSError:
                near.close()
                continue
            self.connections += 1
            up = Stream(self, self.connections, True, near, far)
            down = Stream(self, self.connections, False, far, near)
            up.other, down.other = down, up
            for s in (up, down):
                threading.Thread(target=s.pump, daemon=True).start()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
