"""What the API says when systemd, the agent or somebody at the console does what nobody asked it for."""

import concurrent.futures
import os
import signal
import time
import unittest

from support import MachineTestCase, eventually, unit_of

AGENT = "miosa-agent.service"
# How soon a change that somebody makes has to be told: at once, which on a busy machine is a matter of seconds, and
# long before a call of systemd's is given up, which is after 25 seconds.
NOTICE_SECONDS = 10


class OutageCase(MachineTestCase):
    def run_service(self, name, command="sleep 1000", **fields):
        self.machine.create(name, command, **fields)
        return self.machine.wait(name, status="running")

    def assert_told(self, name, **wanted):
        """Fails unless a service has the wanted fields soon."""
        deadline = time.monotonic() + NOTICE_SECONDS
        while True:
            service = self.machine.get(name)
            if all(service[field] == value for field, value in wanted.items()):
                return service
            self.assertLess(time.monotonic(), deadline, f"not {wanted} in time: {service}")
            time.sleep(0.01)


class ByHand(OutageCase):
    def test_what_systemctl_does_is_told_at_once(self):
        before = self.run_service("web")
        self.machine.exec("systemctl", "stop", unit_of("web"))
        self.assert_told("web", status="stopped", pid=None)
        self.machine.exec("systemctl", "start", unit_of("web"))
        started = self.assert_told("web", status="running")
        self.assertNotEqual(started["pid"], before["pid"])
        self.machine.exec("systemctl", "kill", "--signal=KILL", unit_of("web"))
        self.assert_told("web", signal="SIGKILL")
        self.machine.wait("web", status="running")
        self.machine.exec("systemctl", "restart", unit_of("web"))
        self.assert_told("web", status="running", pid=int(self.machine.property(unit_of("web"), "MainPID")))

    def test_a_failure_by_hand_is_told_and_so_is_its_reset(self):
        self.run_service("web", restart="no")
        self.machine.exec("systemctl", "kill", "--signal=KILL", unit_of("web"))
        self.assert_told("web", status="failed", signal="SIGKILL")
        self.machine.exec("systemctl", "reset-failed", unit_of("web"))
        self.assert_told("web", status="stopped", signal="SIGKILL")

    def test_a_unit_file_that_was_taken_away_is_put_back_by_the_next_start(self):
        for spoil in (
            "rm {file}",
            "ln -sf /dev/null {file}",
            "printf '[Service]\\nExecStart=/bin/false\\n' > {file}",
            "rm {file}; mkdir {file}; rmdir {file}",
            "systemctl disable {unit} 2>&1; systemctl stop {unit}",
        ):
            with self.subTest(spoil):
                self.remove_services()
                before = self.run_service("web")
                text = self.machine.call("GET", "/v1/services/web/unit").text
                file = f"/etc/systemd/system/{unit_of('web')}"
                self.machine.shell(spoil.format(file=file, unit=unit_of("web")) + "; systemctl daemon-reload")
                active = self.machine.property(unit_of("web"), "ActiveState")
                running = active == "active"
                self.assert_told("web", status="running" if running else "stopped", active_state=active)
                if running:
                    # Nobody has touched the process.
                    self.assertEqual(self.machine.get("web")["pid"], before["pid"])
                    self.assertEqual(self.machine.call("POST", "/v1/services/web/stop").status, 200)
                reply = self.machine.call("POST", "/v1/services/web/start")
                self.assertEqual((reply.status, reply.data["status"]), (200, "running"), reply)
                self.assertEqual(self.machine.exec("cat", file), text)
                link = f"/etc/systemd/system/multi-user.target.wants/{unit_of('web')}"
                self.assertEqual(self.machine.exec("readlink", "-f", link).strip(), file)

    def test_a_job_that_somebody_cancels_is_no_start_for_ever(self):
        # What it has to wait for never comes up.
        self.machine.shell(
            "mkdir -p /run/systemd/system; cd /run/systemd/system;"
            "printf '[Service]\\nType=oneshot\\nExecStart=/bin/sleep 1000\\n' > gate.service;"
            f"mkdir -p {unit_of('web')}.d;"
            f"printf '[Unit]\\nWants=gate.service\\nAfter=gate.service\\n' > {unit_of('web')}.d/gate.conf;"
            "systemctl daemon-reload"
        )
        self.addCleanup(
            self.machine.shell,
            f"cd /run/systemd/system; rm -r gate.service {unit_of('web')}.d; systemctl stop gate.service;"
            "systemctl daemon-reload",
        )
        self.machine.create("web", "sleep 1000")
        self.assertEqual(self.machine.get("web")["status"], "starting")
        job = self.machine.property(unit_of("web"), "Job")
        self.machine.exec("systemctl", "cancel", job)
        self.assert_told("web", status="stopped")


class Refusals(OutageCase):
    def test_a_frozen_service_is_thawed(self):
        for verb in ("stop", "restart", "put", "delete"):
            with self.subTest(verb):
                name = f"frozen-{verb}"
                before = self.run_service(name)
                self.machine.exec("systemctl", "freeze", unit_of(name))
                if verb == "delete":
                    self.assertEqual(self.machine.call("DELETE", f"/v1/services/{name}").status, 200)
                    self.assertNotEqual(self.machine.shell(f"test -e /proc/{before['pid']}; echo $?").strip(), "0")
                    continue
                path = f"/v1/services/{name}"
                reply = (
                    self.machine.call("PUT", path, {"command": "sleep 2000"})
                    if verb == "put" else self.machine.call("POST", f"{path}/{verb}")
                )
                self.assertEqual(reply.status, 200, reply)
                self.assertEqual(reply.data["status"], "stopped" if verb == "stop" else "running")
                self.assertNotEqual(reply.data["pid"], before["pid"])

    def test_a_stop_that_systemd_refuses_changes_nothing(self):
        for verb in ("stop", "put", "delete"):
            with self.subTest(verb):
                name = f"refused-{verb}"
                before = self.run_service(name)
                directory = f"/etc/systemd/system/{unit_of(name)}.d"
                self.machine.shell(
                    f"mkdir -p {directory}; printf '[Unit]\nRefuseManualStop=yes\n' > {directory}/a.conf;"
                    "systemctl daemon-reload"
                )
                path = f"/v1/services/{name}"
                reply = {
                    "stop": lambda: self.machine.call("POST", f"{path}/stop"),
                    "put": lambda: self.machine.call("PUT", path, {"command": "sleep 2000"}),
                    "delete": lambda: self.machine.call("DELETE", path),
                }[verb]()
                self.assertEqual((reply.status, reply.json["code"]), (409, "SYSTEMD_REFUSED"), reply)
                after = self.machine.get(name)
                for field in ("status", "pid", "command", "pending", "message"):
                    self.assertEqual(after[field], before[field], field)
                link = f"/etc/systemd/system/multi-user.target.wants/{unit_of(name)}"
                self.machine.exec("test", "-L", link)
                self.machine.shell(f"rm -r {directory}; systemctl daemon-reload")
                self.assertEqual(self.machine.call("DELETE", path).status, 200)

    def test_a_start_by_hand_during_a_stop_is_what_holds(self):
        # It ends once the file is there, which is after the start by hand.
        wait = "while [ ! -e /home/user/go ]; do sleep 0.1; done"
        self.run_service("long", f"trap '{wait}; exit' TERM; while :; do sleep 0.1; done")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            stop = pool.submit(self.machine.call, "POST", "/v1/services/long/stop")
            eventually(
                lambda: self.machine.property(unit_of("long"), "ActiveState") == "deactivating", "it is being stopped"
            )
            self.machine.exec("systemctl", "start", "--no-block", unit_of("long"))
            self.machine.exec("touch", "/home/user/go")
            reply = stop.result()
        self.assertEqual((reply.status, reply.json["code"]), (409, "SUPERSEDED"), reply)
        self.assert_told("long", status="running", pending=None)
        self.machine.exec("test", "-L", f"/etc/systemd/system/multi-user.target.wants/{unit_of('long')}")


class SystemdHangs(OutageCase):
    def test_while_systemd_is_busy_for_long_the_agent_answers_and_then_it_does_what_was_asked(self):
        self.run_service("stays", restart="no")
        self.run_service("dies", restart="no")
        self.run_service("stops")
        self.run_service("goes")
        changed = self.run_service("changes")
        settings = dict(line.split("=", 1) for line in self.machine.run("env", self.machine.name).splitlines())
        systemd = int(settings["SYSTEMD_PID"])
        victim = self.machine.get("dies")["pid"]
        pid = self.machine.property(AGENT, "MainPID")

        os.kill(systemd, signal.SIGSTOP)
        self.addCleanup(os.kill, systemd, signal.SIGCONT)
        requests = [
            ("POST", "/v1/services", {"name": "new", "command": "sleep 1000"}),
            ("POST", "/v1/services/stops/stop", None),
            ("DELETE", "/v1/services/goes", None),
            ("PUT", "/v1/services/changes", {"command": "sleep 2000"}),
        ]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            calls = [pool.submit(self.machine.call, *request) for request in requests]
            ready = self.machine.call("GET", "/readyz")
            self.assertEqual(ready.status, 503, ready)
            self.assertEqual(ready.json["error"], "systemd cannot be reached: it does not answer")
            self.machine.exec("kill", "-9", str(victim))
            slowest = 0
            # Until systemd's calls have been given up.
            while not all(call.done() for call in calls):
                asked = time.monotonic()
                self.assertEqual(self.machine.call("GET", "/v1/services").status, 200)
                self.assertEqual(self.machine.call("GET", "/healthz").status, 200)
                slowest = max(slowest, time.monotonic() - asked)
                time.sleep(0.2)
            self.assertLess(slowest, NOTICE_SECONDS)
            for call in calls:
                reply = call.result()
                self.assertEqual((reply.status, reply.json["code"]), (504, "SYSTEMD_TIMEOUT"), reply)
            # What is outstanding, and why.
            for name, operation in (("new", "start"), ("stops", "stop"), ("goes", "delete"), ("changes", "start")):
                pending = self.machine.get(name)["pending"]
                self.assertEqual((pending["operation"], pending["reason"]), (operation, "systemd-unreachable"), name)
            os.kill(systemd, signal.SIGCONT)
            self.assert_told("dies", status="failed", signal="SIGKILL")

        self.assertEqual(self.machine.call("GET", "/readyz").status, 200)
        # Without another request.
        self.assert_told("stops", status="stopped", pending=None)
        self.assert_told("new", status="running", pending=None)
        after = self.assert_told("changes", status="running", pending=None)
        self.assertNotEqual(after["pid"], changed["pid"])
        self.assertEqual(self.machine.exec("cat", f"/proc/{after['pid']}/cmdline"), "sleep\x002000\x00")
        eventually(lambda: self.machine.call("GET", "/v1/services/goes").status == 404, "it is gone")
        self.assertEqual(self.machine.shell(f"ls /etc/systemd/system | grep {unit_of('goes')}", check=False), "")
        self.assert_told("stays", status="running")
        # It stays stopped over a boot.
        self.assertEqual(
            self.machine.shell(f"ls /etc/systemd/system/*.wants | grep {unit_of('stops')}", check=False), ""
        )
        self.assertEqual(self.machine.get("new")["restarts"], 0)
        self.assertEqual(self.machine.call("POST", "/v1/services/stops/start").data["status"], "running")
        self.assertEqual(self.machine.property(AGENT, "MainPID"), pid)

    def test_a_request_waits_for_what_an_agent_that_was_killed_had_begun(self):
        for name in ("a", "b", "c", "d"):
            self.run_service(name)
        settings = dict(line.split("=", 1) for line in self.machine.run("env", self.machine.name).splitlines())
        systemd = int(settings["SYSTEMD_PID"])
        agent = self.machine.property(AGENT, "MainPID")
        os.kill(systemd, signal.SIGSTOP)
        self.addCleanup(os.kill, systemd, signal.SIGCONT)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            calls = [
                pool.submit(self.machine.call, "PUT", f"/v1/services/{name}", {"command": "sleep 2000"})
                for name in ("a", "b", "c", "d")
            ]
            written = "/var/lib/miosa-agent/services"
            eventually(
                lambda: self.machine.shell(f"grep -l 2000 {written}/*.json | wc -l", check=False).strip() == "4",
                "the changes are written",
            )
            self.machine.exec("kill", "-9", agent)
            os.kill(systemd, signal.SIGCONT)
            for call in calls:
                self.assertIsNotNone(call.exception())
        for name in ("a", "b", "c", "d"):
            reply = eventually(
                lambda: (found := self.machine.call("POST", f"/v1/services/{name}/stop")).status == 200 and found, "up"
            )
            self.assertEqual(reply.data["status"], "stopped", reply)
        for name in ("a", "b", "c", "d"):
            self.assert_told(name, status="stopped", command="sleep 2000", pending=None)
            self.assertEqual(self.machine.property(unit_of(name), "ActiveState"), "inactive")


class AgentHangs(OutageCase):
    def test_the_watchdog_starts_a_hung_agent_again_and_no_service_notices(self):
        # The unit's own is half a minute.
        self.machine.shell(
            f"mkdir -p /run/systemd/system/{AGENT}.d;"
            f"printf '[Service]\\nWatchdogSec=3s\\n' > /run/systemd/system/{AGENT}.d/watchdog.conf;"
            f"systemctl daemon-reload; systemctl restart {AGENT}"
        )
        services = [self.run_service(f"s{number}") for number in range(3)]
        hung = self.machine.property(AGENT, "MainPID")
        self.machine.exec("kill", "-STOP", hung)
        # It waits in the socket's queue for the next agent.
        reply = self.machine.call("GET", "/v1/services")
        self.assertEqual(reply.status, 200)
        self.assertNotEqual(self.machine.property(AGENT, "MainPID"), hung)
        self.assertEqual(self.machine.property(AGENT, "NRestarts"), "1")
        log = ("journalctl", "-u", AGENT, "-o", "cat", "--no-pager")
        eventually(lambda: "Watchdog timeout" in self.machine.exec(*log), "it is in the journal")
        for before in services:
            after = self.machine.get(before["name"])
            self.assertEqual(
                [after[field] for field in ("status", "pid", "restarts", "invocation_id")],
                [before[field] for field in ("status", "pid", "restarts", "invocation_id")],
            )

    def test_an_agent_that_works_is_left_alone(self):
        pid = self.machine.property(AGENT, "MainPID")
        self.machine.shell(
            f"mkdir -p /run/systemd/system/{AGENT}.d;"
            f"printf '[Service]\\nWatchdogSec=4s\\n' > /run/systemd/system/{AGENT}.d/watchdog.conf;"
            f"systemctl daemon-reload; systemctl restart {AGENT}"
        )
        pid = self.machine.property(AGENT, "MainPID")
        stamp = eventually(lambda: self.watchdog_stamp(), "the agent has said that it lives")
        eventually(lambda: self.watchdog_stamp() > stamp + 9_000_000, "it goes on to say so")
        self.assertEqual(self.machine.property(AGENT, "MainPID"), pid)

    def watchdog_stamp(self):
        return int(self.machine.property(AGENT, "WatchdogTimestampMonotonic"))


if __name__ == "__main__":
    unittest.main()
