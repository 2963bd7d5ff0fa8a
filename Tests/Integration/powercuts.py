"""Cuts the power of a real machine while services are changed, boots it again, and compares: what was acknowledged is
there, and nothing is half made. `scripts/test power-cuts` runs it."""

import contextlib
import http.client
import json
import random
import sys
import threading
import time

from support import Machine, UnixConnection, eventually, unit_of

WORKERS = 4
NAMES_PER_WORKER = 3
UNITS = "/etc/systemd/system"
STATE = "/var/lib/miosa-agent"


class Worker(threading.Thread):
    """Changes its services one after another until the power is gone; knows what each of them has to be."""

    def __init__(self, machine, seed, names, known):
        super().__init__()
        self.machine = machine
        self.random = random.Random(seed)
        self.names = names
        # What was acknowledged: None for no service, else its spec's number and whether it is to run.
        self.known = known
        # What was asked for and not answered: by name, as it would be.
        self.underway = {}
        self.count = 0
        self.problem = None

    def run(self):
        with contextlib.closing(UnixConnection(self.machine.socket)) as connection:
            try:
                while True:
                    self.step(connection)
            except (OSError, http.client.HTTPException):
                pass
            except AssertionError as error:
                self.problem = error

    def step(self, connection):
        name = self.random.choice(self.names)
        before = self.known[name]
        number = self.random.randrange(1_000_000)
        path = f"/v1/services/{name}"
        spec = {"command": "sleep 100000", "env": {"NUMBER": str(number), "BULK": "x" * self.random.randrange(20_000)}}
        if before is None:
            after, method, path, body = (number, True), "POST", "/v1/services", {"name": name, **spec}
        else:
            what = self.random.choice(("replace", "replace", "delete", "toggle", "toggle"))
            if what == "replace":
                after, method, body = (number, before[1]), "PUT", spec
            elif what == "delete":
                after, method, body = None, "DELETE", None
            else:
                after, method, body = (before[0], not before[1]), "POST", None
                path += "/stop" if before[1] else "/start"
        self.underway = {name: after}
        connection.request(method, path, body=json.dumps(body) if body else None)
        response = connection.getresponse()
        text = response.read()
        assert response.status in (200, 201), f"{method} {path}: {response.status} {text[:300]}"
        self.known[name] = after
        self.underway = {}
        self.count += 1


def found(machine):
    """The services as the agent tells of them, like `Worker.known`."""
    reply = machine.call("GET", "/v1/services")
    assert reply.status == 200, reply
    return {
        service["name"]: (int(service["env"]["NUMBER"]), service["status"] != "stopped") for service in reply.data
    }


def check(machine, expected, underway):
    """Fails unless the machine holds what it has to."""
    eventually(lambda: machine.call("GET", "/readyz").status == 200, "the agent is ready")
    # What was begun is finished in the background.
    eventually(lambda: all(s["status"] in ("running", "stopped") for s in machine.call("GET", "/v1/services").data),
               "all run or are stopped")
    services = found(machine)
    for name, wanted in expected.items():
        possible = [wanted] + ([underway[name]] if name in underway else [])
        got = services.get(name)
        assert got in possible, f"{name} is {got} and should be one of {possible}"
    listing = machine.shell(
        f"cd {UNITS}; ls -A | grep miosa-service || :; echo --; ls -A multi-user.target.wants | grep miosa-service || :;"
        f"echo --; ls -A {STATE}/services; echo --; ls -A {STATE}/environment; echo --;"
        "systemctl list-units --plain --no-legend 'miosa-service-*.service' | cut -d' ' -f1; echo --;"
        "systemctl --failed --plain --no-legend"
    )
    units, links, records, environments, loaded, failed = (part.split() for part in listing.split("--\n"))
    running = sorted(name for name, (_, runs) in services.items() if runs)
    assert sorted(units) == sorted(map(unit_of, services)), units
    assert sorted(links) == sorted(map(unit_of, running)), links
    assert sorted(records) == sorted(f"{name}.json" for name in services), records
    assert sorted(environments) == sorted(f"{name}.env" for name in services), environments
    assert sorted(loaded) == sorted(map(unit_of, running)), loaded
    assert not failed, failed
    for name in running:
        # One whose change was underway may still have to be started anew.
        eventually(lambda: runs_with(machine, name, services[name][0]), f"{name} runs with {services[name]}")
    return services


def runs_with(machine, name, number):
    """Whether a service's process was started with the environment of its spec."""
    pid = machine.get(name)["pid"]
    return f"NUMBER={number}" in machine.exec("cat", f"/proc/{pid}/environ", check=False).split("\0")


def main():
    cuts, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1_000_000)
    print(f"{cuts} power cuts, seed {seed}", flush=True)
    chance = random.Random(seed)
    names = [[f"w{worker}-{number}" for number in range(NAMES_PER_WORKER)] for worker in range(WORKERS)]
    known = {name: None for group in names for name in group}
    machine = Machine(options=("--qemu",))
    acknowledged = after = before = 0
    try:
        machine.up()
        for cut in range(1, cuts + 1):
            workers = [Worker(machine, chance.random(), group, known) for group in names]
            for worker in workers:
                worker.start()
            time.sleep(chance.uniform(1, 8))
            machine.run("kill", machine.name)
            for worker in workers:
                worker.join()
                if worker.problem:
                    raise worker.problem
            underway = {name: state for worker in workers for name, state in worker.underway.items()}
            machine.run("boot", machine.name)
            services = check(machine, known, underway)
            for name, state in underway.items():
                if services.get(name) == state:
                    after += 1
                else:
                    before += 1
            acknowledged += sum(worker.count for worker in workers)
            known = {name: services.get(name) for name in known}
            print(f"cut {cut}: {sum(worker.count for worker in workers)} acknowledged, {len(underway)} underway,"
                  f" {len(services)} services", flush=True)
    finally:
        machine.down()
    print(f"{cuts} cuts: {acknowledged} changes acknowledged, none lost; of those underway {after} were done and"
          f" {before} were not")


main()
