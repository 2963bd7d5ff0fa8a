"""What clients see that act on the same services at the same time is what one after another would see: linearizability.

The agent is killed, systemd and the disk hang for a while, and a person acts by hand meanwhile. Every answer, and what the
kernel has in the units' cgroups, has to be explained by the contract: `history.py` has it as a state machine.

HISTORY_SEED repeats the choices of a run, HISTORY_SECONDS sets for how long operations begin, HISTORY_DISK=0
leaves the disk alone, which otherwise hangs for moments.
"""

import collections
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
import time
import unittest

import history
from history import Operation
from proof import AGENT, STATE_DIRECTORY, UNIT_DIRECTORY, WANTS_DIRECTORY
from proof import FreezableDisk, Probe, ProofCase, ProofMachine, seeded
from support import eventually, unit_of

SECONDS = float(os.environ.get("HISTORY_SECONDS") or 45)
WITH_DISK = os.environ.get("HISTORY_DISK", "1") == "1"
CLIENTS = 8
NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")

# Longer than the agent waits for an answer of systemd's, which is 25 s: requests are answered with 504.
LONG_STALL_SECONDS = 27
# How often somebody may start or kill a service by hand: systemd gives up on one with more than 5 starts in 10 s.
START_INTERVAL_SECONDS = 3

VERBS = {
    "get": 24, "list": 4, "look": 10, "put": 14, "start": 12, "stop": 12, "restart": 8, "create": 12, "delete": 6,
}
HAND_VERBS = {"hand-stop": 3, "hand-start": 3, "hand-restart": 2, "hand-kill": 2, "hand-term": 1}
HAND_COMMANDS = {
    "hand-stop": ("stop",), "hand-start": ("start",), "hand-restart": ("restart",),
    "hand-kill": ("kill", "--signal=KILL"), "hand-term": ("kill", "--signal=TERM"),
}
KEYED = ("create", "start", "stop", "restart")
# The number that tells commands apart.
TAG = re.compile(r"\b(1\d{5})\b")


def command_of(tag):
    """A command that runs until it is stopped. Every other one takes a moment to end."""
    if tag % 2 == 0:
        return f"sleep {tag}"
    return f"trap 'sleep 0.2; exit 0' TERM; sleep {tag} & wait; wait # {tag}"


def tag_in(text):
    found = TAG.search(text)
    return found and int(found[1])


class Acts:
    """Runs in the machine: does by hand what `systemctl` can do."""

    def serve(self):
        for line in sys.stdin:
            call = json.loads(line)
            print(json.dumps({"result": getattr(self, call["do"])(**call["with"])}), flush=True)

    def act(self, arguments):
        """systemctl's exit status, and what it printed."""
        done = subprocess.run(
            ["systemctl", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return [done.returncode, done.stdout.decode()]


class Cgroups:
    """The machine's cgroups, and the processes in them, as this side of the machine's wall sees them."""

    def __init__(self, systemd):
        path = pathlib.Path(f"/proc/{systemd}/cgroup").read_text().splitlines()[-1].removeprefix("0::")
        unified = pathlib.Path("/sys/fs/cgroup/unified")
        root = unified if unified.is_dir() else pathlib.Path("/sys/fs/cgroup")
        self.root = (root / path.lstrip("/")).parent
        self.slice = self.root / "miosa.slice" / "miosa-services.slice"
        self.agent = self.root / "system.slice" / AGENT

    def processes(self, group):
        with contextlib.suppress(OSError):
            return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
        return []

    def look(self, name):
        """The tag and the PID of a service's process, {} for none; None while it is in the middle of something."""
        tags, mains = set(), []
        pids = self.processes(self.slice / unit_of(name))
        for pid in pids:
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                # It ended between two of these reads.
                return None
            if stat[0] in "ZX":
                continue
            tag = tag_in(" ".join(words))
            if tag is None and words[:2] != ["sleep", "0.2"]:
                # Not yet what it will be.
                return None
            if int(stat[1]) not in pids:
                mains.append((pid, tag, words))
            if tag is not None:
                tags.add(tag)
        if not mains:
            return {} if not tags else None
        if len(tags) > 1:
            return {"tag": sorted(tags), "pid": sorted(pid for pid, _, _ in mains)}
        pid, tag, words = mains[0]
        if len(mains) > 1 or tag is None or tag % 2 == 1 and words[0] == "sleep":
            # Its shell has ended and the shell's child has not.
            return None
        return {"tag": tag, "pid": pid}


class Recorder:
    """What has been seen, of all services."""

    def __init__(self):
        self.numbers = itertools.count(1)
        self.operations = collections.defaultdict(list)
        self.counts = collections.Counter()
        self.problems = []
        self.lock = threading.Lock()

    def add(self, name, **fields):
        with self.lock:
            operation = Operation(number=next(self.numbers), **fields)
            self.operations[name].append(operation)
            self.counts[operation.verb, operation.status if operation.code is None else operation.code] += 1
            return operation

    def problem(self, text):
        with self.lock:
            self.problems.append(text)


def shown(service):
    """What an answer shows of a service, as far as it matters here."""
    pending = service["pending"]
    return {
        "id": service["id"], "tag": tag_in(service["command"]), "status": service["status"],
        "pending": pending and pending["operation"],
    }


class Client(threading.Thread):
    """Sends one request after another, chosen at random."""

    def __init__(self, case, number, seed):
        super().__init__(name=f"client-{number}")
        self.case, self.machine, self.recorder = case, case.machine, case.recorder
        self.random = random.Random(f"{seed}/{number}")
        self.tags = itertools.count(100_000 + number * 10_000)
        self.requests = itertools.count(1)
        self.number = number
        # Requests with a key and their answers.
        self.kept = []

    def run(self):
        try:
            while time.monotonic() < self.case.deadline:
                time.sleep(self.random.expovariate(1 / 0.06))
                name = self.random.choice(NAMES)
                verb = self.random.choices(list(VERBS), list(VERBS.values()))[0]
                if verb == "look":
                    self.case.look(self.name, name)
                elif verb == "list":
                    self.list()
                elif self.kept and self.random.random() < 0.03:
                    self.repeat()
                else:
                    self.ask(verb, name)
        except BaseException as error:
            self.recorder.problem(f"{self.name}: {error!r}")
            raise

    def send(self, method, path, body=None, key=None):
        """The reply, None when there was none; and what to record of the request."""
        request_id = f"{self.number}-{next(self.requests)}"
        headers = {"X-Request-Id": request_id, **({"Idempotency-Key": key} if key else {})}
        begin = time.monotonic()
        self.case.busy[self.number] = None if method == "GET" else (body or {}).get("name") or path.split("/")[3]
        try:
            reply = self.machine.call(method, path, body, headers=headers)
        except (ConnectionError, http.client.HTTPException) as error:
            reply = None
            if isinstance(error, ConnectionRefusedError):
                # The socket is open while the agent starts again.
                self.recorder.problem(f"{request_id} was refused: {error}")
        self.case.busy[self.number] = None
        facts = {"client": self.name, "begin": begin, "end": time.monotonic(), "request_id": request_id}
        if reply is not None and reply.headers["X-Request-Id"] != request_id:
            self.recorder.problem(f"{request_id} is answered as {reply.headers['X-Request-Id']}")
        return reply, facts

    def ask(self, verb, name):
        tag = next(self.tags) if verb in ("create", "put") else None
        path = "/v1/services" if verb == "create" else f"/v1/services/{name}"
        method = {"get": "GET", "put": "PUT", "delete": "DELETE"}.get(verb, "POST")
        if verb in ("start", "stop", "restart"):
            path += f"/{verb}"
        body = None if tag is None else {"command": command_of(tag)}
        if verb == "create":
            body["name"] = name
        key = f"key-{self.number}-{next(self.requests)}" if verb in KEYED and self.random.random() < 0.3 else None
        is_retry = False
        while True:
            reply, facts = self.send(method, path, body, key)
            self.record(name, verb, tag, reply, facts, is_retry)
            if key is None or reply is not None and reply.status < 500:
                break
            # The same request once more, as a client does that has a key.
            is_retry = True
        if key is not None:
            self.kept.append((method, path, body, key, reply))
        if reply is not None and reply.status < 300 and verb != "get":
            self.case.look(self.name, name)

    def record(self, name, verb, tag, reply, facts, is_retry=False):
        status = reply and reply.status
        code = reply.json["code"] if reply is not None and status >= 400 else None
        shows = shown(reply.data) if reply is not None and status < 300 and verb != "delete" else None
        self.recorder.add(
            name, verb=verb, tag=tag, status=status, code=code if status == 409 else None, shows=shows,
            is_retry=is_retry, has_not_begun=status == 504 and "an earlier operation" in reply.json["error"], **facts,
        )

    def list(self):
        reply, facts = self.send("GET", "/v1/services")
        if reply is None or reply.status != 200:
            return
        services = {service["name"]: service for service in reply.data}
        for name in NAMES:
            service = services.get(name)
            self.recorder.add(
                name, verb="get", status=200 if service else 404, shows=service and shown(service), **facts
            )

    def repeat(self):
        """The same request with its key again has the same answer, and does nothing."""
        method, path, body, key, before = self.random.choice(self.kept)
        reply = None
        while reply is None or reply.status == 503:
            reply, _ = self.send(method, path, body, key)
        self.recorder.counts["repeat", reply.status] += 1
        if (reply.status, reply.text) != (before.status, before.text):
            self.recorder.problem(f"{key}: {method} {path} was answered {before} and then {reply}")


class Hand(threading.Thread):
    """Somebody at the machine's console who stops, starts, restarts and kills services' units."""

    def __init__(self, case, seed):
        super().__init__(name="by hand")
        self.case = case
        self.random = random.Random(f"{seed}/hand")
        self.probe = Probe(case.machine, Acts)
        self.started = collections.defaultdict(float)

    def run(self):
        try:
            while time.monotonic() < self.case.deadline:
                time.sleep(self.random.uniform(0.1, 0.8))
                verb = self.random.choices(list(HAND_VERBS), list(HAND_VERBS.values()))[0]
                # Half of the time it is a service that a request is changing, where there is one.
                busy = list(filter(None, self.case.busy)) if self.random.random() < 0.5 else []
                name = self.random.choice(busy or NAMES)
                if verb in ("hand-start", "hand-restart", "hand-kill"):
                    if time.monotonic() - self.started[name] < START_INTERVAL_SECONDS:
                        continue
                # systemctl waits no longer than the agent does: while systemd is stopped for long nobody uses it.
                with self.case.console:
                    begin = time.monotonic()
                    status, _ = self.probe.act(arguments=[*HAND_COMMANDS[verb], unit_of(name)])
                    end = time.monotonic()
                self.started[name] = end
                self.case.recorder.add(name, client=self.name, verb=verb, begin=begin, end=end, status=status)
        except BaseException as error:
            self.case.recorder.problem(f"{self.name}: {error!r}")
            raise
        finally:
            self.probe.close()


class Disturber(threading.Thread):
    """Kills the agent, and stops systemd for a while."""

    def __init__(self, case, seed):
        super().__init__(name="disturber")
        self.case = case
        self.random = random.Random(f"{seed}/disturber")
        # One that is longer than any call waits, and begins in the first half.
        self.long_stall_at = time.monotonic() + self.random.uniform(0.1, 0.3) * SECONDS
        # What was done, in the form of operations.
        self.done = []

    def run(self):
        try:
            while time.monotonic() < self.case.deadline:
                time.sleep(self.random.uniform(0.3, 2.5))
                kind = self.random.choice(["kill", "stall", "stall and kill"] + ["disk"] * self.case.with_disk)
                if self.long_stall_at and time.monotonic() > self.long_stall_at:
                    self.long_stall_at = None
                    kind = "long stall"
                begin = time.monotonic()
                self.disturb(kind)
                self.done.append(Operation(0, self.name, kind, begin, time.monotonic(), 0))
        except BaseException as error:
            self.case.recorder.problem(f"{self.name}: {error!r}")
            raise

    def disturb(self, kind):
        if kind == "kill":
            self.kill()
        elif kind == "disk":
            self.case.freeze_disk(self.random.uniform(0.1, 4))
        elif kind == "stall":
            self.stall(self.random.choice([0.05, 0.3, 1, 3]) * self.random.random())
        elif kind == "stall and kill":
            self.stall(self.random.uniform(0.05, 1), kill=True)
        else:
            with self.case.console:
                self.stall(LONG_STALL_SECONDS)

    def kill(self):
        for pid in self.case.cgroups.processes(self.case.cgroups.agent):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stall(self, seconds, kill=False):
        os.kill(self.case.systemd, signal.SIGSTOP)
        try:
            time.sleep(seconds)
            if kill:
                self.kill()
        finally:
            os.kill(self.case.systemd, signal.SIGCONT)


class Histories(FreezableDisk, ProofCase):
    """Eight clients and a disturber on one machine."""

    with_disk = WITH_DISK

    def test_what_clients_see_of_services_has_an_explanation(self):
        _, seed = seeded("HISTORY_SEED")
        settings = dict(line.split("=", 1) for line in self.machine.run("env", self.machine.name).splitlines())
        self.systemd = int(settings["SYSTEMD_PID"])
        self.cgroups = Cgroups(self.systemd)
        self.recorder = Recorder()
        # The service that each client's request changes at this moment.
        self.busy = [None] * CLIENTS
        # Who uses systemctl, and what makes that hang for long, in turn.
        self.console = threading.Lock()
        if self.with_disk:
            self.mount_disk(self.systemd)
        self.begin = time.monotonic()
        self.deadline = self.begin + SECONDS
        disturber = Disturber(self, seed)
        threads = [disturber, Hand(self, seed), *(Client(self, number, seed) for number in range(CLIENTS))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.wait_until_quiet()
        self.read_the_end()
        self.assert_explained(seed, disturber)

    def look(self, client, name):
        """Records what the kernel has of a service, once that is something definite."""
        for _ in range(20):
            begin = time.monotonic()
            found = self.cgroups.look(name)
            if found is not None:
                self.recorder.add(
                    name, client=client, verb="look", begin=begin, end=time.monotonic(), status=0, shows=found
                )
                return
            time.sleep(0.001)

    # MARK: The disk

    def freeze_disk(self, seconds):
        with self.frozen_disk():
            time.sleep(seconds)

    # MARK: The end

    def wait_until_quiet(self):
        eventually(lambda: self.machine.ask("/readyz").status == 200, "the agent is ready")
        self.not_quiet = None

        def is_quiet():
            services = self.machine.list()
            busy = [service for service in services if service["pending"] or service["status"] == "starting"]
            jobs = self.machine.exec("systemctl", "list-jobs", "--no-legend", check=False).strip()
            phases = {json.loads(bytes.fromhex(file["bytes"]))["phase"] for file in self.records().values()}
            self.not_quiet = (busy, jobs, phases)
            return not busy and jobs in ("", "No jobs running.") and phases <= {"established"}

        try:
            eventually(is_quiet, "nothing is outstanding")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.not_quiet}") from None

    def records(self):
        files = self.probe.files(directory=f"{STATE_DIRECTORY}/services")
        return {path: file for path, file in files.items() if path.endswith(".json")}

    def read_the_end(self):
        """Records how each service is found in the end; the API, the disk and systemd have to agree."""
        begin = time.monotonic()
        services = {service["name"]: service for service in self.machine.list()}
        inside = self.probe.snapshot()
        records = self.records()
        for name in NAMES:
            unit, service = unit_of(name), services.get(name)
            record = records.pop(f"{STATE_DIRECTORY}/services/{name}.json", None)
            file = inside["units"].pop(f"{UNIT_DIRECTORY}/{unit}", None)
            link = inside["units"].pop(f"{WANTS_DIRECTORY}/{unit}", None)
            facts = inside["loaded"].get(unit, {"ActiveState": "inactive", "MainPID": "0"})
            processes = [process for process in inside["processes"].values() if process["unit"] == unit]
            running = self.cgroups.look(name)
            if service is None:
                self.expect(name, not record and not file and not link and not processes, "it is not gone", inside)
                self.expect(name, facts["ActiveState"] in ("inactive", "failed"), f"systemd has {facts}")
                shows = None
            else:
                self.expect(name, record is not None and file is not None, "a file is missing", inside["units"])
                record = json.loads(bytes.fromhex(record["bytes"]))
                shows = {
                    **shown(service), "enabled": record["enabled"], "runs": (running or {}).get("tag"),
                }
                self.expect(name, record["id"] == service["id"], f"the record has the id {record['id']}")
                self.expect(
                    name, record["spec"]["command"] == service["command"], f"the record has {record['spec']}"
                )
                self.expect(
                    name, tag_in(bytes.fromhex(file["bytes"]).decode()) == shows["tag"], f"the unit file is {file}"
                )
                self.expect(name, (link is not None) == record["enabled"], f"the link is {link}, the record {record}")
                self.expect(
                    name, int(facts["MainPID"]) == (service["pid"] or 0), f"systemd has {facts}, the API {service}"
                )
                self.expect(
                    name, facts["ActiveState"] == service["active_state"], f"systemd has {facts}, the API {service}"
                )
                self.expect(name, bool(processes) == (service["status"] == "running"), f"it has {processes}")
            self.recorder.add(
                name, client="end", verb="final", begin=begin, end=time.monotonic(), status=200, shows=shows
            )
        rest = {**records, **inside["units"]}
        self.expect("nobody", not rest, f"files of no service: {rest}")

    def expect(self, name, condition, text, more=""):
        if not condition:
            self.recorder.problem(f"in the end, {name}: {text} {more}".rstrip())

    def assert_explained(self, seed, disturber):
        begin = time.monotonic()
        operations = self.recorder.operations
        count = sum(map(len, operations.values()))
        failures = list(self.recorder.problems)
        examined = 0
        for name in NAMES:
            try:
                verdict = history.check(operations[name], disturber.done)
            except history.Undecided as error:
                failures.append(f"{name}: {error}")
                continue
            examined += verdict.examined
            if not verdict.is_good:
                place = operations[name].index(verdict.refused) + 1
                failures.append(f"{name}, operation {place} of {len(operations[name])}: {verdict}")
        disturbances = dict(collections.Counter(each.verb for each in disturber.done))
        print(
            f"histories: {count} operations in {begin - self.begin:.0f} s, disturbances {disturbances}; "
            f"checked in {time.monotonic() - begin:.1f} s, {examined} states", flush=True,
        )
        answers = sorted(self.recorder.counts.items(), key=str)
        print("answers: " + ", ".join(f"{verb} {result}: {number}" for (verb, result), number in answers), flush=True)
        if failures:
            self.fail("\n\n".join([f"HISTORY_SEED={seed}", *failures]))
        # What was to be disturbed was.
        self.assertGreater(self.recorder.counts["stop", 200], 0)
        self.assertIn("long stall", disturbances)
        self.assertTrue([kind for kind in disturbances if kind.endswith("kill")], disturbances)


# --- The checker's own tests ------------------------------------------------------------------------------------------


def service(tag, status="starting", id="a", pending=None):
    return {"id": id, "tag": tag, "status": status, "pending": pending}


def seen(begin, status, tag=1, pending=None):
    return ("get", begin, begin + 1, 200, {"shows": service(tag, status, pending=pending)})


def answer(verb, begin, status, tag=1, end=None):
    fields = {"shows": service(tag, status)}
    return (verb, begin, end or begin + 1, 200, {**fields, "tag": tag} if verb == "put" else fields)


def process(tag, pid=7):
    return {"shows": {"tag": tag, "pid": pid}}


def code(text):
    return {"code": text}


def final(shows, enabled, runs):
    return ("final", 90, 91, 200, {"shows": {**shows, "enabled": enabled, "runs": runs}})


NOTHING = {"shows": {}}
CREATED = ("create", 2, 3, 201, {"tag": 1, "shows": service(1)})
RUNNING = (CREATED, ("look", 4, 5, 0, process(1)), seen(6, "running"))
FINAL = final(service(1, "running"), enabled=True, runs=1)


class Checker(unittest.TestCase):
    """Histories that the contract explains, and others that it does not. They need no machine."""

    def history(self, *rows):
        """Each row has the verb, the times of invocation and response, the status, and what else there is."""
        operations = []
        for number, (verb, begin, end, status, *rest) in enumerate(rows, 1):
            fields = dict(rest[0]) if rest else {}
            operations.append(
                Operation(number=number, client=f"c{number}", verb=verb, begin=begin, end=end, status=status, **fields)
            )
        return operations

    def assert_accepted(self, *rows):
        verdict = history.check(self.history(*rows))
        self.assertTrue(verdict.is_good, verdict)

    def assert_refused(self, *rows, at=None):
        """The history is refused, at the last operation unless another is named."""
        operations = self.history(*rows)
        verdict = history.check(operations)
        self.assertFalse(verdict.is_good)
        self.assertEqual(verdict.refused.number, at or len(rows), verdict)
        return verdict

    def test_the_life_of_a_service(self):
        self.assert_accepted(
            ("get", 0, 1, 404), CREATED, ("look", 4, 5, 0, NOTHING), seen(6, "starting"), ("look", 8, 9, 0, process(1)),
            seen(10, "running"), answer("stop", 12, "stopped"), ("look", 14, 15, 0, NOTHING), seen(16, "stopped"),
            ("stop", 18, 19, 409, code("SERVICE_NOT_RUNNING")), answer("start", 20, "running"),
            ("look", 22, 23, 0, process(1, 8)), ("start", 24, 25, 409, code("SERVICE_RUNNING")),
            answer("put", 26, "running", 2), ("look", 28, 29, 0, process(2, 9)), answer("restart", 30, "running", 2),
            ("look", 32, 33, 0, process(2, 10)), ("delete", 34, 35, 200), ("look", 36, 37, 0, NOTHING),
            ("get", 38, 39, 404), ("restart", 40, 41, 404), ("final", 42, 43, 200),
        )

    def test_an_answer_needs_what_it_says(self):
        for row in (
            ("get", 4, 5, 404), ("delete", 4, 5, 404), ("create", 4, 5, 201, {"tag": 2, "shows": service(2)}),
            ("create", 4, 5, 500, {"tag": 2}), ("get", 4, 5, 500), seen(4, "failed"), seen(4, "starting", 2),
            ("get", 4, 5, 200, {"shows": service(1, "starting", id="other")}), seen(4, "starting", pending="delete"),
            seen(4, "starting", pending="stop"), ("start", 4, 5, 200, {"shows": service(1, "running")}),
            ("put", 4, 5, 201, {"tag": 2, "shows": service(2)}), ("stop", 4, 5, 409, code("SERVICE_NOT_RUNNING")),
            ("stop", 4, 5, 409, code("SUPERSEDED")), ("restart", 4, 5, 409, code("SYSTEMD_REFUSED")),
            ("look", 4, 5, 0, process(2)), answer("restart", 4, "stopped"), answer("stop", 4, "running"),
        ):
            with self.subTest(row):
                self.assert_refused(CREATED, row)
        for row in (
            ("get", 0, 1, 200, {"shows": service(1)}), ("create", 0, 1, 409, code("SERVICE_EXISTS")),
            ("put", 0, 1, 200, {"tag": 1, "shows": service(1, "running")}), ("delete", 0, 1, 200),
            ("look", 0, 1, 0, process(1)), ("hand-start", 0, 1, 0), answer("stop", 0, "stopped"),
        ):
            with self.subTest(row):
                self.assert_refused(row)

    def test_of_two_at_the_same_time_either_may_be_first(self):
        self.assert_accepted(
            ("create", 0, 9, 201, {"tag": 1, "shows": service(1)}), ("create", 1, 8, 409, code("SERVICE_EXISTS")),
            ("get", 2, 3, 404), ("get", 4, 5, 200, {"shows": service(1)}),
        )
        self.assert_refused(
            ("create", 0, 9, 201, {"tag": 1, "shows": service(1)}), ("get", 1, 2, 200, {"shows": service(1)}),
            ("get", 3, 4, 404), at=3,
        )
        both = [("create", 0, 9, 201, {"tag": tag, "shows": service(tag, id=str(tag))}) for tag in (1, 2)]
        self.assert_refused(*both)
        self.assert_accepted(*both, ("delete", 3, 4, 200))

    def test_after_a_stop_there_is_no_process(self):
        stop = answer("stop", 10, "stopped", end=20)
        self.assert_accepted(*RUNNING, stop, ("look", 19, 19, 0, process(1)), ("look", 21, 21, 0, NOTHING))
        self.assert_refused(*RUNNING, stop, ("look", 21, 22, 0, process(1)))
        self.assert_refused(*RUNNING, stop, seen(21, "running"))
        # Unless somebody starts it, through the API or by hand.
        start = answer("start", 20.5, "running", end=30)
        self.assert_accepted(*RUNNING, stop, start, ("look", 21, 22, 0, process(1, 8)))
        self.assert_accepted(*RUNNING, stop, ("hand-start", 18, 30, 0), ("look", 21, 22, 0, process(1, 8)))
        self.assert_refused(*RUNNING, stop, ("hand-start", 8, 9, 0), ("look", 21, 22, 0, process(1)), at=6)

    def test_after_a_put_the_new_command_runs(self):
        put = answer("put", 10, "running", 2, end=20)
        for tag, pid in ((1, 7), (2, 8)):
            self.assert_accepted(*RUNNING, put, ("look", 11, 12, 0, process(tag, pid)))
        self.assert_accepted(*RUNNING, put, ("look", 11, 12, 0, NOTHING), ("look", 21, 22, 0, process(2, 8)))
        self.assert_refused(*RUNNING, put, ("look", 21, 22, 0, process(1)))
        self.assert_refused(*RUNNING, put, ("look", 21, 22, 0, NOTHING))
        self.assert_refused(*RUNNING, put, seen(21, "running", 1))
        self.assert_refused(*RUNNING, put, ("look", 11, 12, 0, process(2, 8)), ("look", 13, 14, 0, process(1)), at=6)
        # Right after the service was created, too, and not while it is stopped.
        self.assert_refused(CREATED, put, ("look", 21, 22, 0, process(1)))
        stopped = [*RUNNING, answer("stop", 8, "stopped")]
        self.assert_accepted(*stopped, answer("put", 10, "stopped", 2), ("look", 21, 22, 0, NOTHING))
        self.assert_refused(*stopped, answer("put", 10, "stopped", 2), ("look", 21, 22, 0, process(2)))

    def test_a_restart_makes_another_process(self):
        for verb in (answer("restart", 10, "running"), ("hand-restart", 10, 11, 0)):
            self.assert_accepted(*RUNNING, verb, ("look", 12, 13, 0, process(1, 8)))
            self.assert_refused(*RUNNING, verb, ("look", 12, 13, 0, process(1)))
        # An equal spec makes none.
        self.assert_refused(*RUNNING, answer("put", 10, "running", 1), ("look", 12, 13, 0, process(1, 8)))
        self.assert_refused(*RUNNING, ("look", 12, 13, 0, process(1, 8)))

    def test_a_delete_leaves_nothing(self):
        for end in (("look", 12, 13, 0, process(1)), seen(12, "running"), seen(12, "stopped")):
            self.assert_refused(*RUNNING, ("delete", 10, 11, 200), end)
        self.assert_refused(*RUNNING, ("delete", 10, 15, 200), ("delete", 11, 14, 200), at=4)

    def test_a_lost_answer_is_that_of_all_or_nothing(self):
        put = ("put", 10, 20, None, {"tag": 2})
        self.assert_accepted(*RUNNING, put, seen(21, "running", 1), FINAL)
        self.assert_accepted(
            *RUNNING, put, seen(21, "running", 2), ("look", 22, 23, 0, process(1)), ("look", 24, 25, 0, process(2, 8)),
            final(service(2, "running"), enabled=True, runs=2),
        )
        # What was not recorded when the agent died never comes, and what was does.
        self.assert_refused(*RUNNING, put, seen(21, "running", 1), seen(23, "running", 2))
        self.assert_refused(*RUNNING, put, seen(21, "running", 2), seen(23, "running", 1))
        self.assert_refused(*RUNNING, put, final(service(2, "running"), enabled=True, runs=1))
        stop = ("stop", 10, 20, None)
        self.assert_accepted(*RUNNING, stop, FINAL)
        self.assert_accepted(*RUNNING, stop, final(service(1, "stopped"), enabled=False, runs=None))
        self.assert_refused(*RUNNING, stop, final(service(1, "running"), enabled=False, runs=1))
        self.assert_refused(*RUNNING, stop, seen(21, "running", pending="stop"), FINAL)
        self.assert_accepted(*RUNNING, ("delete", 10, 20, None), seen(21, "running"), ("get", 23, 24, 404))
        self.assert_refused(*RUNNING, ("get", 10, 20, None), ("get", 21, 22, 404))

    def test_a_time_out_leaves_the_wish(self):
        put = ("put", 10, 20, 504, {"tag": 2})
        done = final(service(2, "running"), enabled=True, runs=2)
        self.assert_accepted(*RUNNING, put, ("look", 21, 22, 0, process(1)), done)
        self.assert_refused(*RUNNING, put, FINAL)
        self.assert_accepted(*RUNNING, ("put", 10, 20, 504, {"tag": 2, "has_not_begun": True}), FINAL)
        self.assert_accepted(("create", 0, 1, 504, {"tag": 1}), seen(2, "stopped", pending="start"), FINAL)
        self.assert_refused(("create", 0, 1, 504, {"tag": 1}), ("final", 2, 3, 200))
        # One that waited for a removal has done nothing.
        self.assert_accepted(
            *RUNNING, ("delete", 10, 20, 504), ("create", 11, 20, 504, {"tag": 2}), ("final", 30, 31, 200)
        )

    def test_a_503_has_done_nothing(self):
        self.assert_accepted(*RUNNING, ("put", 10, 11, 503, {"tag": 2}), ("get", 12, 13, 503), FINAL)
        self.assert_refused(*RUNNING, ("put", 10, 11, 503, {"tag": 2}), seen(12, "running", 2))
        self.assert_refused(*RUNNING, ("stop", 10, 11, 503), ("look", 12, 13, 0, NOTHING))

    def test_a_key_carries_on_with_what_it_has_begun(self):
        lost = ("create", 0, 1, None, {"tag": 1})
        again = {"tag": 1, "shows": service(1), "is_retry": True}
        self.assert_accepted(lost, seen(2, "starting"), ("create", 4, 5, 201, again))
        self.assert_refused(lost, seen(2, "starting"), ("create", 4, 5, 201, dict(again, is_retry=False)))
        self.assert_refused(CREATED, ("create", 4, 5, 201, dict(again, tag=2, shows=service(2))))
        retry = {"is_retry": True, "shows": service(1, "stopped")}
        self.assert_accepted(*RUNNING, ("stop", 10, 11, None), seen(12, "stopped"), ("stop", 14, 15, 200, retry))

    def test_by_hand(self):
        # The agent learns of it in a moment; the record stays as it is.
        self.assert_accepted(
            *RUNNING, ("hand-stop", 10, 11, 0), seen(12, "running"), seen(14, "stopped"),
            final(service(1, "stopped"), enabled=True, runs=None),
        )
        self.assert_refused(*RUNNING, ("hand-stop", 10, 11, 0), seen(12, "stopped"), seen(14, "running"))
        self.assert_refused(*RUNNING, ("hand-stop", 10, 11, 0), ("look", 12, 13, 0, process(1)))
        self.assert_refused(*RUNNING, ("hand-stop", 10, 11, 0), final(service(1, "stopped"), enabled=False, runs=None))
        # systemd starts again what was killed, and not what ended by SIGTERM.
        self.assert_accepted(
            *RUNNING, ("hand-kill", 10, 11, 0), ("look", 12, 13, 0, NOTHING), seen(14, "starting"),
            ("look", 16, 17, 0, process(1, 8)), seen(18, "running"),
        )
        self.assert_refused(*RUNNING, ("hand-term", 10, 11, 0), ("look", 12, 13, 0, process(1, 8)))
        self.assert_accepted(*RUNNING, ("hand-start", 10, 11, 1), ("look", 12, 13, 0, process(1)))

    def test_somebody_else_who_acts_by_hand_supersedes(self):
        stop = ("stop", 10, 20, 409, code("SUPERSEDED"))
        self.assert_accepted(*RUNNING, stop, ("hand-start", 11, 12, 0), FINAL)
        self.assert_refused(
            *RUNNING, stop, ("hand-start", 11, 12, 0), final(service(1, "running"), enabled=False, runs=1)
        )
        put = ("put", 10, 20, 409, {"tag": 2, **code("SUPERSEDED")})
        self.assert_accepted(
            *RUNNING, put, ("hand-stop", 11, 12, 0), final(service(1, "stopped"), enabled=True, runs=None)
        )
        self.assert_refused(*RUNNING, put, ("hand-stop", 11, 12, 0), FINAL)
        self.assert_refused(*RUNNING, put, ("hand-stop", 11, 12, 0), seen(30, "stopped", 2))

    def test_the_part_that_is_shown_is_small(self):
        early = [seen(10 + number, "running") for number in range(0, 100, 2)]
        put = answer("put", 200, "running", 2, end=300)
        reads = [("get", 210 + number, 211 + number, 200, {"shows": service(1, "running")}) for number in range(5)]
        verdict = self.assert_refused(*RUNNING, *early, put, *reads, ("look", 301, 302, 0, process(1)))
        self.assertEqual([operation.verb for operation in verdict.window], ["look"])
        verdict = self.assert_refused(*RUNNING, *early, put, *reads, ("look", 299, 302, 0, process(3)))
        self.assertEqual([operation.verb for operation in verdict.window], ["put", "look"])
        text = str(verdict)
        self.assertIn("put 2", text)
        self.assertLess(len(text.splitlines()), 20)

    def test_what_has_too_many_orders_is_undecided(self):
        limit = history.STATES_LIMIT
        self.addCleanup(setattr, history, "STATES_LIMIT", limit)
        rows = [("put", 10, 30, 200, {"tag": tag, "shows": service(tag, "running")}) for tag in range(2, 8)]
        history.STATES_LIMIT = 1000
        with self.assertRaises(history.Undecided):
            history.check(self.history(*RUNNING, *rows))
        history.STATES_LIMIT = limit
        self.assert_accepted(*RUNNING, *rows[:4])


if __name__ == "__main__":
    unittest.main()
