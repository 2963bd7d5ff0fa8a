"""Whether the agent's memory stays flat: an hour's worth of requests, under all routes, as fast as they are answered.

An hour's worth are ten requests a second, 36,000. Four clients make them in rounds that are all alike: the life of a
service from its creation to its removal, and reads of everything. What the agent keeps on purpose has its full size
before that: 1,100 services are created and removed, so that there are the newest 4,096 events and the newest 1,000
removed services. A third of the requests brings everything else to its size; from there on nothing may grow.
"""

import concurrent.futures
import http.client
import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from support import Machine, UnixConnection  # noqa: E402

REQUESTS = 36_000
FORMER_SERVICES = 1_100
CLIENTS = 4
CHECKPOINTS = 12
SECONDS_LIMIT = 480
# What resident memory may grow by in the last two thirds: the kernel counts pages in batches, and the answers to the
# idempotency keys of a day are known.
GROWTH_LIMIT_KIB = 512
FIELDS = ("VmRSS", "RssAnon", "VmHWM")


class Client:
    """One client on a connection that it keeps."""

    def __init__(self, machine, number):
        self.machine = machine
        self.number = number
        self.connection = UnixConnection(machine.socket)
        self.count = 0

    def call(self, method, path, body=None, status=(200, 201), **headers):
        text = None if body is None else body if isinstance(body, str) else json.dumps(body)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body=text, headers=headers)
        response = self.connection.getresponse()
        answer = response.read()
        self.count += 1
        if response.status not in status:
            raise AssertionError(f"{method} {path}: {response.status} {answer[:300]}")
        return answer

    def stream(self, path):
        """Opens a stream, reads the first of it, and leaves."""
        connection = UnixConnection(self.machine.socket)
        connection.request("GET", path, headers={"Accept": "text/event-stream"})
        response = connection.getresponse()
        response.readline()
        response.close()
        connection.close()
        self.count += 1

    def refused(self, text):
        """Sends what is no request."""
        connection = UnixConnection(self.machine.socket)
        connection.connect()
        connection.sock.sendall(text)
        response = http.client.HTTPResponse(connection.sock)
        response.begin()
        response.read()
        connection.close()
        self.count += 1

    def round(self, turn):
        """One life of a service, and reads of everything meanwhile."""
        name = f"s{self.number}"
        path = f"/v1/services/{name}"
        spec = {"command": "while :; do echo a line; sleep 1; done", "env": {"A": "x" * 1000, "TURN": str(turn)}}
        created = self.call(
            "POST", "/v1/services", {"name": name, **spec}, Idempotency_Key=f"{self.number}-{turn}"
        )
        reference = json.loads(created)["data"]["id"]
        self.call("POST", "/v1/services", {"name": name, **spec}, status=(409,))
        self.call("POST", "/v1/services", {"name": name, **spec}, Idempotency_Key=f"{self.number}-{turn}")
        self.call("PUT", path, spec)
        self.call("PUT", path, {**spec, "env": {"A": "y" * 2000}})
        self.call("POST", f"{path}/restart")
        for _ in range(2):
            self.reads(path, reference)
        self.call("POST", f"{path}/stop")
        self.call("POST", f"{path}/stop", status=(409,))
        self.call("POST", f"{path}/start?wait=ready&timeout=20")
        self.call("DELETE", path)
        self.call("GET", path, status=(404,))
        self.call("GET", f"/v1/services/{reference}/logs?tail=5")

    def former(self, number):
        """A service that comes and goes."""
        name = f"former-{number}"
        self.call("POST", "/v1/services", {"name": name, "command": "sleep 1000"})
        self.call("DELETE", f"/v1/services/{name}")

    def reads(self, path, reference):
        for target in (
            path, f"/v1/services/{reference}", f"{path}/unit", "/v1/services", "/v1/services?status=running",
            "/v1", "/healthz", "/readyz", "/metrics", f"{path}/logs?tail=20", "/api/v1/computers/self/services",
        ):
            self.call("GET", target)
            self.call("HEAD", target)
        for kind in ("text/plain", "application/json", "application/x-ndjson"):
            self.call("GET", f"{path}/logs?tail=all", Accept=kind)
        self.call("GET", "/openapi.json")
        self.call("GET", "/v1/services?status=removed")
        self.stream("/v1/events")
        self.stream(f"{path}/logs?tail=1&follow=true")
        self.call("GET", "/v1/nothing", status=(404,))
        self.call("PATCH", path, status=(405,))
        self.call("GET", "/v1/services?no=such", status=(400,))
        self.call("POST", "/v1/services", '{"name": "A', status=(400,))
        self.call("POST", "/v1/services", {"name": "A" * 500, "command": ""}, status=(422,))
        self.refused(b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n")


def memory(machine):
    """The agent's memory in KiB."""
    pid = machine.property("miosa-agent.service", "MainPID")
    lines = dict(line.split(":", 1) for line in machine.exec("cat", f"/proc/{pid}/status").splitlines() if ":" in line)
    return {field: int(lines[field].split()[0]) for field in FIELDS}


def main():
    machine = Machine()
    try:
        machine.up()
        clients = [Client(machine, number) for number in range(CLIENTS)]
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda client: [client.former(n) for n in range(client.number, FORMER_SERVICES, CLIENTS)],
                          clients))
        for client in clients:
            client.count = 0
        failures = []
        begin = time.monotonic()

        def total():
            return sum(client.count for client in clients)

        def work(client):
            turn = 0
            try:
                while total() < REQUESTS and time.monotonic() - begin < SECONDS_LIMIT and not failures:
                    turn += 1
                    client.round(turn)
            except Exception as error:  # Whatever it is, the figures mean nothing without this client.
                failures.append(error)

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        rows = [{"requests": 0, "seconds": 0.0, **memory(machine)}]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            threads[0].join(0.2)
            if total() >= len(rows) * REQUESTS / CHECKPOINTS:
                rows.append({"requests": total(), "seconds": time.monotonic() - begin, **memory(machine)})
        for thread in threads:
            thread.join()
        rows.append({"requests": total(), "seconds": time.monotonic() - begin, **memory(machine)})
    finally:
        machine.down()
    if failures:
        raise failures[0]

    print(f"{'requests':>9} {'seconds':>8}" + "".join(f"{field + ' KiB':>14}" for field in FIELDS))
    for row in rows:
        print(f"{row['requests']:>9} {row['seconds']:>8.1f}" + "".join(f"{row[field]:>14}" for field in FIELDS))
    settled = next(row for row in rows if row["requests"] >= REQUESTS / 3)
    growth = {field: rows[-1][field] - settled[field] for field in FIELDS}
    result = {"benchmark": "memory", "rows": rows, "growth_in_last_two_thirds_kib": growth}
    path = pathlib.Path(sys.argv[1])
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"growth in the last two thirds: VmRSS {growth['VmRSS']} KiB, RssAnon {growth['RssAnon']} KiB; {path}")
    return 0 if rows[-1]["requests"] >= REQUESTS and growth["VmRSS"] <= GROWTH_LIMIT_KIB else 1


sys.exit(main())
