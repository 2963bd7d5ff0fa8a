"""What the integration tests share: a machine with the agent in it, and a client that shows the wire."""

import contextlib
import http.client
import json
import os
import pathlib
import random
import socket
import subprocess
import time
import unittest
import urllib.parse

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
VM = str(REPOSITORY / "scripts" / "vm")
# "address" or "thread": which sanitizer the agent in the machines is built with, if any.
SANITIZER = os.environ.get("MIOSA_AGENT_TEST_SANITIZER")
# The longest that anything here may take before it counts as never. Only a hang takes as long, however busy the
# machine.
PATIENCE_SECONDS = 120
# Where ports for services come from: below the range from which the kernel takes those of outgoing connections, and
# above those of the machines.
PORTS = range(22000, 32000)
# What becomes a service's command is this for a moment.
BECOMING = "/usr/lib/miosa-agent/launch-"


class Reply:
    """A response as it came."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def data(self):
        return self.json["data"]

    def __repr__(self):
        return f"{self.status} {self.text}"


class Stream:
    """A response that is read line by line, for as long as it goes on."""

    def __init__(self, machine, path, headers):
        self.connection = machine.connection()
        self.connection.request("GET", path, headers=headers)
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.headers = self.response.headers

    def line(self):
        """The next line without its end; None at the end of the response."""
        line = self.response.readline()
        return line.decode().removesuffix("\n") if line else None

    def event(self):
        """The next server-sent event as a dictionary; its data is JSON. Comments are passed over."""
        event = {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (line := self.line()) is not None:
            if line.startswith(":") and time.monotonic() > deadline:
                raise AssertionError("never: an event")
            if line.startswith(":") or not line and not event:
                continue
            if not line:
                return event
            field, _, value = line.partition(": ")
            event[field] = json.loads(value) if field == "data" else value
        return None

    def events(self, count):
        return [self.event() for _ in range(count)]

    def close(self):
        # It has a hold on the socket of its own.
        self.response.close()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Machine:
    """A booted stand-in for a VM. Each has a name of its own, so that suites can run side by side."""

    count = 0
    # How long a command inside may take.
    patience = PATIENCE_SECONDS

    def __init__(self, release="bookworm", options=()):
        Machine.count += 1
        self.options = options
        self.name = f"test-{os.getpid()}-{Machine.count}"
        self.release = release

    def up(self):
        self.run("up", self.name, "--release", self.release, *self.options, *self.sanitizer())
        lines = self.run("env", self.name).splitlines()
        settings = dict(line.split("=", 1) for line in lines)
        self.url = settings["AGENT_URL"]
        self.token = settings["AGENT_TOKEN"]
        self.socket = settings["AGENT_SOCKET"]
        return self

    def sanitizer(self):
        """What boots an agent that checks itself."""
        if not SANITIZER or "--qemu" in self.options:
            # A real machine has the package, which is of the agent as it ships.
            return []
        drop_in = REPOSITORY / "Tests" / "Sanitizers" / f"{SANITIZER}.conf"
        return ["--binary", f"{REPOSITORY}/.build/miosa-agent-{SANITIZER}", "--drop-in", str(drop_in)]

    def down(self):
        try:
            self.expect_no_finding()
        finally:
            self.run("down", self.name)

    def expect_no_finding(self):
        """Fails when a sanitizer has something to say of the agent."""
        if not SANITIZER or self.name not in self.run("list"):
            return
        log = self.run("logs", self.name, "--no-pager", "-o", "cat")
        if "Sanitizer" in log:
            raise AssertionError(f"the sanitizer has found something: {log[log.index('Sanitizer') - 100:][:20000]}")

    def run(self, verb, *arguments):
        return subprocess.run(
            [VM, verb, *arguments], check=True, stdout=subprocess.PIPE, text=True, timeout=600
        ).stdout

    def exec(self, *command, check=True):
        """Runs a command inside and gives back what it printed."""
        done = subprocess.run(
            [VM, "exec", self.name, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=self.patience,
        )
        # Decoded here and not by subprocess, which would change line ends.
        output = done.stdout.decode()
        if check and done.returncode != 0:
            raise AssertionError(f"{command} failed with {done.returncode}: {output}")
        return output

    def shell(self, script, check=True):
        return self.exec("sh", "-c", script, check=check)

    def connection(self, tcp=False):
        if not tcp:
            return UnixConnection(self.socket)
        address = urllib.parse.urlsplit(self.url)
        return http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE_SECONDS)

    def raw(self, tcp=False):
        """A connected socket."""
        connection = self.connection(tcp)
        connection.connect()
        return connection.sock

    def call(self, method, path, body=None, tcp=False, headers=None):
        headers = dict(headers or {})
        if tcp and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        with contextlib.closing(self.connection(tcp)) as connection:
            connection.request(method, path, body=body, headers=headers)
            return Reply(connection.getresponse())

    def stream(self, path, accept, headers=None):
        """A response that is read while it comes."""
        return Stream(self, path, {"Accept": accept, **(headers or {})})

    def create(self, name, command, **fields):
        reply = self.call("POST", "/v1/services", {"name": name, "command": command, **fields})
        assert reply.status == 201, reply
        return reply.data

    def get(self, reference):
        return self.call("GET", f"/v1/services/{reference}").data

    def delete(self, reference):
        reply = self.call("DELETE", f"/v1/services/{reference}")
        assert reply.status == 200, reply

    def wait(self, reference, **wanted):
        """The service once it has the wanted fields."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            service = self.get(reference)
            if all(service[field] == value for field, value in wanted.items()):
                return service
            if time.monotonic() > deadline:
                raise AssertionError(f"never {wanted}: {service}")
            time.sleep(0.01)

    def command_line(self, pid):
        """What a service's process was started with, once it is that."""
        def found():
            line = self.exec("cat", f"/proc/{pid}/cmdline")
            # In the middle of an exec there is none.
            return line and not line.startswith(BECOMING) and line.rstrip("\0").split("\0")

        return eventually(found, f"process {pid} has become the command")

    def wait_for_line(self, reference, text):
        """Waits until a service has written a line."""
        with self.stream(f"/v1/services/{reference}/logs?tail=all", "text/event-stream") as stream:
            while stream.event()["data"]["line"] != text:
                pass

    def property(self, unit, name):
        return self.exec("systemctl", "show", "-p", name, "--value", unit).strip()

    def reloads(self):
        """How often systemd has been reloaded since boot."""
        self.exec("journalctl", "--sync")
        log = self.exec("journalctl", "-b", "-o", "cat", "_PID=1", "--no-pager")
        # "Reloading." or "Reloading...", after which newer versions say how long it took.
        return sum(line.startswith("Reloading.") for line in log.splitlines())


def eventually(condition, what):
    """Waits until a condition gives something true, and gives that back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.02)


def free_port():
    """A port that nobody listens on, and that no other test gets as long as this process lives."""
    for port in random.sample(PORTS, len(PORTS)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            # An abstract name, which goes with the process: unix(7).
            claim.bind(f"\0miosa-agent-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("", port))
        except OSError:
            claim.close()
            continue
        claimed_ports.append(claim)
        return port
    raise AssertionError("no port is free")


claimed_ports = []


def unit_of(name):
    return f"miosa-service-{name}.service"


class MachineTestCase(unittest.TestCase):
    """Tests that share one machine."""

    release = "bookworm"
    # Further options of `scripts/vm up`.
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.machine = Machine(cls.release, cls.options)
        # Also when up fails: something of the machine may be there.
        cls.addClassCleanup(cls.machine.down)
        cls.machine.up()

    def setUp(self):
        self.addCleanup(self.remove_services)

    def remove_services(self):
        reply = self.machine.call("GET", "/v1/services")
        for service in reply.data:
            self.machine.delete(service["name"])
