"""The metrics of a booted machine, and what Prometheus' own tool says of them."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest
from unittest import mock

from proof import unit_of
from support import PATIENCE_SECONDS, REPOSITORY, MachineTestCase, eventually

PROMTOOL = shutil.which("promtool") or str(REPOSITORY / ".build" / "promtool")
PACKAGING = REPOSITORY / "packaging" / "prometheus"
SAMPLE = re.compile(r'([a-z_]+)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def promtool(*arguments, **options):
    """Runs promtool; gives back its exit status and all that it said."""
    done = subprocess.run(
        [PROMTOOL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_SECONDS, **options
    )
    return done.returncode, done.stdout


class Scrape:
    """The samples of one scrape."""

    def __init__(self, reply):
        assert reply.status == 200, reply
        self.text = reply.text
        self.samples = {}
        for line in self.text.splitlines():
            if line.startswith("#"):
                continue
            name, labels, value = SAMPLE.fullmatch(line).groups()
            key = (name, frozenset(LABEL.findall(labels or "")))
            assert key not in self.samples, line
            self.samples[key] = float(value)

    def value(self, name, **labels):
        """A sample's value; None when there is no such sample."""
        return self.samples.get((name, frozenset(labels.items())))

    def labels(self, name):
        """The values that each of a family's labels has."""
        found = {}
        for (family, labels) in self.samples:
            if family == name:
                for label, value in labels:
                    found.setdefault(label, set()).add(value)
        return found

    def about(self, service):
        """The names of the families that have a line about a service."""
        return {name for (name, labels) in self.samples if ("service", service) in labels}


class MetricsTestCase(MachineTestCase):
    def scrape(self):
        return Scrape(self.machine.call("GET", "/metrics"))

    def eventually(self, name, condition, **labels):
        """The first value of a sample for which a condition holds."""
        def value():
            value = self.scrape().value(name, **labels)
            return None if value is None or not condition(value) else (value,)

        return eventually(value, f"{name} {labels} as wanted")[0]


class Exposition(MetricsTestCase):
    def test_promtool_finds_nothing_to_say_about_the_metrics(self):
        self.machine.create("up", "sleep 1000")
        self.machine.create("three", "exit 3", restart="no")
        self.machine.create("zero", "exit 0", restart="no")
        self.machine.create("looping", "exit 7", restart="always")
        self.machine.wait("up", status="running")
        self.machine.wait("three", status="failed")
        self.machine.call("GET", "/nowhere")
        text = self.scrape().text
        self.assertEqual(promtool("check", "metrics", input=text), (0, ""))
        # The tool does look at what it is given.
        self.assertNotEqual(promtool("check", "metrics", input=text + "broken{\n")[0], 0)

    def test_a_family_is_described_once_and_its_samples_follow(self):
        families = []
        for line in self.scrape().text.splitlines():
            if line.startswith("# HELP "):
                families.append(line.split(" ")[2])
            elif line.startswith("# TYPE "):
                self.assertEqual(line.split(" ")[2], families[-1])
            else:
                name = SAMPLE.fullmatch(line)[1]
                self.assertEqual(re.sub("_(bucket|sum|count)$", "", name), families[-1])
        self.assertEqual(len(families), len(set(families)))

    def test_over_tcp_the_token_is_needed(self):
        reply = self.machine.call("GET", "/metrics", tcp=True)
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        for authorization in ("", "Bearer " + "0" * 64):
            reply = self.machine.call("GET", "/metrics", tcp=True, headers={"Authorization": authorization})
            self.assertEqual(reply.status, 401, reply)
        self.assertEqual(self.machine.call("GET", "/healthz", tcp=True, headers={"Authorization": ""}).status, 200)


class Services(MetricsTestCase):
    def test_services_are_counted_by_status(self):
        self.machine.create("up", "sleep 1000")
        self.machine.create("three", "exit 3", restart="no")
        self.machine.create("zero", "exit 0", restart="no")
        for name, status in (("up", "running"), ("three", "failed"), ("zero", "stopped")):
            self.machine.wait(name, status=status)
        scrape = self.scrape()
        for status in ("running", "failed", "stopped"):
            self.assertEqual(scrape.value("miosa_services", status=status), 1)
        self.assertEqual(scrape.value("miosa_services", status="starting"), 0)
        self.assertEqual(scrape.value("miosa_service_status", service="three", status="failed"), 1)
        self.assertEqual(scrape.value("miosa_service_status", service="three", status="running"), 0)
        self.assertEqual(scrape.value("miosa_agent_ready"), 1)

    def test_each_crash_is_counted(self):
        self.machine.create("three", "exit 3", restart="on-failure")
        service = self.machine.wait("three", status="failed")
        scrape = self.scrape()
        # systemd gives up after five starts, and counts the one that it refused.
        self.assertEqual(scrape.value("miosa_service_exits_total", service="three", code="3"), 5)
        self.assertEqual(scrape.value("miosa_service_restarts_total", service="three"), service["restarts"])
        self.assertGreaterEqual(service["restarts"], 4)

    def test_a_kill_is_counted_by_its_signal(self):
        self.machine.create("web", "sleep 1000")
        for kills in (1, 2):
            pid = self.machine.wait("web", status="running")["pid"]
            self.machine.exec("kill", "-KILL", str(pid))
            self.eventually(
                "miosa_service_exits_total", lambda value: value == kills, service="web", signal="SIGKILL"
            )
        self.eventually("miosa_service_restarts_total", lambda value: value == 2, service="web")

    def test_a_service_that_is_deleted_leaves_no_line(self):
        self.machine.create("gone", "exit 3", restart="no")
        self.machine.wait("gone", status="failed")
        self.assertIn("miosa_service_exits_total", self.scrape().about("gone"))
        self.machine.delete("gone")
        self.assertEqual(self.scrape().about("gone"), set())
        # Another one of the name begins at nothing.
        self.machine.create("gone", "sleep 1000")
        self.assertNotIn("miosa_service_exits_total", self.scrape().about("gone"))

    def test_the_processor_time_of_a_busy_service_grows(self):
        self.machine.create("busy", "while :; do :; done")
        self.machine.create("idle", "sleep 1000")
        first = self.eventually("miosa_service_cpu_seconds_total", lambda value: value > 0, service="busy")
        self.eventually("miosa_service_cpu_seconds_total", lambda value: value > first + 0.5, service="busy")
        self.assertLess(self.scrape().value("miosa_service_cpu_seconds_total", service="idle"), 0.5)

    def test_a_service_without_a_process_uses_nothing_and_not_zero(self):
        self.machine.create("web", "sleep 1000")
        self.machine.wait("web", status="running")
        self.assertIn("miosa_service_cpu_seconds_total", self.scrape().about("web"))
        self.machine.call("POST", "/v1/services/web/stop")
        self.assertEqual(
            self.scrape().about("web"),
            {"miosa_service_status", "miosa_service_restarts_total", "miosa_service_exits_total"},
        )

    def test_an_exit_that_no_agent_saw_is_counted_by_the_next(self):
        self.machine.create("web", "sleep 1000", restart="no")
        pid = self.machine.wait("web", status="running")["pid"]
        self.machine.exec("systemctl", "stop", "miosa-agent.socket", "miosa-agent.service")
        self.machine.exec("kill", "-SEGV", str(pid))
        self.machine.exec("systemctl", "start", "miosa-agent.socket", "miosa-agent.service")
        self.machine.wait("web", status="failed")
        self.assertEqual(self.scrape().value("miosa_service_exits_total", service="web", signal="SIGSEGV"), 1)
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.assertIsNone(self.scrape().value("miosa_service_exits_total", service="web", signal="SIGSEGV"))


class Usage(MetricsTestCase):
    """What the kernel counts, on whatever hierarchies of cgroups have controllers here.

    Where those are v1's, systemd in a container may not use them: the service's cgroups in them are made from outside.
    """

    HIERARCHIES = pathlib.Path("/sys/fs/cgroup")
    V1_CONTROLLERS = ("cpuacct", "memory", "pids", "blkio")

    @classmethod
    def setUpClass(cls):
        cls.is_v1 = (cls.HIERARCHIES / "memory").is_dir()
        with mock.patch.dict(os.environ, MIOSA_AGENT_VM_CGROUP_V2="0" if cls.is_v1 else "1"):
            super().setUpClass()

    # One process with three more threads, 64 MiB, and a file of 1 MiB that it writes to the disk itself: what it left to
    # the kernel v1 would not count for it.
    PROGRAM = """
import mmap, os, threading
memory = bytearray(64 << 20)
os.write(os.open("/home/user/data", os.O_WRONLY | os.O_CREAT | os.O_DIRECT), mmap.mmap(-1, 1 << 20))
for _ in range(3):
    threading.Thread(target=threading.Event().wait).start()
open("/home/user/done", "w").close()
"""

    def place(self, pid_inside):
        """Puts a process of the machine into cgroups of the unit in the hierarchies of v1."""
        group = f"miosa-agent-vm/{self.machine.name}/machine/miosa.slice/miosa-services.slice/{unit_of('web')}"
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                groups = pathlib.Path(f"/proc/{pid}/cgroup").read_text()
            except OSError:
                continue
            if f"/{self.machine.name}/" in groups and re.search(rf"^NSpid:.*\t{pid_inside}$", status, re.MULTILINE):
                break
        else:
            raise AssertionError(f"no process {pid_inside}")
        for controller in self.V1_CONTROLLERS:
            directory = self.HIERARCHIES / controller / group
            directory.mkdir(parents=True)
            (directory / "cgroup.procs").write_text(pid)
            if controller == "blkio":
                # Newer kernels count only where there is a limit; this one nobody reaches.
                (directory / "blkio.throttle.write_bps_device").write_text(f"{self.disk()} {10**12}")

    def disk(self):
        """The number of the disk that the machine's files are on."""
        number = os.stat(self.machine.socket).st_dev
        device = pathlib.Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
        return (device.parent if (device / "partition").exists() else device).joinpath("dev").read_text().strip()

    def kernel(self, v1, v2):
        """A file of the unit's cgroup; None when there is none."""
        group = f"miosa.slice/miosa-services.slice/{unit_of('web')}"
        path = (v1 if self.is_v1 else v2).format(group)
        text = self.machine.shell(f"cat /sys/fs/cgroup/{path} || :")
        return None if "No such file" in text else text

    def test_usage_is_what_the_kernel_counts(self):
        self.machine.shell("mkfifo -m 0666 /home/user/go; chown user /home/user")
        self.machine.create("web", "read go </home/user/go; exec python3 -c \"$PROGRAM\"", env={"PROGRAM": self.PROGRAM})
        pid = self.machine.wait("web", status="running")["pid"]
        if self.is_v1:
            self.assertEqual(self.scrape().about("web"), {"miosa_service_status", "miosa_service_restarts_total"})
            self.place(pid)
        self.machine.shell("echo >/home/user/go")
        eventually(lambda: "done" in self.machine.shell("ls /home/user"), "the program has done all")
        scrape = self.scrape()

        # A host may have a v2 without controllers, and nothing then counts memory and tasks.
        memory = scrape.value("miosa_service_memory_bytes", service="web")
        counted = self.kernel("memory/{}/memory.usage_in_bytes", "{}/memory.current")
        self.assertEqual(memory is None, counted is None)
        if counted is not None:
            self.assertGreater(memory, 64 << 20)
            self.assertLess(abs(memory - int(counted)), 8 << 20)

        counted = self.kernel("pids/{}/pids.current", "{}/pids.current")
        self.assertEqual(scrape.value("miosa_service_tasks", service="web"), None if counted is None else 4)

        cpu = scrape.value("miosa_service_cpu_seconds_total", service="web")
        if self.is_v1:
            counted = int(self.kernel("cpuacct/{}/cpuacct.usage", "")) / 1e9
        else:
            counted = int(re.search(r"^usage_usec (\d+)$", self.kernel("", "{}/cpu.stat"), re.MULTILINE)[1]) / 1e6
        self.assertGreater(cpu, 0)
        self.assertLessEqual(cpu, counted)
        self.assertLess(counted - cpu, 1)

        written = scrape.value("miosa_service_io_written_bytes_total", service="web")
        counted = self.kernel("blkio/{}/blkio.throttle.io_service_bytes_recursive", "{}/io.stat")
        if counted is None:
            # systemd does not have the kernel count I/O unless it is told to.
            self.assertIsNone(written)
        else:
            pattern = r" Write (\d+)$" if self.is_v1 else r" wbytes=(\d+)"
            self.assertEqual(written, sum(int(count) for count in re.findall(pattern, counted, re.MULTILINE)))
            self.assertGreaterEqual(written, 1 << 20)
            self.assertGreater(scrape.value("miosa_service_io_writes_total", service="web"), 0)


class Requests(MetricsTestCase):
    def test_requests_are_counted_with_how_long_they_took(self):
        labels = {"route": "/v1/services", "method": "GET"}
        before = self.scrape()
        for path in ("/v1/services", "/api/v1/computers/self/services", "/v1/services?status=failed"):
            self.assertEqual(self.machine.call("GET", path).status, 200)
        self.assertEqual(self.machine.call("GET", "/v1/services?status=odd").status, 400)
        after = self.scrape()

        def grown(name, **more):
            return after.value(name, **labels, **more) - (before.value(name, **labels, **more) or 0)

        self.assertEqual(grown("miosa_http_requests_total", status="200"), 3)
        self.assertEqual(grown("miosa_http_requests_total", status="400"), 1)
        self.assertEqual(grown("miosa_http_request_duration_seconds_count"), 4)
        self.assertEqual(grown("miosa_http_request_duration_seconds_bucket", le="+Inf"), 4)
        self.assertEqual(grown("miosa_http_request_duration_seconds_bucket", le="10"), 4)
        self.assertGreater(grown("miosa_http_request_duration_seconds_sum"), 0)

    def test_a_wait_for_readiness_is_a_long_request(self):
        body = {"name": "web", "command": "sleep 1000"}
        self.machine.call("POST", "/v1/services?wait=ready&timeout=120", body)
        labels = {"route": "/v1/services", "method": "POST"}
        self.assertGreater(self.scrape().value("miosa_http_request_duration_seconds_sum", **labels), 1)

    def test_what_a_client_makes_up_adds_no_labels(self):
        def invent(number):
            self.machine.call("GET", f"/nowhere/{number}")
            self.machine.call("GET", f"/v1/services/no-{number}")
            self.machine.call("GET", f"/v1/services?x{number}=1")
            self.machine.call("GET", f"/api/v1/computers/other-{number}/services")
            self.machine.call("GET", "/v1", tcp=True, headers={"Authorization": f"Bearer {number}"})
            self.machine.call(f"BREW{number}", "/v1/services")
            self.machine.call(f"BREW{number}", f"/pot/{number}")
            with self.machine.raw() as connection:
                connection.sendall(f"nonsense {number}\r\n\r\n".encode())
                connection.recv(4096)

        invent(0)
        self.scrape()
        before = self.scrape()
        for number in range(1, 30):
            invent(number)
        after = self.scrape()
        self.assertEqual(set(before.samples), set(after.samples))
        self.assertNotEqual(before.samples, after.samples)
        labels = after.labels("miosa_http_requests_total")
        self.assertIn("none", labels["route"])
        self.assertIn("other", labels["method"])
        self.assertNotIn("BREW", after.text)
        self.assertNotIn("/nowhere", after.text)


class Systemd(MetricsTestCase):
    def test_calls_are_counted_with_how_long_they_took(self):
        before = self.scrape()
        self.machine.create("web", "sleep 1000")
        self.machine.wait("web", status="running")
        self.machine.call("POST", "/v1/services/web/stop")
        after = self.scrape()
        for method in ("StartUnit", "StopUnit"):
            name = "miosa_systemd_call_duration_seconds_count"
            self.assertEqual(after.value(name, method=method), (before.value(name, method=method) or 0) + 1)
            self.assertGreater(after.value("miosa_systemd_call_duration_seconds_sum", method=method), 0)

    def test_reloads_are_counted(self):
        before = self.scrape().value("miosa_systemd_reloads_total")
        self.machine.create("web", "sleep 1000")
        self.machine.wait("web", status="running")
        self.assertEqual(self.scrape().value("miosa_systemd_reloads_total"), before)
        # From then on the boot target holds the unit in memory, and only a reload makes systemd forget it.
        self.machine.exec("systemctl", "daemon-reload")
        by_others = self.machine.reloads()
        self.machine.delete("web")
        self.assertEqual(self.scrape().value("miosa_systemd_reloads_total") - before, self.machine.reloads() - by_others)
        self.assertEqual(self.scrape().value("miosa_systemd_reloads_total") - before, 1)


class Agent(MetricsTestCase):
    def test_the_agent_tells_of_its_own_process(self):
        scrape = self.scrape()
        pid = self.machine.property("miosa-agent.service", "MainPID")
        status = self.machine.exec("cat", f"/proc/{pid}/status")
        resident = int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024
        self.assertLess(abs(scrape.value("process_resident_memory_bytes") - resident), 2 << 20)
        started = self.machine.exec(
            "date", "+%s", "--date", self.machine.property("miosa-agent.service", "ExecMainStartTimestamp")
        )
        self.assertLess(abs(scrape.value("process_start_time_seconds") - int(started)), 2)
        self.assertEqual(
            scrape.value("process_start_time_seconds"), self.scrape().value("process_start_time_seconds")
        )
        limits = self.machine.exec("cat", f"/proc/{pid}/limits")
        self.assertEqual(
            scrape.value("process_max_fds"), int(re.search(r"^Max open files +(\d+) ", limits, re.MULTILINE)[1])
        )

        def are_told():
            files = len(self.machine.shell(f"ls /proc/{pid}/fd").split())
            # The scrape's own connection is one that the shell does not see.
            return self.scrape().value("process_open_fds") == files + 1

        # An earlier connection may not have been closed yet.
        eventually(are_told, "as many open files as there are")
        self.assertGreater(scrape.value("process_cpu_seconds_total"), 0)
        version = self.machine.exec("miosa-agent", "--version").split()[1]
        self.assertEqual(scrape.value("miosa_agent_build_info", version=version), 1)
        for kind in ("logs", "events"):
            self.assertEqual(scrape.value("miosa_agent_streams", kind=kind), 0)

    def test_a_restart_shows_in_the_start_time(self):
        before = self.scrape().value("process_start_time_seconds")
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.assertGreater(self.scrape().value("process_start_time_seconds"), before)


class Packaging(unittest.TestCase):
    """The configuration and the rules that are shipped."""

    def check(self, *arguments, cwd=PACKAGING):
        status, output = promtool(*arguments, cwd=cwd)
        self.assertEqual(status, 0, output)
        return output

    def test_the_scrape_configuration_is_valid(self):
        with tempfile.TemporaryDirectory() as directory:
            for file in PACKAGING.glob("*.yml"):
                shutil.copy(file, directory)
            # The secret is the only part that is not shipped.
            self.assertNotEqual(promtool("check", "config", "prometheus.yml", cwd=directory)[0], 0)
            (pathlib.Path(directory) / "miosa-agent.token").write_text("0" * 64)
            output = self.check("check", "config", "--lint=all", "--lint-fatal", "prometheus.yml", cwd=directory)
            self.assertIn("5 rules found", output)

    def test_the_rules_are_valid(self):
        self.check("check", "rules", "--lint=all", "--lint-fatal", "miosa-agent.rules.yml")

    def test_each_alert_fires_when_it_should_and_not_when_it_should_not(self):
        self.check("test", "rules", "miosa-agent.rules.test.yml")
        rules, tests = ((PACKAGING / name).read_text() for name in ("miosa-agent.rules.yml", "miosa-agent.rules.test.yml"))
        alerts = set(re.findall(r"- alert: (\w+)", rules))
        self.assertEqual(alerts, set(re.findall(r"alertname: (\w+)", tests)))

    def test_the_rules_speak_of_metrics_that_there_are(self):
        source = (REPOSITORY / "Sources" / "API" / "Metrics" / "MetricsRoutes.swift").read_text()
        rules = (PACKAGING / "miosa-agent.rules.yml").read_text()
        for name in set(re.findall(r"\b(?:miosa|process)_[a-z_]+", rules)):
            self.assertIn(f'"{name}"', source)


if __name__ == "__main__":
    unittest.main()
