"""nginx and haproxy in front of the Unix socket: the agent sees the requests that the proxy has passed on, and no other.

A request that a proxy takes for a part of another one is smuggled past whatever the proxy decides."""

import contextlib
import http.client
import json
import os
import pathlib
import platform
import re
import socket
import subprocess
import tempfile
import unittest

from support import REPOSITORY, MachineTestCase, eventually, free_port

UNIT = "miosa-agent.service"
PROXIES = REPOSITORY / ".build" / "proxies"

NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{}}
http {{
  log_format request '$request_method $request_uri';
  access_log {directory}/access.log request;
  client_body_temp_path {directory}/1; proxy_temp_path {directory}/2; fastcgi_temp_path {directory}/3;
  uwsgi_temp_path {directory}/4; scgi_temp_path {directory}/5;
  upstream agent {{ server unix:{socket}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    proxy_request_buffering off;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host localhost;
    location / {{ proxy_pass http://agent; }}
  }}
}}
"""

HAPROXY = """
global
  log stdout format raw local0 info
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 30s
  http-reuse always
frontend f
  log global
  log-format "%rt %HM %HU"
  bind 127.0.0.1:{port}
  http-request set-header Host localhost
  default_backend b
backend b
  server agent unix@{socket}
"""

SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(*fields, body="", line="POST /v1/services HTTP/1.1"):
    """A request whose body the agent reads, and which makes nothing."""
    return "\r\n".join([line, "Host: localhost", *fields, "", ""]) + body


def chunked(body):
    return f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"


# Requests about whose length two readers can differ, each with another request in or behind its body.
ATTACKS = {
    "a length": post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
    "chunks": post("Transfer-Encoding: chunked", body=chunked(SMUGGLED)),
    "a length that is short": post("Content-Length: 2", body=f"{{}}{SMUGGLED}"),
    "length and chunks": post("Content-Length: 5", "Transfer-Encoding: chunked", body=f"0\r\n\r\n{SMUGGLED}"),
    "chunks and length": post("Transfer-Encoding: chunked", "Content-Length: 4", body=f"0\r\n\r\n{SMUGGLED}"),
    "two lengths": post("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
    "two lengths in one field": post(f"Content-Length: 0, {len(SMUGGLED)}", body=SMUGGLED),
    "a length with a sign": post("Content-Length: +0", body=SMUGGLED),
    "a negative length": post("Content-Length: -1", body=SMUGGLED),
    "a length in hexadecimal": post(f"Content-Length: 0x{len(SMUGGLED):x}", body=SMUGGLED),
    "a length that overflows": post("Content-Length: 18446744073709551616", body=SMUGGLED),
    "a length with blanks in it": post(f"Content-Length: 1 {len(SMUGGLED)}", body=SMUGGLED),
    "a blank before the colon": post(f"Content-Length : {len(SMUGGLED)}", body=SMUGGLED),
    "a tab before the colon": post("Transfer-Encoding\t: chunked", "Content-Length: 0", body=chunked(SMUGGLED)),
    "a coding with a vertical tab": post("Transfer-Encoding: \x0bchunked", "Content-Length: 0", body=chunked(SMUGGLED)),
    "an unknown coding": post("Transfer-Encoding: xchunked", body=chunked(SMUGGLED)),
    "two codings": post("Transfer-Encoding: chunked, identity", body=chunked(SMUGGLED)),
    "chunks twice": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=f"0\r\n\r\n{SMUGGLED}"),
    "a coding in another case": post("transfer-encoding: CHUNKED", body=f"0\r\n\r\n{SMUGGLED}"),
    "a folded coding": post("Transfer-Encoding:\r\n chunked", "Content-Length: 0", body=chunked(SMUGGLED)),
    "a coding after a line feed": post("X: y\nTransfer-Encoding: chunked", "Content-Length: 0", body=chunked(SMUGGLED)),
    "a coding after a return": post("X: y\rTransfer-Encoding: chunked", "Content-Length: 0", body=chunked(SMUGGLED)),
    "a coding after a NUL": post("X: y\0\r\nTransfer-Encoding: chunked", "Content-Length: 0", body=chunked(SMUGGLED)),
    "chunks in HTTP/1.0": post("Transfer-Encoding: chunked", body=f"0\r\n\r\n{SMUGGLED}", line="POST /v1/services HTTP/1.0"),
    "an extension with a line feed": post("Transfer-Encoding: chunked", body=f"0;a\nb\r\n\r\n{SMUGGLED}"),
    "a chunk size with a sign": post("Transfer-Encoding: chunked", body=f"+0\r\n\r\n{SMUGGLED}"),
    "a chunk size in 0x": post("Transfer-Encoding: chunked", body=f"0x0\r\n\r\n{SMUGGLED}"),
    "a chunk size that overflows": post(
        "Transfer-Encoding: chunked", body=f"10000000000000000\r\n{SMUGGLED}\r\n0\r\n\r\n"
    ),
    "a chunk that is longer": post("Transfer-Encoding: chunked", body=f"1\r\nab\r\n0\r\n\r\n{SMUGGLED}"),
    "a chunk with bare line feeds": post("Transfer-Encoding: chunked", body=f"0\n\n{SMUGGLED}"),
    "a request in a trailer": post("Transfer-Encoding: chunked", body=f"0\r\nX: y\r\n{SMUGGLED}"),
    "a length that is hop by hop": post(
        "Connection: Content-Length", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED
    ),
    "an upgrade": post("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 0", body=SMUGGLED),
    "an expectation": post("Expect: 100-continue", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
    "a GET with a body": post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED, line="GET /v1/services HTTP/1.1"),
    "line feeds alone": post("Content-Length: 0", body=SMUGGLED).replace("\r\n", "\n"),
    "a request in the target": post("Content-Length: 0", line="POST /v1/services%20HTTP/1.1%0d%0aX:%20y HTTP/1.1", body=SMUGGLED),
    "an absolute target": post("Content-Length: 0", line="POST http://other/v1/services HTTP/1.1", body=SMUGGLED),
}


class Proxies(MachineTestCase):
    """The log of each proxy has what it takes for requests; the agent's has what reached it."""

    def setUp(self):
        super().setUp()
        self.directory = self.enterContext(tempfile.TemporaryDirectory(prefix="proxies-"))
        drop_in = "/etc/systemd/system/miosa-agent.service.d/debug.conf"
        self.machine.shell(
            f"mkdir -p {os.path.dirname(drop_in)}; printf '[Service]\\nEnvironment=MIOSA_AGENT_LOG_LEVEL=debug\\n' > {drop_in};"
            f"systemctl daemon-reload; systemctl restart {UNIT}"
        )
        self.addCleanup(
            self.machine.shell, f"rm {drop_in}; systemctl daemon-reload; systemctl restart {UNIT}"
        )

    def run_proxy(self, name, template, *arguments):
        self.port = free_port()
        configuration = pathlib.Path(self.directory, f"{name}.conf")
        configuration.write_text(
            template.format(directory=self.directory, socket=self.machine.socket, port=self.port)
        )
        libraries = PROXIES / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
        with open(os.path.join(self.directory, "output"), "w", encoding="utf-8") as output:
            proxy = subprocess.Popen(
                [PROXIES / "usr/sbin" / name, *arguments, configuration],
                env={**os.environ, "LD_LIBRARY_PATH": str(libraries)}, stdout=output, cwd=self.directory,
            )
        self.addCleanup(proxy.wait, 60)
        self.addCleanup(proxy.kill)
        eventually(lambda: self.ask("/ready") == 404, f"{name} serves")

    def ask(self, path):
        with contextlib.suppress(OSError, http.client.HTTPException):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
                connection.request("GET", path)
                return connection.getresponse().status
        return None

    def attack(self, text):
        """Sends it and reads until the proxy closes, or has nothing to say."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(text.encode("latin-1"))
            connection.settimeout(0.3)
            with contextlib.suppress(OSError):
                while connection.recv(65536):
                    pass

    def seen(self):
        """The requests that have reached the agent, and the answers to bytes that were none."""
        self.machine.exec("journalctl", "--sync")
        log = self.machine.exec("journalctl", "-u", UNIT, "-o", "json", "--no-pager", "-b")
        entries = [json.loads(line) for line in log.splitlines()]
        return [f"{e['MIOSA_METHOD']} {e['MIOSA_PATH']}" for e in entries if "MIOSA_METHOD" in e]

    def assert_the_same(self, passed):
        """Holds the requests of the proxy's log against those of the agent's, attack by attack."""
        for name, text in ATTACKS.items():
            with self.subTest(name):
                before = (len(self.seen()), len(passed()))
                self.attack(text)
                marker = f"/after-{name.replace(' ', '-')}"
                self.assertEqual(self.ask(marker), 404)
                eventually(lambda: f"GET {marker}" in passed(), "the proxy has logged it")
                self.assertEqual(passed().count(f"GET {marker}"), 1)
                arrived = self.seen()[before[0]:]
                logged = passed()[before[1]:]
                for request in arrived:
                    # The agent may refuse what the proxy passes on; it must not find more in it.
                    if request != "- -":
                        self.assertIn(request, logged, (name, arrived, logged))
                        logged.remove(request)

    def test_nginx(self):
        self.run_proxy("nginx", NGINX, "-c")

        def passed():
            return pathlib.Path(self.directory, "access.log").read_text(encoding="latin-1").splitlines()

        self.assert_the_same(passed)

    def test_haproxy(self):
        self.run_proxy("haproxy", HAPROXY, "-f")

        def passed():
            lines = pathlib.Path(self.directory, "output").read_text(encoding="latin-1").splitlines()
            # A request can be logged twice; its number is its own.
            requests = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}
            return [re.sub(r"^(\S+) http://[^/]*", r"\1 ", request) for request in requests.values()]

        self.assert_the_same(passed)


if __name__ == "__main__":
    unittest.main()
