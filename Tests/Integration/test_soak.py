"""Many clients and many services for a long time: every answer is one that the contract allows, and all agree at last.

SOAK_SECONDS sets how long, SOAK_SEED repeats what the clients ask for (and not how their calls interleave).
"""

import collections
import os
import random
import threading
import time
import unittest

from proof import Blueprints, Client, Probe, ProofCase, seeded
from support import PATIENCE_SECONDS, eventually

SECONDS = float(os.environ.get("SOAK_SECONDS") or 120)
CLIENTS = 8
# Each client has services that no other touches, so that it knows how they must be; the rest is for all of them.
OWN = 15
SHARED = 80

KILL_EVERY_SECONDS = 0.3
RELOAD_EVERY_SECONDS = 20
MEMORY_LIMIT_KIB = 24 * 1024

SPECS = [
    {"command": "sleep 2001", "env": {"WHICH": "one", "ODD": 'a"b\\c\n$d'}},
    {"command": "sleep 2002; exit", "env": {"WHICH": "two"}, "restart": "always"},
    {"command": "sleep 2003"},
    {"command": "sleep 2004", "restart": "no", "cwd": "/tmp"},
    {"command": "sleep 2005; exit", "env": {f"V{number}": "x" * number for number in range(100)}},
]
CALLS = {"create": 14, "put": 16, "start": 10, "stop": 12, "restart": 8, "delete": 9, "get": 28, "list": 3}
REQUESTS = {
    "create": ("POST", "/v1/services"), "put": ("PUT", "/v1/services/{}"), "start": ("POST", "/v1/services/{}/start"),
    "stop": ("POST", "/v1/services/{}/stop"), "restart": ("POST", "/v1/services/{}/restart"),
    "delete": ("DELETE", "/v1/services/{}"), "get": ("GET", "/v1/services/{}"), "list": ("GET", "/v1/services"),
}
# What the contract allows when anything may have happened to the service meanwhile.
NOT_FOUND = (404, "SERVICE_NOT_FOUND")
ALLOWED = {
    "create": {(201, None), (409, "SERVICE_EXISTS")},
    "put": {(201, None), (200, None)},
    "start": {(200, None), NOT_FOUND, (409, "SERVICE_RUNNING")},
    "stop": {(200, None), NOT_FOUND, (409, "SERVICE_NOT_RUNNING")},
    "restart": {(200, None), NOT_FOUND},
    "delete": {(200, None), NOT_FOUND},
    "get": {(200, None), NOT_FOUND},
    "list": {(200, None)},
}


class Known:
    """What its only client knows of a service. It may be killed at any time, and be started again or not."""

    def __init__(self):
        self.spec = None
        self.id = None
        self.is_stopped = False

    def allowed(self, call):
        if self.spec is None:
            return {"create": {(201, None)}, "put": {(201, None)}}.get(call, {NOT_FOUND})
        if call == "start" and self.is_stopped:
            return {(200, None)}
        if call == "stop" and self.is_stopped:
            return {(409, "SERVICE_NOT_RUNNING")}
        if call == "put":
            return {(200, None)}
        if call == "create":
            return {(409, "SERVICE_EXISTS")}
        return ALLOWED[call] - {NOT_FOUND}

    def learn(self, call, status, data, spec):
        """Takes over what a call has done; says what its answer should not have said."""
        if status == 404:
            return None
        if call == "delete":
            self.__init__()
            return None
        if call in ("create", "put") and status in (200, 201):
            if status == 201:
                self.__init__()
                self.id = data["id"]
            self.spec = spec
        if call == "stop" and status == 200:
            self.is_stopped = True
        if call in ("start", "restart") and status == 200:
            self.is_stopped = False
        return self.difference(data) if status in (200, 201) else None

    def difference(self, service):
        if service["id"] != self.id:
            return f"its id was {self.id}"
        if Blueprints.key(service) != Blueprints.key(self.spec):
            return f"its spec is {self.spec}"
        if (service["status"] == "stopped") != self.is_stopped:
            return f"it is {'' if self.is_stopped else 'not '}stopped"
        return None


class Worker(threading.Thread):
    """A client that asks for one thing after another until it is told to end."""

    def __init__(self, machine, number, seed, until):
        super().__init__(name=f"client {number}")
        self.client = Client(machine)
        self.random = random.Random(f"{seed}/{number}")
        self.until = until
        self.known = {f"own{number}-{count}": Known() for count in range(OWN)}
        self.names = [*self.known, *(f"shared-{count}" for count in range(SHARED))]
        # A client's own services and the shared ones get the same share of its calls.
        self.weights = [SHARED if name in self.known else OWN for name in self.names]
        self.counts = collections.Counter()
        self.slowest = collections.Counter()
        self.problems = []

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.step()
        except Exception as error:
            self.problems.append(f"{self.name}: {error!r}")
        finally:
            self.client.close()

    def step(self):
        call = self.random.choices(list(CALLS), CALLS.values())[0]
        name = self.random.choices(self.names, self.weights)[0]
        spec = self.random.choice(SPECS)
        known = self.known.get(name)
        if call == "put" and known and known.spec and self.random.random() < 0.3:
            spec = known.spec
        body = {"create": {"name": name, **spec}, "put": spec}.get(call)
        method, path = REQUESTS[call]

        began = time.monotonic()
        status, answer = self.client.call(method, path.format(name), body)
        self.slowest[call] = max(self.slowest[call], time.monotonic() - began)
        outcome = (status, answer.get("code"))
        self.counts[call, outcome] += 1
        allowed = ALLOWED[call] if known is None or call == "list" else known.allowed(call)
        problem = None
        if outcome not in allowed:
            problem = f"allowed is {allowed}"
        elif call == "list":
            problem = self.list_problem(answer["data"])
        elif known:
            problem = known.learn(call, status, answer.get("data"), spec)
        if problem:
            shown = "" if call == "list" else f" {name}: {status} {answer}"
            self.problems.append(f"{self.name}: {call}{shown}: {problem}")

    def list_problem(self, services):
        """In what the list is not what this client knows of its own services."""
        found = {service["name"]: service for service in services}
        for name, known in self.known.items():
            if (name in found) != (known.spec is not None):
                return f"{name} is {'' if known.spec is None else 'not '}in the list"
            if known.spec and (difference := known.difference(found[name])):
                return f"{name}: {difference}"
        return None


class Trouble(threading.Thread):
    """Kills processes of services, and reloads systemd as anybody may."""

    def __init__(self, machine, seed, until):
        super().__init__(name="trouble")
        self.machine, self.until = machine, until
        self.probe = Probe(machine)
        self.random = random.Random(f"{seed}/trouble")
        self.kills = self.reloads = 0
        self.problems = []

    def run(self):
        try:
            reload_at = time.monotonic() + RELOAD_EVERY_SECONDS
            while time.monotonic() < self.until:
                pids = [service["pid"] for service in self.machine.list() if service["pid"]]
                self.kills += self.probe.kill(pids=self.random.sample(pids, min(len(pids), self.random.randint(1, 4))))
                if time.monotonic() > reload_at:
                    self.probe.shell(script="systemctl daemon-reload")
                    self.reloads += 1
                    reload_at += RELOAD_EVERY_SECONDS
                time.sleep(KILL_EVERY_SECONDS)
        except Exception as error:
            self.problems.append(f"{self.name}: {error!r}")
        finally:
            self.probe.close()


class Soak(ProofCase):
    def test_a_reload_of_systemd_by_somebody_changes_nothing(self):
        self.machine.create("up", **SPECS[0])
        self.machine.create("down", **SPECS[0])
        self.machine.create("broken", **SPECS[3])
        self.machine.wait("up", status="running")
        self.machine.wait("down", status="running")
        self.machine.call("POST", "/v1/services/down/stop")
        self.probe.kill(pids=[self.machine.wait("broken", status="running")["pid"]])
        self.machine.wait("broken", status="failed")
        before = self.machine.list()
        for _ in range(3):
            self.probe.shell(script="systemctl daemon-reload")
            self.assertEqual(self.machine.list(), before)

    def test_many_clients_and_many_services_for_a_long_time(self):
        _, seed = seeded("SOAK_SEED")
        blueprints = Blueprints(self.machine, SPECS)
        agent = self.probe.agent()
        until = time.monotonic() + SECONDS
        workers = [Worker(self.machine, number, seed, until) for number in range(CLIENTS)]
        trouble = Trouble(self.machine, seed, until)
        for thread in [*workers, trouble]:
            thread.start()
        for thread in [*workers, trouble]:
            thread.join(max(0, until - time.monotonic()) + 2 * PATIENCE_SECONDS)
            self.assertFalse(thread.is_alive(), f"{thread.name} hangs")

        counts = sum((worker.counts for worker in workers), collections.Counter())
        for call in CALLS:
            outcomes = ", ".join(
                f"{count} {status} {code or ''}".rstrip()
                for (of, (status, code)), count in sorted(counts.items(), key=str)
                if of == call
            )
            print(f"{call}: {outcomes}; slowest {max(worker.slowest[call] for worker in workers):.2f} s")
        print(f"{counts.total()} calls, {trouble.kills} kills, {trouble.reloads} reloads of systemd", flush=True)

        problems = [problem for thread in [*workers, trouble] for problem in thread.problems]
        self.assertFalse(problems, f"{len(problems)} problems, the first:\n" + "\n".join(problems[:5]))
        eventually(lambda: not any(s["status"] == "starting" for s in self.machine.list()), "nothing is under way")
        self.assert_agreement(blueprints)
        services = {service["name"]: service for service in self.machine.list()}
        for worker in workers:
            self.assertIsNone(worker.list_problem(services.values()))

        after = self.probe.agent()
        print(f"{len(services)} services in the end; the agent has {after['kib']} KiB, {after['threads']} thread")
        self.assertEqual(after["pid"], agent["pid"], "the agent is still the same")
        self.assertEqual(after["threads"], 1)
        self.assertLess(after["kib"], MEMORY_LIMIT_KIB)


if __name__ == "__main__":
    unittest.main()
