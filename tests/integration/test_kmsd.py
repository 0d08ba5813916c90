"""eml-kmsd as a program: its arguments, its files, and what its server does with what is not KMS."""
import http.client
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import unittest
import warnings

from services import program, run


class Kmsd(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        for args in (("eml-devpki", self.path("pki")), ("eml-devpki", "--tls", self.path("tls"), "localhost")):
            self.assertEqual(run(*args).returncode, 0)

    def path(self, *parts):
        return os.path.join(self.dir.name, *parts)

    def args(self, **changes):
        options = {"listen": "127.0.0.1:0", "store": self.path("store"), "tls-cert": self.path("tls/kms.pem"),
                   "tls-key": self.path("tls/kms.key"), "root": self.path("pki/root.pem"), "access-key": "AKID=secret"}
        options.update({name.replace("_", "-"): value for name, value in changes.items()})
        return [word for name, value in options.items() if value is not None for word in ("--" + name, value)]

    def refused(self, code, text, **changes):
        done = run("eml-kmsd", *self.args(**changes))
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertNotIn("hush", done.stderr)

    def start(self):
        self.log = open(self.path("log"), "w+")
        self.addCleanup(self.log.close)
        process = subprocess.Popen([program("eml-kmsd"), *self.args()], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        words = process.stdout.readline().split()
        self.assertEqual(words[0], "listening")
        self.port = int(words[1].rpartition(":")[2])
        return process

    def ask(self, method="POST", path="/", body=b"{}", headers=None):
        context = ssl.create_default_context(cafile=self.path("tls/kms-ca.pem"))
        connection = http.client.HTTPSConnection("localhost", self.port, context=context, timeout=20)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def test_arguments(self):
        self.assertEqual(run("eml-kmsd", "--help").returncode, 0)
        self.refused(2, "usage:", listen=None)
        self.refused(2, "usage:", access_key=None)
        self.refused(2, "usage:", root=None)
        self.refused(2, "--access-key", access_key="hush")
        self.refused(2, "--access-key", access_key="=hush")
        self.refused(2, "--access-key", access_key="AKID=,hush")
        self.refused(2, "listen", listen="nowhere")
        self.refused(2, "no such option", nonsense="hush")
        self.refused(1, "cannot open the file", root=self.path("missing"))
        self.refused(3, "certificate", root=self.path("tls/kms.key"))
        self.refused(1, "cannot listen", tls_key=self.path("pki/root.key"))
        self.refused(1, "store: cannot open", store=self.path("tls/kms.pem"))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.refused(1, "cannot listen", listen="127.0.0.1:%d" % taken.getsockname()[1])

    def test_damaged_store(self):
        os.mkdir(self.path("store"))
        with open(self.path("store/00000000-0000-4000-8000-000000000000.json"), "w") as f:
            f.write("{}")
        self.refused(3, "damaged")

    def test_server(self):
        process = self.start()
        self.assertEqual(self.ask(), (400, '{"__type":"MissingAuthenticationTokenException","message":""}'))
        self.assertEqual(self.ask("GET", body=None)[0], 400)
        self.assertEqual(self.ask(path="/x")[0], 400)
        self.assertEqual(self.ask(headers={"Authorization": "Bearer hush"}),
                         (400, '{"__type":"IncompleteSignatureException","message":""}'))
        self.assertEqual(self.ask(body=b" " * 524288)[0], 400)
        self.assertEqual(self.ask(body=b" " * 524289)[0], 413)
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain:
            plain.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            self.assertFalse(plain.recv(100).startswith(b"HTTP"))
        old = ssl.create_default_context(cafile=self.path("tls/kms-ca.pem"))
        old.set_ciphers("DEFAULT@SECLEVEL=0")  # this side would still speak TLS 1.1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as tcp:
            with self.assertRaisesRegex(ssl.SSLError, "EOF|ALERT_PROTOCOL_VERSION"):  # the server's doing, not ours
                old.wrap_socket(tcp, server_hostname="localhost")
        self.assertEqual(self.ask()[0], 400)  # and it goes on
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)
        self.log.seek(0)
        self.assertNotIn("hush", self.log.read())


if __name__ == "__main__":
    unittest.main()
