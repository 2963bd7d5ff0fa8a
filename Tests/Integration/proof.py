"""What tests share that prove something about all services at once: a look at everything, and what must agree."""

import contextlib
import http.client
import inspect
import json
import os
import random
import subprocess
import tempfile
import time

from support import PATIENCE_SECONDS, VM, Machine, MachineTestCase

AGENT = "miosa-agent.service"
STATE_DIRECTORY = "/var/lib/miosa-agent"
UNIT_DIRECTORY = "/etc/systemd/system"
WANTS_DIRECTORY = f"{UNIT_DIRECTORY}/multi-user.target.wants"


def seeded(variable):
    """A random generator, and its seed: what the environment says, else another one each time."""
    seed = int(os.environ.get(variable) or random.SystemRandom().randrange(10**9))
    print(f"\n{variable}={seed}", flush=True)
    return random.Random(seed), seed


def unit_of(name):
    return f"miosa-service-{name}.service"


class Inside:
    """Runs in the machine: takes calls as lines of JSON and answers with a line each.

    Its source goes there as it is, so it uses nothing of this module. Bytes travel as hexadecimal digits.
    """

    STATE = "/var/lib/miosa-agent"
    UNITS = "/etc/systemd/system"
    WANTS = "/etc/systemd/system/multi-user.target.wants"
    SHOWN = ["Id", "LoadState", "ActiveState", "SubState", "MainPID", "NeedDaemonReload", "FragmentPath", "DropInPaths"]

    def serve(self):
        for line in sys.stdin:
            call = json.loads(line)
            try:
                answer = {"result": getattr(self, call["do"])(**call["with"])}
            except Exception:
                answer = {"error": traceback.format_exc()}
            print(json.dumps(answer), flush=True)

    def run(self, *command):
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout.decode()

    def show(self, units, properties):
        """Properties of units, none of which may have a value with a line feed in it; none of what cannot be shown."""
        if not units:
            return {}
        try:
            output = self.run("systemctl", "show", "--property=" + ",".join(properties), *units)
        except subprocess.CalledProcessError:
            # One of them spoils it for all.
            return {} if len(units) == 1 else {k: v for unit in units for k, v in self.show([unit], properties).items()}
        blocks = [block.splitlines() for block in output.strip("\n").split("\n\n")]
        # Python of Debian 11 knows no zip(strict=True).
        assert len(blocks) == len(units), blocks
        return dict(zip(units, [[tuple(line.split("=", 1)) for line in block] for block in blocks]))

    def loaded(self):
        """The services' units that systemd holds."""
        listed = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "miosa-service-*")
        units = [line.split()[0] for line in listed.splitlines()]
        return {unit: dict(pairs) for unit, pairs in self.show(units, self.SHOWN).items()}

    def process(self, pid):
        """What the kernel says of a process; None when there is none. In the middle of an exec its command line is empty."""
        directory = f"/proc/{pid}"
        try:
            facts = {}
            for fact in ("cmdline", "environ"):
                with open(f"{directory}/{fact}", "rb") as file:
                    facts[fact] = file.read().hex()
            facts["cwd"] = os.readlink(os.fsencode(directory) + b"/cwd").hex()
            facts["uid"] = os.stat(directory).st_uid
            return facts
        except OSError:
            return None

    def processes(self):
        """All processes of services, by PID, with their units."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cgroup") as file:
                    cgroups = file.read()
            except OSError:
                continue
            match = re.search(r"/(miosa-services\.slice(?:/([^/\n]*))?|(miosa-service-[^/\n]*))", cgroups)
            if match and (facts := self.process(pid)) and facts["cmdline"]:
                found[pid] = dict(facts, unit=match[2] or match[3])
        return found

    def files(self, directory, contains=""):
        """Every entry of a directory, and of those below it: its mode, and its content or where it points."""
        found = {}
        for parent, directories, names in os.walk(directory):
            for name in names + [name for name in directories if os.path.islink(os.path.join(parent, name))]:
                path = os.path.join(parent, name)
                # The audit changes with each request, and is 8 MiB.
                if contains not in name or path == f"{self.STATE}/audit":
                    continue
                with contextlib.suppress(FileNotFoundError):
                    if os.path.islink(path):
                        found[path] = {"target": os.readlink(path)}
                        continue
                    with open(path, "rb") as file:
                        found[path] = {"mode": os.stat(path).st_mode & 0o7777, "bytes": file.read().hex()}
        return found

    def snapshot(self):
        loaded = self.loaded()
        processes = self.processes()
        state = self.files(self.STATE)
        units = self.files(self.UNITS, "miosa-service-")
        return {
            "loaded": loaded, "processes": processes, "units": units,
            "state": {path: file for path, file in state.items() if "/filler" not in path},
        }

    def agent(self):
        """The agent's process and what it costs."""
        pid = self.run("systemctl", "show", "--property=MainPID", "--value", "miosa-agent.service").strip()
        try:
            with open(f"/proc/{pid}/status") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            return {"pid": int(pid), "kib": int(status["VmRSS"].split()[0]), "threads": int(status["Threads"])}
        except (OSError, KeyError):
            return {"pid": 0, "kib": 0, "threads": 0}

    def kill(self, pids):
        """Kills processes of services; those that are gone, and others that have their PIDs, are left out."""
        killed = 0
        for pid in pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup") as file:
                if "miosa-service-" in file.read():
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        return killed

    def shell(self, script):
        return self.run("/bin/sh", "-ec", script)


class Probe:
    """The other end of `Inside`: its methods are called as if they were here."""

    IMPORTS = "import contextlib, grp, json, os, pwd, re, signal, socket, subprocess, sys, time, traceback\n"

    def __init__(self, machine, program=Inside):
        source = self.IMPORTS + "".join(inspect.getsource(part) for part in reversed(program.__mro__[:-1]))
        self.process = subprocess.Popen(
            [VM, "exec", machine.name, "python3", "-X", "utf8", "-c", f"{source}\n{program.__name__}().serve()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def __getattr__(self, name):
        def call(**arguments):
            self.process.stdin.write(json.dumps({"do": name, "with": arguments}) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            if "error" in answer:
                raise AssertionError(answer["error"])
            return answer["result"]

        return call

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(PATIENCE_SECONDS)


class Client:
    """Requests one after another over a connection that stays open. Not for two threads at once."""

    def __init__(self, machine):
        self.connection = machine.connection()

    def call(self, method, path, body=None):
        """The answer's status, and its JSON."""
        body = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        self.connection.request(method, path, body=body)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())

    def close(self):
        self.connection.close()


class ProofMachine(Machine):
    """A machine with a program inside, whose agent may be another than the usual one."""

    program = Inside

    def __init__(self, release="bookworm", binary=None):
        super().__init__(release)
        self.binary = binary or os.environ.get("MIOSA_AGENT_TEST_BINARY")
        self.probe = None

    def run(self, verb, *arguments):
        if verb == "up" and self.binary:
            arguments += ("--binary", self.binary)
        return super().run(verb, *arguments)

    def up(self):
        super().up()
        self.probe = Probe(self, self.program)
        return self

    def down(self):
        self.leave()
        super().down()

    def reboot(self):
        self.leave()
        self.run("reboot", self.name)
        self.probe = Probe(self, self.program)

    def leave(self):
        if self.probe:
            self.probe.close()
            self.probe = None

    def ask(self, path):
        """A GET that is asked again when the agent dies over it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.call("GET", path)
            except (OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def list(self):
        reply = self.ask("/v1/services")
        assert reply.status == 200, reply
        return reply.data

    def restart_agent(self, between=""):
        """Stops the agent, runs a script inside, and starts it again."""
        # The socket stays, which systemd would not start so often, and nobody connects to it meanwhile.
        unit = "miosa-agent.service"
        self.probe.shell(script=f"systemctl stop --quiet {unit} 2>&1\n{between}\nsystemctl start {unit}")

    def remove(self, name):
        """Removes a service by hand in whatever state it is, and makes sure of it."""
        unit = unit_of(name)
        self.restart_agent(
            f"systemctl stop {unit} || :; systemctl reset-failed {unit} || :\n"
            f"rm -f {STATE_DIRECTORY}/services/{name}.json* {STATE_DIRECTORY}/environment/{name}.env"
            f" {UNIT_DIRECTORY}/{unit} {WANTS_DIRECTORY}/{unit}\n"
            f"find {STATE_DIRECTORY} {UNIT_DIRECTORY} -name '.*{name}*' -delete\nsystemctl daemon-reload"
        )


class ProofCase(MachineTestCase):
    """Tests that share one machine with a program inside."""

    program = Inside

    @classmethod
    def make_machine(cls):
        machine = ProofMachine(cls.release)
        machine.program = cls.program
        return machine

    @classmethod
    def setUpClass(cls):
        cls.machine = cls.make_machine()
        cls.addClassCleanup(cls.machine.down)
        cls.machine.up()

    @property
    def probe(self):
        return self.machine.probe

    def assert_agreement(self, blueprints, seconds=PATIENCE_SECONDS, **options):
        """Waits until the API, systemd and the disk agree; fails with all in which they do not."""
        disagreements = settle(self.machine, blueprints, seconds, **options)
        self.assertEqual(disagreements, [], "\n".join(disagreements[:20]))


# --- What must agree --------------------------------------------------------------------------------------------------


class Blueprints:
    """What the files of a service with a given spec look like: those of a control service that nothing happened to.

    The specs are known beforehand; each has a command that `argv` understands and a process that does not end.
    """

    CONTROL = "control-of-proof"
    CONTROL_ID = "id-of-the-control"

    def __init__(self, machine, specs):
        self.unit = {}
        self.environment = {}
        for spec in specs:
            machine.create(self.CONTROL, **spec)
            machine.wait(self.CONTROL, status="running")
            files = machine.probe.snapshot()
            unit = files["units"][f"{UNIT_DIRECTORY}/{unit_of(self.CONTROL)}"]
            environment = files["state"].get(f"{STATE_DIRECTORY}/environment/{self.CONTROL}.env")
            text = bytes.fromhex(unit["bytes"]).decode()
            self.unit[self.key(spec)] = text.replace(machine.get(self.CONTROL)["id"], self.CONTROL_ID)
            self.environment[self.key(spec)] = environment and environment["bytes"]
            machine.delete(self.CONTROL)

    @staticmethod
    def key(spec):
        relevant = {"cwd": "/home/user", "restart": "on-failure", "env": {}, **spec}
        return json.dumps([relevant[field] for field in ("command", "env", "cwd", "restart")], sort_keys=True)

    def unit_file(self, service):
        unit = self.unit[self.key(service)]
        return unit.replace(self.CONTROL_ID, service["id"]).replace(self.CONTROL, service["name"])

    def environment_file(self, service):
        return self.environment[self.key(service)]

    @staticmethod
    def argv(command):
        """What the kernel shows of a service with one of these commands."""
        words = ["/bin/sh", "-c", command] if ";" in command else command.split()
        return b"".join(word.encode() + b"\0" for word in words)


# The size of a record of a run.
RUN_BYTES = 1024
# Where the agent keeps what is not about existing services.
KEPT_DIRECTORIES = (f"{STATE_DIRECTORY}/removed/", f"{STATE_DIRECTORY}/answers/")


def disagreements(services, inside, blueprints, remembered=()):
    """In what the API's list, the disk and systemd do not agree, one sentence each.

    No service may end by itself with success, so that exactly the stopped ones are those that somebody has stopped.
    `remembered` are units of no service that systemd may hold as long as nothing runs in them.
    """
    found = []
    names = {service["name"] for service in services}
    state, units = dict(inside["state"]), dict(inside["units"])
    claimed = set()
    for service in services:
        found += [
            f"{service['name']} ({service['status']}): {problem}"
            for problem in service_disagreements(service, inside, blueprints, state, units, claimed)
        ]
    found += [
        f"{path} belongs to no service"
        for path in [*state, *units]
        if not path.startswith(KEPT_DIRECTORIES) or os.path.basename(path).startswith(".")
    ]
    found += [
        f"systemd holds {unit} ({facts['ActiveState']}) of no service"
        for unit, facts in inside["loaded"].items()
        if unit[len("miosa-service-"):-len(".service")] not in names
        and not (unit in remembered and facts["ActiveState"] == "inactive")
    ]
    found += [
        f"process {pid} of {process['unit']} belongs to no running service"
        for pid, process in inside["processes"].items()
        if process["unit"] not in claimed
    ]
    return found


def runs_problems(file):
    """What is wrong with the records of a service's runs: no end is missing or twice."""
    if file["mode"] != 0o600:
        yield f"the mode of the records of its runs is {file['mode']:o}"
    places = bytes.fromhex(file["bytes"])
    runs = [
        json.loads(places[place:place + RUN_BYTES].split(b"\n")[0])
        for place in range(0, len(places), RUN_BYTES) if places[place] != 0
    ]
    numbers = sorted(run["n"] for run in runs)
    if numbers != list(range(numbers[-1] - len(runs) + 1, numbers[-1] + 1) if numbers else []):
        yield f"its runs have the numbers {numbers}"
    ids = [run["invocation_id"] for run in runs]
    if len(set(ids)) != len(ids):
        yield f"a run has two records: {ids}"


def service_disagreements(service, inside, blueprints, state, units, claimed):
    name, unit = service["name"], service["unit"]

    # The record. What is found is taken out, so that what is left belongs to nobody.
    record = state.pop(f"{STATE_DIRECTORY}/services/{name}.json", None)
    if record is None:
        yield "it has no record"
        return
    if record["mode"] != 0o600:
        yield f"the record's mode is {record['mode']:o}"
    record = json.loads(bytes.fromhex(record["bytes"]))
    if record["id"] != service["id"]:
        yield "the record has another id"
    if record["phase"] != "established":
        yield f"the record's phase is {record['phase']}"
    for field in ("name", "command", "env", "cwd", "restart", "port"):
        if record["spec"][field] != service[field]:
            yield f"the record's {field} is {record['spec'][field]!r}, the API's is {service[field]!r}"

    # The files that systemd reads.
    file = units.pop(f"{UNIT_DIRECTORY}/{unit}", None)
    if file is None:
        yield "it has no unit file"
    elif bytes.fromhex(file["bytes"]).decode() != blueprints.unit_file(service):
        yield "the unit file is not what the spec makes: " + bytes.fromhex(file["bytes"]).decode()
    elif file["mode"] != 0o644:
        yield f"the unit file's mode is {file['mode']:o}"
    environment = state.pop(f"{STATE_DIRECTORY}/environment/{name}.env", None)
    if (environment and environment["bytes"]) != blueprints.environment_file(service):
        yield f"the environment file is {environment}"
    elif environment and environment["mode"] != 0o600:
        yield f"the environment file's mode is {environment['mode']:o}"
    runs = state.pop(f"{STATE_DIRECTORY}/runs/{service['id']}", None)
    if runs is not None:
        yield from runs_problems(runs)
    link = units.pop(f"{WANTS_DIRECTORY}/{unit}", None)
    if (link is not None) != record["enabled"]:
        yield f"the record's enabled is {record['enabled']} and its link is {link}"
    if (link is None) != (service["status"] == "stopped"):
        yield f"its link is {link}"
    if link is not None and link.get("target") != f"{UNIT_DIRECTORY}/{unit}":
        yield f"the link is {link}"

    # systemd, and the processes.
    facts = inside["loaded"].get(
        unit, {"ActiveState": "inactive", "SubState": "dead", "MainPID": "0", "NeedDaemonReload": "no"}
    )
    if (facts["ActiveState"], facts["SubState"]) != (service["active_state"], service["sub_state"]):
        yield f"systemd says {facts}, the API {service['active_state']}/{service['sub_state']}"
    if int(facts["MainPID"]) != (service["pid"] or 0):
        yield f"systemd's MainPID is {facts['MainPID']}, the API's is {service['pid']}"
    if service["status"] != "running":
        return
    claimed.add(unit)
    if facts["NeedDaemonReload"] != "no":
        yield "its unit file is newer than what systemd runs"
    process = inside["processes"].get(str(service["pid"]))
    if process is None:
        yield f"its process {service['pid']} is not there"
        return
    if process["unit"] != unit:
        yield f"its process is in {process['unit']}"
    if bytes.fromhex(process["cmdline"]) != blueprints.argv(service["command"]):
        yield f"it runs {bytes.fromhex(process['cmdline'])} and should run {service['command']!r}"
    if bytes.fromhex(process["cwd"]).decode() != service["cwd"]:
        yield f"it runs in {bytes.fromhex(process['cwd'])}"
    variables = bytes.fromhex(process["environ"]).split(b"\0")
    for key, value in service["env"].items():
        if f"{key}={value}".encode() not in variables:
            yield f"the process has no {key}={value!r}"


def settle(machine, blueprints, seconds, **options):
    """Waits until nothing is under way and everything agrees; gives back in what it does not when that never comes."""
    deadline = time.monotonic() + seconds
    while True:
        before = machine.list()
        inside = machine.probe.snapshot()
        if before != machine.list():
            found = ["the services keep changing"]
        elif any(service["status"] == "starting" for service in before):
            found = [f"{service['name']} is starting" for service in before if service["status"] == "starting"]
        else:
            found = disagreements(before, inside, blueprints, **options)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


class FreezableDisk:
    """For a test case: the state directory on a file system of its own, which can be made to hang."""

    def mount_disk(self, systemd):
        """Puts the state directory there. `systemd` is the machine's process 1 as this side sees it."""
        self.mounts = systemd
        directory = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(directory.cleanup)
        image = f"{directory.name}/image"
        subprocess.run(["truncate", "--size=64M", image], check=True)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", image], check=True)
        device = subprocess.run(
            ["losetup", "--find", "--show", image], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
        # It is let go of when the machine is down.
        self.addCleanup(subprocess.run, ["losetup", "--detach", device], check=True)
        number = os.stat(device).st_rdev
        self.in_mounts("mknod", "/dev/disk-of-agent", "b", str(os.major(number)), str(os.minor(number)))
        self.probe.shell(script=f"systemctl stop --quiet {AGENT} 2>&1; cp -a {STATE_DIRECTORY} /tmp/copy")
        self.in_mounts("mount", "-t", "ext4", "/dev/disk-of-agent", STATE_DIRECTORY)
        self.probe.shell(
            script=f"chmod --reference=/tmp/copy {STATE_DIRECTORY}; cp -a /tmp/copy/. {STATE_DIRECTORY}/\n"
            f"rm -r {STATE_DIRECTORY}/lost+found; systemctl start {AGENT}"
        )

    def in_mounts(self, *command):
        """Runs a command in the machine's mounts, with the rights of this side."""
        subprocess.run(["nsenter", f"--target={self.mounts}", "--mount", *command], check=True)

    @contextlib.contextmanager
    def frozen_disk(self):
        """Whatever writes to the file system waits meanwhile."""
        self.in_mounts("fsfreeze", "--freeze", STATE_DIRECTORY)
        try:
            yield
        finally:
            self.in_mounts("fsfreeze", "--unfreeze", STATE_DIRECTORY)
