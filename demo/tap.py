#!/usr/bin/python3
"""usage: tap.py HOST PORT OUT_DIR: relays TCP connections to HOST:PORT and keeps all bytes: what the host sees.

Prints the port that it listens on. Writes to_host.bin and from_host.bin when a connection ends. For the demo and tests.
"""
import os
import socket
import sys
import threading


def pump(source, sink, path, lock):
    with open(path, "ab", buffering=0) as record:
        while True:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            if not data:
                break
            with lock:
                record.write(data)
            sink.sendall(data)
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    host, port, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    lock = threading.Lock()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((host, port))
        for a, b, name in ((client, server, "to_host.bin"), (server, client, "from_host.bin")):
            threading.Thread(target=pump, args=(a, b, os.path.join(out, name), lock), daemon=True).start()


main()
