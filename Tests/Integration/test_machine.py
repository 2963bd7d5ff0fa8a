"""What takes a machine with a kernel and a clock of its own: vsock, clocks that jump, and a machine that is paused."""

import concurrent.futures
import time
import unittest

from support import MachineTestCase, eventually, unit_of

AGENT = "miosa-agent.service"
# Asks over vsock from inside: the kernel's loopback makes that context id 1, which is not the host's.
ASK = """
import socket, sys
with socket.socket(socket.AF_VSOCK) as connection:
    connection.settimeout(120)
    connection.connect((1, 2088))
    connection.sendall(f"GET {sys.argv[1]} HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: Bearer {sys.argv[2]}\\r\\n"
                       "Connection: close\\r\\n\\r\\n".encode())
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
print(answer.decode().split(" ")[1])
"""


class RealMachine(MachineTestCase):
    options = ("--qemu",)

    def figures(self, name):
        service = self.machine.get(name)
        return [service[field] for field in ("status", "pid", "restarts", "invocation_id")]

    def agent(self):
        return self.machine.exec("systemctl", "show", "-p", "MainPID,NRestarts", AGENT)

    def turn_clock(self, by):
        self.machine.exec("date", "--set", by)

    def test_vsock_is_listened_on_and_lets_nobody_in_but_the_host(self):
        self.machine.exec("modprobe", "vsock_loopback")
        self.assertEqual(self.machine.property("miosa-agent-vsock.socket", "ActiveState"), "active")

        def status(path):
            return self.machine.exec("python3", "-c", ASK, path, self.machine.token).strip()

        self.assertEqual(status("/healthz"), "200")
        self.assertEqual(status("/v1/services"), "403")
        log = ("journalctl", "-u", AGENT, "-o", "verbose", "--no-pager", "MIOSA_PEER_CID=1")
        eventually(lambda: "MIOSA_STATUS=403" in self.machine.exec(*log, check=False), "it is in the journal")

    def test_a_vsock_port_that_is_taken_is_opened_when_it_is_free(self):
        squat = (
            "import socket, time; s = socket.socket(socket.AF_VSOCK); s.bind((socket.VMADDR_CID_ANY, 2088));"
            " s.listen(); open('/run/squats', 'w'); time.sleep(1000)"
        )
        # With it the agent stops: it would open the port again.
        self.machine.exec("systemctl", "stop", "miosa-agent-vsock.socket")
        self.machine.exec("systemd-run", "--unit=squatter", "python3", "-c", squat)
        again = f"systemctl stop squatter {AGENT}; systemctl restart miosa-agent-vsock.socket {AGENT}"
        self.addCleanup(self.machine.shell, again)
        eventually(lambda: self.machine.shell("test -e /run/squats && echo yes", check=False), "the port is taken")
        self.machine.exec("systemctl", "start", "miosa-agent-vsock.socket", check=False)
        self.machine.exec("systemctl", "start", AGENT)
        eventually(lambda: self.machine.call("GET", "/readyz").status == 200, "the agent is ready")
        log = ("journalctl", "-u", AGENT, "-o", "cat", "--no-pager")
        eventually(lambda: "cannot listen on vsock::2088" in self.machine.exec(*log), "it is told")
        self.machine.exec("systemctl", "stop", "squatter")
        eventually(lambda: "listening on vsock::2088" in self.machine.exec(*log), "it is open")
        self.machine.exec("modprobe", "vsock_loopback")
        ask = ("python3", "-c", ASK, "/healthz", self.machine.token)
        self.assertEqual(self.machine.exec(*ask).strip(), "200")
        # The next process has it too.
        self.machine.exec("systemctl", "kill", "--signal=KILL", AGENT)
        self.assertEqual(self.machine.exec(*ask).strip(), "200")

    def test_nothing_failed_at_boot(self):
        self.assertEqual(self.machine.exec("systemctl", "--failed", "--no-legend", "--plain"), "")

    def test_what_the_hypervisor_passes_is_who_it_is(self):
        # The token came with SMBIOS, the id with the kernel's command line.
        self.assertEqual(self.machine.call("GET", "/v1", tcp=True).data["id"], f"vm-{self.machine.name}")
        told = self.machine.shell(
            "systemd-run --quiet --pipe --wait -p LoadCredential=token:miosa.token"
            " -p LoadCredential=computer-id:miosa.computer-id miosa-agent check"
        )
        self.assertRegex(told, r"(?m)^identity +control-plane: admin  \[credential\]$")
        self.assertRegex(told, rf"(?m)^computer id +vm-{self.machine.name}  \[credential\]$")
        self.assertRegex(told, r"(?m)^tenant id +\(none\)$")

    # Takes the memory that is given in MiB each time that the file is there, and waits for it otherwise.
    HUNGRY = (
        "while ! rm /home/user/{name} 2>/dev/null; do sleep 0.1; done;"
        " exec python3 -c 'x = bytearray({mebibytes} << 20); print(len(x), flush=True); import time; time.sleep(1000)'"
    )

    def run_hungry(self, name, mebibytes, *settings, restart="no"):
        unit = unit_of(name)
        self.machine.create(name, self.HUNGRY.format(name=name, mebibytes=mebibytes), restart=restart)
        self.machine.wait(name, status="running")
        self.machine.exec("systemctl", "set-property", "--runtime", unit, *settings)
        self.machine.exec("touch", f"/home/user/{name}")

    def wait_for_message(self, name, text):
        return eventually(
            lambda: (found := self.machine.get(name)) and text in (found["message"] or "") and found,
            f"the message of {name} has '{text}'",
        )

    def test_the_services_memory_limit_is_told_from_the_machines_memory(self):
        self.run_hungry("limited", 300, "MemoryMax=60M", "MemorySwapMax=0")
        service = self.wait_for_message("limited", "reached its own memory limit")
        self.assertEqual((service["status"], service["result"], service["signal"]), ("failed", "oom-kill", "SIGKILL"))
        # One that systemd has started again.
        self.run_hungry("again", 300, "MemoryMax=60M", "MemorySwapMax=0", restart="always")
        self.machine.wait("again", restarts=1)
        service = self.machine.wait("again", status="running")
        self.assertIn("memory ran out (oom-kill)", service["message"])
        # The kernel takes the process with the highest score when the machine has none left.
        self.machine.create("victim", self.HUNGRY.format(name="victim", mebibytes=100), restart="no")
        pid = self.machine.wait("victim", status="running")["pid"]
        self.machine.shell(f"echo 1000 > /proc/{pid}/oom_score_adj; touch /home/user/victim")
        self.machine.wait_for_line("victim", str(100 << 20))
        self.machine.shell("echo f > /proc/sysrq-trigger")
        self.wait_for_message("victim", "the machine ran out of memory")
        told = [(run["cause"], run["signal"], run["restarts_after"]) for run in map(self.last_run, ("limited", "again", "victim"))]
        self.assertEqual(
            told, [("oom-limit", "SIGKILL", False), ("oom-limit", "SIGKILL", True), ("oom-machine", "SIGKILL", False)]
        )

    def last_run(self, name):
        """The record of the newest run that has ended."""
        return eventually(lambda: self.machine.call("GET", f"/v1/services/{name}/runs").data[:1], "it has a record")[0]

    def test_the_limits_of_a_spec_hold_and_change_in_place(self):
        # 200 MB in a service that may have 100: it ends alone.
        self.machine.create("neighbour", "sleep 1000")
        neighbour = self.machine.wait("neighbour", status="running")
        command = self.HUNGRY.format(name="hungry", mebibytes=200)
        self.machine.create("hungry", command, restart="no", limits={"memory": "100M"})
        self.machine.wait("hungry", status="running")
        self.machine.exec("touch", "/home/user/hungry")
        service = self.wait_for_message("hungry", "reached its own memory limit")
        told = r"was killed because it reached its own memory limit of 100\.0 MiB, with a peak of (99|100)\.\d MiB \(oom-kill\)"
        self.assertRegex(service["message"], f"^{told}$")
        # A fork bomb stays within its tasks.
        self.machine.create("bomb", "bomb() { bomb | bomb & }; bomb; sleep 1000", restart="no", limits={"tasks": 64})
        group = f"/sys/fs/cgroup/miosa.slice/miosa-services.slice/{unit_of('bomb')}"
        events = f"cat {group}/pids.events"
        eventually(lambda: not self.machine.shell(events, check=False).startswith("max 0"), "forks are refused")
        self.assertLessEqual(int(self.machine.shell(f"cat {group}/pids.peak 2>/dev/null || cat {group}/pids.current")), 64)
        self.assertEqual(self.machine.call("POST", "/v1/services/bomb/stop").data["status"], "stopped")
        # Other limits, and the same process.
        limits = {"memory": 300 << 20, "tasks": 32, "cpus": 0.5}
        self.machine.create("web", "sleep 1000", limits={"memory": "200M"})
        before = self.machine.wait("web", status="running")
        after = self.machine.call("PATCH", "/v1/services/web", {"limits": limits}).data
        self.assertEqual((after["pid"], after["restarts"]), (before["pid"], 0))
        group = f"/sys/fs/cgroup/miosa.slice/miosa-services.slice/{unit_of('web')}"
        values = self.machine.shell(f"cd {group}; cat memory.max pids.max cpu.max").split()
        self.assertEqual(values, [str(300 << 20), "32", "50000", "100000"])
        self.assertEqual(self.machine.get("neighbour")["pid"], neighbour["pid"])

    def test_usage_is_what_the_kernel_counts(self):
        self.run_hungry("large", 50, "CPUWeight=100")
        self.machine.wait_for_line("large", str(50 << 20))
        usage = self.machine.call("GET", "/v1/services/large?usage=true").data["usage"]
        self.assertGreater(usage["memory"], 50 << 20)
        self.assertGreater(usage["tasks"], 0)
        self.assertGreater(usage["cpu_ms"], 0)

    def test_the_most_memory_of_a_run_is_kept(self):
        peak = "python3 -c 'bytearray(50 << 20)'; trap 'sleep 0.5; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
        self.machine.create("web", peak)
        self.machine.wait_for_line("web", "ready")
        self.machine.call("POST", "/v1/services/web/stop")
        run = self.last_run("web")
        self.assertGreater(run["memory_peak"], 50 << 20)
        self.assertLess(run["memory_peak"], 100 << 20)

    def test_a_clock_that_was_set_between_two_runs_is_told(self):
        self.addCleanup(self.turn_clock, "-1 hour")
        self.machine.create("web", "sleep 1000")
        self.machine.wait("web", status="running")
        self.machine.call("POST", "/v1/services/web/restart")
        self.turn_clock("+1 hour")
        self.machine.call("POST", "/v1/services/web/restart")
        self.machine.call("POST", "/v1/services/web/stop")
        eventually(lambda: len(self.machine.call("GET", "/v1/services/web/runs").data) == 3, "it has three records")
        changes = [self.machine.call("GET", f"/v1/services/web/runs/{number}").data["changes"] for number in (2, 3)]
        self.assertAlmostEqual(changes[0]["clock_seconds"], 3600, delta=5)
        self.assertIsNone(changes[1]["clock_seconds"])

    def test_a_log_is_followed_although_the_clock_was_set_back(self):
        self.addCleanup(self.turn_clock, "+1 hour")
        self.machine.create("quiet", "trap 'echo line' USR1; echo ready; while :; do sleep 1000 & wait; done")
        self.machine.wait_for_line("quiet", "ready")
        with self.machine.stream("/v1/services/quiet/logs?follow=true&tail=0", "text/event-stream") as stream:
            self.turn_clock("-1 hour")
            self.machine.exec("systemctl", "kill", "--kill-who=main", "-s", "USR1", unit_of("quiet"))
            self.assertEqual(stream.event()["data"]["line"], "line")

    def test_a_clock_that_jumps_ends_no_wait_and_no_service(self):
        self.machine.create("worker", "i=0; while sleep 0.2; do i=$((i + 1)); echo line $i; done")
        self.machine.create("stubborn", "trap : TERM; echo ready; while :; do sleep 0.2; done")
        self.machine.wait_for_line("stubborn", "ready")
        worker = self.figures("worker")
        agent = self.agent()
        for jump in ("+1 hour", "-2 hours", "+1 hour"):
            with self.subTest(jump), concurrent.futures.ThreadPoolExecutor() as pool:
                late = {"name": "late", "command": "sleep 3; exec python3 -m http.server 8000", "port": 8000}
                ready = pool.submit(self.machine.call, "POST", "/v1/services?wait=ready&timeout=300", late)
                eventually(lambda: "late" in [s["name"] for s in self.machine.call("GET", "/v1/services").data], "late")
                self.turn_clock(jump)
                reply = ready.result()
                self.assertEqual((reply.status, reply.data["status"]), (201, "running"), reply)
                self.assertEqual(self.figures("worker"), worker)
                self.machine.delete("late")
                # The newest lines are the newest, whatever time they bear.
                self.machine.wait_for_line("worker", self.newest_line("worker", after=True))
        begin = time.monotonic()
        self.turn_clock("+1 hour")
        reply = self.machine.call("POST", "/v1/services/stubborn/stop")
        self.assertEqual((reply.status, reply.data["status"]), (200, "stopped"), reply)
        # systemd waits ten seconds of its own for it.
        self.assertGreater(time.monotonic() - begin, 8)
        self.turn_clock("-1 hour")
        self.assertEqual(self.figures("worker"), worker)
        self.assertEqual(self.agent(), agent)

    def newest_line(self, name, after):
        """The newest line of a log that counts its lines; with `after`, one that comes soon."""
        numbers = []
        for tail in ("3", "3"):
            lines = self.machine.call("GET", f"/v1/services/{name}/logs?tail={tail}").text.splitlines()
            numbers.append([int(line.rsplit(" ", 1)[1]) for line in lines])
            self.assertEqual(len(lines), 3)
            self.assertEqual(numbers[-1], sorted(numbers[-1]))
            self.assertEqual(numbers[-1][2] - numbers[-1][0], 2)
        self.assertGreaterEqual(numbers[1][2], numbers[0][2])
        return f"line {numbers[1][2] + (2 if after else 0)}"

    def test_a_machine_that_was_paused_goes_on_as_if_nothing_had_been(self):
        self.machine.shell(
            f"mkdir -p /run/systemd/system/{AGENT}.d;"
            f"printf '[Service]\\nWatchdogSec=10s\\n' > /run/systemd/system/{AGENT}.d/watchdog.conf;"
            f"systemctl daemon-reload; systemctl restart {AGENT}"
        )
        services = [f"s{number}" for number in range(5)]
        for name in services:
            self.machine.create(name, "sleep 100000")
            self.machine.wait(name, status="running")
        before = [self.figures(name) for name in services]
        agent = self.agent()
        with self.machine.stream("/v1/events", "text/event-stream") as events:
            while events.event()["event"] != "ready":
                pass
            self.machine.run("pause", self.machine.name)
            # Half as long again as the watchdog waits; an hour is no different to the machine.
            time.sleep(15)
            self.machine.run("resume", self.machine.name)
            # As who keeps the clock does after a pause.
            self.turn_clock("+1 hour")
            self.assertEqual([self.figures(name) for name in services], before)
            self.machine.exec("systemctl", "kill", "--signal=KILL", unit_of("s0"))
            told = events.event()
            self.assertEqual(told["data"]["service"]["name"], "s0")
        self.machine.exec("sleep", "11")
        self.assertEqual(self.agent(), agent)
        self.assertEqual([self.figures(name) for name in services[1:]], before[1:])
        self.turn_clock("-1 hour")


class OldestMachine(MachineTestCase):
    """The oldest kernel and systemd that the agent runs on. No credentials are passed to it there."""

    release = "bullseye"
    options = ("--qemu",)

    def test_nothing_failed_at_boot_and_services_run_and_are_measured(self):
        self.assertEqual(self.machine.exec("systemctl", "--failed", "--no-legend", "--plain"), "")
        log = self.machine.exec("journalctl", "-b", "-o", "cat", "--no-pager", "_PID=1")
        self.assertNotRegex(log, "(?i)miosa.*(unknown|ignoring|failed)")
        # From the settings.
        self.assertEqual(self.machine.call("GET", "/v1", tcp=True).data["id"], f"vm-{self.machine.name}")
        self.machine.create("worker", "echo hello; exec sleep 1000", env={"SECRET": "value"})
        self.machine.wait("worker", status="running")
        self.machine.wait_for_line("worker", "hello")
        metrics = self.machine.call("GET", "/metrics").text
        self.assertRegex(metrics, r'(?m)^miosa_service_memory_bytes\{[^}]*service="worker"[^}]*\} [1-9]')


if __name__ == "__main__":
    unittest.main()
