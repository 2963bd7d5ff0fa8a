"""What the parts of the comparison share: the machine in which agent and references run, and the table."""

import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from support import REPOSITORY, VM, Machine, eventually  # noqa: E402

PROGRAMS = REPOSITORY / ".build" / "bench" / "programs"
# Where they are inside the machine.
INSIDE = "/opt/bench"
AGENT = "unix:/run/miosa-agent/api.sock"
SUPERVISORD = "/run/bench-supervisord.sock"
SUPERVISORD_CONFIGURATION = f"""
[unix_http_server]
file={SUPERVISORD}
[supervisord]
logfile=/dev/null
logfile_maxbytes=0
pidfile=/run/bench-supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:web]
command=sleep infinity
startsecs=0
"""
NANOSECONDS = 1_000_000_000


class Bench(Machine):
    """The machine, with the programs in it."""

    # A program measures for as long as that at most, and a package comes over the network.
    patience = 120

    def __init__(self):
        super().__init__()
        self.name = f"bench-{os.getpid()}"

    def up(self):
        # A thousand services and the files that they touch.
        os.environ.setdefault("MIOSA_AGENT_VM_MEMORY", "6G")
        super().up()
        archive = subprocess.run(["tar", "-C", PROGRAMS, "-c", "."], check=True, stdout=subprocess.PIPE).stdout
        self.put(archive, f"mkdir {INSIDE} && tar -C {INSIDE} --no-same-owner -x && chmod -R a+rX {INSIDE}")
        return self

    def put(self, content, script):
        """Runs a script inside with the content as its input."""
        content = content if isinstance(content, bytes) else content.encode()
        subprocess.run([VM, "exec", self.name, "sh", "-c", script], check=True, input=content, timeout=self.patience)

    def write(self, path, content):
        self.put(content, f"cat >{path}")

    def program(self, name, *arguments, before=()):
        """Runs one of the programs and gives back what it tells."""
        return json.loads(self.exec(*before, f"{INSIDE}/{name}", *map(str, arguments)))

    @contextlib.contextmanager
    def running(self, name, *command):
        """Has a command run inside as a unit of its own."""
        unit = f"bench-{name}.service"
        self.exec("systemd-run", "--quiet", "--collect", f"--unit={unit}", *command)
        try:
            yield unit
        finally:
            self.exec("systemctl", "stop", unit)

    @contextlib.contextmanager
    def supervisord(self):
        """S, with a process of `sleep infinity` named web."""
        if "/supervisord" not in self.exec("sh", "-c", "command -v supervisord", check=False):
            # The package's own instance is not wanted.
            self.shell(
                "apt-get update --quiet=2 && ln -sf /dev/null /etc/systemd/system/supervisor.service && "
                "DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends supervisor"
            )
            self.write("/opt/supervisord.conf", SUPERVISORD_CONFIGURATION)
        command = ("supervisord", "--nodaemon", "--configuration", "/opt/supervisord.conf")
        with self.running("supervisord", *command) as unit:
            status = ("supervisorctl", "--serverurl", f"unix://{SUPERVISORD}", "status", "web")
            eventually(lambda: "RUNNING" in self.exec(*status, check=False), "supervisord runs its process")
            yield unit

    def pid(self, unit="miosa-agent.service"):
        return int(self.property(unit, "MainPID"))

    def proportional_kib(self, pid, kind="Pss"):
        """A process's memory, of what it shares with others its share; Pss_Anon is what is in no file."""
        lines = self.exec("cat", f"/proc/{pid}/smaps_rollup").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))

    def counted(self, metric, label=None):
        """The sum of a metric's lines, or its values by a label."""
        values = {}
        for line in self.call("GET", "/metrics").text.splitlines():
            if line.startswith(metric) and line[len(metric)] in "{ ":
                name = line.split(f'{label}="', 1)[1].split('"', 1)[0] if label else ""
                values[name] = values.get(name, 0) + float(line.rsplit(" ", 1)[1])
        return values if label else values.get("", 0)

    def wait_until_ready(self):
        def ready():
            try:
                return self.call("GET", "/readyz").status == 200
            except OSError:
                return False

        eventually(ready, "the agent is ready")

    def raw_answer(self, request):
        """The bytes with which the agent answers a request on the Unix socket."""
        with contextlib.closing(self.raw()) as connection:
            connection.sendall(request)
            answer = b""
            while True:
                answer += connection.recv(1 << 20)
                head, end, body = answer.partition(b"\r\n\r\n")
                if not end:
                    continue
                lines = head.lower().split(b"\r\n")
                length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
                if len(body) >= length:
                    return answer

    def seconds_per_call(self, command, count=20):
        """What a command takes that is run over and over by a shell."""
        begin_end = self.shell(
            f"date +%s%N; i=0; while [ $i -lt {count} ]; do {command} >/dev/null; i=$((i + 1)); done; date +%s%N"
        ).split()
        return (int(begin_end[1]) - int(begin_end[0])) / NANOSECONDS / count


class Report:
    """The rows of the table, and what could not be measured."""

    HEADINGS = ("", "agent", "reference", "ratio (min–max)", "target", "")
    WIDTHS = (46, 14, 19, 18, 9, 6)

    def __init__(self):
        self.rows = []
        self.failures = []
        self.section = None

    def ratio(self, what, unit, agent, name, reference, at_least=None, at_most=None):
        """Adds a comparison: the values of each round, and what their ratio may be."""
        ratios = [mine / theirs for mine, theirs in zip(agent, reference, strict=True)]
        self.add(what, unit, agent, name, reference, ratios, statistics.median(ratios), at_least, at_most)

    def value(self, what, unit, agent, at_most=None, name=None, reference=()):
        """Adds a figure of the agent's, what it may be, and a reference to compare it with by eye."""
        ratios = [mine / theirs for mine, theirs in zip(agent, reference)] if reference else []
        self.add(what, unit, agent, name, reference, ratios, statistics.median(agent), None, at_most, unit)

    def scale(self, what, unit, name, reference):
        """Adds a reference's figure, for scale."""
        self.add(what, unit, (), name, reference, [], None, None, None)

    def add(self, what, unit, agent, name, reference, ratios, decisive, at_least, at_most, target_unit=""):
        is_met = None
        if at_least is not None:
            is_met = decisive >= at_least
        if at_most is not None:
            is_met = decisive <= at_most
        row = {
            "section": self.section,
            "what": what,
            "unit": unit,
            "agent": {"median": statistics.median(agent), "rounds": list(agent)} if agent else None,
            "reference": {"name": name, "median": statistics.median(reference), "rounds": list(reference)}
            if reference
            else None,
            "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)} if ratios else None,
            "at_least": at_least,
            "at_most": at_most,
            "is_met": is_met,
        }
        self.rows.append(row)
        target = ""
        if is_met is not None:
            sign, limit = ("≥", at_least) if at_least is not None else ("≤", at_most)
            target = f"{sign} {limit:g} {target_unit}".rstrip()
        ratio = row["ratio"]
        self.line(
            what,
            f"{number(row['agent']['median'])} {unit}" if agent else "",
            f"{name} {number(row['reference']['median'])} {unit}" if reference else "",
            f"{times(ratio['median'])} ({times(ratio['min'])}–{times(ratio['max'])})" if ratio else "",
            target,
            {True: "met", False: "MISSED", None: ""}[is_met],
        )

    def line(self, *cells):
        print(" ".join(f"{cell:<{width}}" for cell, width in zip(cells, self.WIDTHS)).rstrip(), flush=True)

    def begin(self, section, title):
        self.section = section
        print()
        self.line(title, *self.HEADINGS[1:])

    def fail(self, error):
        self.failures.append(f"{self.section}: {error}")
        print(f"COULD NOT BE MEASURED: {self.section}: {error}", flush=True)

    @property
    def missed(self):
        return [row for row in self.rows if row["is_met"] is False]


def number(value):
    """A figure with four significant digits, counts without a fraction."""
    if value == int(value) or value >= 1000:
        return f"{value:.0f}"
    return f"{value:.{max(0, 4 - len(str(int(value))))}f}"


def times(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def free_ports(count):
    """TCP ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
