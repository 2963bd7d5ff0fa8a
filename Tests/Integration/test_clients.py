"""The published client libraries, pointed straight at the agent over TCP."""

import asyncio
import contextlib
import http.client
import json
import shlex
import unittest

from miosa._http import AsyncTransport, SyncTransport
from miosa.errors import AuthenticationError, MiosaError, NotFoundError, ValidationError
from miosa.resources.services import AsyncServices, Services
from miosa.types import ServiceStatus

from support import MachineTestCase

# What is the end of a line to some, and to the service that writes it nothing but text; and colours.
ODD_LINES = [
    "nel \u0085|", "ls \u2028|", "ps \u2029|", "cr \r|", "others \x0b\x0c\x1c\x1d\x1e|", "tab\t|",
    "\x1b[1;31mred\x1b[0m", "😀 é",
]
LONG_BYTES = 1024 * 1024
# journald's own limit for a line: journald.conf(5), LineMax=.
JOURNALD_LINE_BYTES = 48 * 1024


class OddLines(MachineTestCase):
    """A service that has written what is hard to read, to either stream."""

    def create_service(self):
        quoted = " ".join(map(shlex.quote, ODD_LINES))
        service = self.machine.create(
            "odd",
            f"echo oops >&2; printf '%s\\n' {quoted}; head -c {LONG_BYTES} /dev/zero | tr '\\000' x; echo; echo end; "
            "exec sleep 1000",
            cwd="/tmp",
        )
        for line in ("oops", "end"):
            self.machine.wait_for_line("odd", line)
        return service["id"]

    def assert_odd_lines(self, entries):
        """Checks pairs of stream and line."""
        self.assertEqual([line for stream, line in entries if stream == "stderr"], ["oops"])
        lines = [line for stream, line in entries if stream == "stdout"]
        self.assertEqual(lines[:len(ODD_LINES)], ODD_LINES)
        self.assertEqual(lines[-1], "end")
        pieces = lines[len(ODD_LINES):-1]
        self.assertEqual(len(pieces), -(-LONG_BYTES // JOURNALD_LINE_BYTES))
        for piece in pieces:
            self.assertEqual(piece, "x" * len(piece))
        # The line stands twice in 60 KiB.
        self.assertGreater(min(map(len, pieces[:-1])), 29000)

    def is_all(self, entries):
        return {("stdout", "end"), ("stderr", "oops")} <= set(entries)


class PythonLibraryCase(MachineTestCase):
    def services(self, token=None, computer="self"):
        transport = SyncTransport(token or self.machine.token, base_url=self.machine.url, max_retries=0)
        self.addCleanup(transport.close)
        return Services(transport, computer)


class PythonLibrary(PythonLibraryCase):
    def test_create_list_get_start_stop_restart_delete(self):
        services = self.services()
        created = services.create(
            "py", "sleep 1000", working_dir="/tmp", env={"A": "b"}, restart_policy="always", port=8000
        )
        self.assertEqual(created.status, ServiceStatus.PENDING)
        self.assertEqual((created.working_dir, created.env, created.port), ("/tmp", {"A": "b"}, 8000))
        self.assertEqual(created.restart_policy, "always")
        self.machine.wait("py", status="running")
        self.assertEqual([service.id for service in services.list()], [created.id])
        running = services.get(created.id)
        self.assertEqual(running.status, ServiceStatus.RUNNING)
        self.assertEqual(services.stop(created.id).status, ServiceStatus.STOPPED)
        self.assertEqual(services.start(created.id).status, ServiceStatus.RUNNING)
        restarted = services.restart(created.id)
        self.assertNotEqual(restarted.pid, running.pid)
        services.delete(created.id)
        self.assertEqual(services.list(), [])

    def test_the_computer_id_is_one_of_its_paths(self):
        computer = self.services().create("py", "sleep 1000").computer_id
        self.assertEqual([service.name for service in self.services(computer=computer).list()], ["py"])
        with self.assertRaises(NotFoundError) as caught:
            self.services(computer="another").list()
        self.assertEqual(caught.exception.code, "COMPUTER_NOT_FOUND")

    def test_errors_arrive_as_the_librarys_own(self):
        services = self.services()
        with self.assertRaises(NotFoundError) as caught:
            services.get("nothing")
        self.assertEqual((caught.exception.message, caught.exception.code), ("service not found", "SERVICE_NOT_FOUND"))
        self.assertIsNotNone(caught.exception.request_id)
        with self.assertRaises(ValidationError) as caught:
            services.create("No Name", " ", port=0)
        self.assertEqual(set(caught.exception.details), {"name", "command", "port"})
        with self.assertRaises(AuthenticationError):
            self.services(token="wrong").list()
        services.create("py", "sleep 1000")
        with self.assertRaises(MiosaError) as caught:
            services.create("py", "sleep 1000")
        self.assertEqual((caught.exception.status_code, caught.exception.code), (409, "SERVICE_EXISTS"))

    def test_the_asynchronous_one(self):
        async def life():
            transport = AsyncTransport(self.machine.token, base_url=self.machine.url, max_retries=0)
            services = AsyncServices(transport, "self")
            created = await asyncio.gather(*(services.create(f"py{number}", "sleep 1000") for number in range(8)))
            await asyncio.gather(*(services.restart(service.id) for service in created))
            listed = await services.list()
            await asyncio.gather(*(services.delete(service.id) for service in created))
            await transport.close()
            return listed

        self.assertEqual(len(asyncio.run(life())), 8)


class PythonLibraryLogs(PythonLibraryCase, OddLines):
    """Its lines are those of str.splitlines, which takes more for the end of one than LF."""

    def setUp(self):
        super().setUp()
        self.id = self.create_service()

    def assert_logs(self, logs):
        self.assert_odd_lines([(log.stream, log.line) for log in logs])
        for log in logs:
            self.assertIsNotNone(log.timestamp.tzinfo)

    def has_all(self, logs):
        return self.is_all([(log.stream, log.line) for log in logs])

    def test_what_there_is(self):
        self.assert_logs(list(self.services().logs(self.id, follow=False)))

    def test_following(self):
        found = []
        with contextlib.closing(self.services().logs(self.id)) as logs:
            while not self.has_all(found):
                found.append(next(logs))
            self.assert_logs(found)
            self.machine.call("POST", f"/v1/services/{self.id}/restart")
            again = []
            while not self.has_all(again):
                again.append(next(logs))
            self.assert_logs(again)

    def asynchronously(self, read):
        async def run():
            async with AsyncTransport(self.machine.token, base_url=self.machine.url, max_retries=0) as transport:
                return await read(AsyncServices(transport, "self"))

        return asyncio.run(run())

    def test_what_there_is_asynchronously(self):
        async def read(services):
            return [log async for log in services.logs(self.id, follow=False)]

        self.assert_logs(self.asynchronously(read))

    def test_following_asynchronously(self):
        async def read(services):
            found = []
            async with contextlib.aclosing(services.logs(self.id)) as logs:
                async for log in logs:
                    found.append(log)
                    if self.has_all(found):
                        return found

        self.assert_logs(self.asynchronously(read))


class GoLibrary(MachineTestCase):
    """The bytes that Go's net/http sends for the published library, and what its decoder takes."""

    def call(self, method, path, body=None):
        lines = [
            f"{method} /api/v1/computers/self/services{path} HTTP/1.1",
            "Host: 127.0.0.1",
            "User-Agent: miosa-go/0.3.0",
        ]
        if body is not None or method == "POST":
            lines.append(f"Content-Length: {len(body or '')}")
        lines += ["Accept: application/json", f"Authorization: Bearer {self.machine.token}"]
        if body is not None:
            lines.append("Content-Type: application/json")
        lines += ["Accept-Encoding: gzip", "Connection: close", "", body or ""]
        with self.machine.raw(tcp=True) as connection:
            connection.sendall("\r\n".join(lines).encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        head, _, content = answer.decode().partition("\r\n\r\n")
        self.assertRegex(head, r"^HTTP/1\.1 20[01] ")
        return json.loads(content)["data"]

    def test_create_list_get_start_stop_restart_delete(self):
        body = json.dumps({"name": "go", "command": "sleep 1000", "working_dir": "/tmp", "auto_restart": True})
        created = self.call("POST", "", body)
        self.assertEqual((created["status"], created["restart"]), ("starting", "on-failure"))
        self.machine.wait("go", status="running")
        path = "/" + created["id"]
        self.assertEqual([service["id"] for service in self.call("GET", "")], [created["id"]])
        self.assertEqual(self.call("GET", path)["status"], "running")
        self.assertEqual(self.call("POST", path + "/stop")["status"], "stopped")
        self.assertEqual(self.call("POST", path + "/start")["status"], "running")
        self.assertEqual(self.call("POST", path + "/restart")["status"], "running")
        self.assertEqual(self.call("DELETE", path), {"name": "go", "status": "removed"})


class Scanner:
    """Go's bufio.Scanner over a response: lines without their ends, none of 64 KiB or more."""

    TOKEN_BYTES_LIMIT = 64 * 1024

    def __init__(self, response):
        self.response = response

    def __iter__(self):
        while line := self.response.readline(self.TOKEN_BYTES_LIMIT):
            if len(line) == self.TOKEN_BYTES_LIMIT:
                raise ValueError("bufio.Scanner: token too long")
            yield line.removesuffix(b"\n").removesuffix(b"\r")


class GoLibraryLogs(OddLines):
    """What Go's net/http sends for a log, and what a bufio.Scanner and encoding/json make of the answer."""

    def setUp(self):
        super().setUp()
        self.id = self.create_service()

    def entries(self, query):
        connection = self.machine.raw(tcp=True)
        self.addCleanup(connection.close)
        connection.sendall(
            f"GET /api/v1/computers/self/services/{self.id}/logs{query} HTTP/1.1\r\n"
            "Host: 127.0.0.1\r\nUser-Agent: miosa-go/0.3.0\r\nAccept: text/event-stream\r\n"
            f"Authorization: Bearer {self.machine.token}\r\nCache-Control: no-cache\r\n"
            "Accept-Encoding: gzip\r\n\r\n".encode()
        )
        response = http.client.HTTPResponse(connection)
        self.addCleanup(response.close)
        response.begin()
        self.assertEqual(response.status, 200)
        self.assertIsNone(response.headers["Content-Encoding"])
        for line in Scanner(response):
            self.assertLessEqual(len(line), 60 * 1024)
            if not line.startswith(b"data: "):
                continue
            entry = json.loads(line.removeprefix(b"data: ").decode())
            self.assertEqual(entry["line"], entry["message"])
            # time.Parse with RFC 3339.
            self.assertRegex(entry["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            yield entry["stream"], entry["line"]

    def test_what_there_is(self):
        self.assert_odd_lines(list(self.entries("?follow=false")))

    def test_following(self):
        found = []
        entries = self.entries("?follow=true")
        while not self.is_all(found):
            found.append(next(entries))
        self.assert_odd_lines(found)
        self.machine.call("POST", f"/v1/services/{self.id}/restart")
        again = []
        while not self.is_all(again):
            again.append(next(entries))
        self.assert_odd_lines(again)


if __name__ == "__main__":
    unittest.main()
