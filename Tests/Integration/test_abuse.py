"""Clients that misbehave, by the hundred, and one that does not and has to be served meanwhile as if it were alone."""

import contextlib
import http.client
import json
import os
import pathlib
import resource
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
import unittest

from support import PATIENCE_SECONDS, MachineTestCase, eventually

UNIT = "miosa-agent.service"
# ServerLimits: places of one kind of peers, and what all clients together may make the memory grow by.
CONNECTIONS_LIMIT = 512
SPARE_DESCRIPTORS = 64
MEMORY_LIMIT_KIB = 256 * 1024
# A well-behaved client's median may be so many times what it is in peace, or so long: these machines are noisy. Both times
# may be so many times what a word and its echo take between two other processes meanwhile: these machines are busy.
SLOWER_AT_MOST = 10
MEDIAN_SECONDS = 0.05
WORST_SECONDS = 1.5

# Connects and disconnects in a process of its own, until its input ends: over TCP as fast as it can. On the Unix socket
# some thousand times a second, since faster than that the kernel's queue is full, which only those can fill who are as
# mighty as the agent. It says when it is under way.
STORM = """
import collections, contextlib, select, socket, struct, sys, time
family, address, end, patience = int(sys.argv[1]), eval(sys.argv[2]), sys.argv[3], float(sys.argv[4])
begin = time.monotonic()
count = 0
held = collections.deque(maxlen=900)
while not select.select([sys.stdin], [], [], 0)[0] and (count > 100 or time.monotonic() < begin + patience):
    try:
        connection = socket.socket(family)
        with contextlib.nullcontext() if end == "held" else connection:
            connection.settimeout(1)
            if end == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.connect(address)
            if end == "held":
                held.append(connection)
            if count % 2 or end == "held":
                connection.send(b"GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\n")
            count += 1
            if count == 101:
                print("under way", flush=True)
    except OSError:
        pass
    if family == socket.AF_UNIX:
        time.sleep(0.0005)
print(count)
"""


class Process:
    """The agent as the kernel of the host shows it."""

    def __init__(self, machine):
        self.path = eventually(lambda: self.find(machine), "the agent has a process")
        self.pid = int(self.path.name)

    def find(self, machine):
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                groups = (path / "cgroup").read_text()
                if (path / "comm").read_text() == "miosa-agent\n" and f"/{machine.name}/" in groups:
                    return path
        return None

    def descriptors(self):
        return len(os.listdir(self.path / "fd"))

    def memory_kib(self, name):
        for line in (self.path / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        return None

    def forget_peak(self):
        (self.path / "clear_refs").write_text("5")

    def cpu_seconds(self):
        fields = (self.path / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def load(self, seconds):
        """How much of one core it uses."""
        before = self.cpu_seconds()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / seconds


class Echo:
    """What a word and its answer take on this machine, without the agent."""

    PROGRAM = "import socket\nend = socket.socket(fileno=0)\nwhile word := end.recv(100): end.send(word)"

    def __init__(self):
        self.near, far = socket.socketpair()
        self.near.settimeout(PATIENCE_SECONDS)
        with far:
            self.process = subprocess.Popen([sys.executable, "-I", "-c", self.PROGRAM], stdin=far)
        self.ask()

    def ask(self):
        begin = time.monotonic()
        self.near.send(b"word")
        self.near.recv(100)
        return time.monotonic() - begin

    def close(self):
        self.near.close()
        self.process.wait(PATIENCE_SECONDS)


class WellBehaved:
    """One that asks and waits for its answers: on a connection of its own each time, and on one that it keeps."""

    def __init__(self, machine, tcp):
        self.machine = machine
        self.headers = {"Authorization": f"Bearer {machine.token}"} if tcp else {}
        self.tcp = tcp
        self.kept = machine.connection(tcp)
        self.lost = 0

    def ask(self, connection, method, path, body, status):
        begin = time.monotonic()
        connection.request(method, path, body=body, headers=self.headers)
        response = connection.getresponse()
        text = response.read()
        assert response.status == status, (response.status, text)
        return time.monotonic() - begin

    def ask_kept(self):
        try:
            return self.ask(self.kept, "GET", "/v1/services/web", None, 200)
        except (ConnectionError, http.client.HTTPException):
            # Its place was taken while it was idle. Another connection has to do.
            self.lost += 1
            self.kept.close()
            return self.ask(self.kept, "GET", "/v1/services/web", None, 200)

    def ask_new(self):
        with contextlib.closing(self.machine.connection(self.tcp)) as connection:
            return self.ask(connection, "GET", "/v1/services/web", None, 200)

    def send_new(self):
        with contextlib.closing(self.machine.connection(self.tcp)) as connection:
            return self.ask(connection, "POST", "/v1/services", "{}", 422)


class Abuse(MachineTestCase):
    ECHO = ("machine", "echo")

    def setUp(self):
        super().setUp()
        self.machine.create("web", "exec sleep 1000", cwd="/tmp")
        self.process = Process(self.machine)
        self.clients = [WellBehaved(self.machine, tcp) for tcp in (False, True)]
        for client in self.clients:
            self.addCleanup(client.kept.close)
        self.echo = Echo()
        self.addCleanup(self.echo.close)
        self.pace(5)
        self.before = self.pace()
        self.descriptors = self.process.descriptors()
        self.memory = self.process.memory_kib("VmRSS")
        self.process.forget_peak()
        self.held = contextlib.ExitStack()
        self.addCleanup(self.held.close)

    def pace(self, count=25, seconds=0):
        """How long requests take, in the order in which they were made, by client and way of asking."""
        durations = {}
        deadline = time.monotonic() + seconds
        while count > 0 or time.monotonic() < deadline:
            count -= 1
            for client in self.clients:
                for ask in (client.ask_kept, client.ask_new, client.send_new):
                    durations.setdefault(("tcp" if client.tcp else "unix", ask.__name__), []).append(ask())
                    durations.setdefault(self.ECHO, []).append(self.echo.ask())
            time.sleep(0.005)
        return durations

    def assert_served(self, what, seconds=0):
        """Every request is answered in its normal time, now."""
        during = self.pace(seconds=seconds)
        echoes = during[self.ECHO]
        for way, durations in during.items():
            before = statistics.median(self.before[way])
            median, worst = statistics.median(durations), max(durations)
            print(f"{what}, {' '.join(way)}: median {before * 1000:.2f} ms, then {median * 1000:.2f} ms, "
                  f"worst {worst * 1000:.1f} ms of {len(durations)}", flush=True)
            if way == self.ECHO:
                continue
            self.assertLessEqual(
                median, max(SLOWER_AT_MOST * max(before, statistics.median(echoes)), MEDIAN_SECONDS), (what, way)
            )
            self.assertLessEqual(worst, max(SLOWER_AT_MOST * max(echoes), WORST_SECONDS), (what, way))

    def assert_recovered(self):
        """Nothing is left of what was held: no descriptor, no memory past the bound, no work."""
        self.held.close()
        # Those who were asked to wait for a refusal are gone as well.
        eventually(lambda: self.process.descriptors() <= self.descriptors, "the descriptors are closed")
        eventually(lambda: self.process.load(0.3) < 0.1, "the agent is idle")
        peak = self.process.memory_kib("VmHWM") - self.memory
        print(f"memory at its peak {peak} KiB more, then "
              f"{self.process.memory_kib('VmRSS') - self.memory} KiB more", flush=True)
        self.assertLess(peak, MEMORY_LIMIT_KIB)
        self.pace(2)

    def connect(self, tcp, count, text=b"", buffer=None):
        """So many connections that have sent this."""
        sockets = []
        for _ in range(count):
            connection = self.held.enter_context(self.raw(tcp, buffer))
            with contextlib.suppress(ConnectionError):
                connection.sendall(text)
            sockets.append(connection)
        return sockets

    def address(self, tcp):
        if tcp:
            return socket.AF_INET, ("127.0.0.1", int(self.machine.url.rpartition(":")[2].strip("/")))
        return socket.AF_UNIX, self.machine.socket

    def raw(self, tcp, buffer=None):
        family, address = self.address(tcp)
        connection = socket.socket(family)
        connection.settimeout(PATIENCE_SECONDS)
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.connect(address)
        return connection

    def head(self, line, tcp, *fields):
        fields = [f"Authorization: Bearer {self.machine.token}"] * tcp + list(fields)
        return "\r\n".join([line, "Host: localhost", *fields, "", ""]).encode()

    def trickle(self, sockets, text=b"x"):
        """Sends a byte on each connection every second, until the test is over."""
        over = threading.Event()

        def send():
            while not over.wait(1):
                for connection in sockets:
                    with contextlib.suppress(OSError):
                        connection.send(text, socket.MSG_DONTWAIT)

        thread = threading.Thread(target=send)
        thread.start()
        self.held.callback(thread.join)
        self.held.callback(over.set)

    # Slowness

    def test_slow_headers(self):
        for tcp in (False, True):
            self.trickle(self.connect(tcp, 600, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "))
        self.assert_served("slow headers", seconds=3)
        self.assert_recovered()

    def test_slow_bodies(self):
        for tcp in (False, True):
            text = self.head("POST /v1/services HTTP/1.1", tcp, "Content-Length: 1000000")
            self.trickle(self.connect(tcp, 600, text))
            # Who has no token may send a body to these paths only.
            self.trickle(self.connect(True, 300, self.head("POST /healthz HTTP/1.1", False, "Content-Length: 1000000")))
        self.assert_served("slow bodies", seconds=3)
        self.assert_recovered()

    def test_guesses_that_are_held_back(self):
        text = self.head("GET /v1/services HTTP/1.1", False, "Authorization: Bearer wrong-token-0123456789")
        # From another account: wrong tokens delay only requests of their own source.
        os.seteuid(65534)
        try:
            self.connect(True, 600, text)
            self.connect(True, 600, text.replace(b"GET", b"POST").replace(b"Host", b"Content-Length: 1000\r\nHost"))
        finally:
            os.seteuid(0)
        self.assert_served("wrong tokens")
        self.assert_recovered()

    def test_many_requests_in_one_piece(self):
        flood = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400
        sockets = self.connect(True, 100, flood)

        def send():
            for _ in range(20):
                for connection in sockets:
                    with contextlib.suppress(OSError):
                        connection.recv(1 << 20, socket.MSG_DONTWAIT)
                    with contextlib.suppress(OSError):
                        connection.send(flood, socket.MSG_DONTWAIT)
                time.sleep(0.05)

        thread = threading.Thread(target=send)
        thread.start()
        self.assert_served("many requests in one piece")
        thread.join()
        self.assert_recovered()

    # Peers that take nothing

    def test_never_reading_clients_of_a_large_list(self):
        for number in range(40):
            self.machine.create(f"big{number}", "true " + "x" * 60000)
        self.memory = self.process.memory_kib("VmRSS")
        self.process.forget_peak()
        for tcp in (False, True):
            # Over TCP the kernel holds far more of an answer.
            for connection in self.connect(tcp, 50 if tcp else 150, self.head("GET /v1/services HTTP/1.1", tcp), buffer=4096):
                # The list is made, and begun to be sent.
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(connection.recv(1), b"H")
        self.assert_served("never-readers of a list")
        self.assert_recovered()

    def test_never_reading_clients_of_a_log(self):
        self.machine.create("loud", "seq 1 100000; exec sleep 1000", cwd="/tmp")
        self.machine.wait_for_line("loud", "100000")
        for tcp in (False, True):
            line = "GET /v1/services/loud/logs?tail=all&follow=true HTTP/1.1"
            self.connect(tcp, 100, self.head(line, tcp, "Accept: application/x-ndjson"), buffer=4096)
        self.assert_served("never-readers of a log")
        # The files of the journal are mapped, and the kernel's to keep.
        self.assertLess(self.process.memory_kib("RssAnon"), self.memory + MEMORY_LIMIT_KIB / 4)
        self.assert_recovered()

    # Numbers

    def test_thousands_of_idle_connections(self):
        for tcp in (True, False):
            self.connect(tcp, 3000)
            # Strangers cost those on the Unix socket nothing, not even an idle connection.
            self.assertEqual([client.lost for client in self.clients], [0, 0] if tcp else [self.clients[0].lost, 0])
            self.assert_served("3,000 idle connections")
            self.assertLessEqual(self.process.descriptors(), self.descriptors + 2 * CONNECTIONS_LIMIT)
        self.assert_recovered()

    def test_connection_storms(self):
        for tcp, end in ((True, "closed"), (True, "reset"), (True, "held"), (False, "closed")):
            with self.subTest(tcp=tcp, end=end):
                family, address = self.address(tcp)
                command = [
                    sys.executable, "-I", "-c", STORM, str(int(family)), repr(address), end,
                    str(PATIENCE_SECONDS),
                ]
                begin = time.monotonic()
                storms = [
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
                ]
                try:
                    for storm in storms:
                        self.assertEqual(storm.stdout.readline(), "under way\n")
                    self.assert_served(f"storm, {end}, {'tcp' if tcp else 'unix'}", seconds=2)
                finally:
                    counts = [int(storm.communicate(timeout=PATIENCE_SECONDS)[0]) for storm in storms]
                # No idle connection of a client with an identity has been closed.
                self.assertEqual(self.clients[1].lost, 0)
                print(f"{sum(counts) / (time.monotonic() - begin):.0f} connections a second", flush=True)
        self.assert_recovered()

    def test_half_closed_connections(self):
        for tcp in (False, True):
            request = self.head("GET /v1/services/web HTTP/1.1", tcp)
            for connection in self.connect(tcp, 150):
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(connection.recv(100), b"")
            for connection in self.connect(tcp, 150, request[:-10]):
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(connection.recv(100), b"")
            for connection in self.connect(tcp, 150, request):
                connection.shutdown(socket.SHUT_WR)
                self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 200 "))
            for connection in self.connect(tcp, 150, request * 3):
                connection.shutdown(socket.SHUT_WR)
                answers = b""
                while piece := connection.recv(65536):
                    answers += piece
                self.assertEqual(answers.count(b"HTTP/1.1 200 OK\r\n"), 3)
            # Nothing is ever read of these.
            for connection in self.connect(tcp, 150, request * 3):
                connection.shutdown(socket.SHUT_WR)
        self.assert_served("half-closed connections")
        self.assert_recovered()

    # Descriptors

    def limit_descriptors(self, count):
        soft, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (count, hard))
        self.held.callback(resource.prlimit, self.process.pid, resource.RLIMIT_NOFILE, (soft, hard))

    def test_descriptors_run_out_under_idle_connections(self):
        self.limit_descriptors(self.descriptors + SPARE_DESCRIPTORS + 20)
        for tcp in (False, True):
            self.connect(tcp, 200)
            self.assert_served("no descriptors, idle connections")
            self.assertLessEqual(self.process.descriptors(), self.descriptors + 25)
        self.machine.create("other", "exec sleep 1000", cwd="/tmp")
        self.machine.wait("other", status="running")
        self.assert_recovered()

    def test_descriptors_run_out_under_streams(self):
        self.limit_descriptors(self.descriptors + SPARE_DESCRIPTORS + 20)
        begun, waiting = [], []
        for _ in range(40):
            connection = self.raw(False)
            self.held.enter_context(connection)
            connection.sendall(self.head("GET /v1/events HTTP/1.1", False, "Accept: application/x-ndjson"))
            # Once it is a stream nobody takes its place. Where one has to wait, so have all that come after it.
            if not waiting and select.select([connection], [], [], 10)[0]:
                self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 200 "))
                begun.append(connection)
            else:
                waiting.append(connection)
        # They wait in the socket's queue, and nobody spins meanwhile.
        self.assertTrue(10 < len(begun) < 40, len(begun))
        self.assertEqual(select.select(waiting, [], [], 0)[0], [])
        self.assertLess(self.process.load(1), 0.1)
        # What is open is served, and the work on services goes on: its process is killed, and restarted.
        self.machine.exec("systemctl", "kill", "--signal=KILL", "miosa-service-web.service")
        for connection in begun:
            text = b""
            while b'"restarts":1' not in text and b'"restart_count":1' not in text:
                piece = connection.recv(65536)
                self.assertTrue(piece)
                text += piece
        # One that ends makes room for one that waits.
        for connection in begun:
            connection.close()
        self.assertTrue(waiting[0].recv(65536).startswith(b"HTTP/1.1 200 "))
        self.assert_recovered()

    # Memory

    def test_the_worst_that_clients_can_do_stays_within_the_bound(self):
        for number in range(20):
            self.machine.create(f"big{number}", "true " + "x" * 60000)
        self.memory = self.process.memory_kib("VmRSS")
        self.process.forget_peak()
        body = b"x" * 900_000
        for tcp in (False, True):
            # Heads that are all but complete, and full of short parameters and fields.
            target = "/v1/services?" + "&" * 8000
            text = self.head(f"GET {target} HTTP/1.1", tcp, *(f"X-{n}: {'y' * 200}" for n in range(90)))
            self.connect(tcp, CONNECTIONS_LIMIT + 50, text[:-4])
            # Bodies that are all but complete.
            text = self.head("POST /v1/services HTTP/1.1", tcp, "Content-Length: 1000000")
            self.connect(tcp, CONNECTIONS_LIMIT + 50, text + body)
            self.connect(tcp, 200, self.head("POST /v1/services HTTP/1.1", tcp, "Transfer-Encoding: chunked")
                         + b"dbba0\r\n" + body)
            # Answers that nobody takes, of requests after which others follow.
            for connection in self.connect(tcp, 200, self.head("GET /v1/services HTTP/1.1", tcp) * 100, buffer=4096):
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(connection.recv(1), b"H")
        # The most that there is to parse in a body.
        for text in ('{"a":[' + '{"a":0},' * 4900 + '0]}', '{"a":"' + "\\u0001" * 170_000 + '"}', "[" * 1_000_000,
                     json.dumps({"name": "x", "command": "y" * 1_000_000})):
            self.assertIn(self.machine.call("POST", "/v1/services", text).status, (400, 422))
        self.assert_served("the worst")
        self.assert_recovered()


if __name__ == "__main__":
    unittest.main()
