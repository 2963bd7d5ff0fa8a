"""The published client libraries, pointed straight at the agent over TCP."""

import asyncio
import json
import unittest

from miosa._http import AsyncTransport, SyncTransport
from miosa.errors import AuthenticationError, MiosaError, NotFoundError, ValidationError
from miosa.resources.services import AsyncServices, Services
from miosa.types import ServiceStatus

from support import MachineTestCase


class PythonLibrary(MachineTestCase):
    def services(self, token=None, computer="self"):
        transport = SyncTransport(token or self.machine.token, base_url=self.machine.url, max_retries=0)
        self.addCleanup(transport.close)
        return Services(transport, computer)

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


if __name__ == "__main__":
    unittest.main()
