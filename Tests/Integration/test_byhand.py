"""What a person does to a unit by other means than the API is shown, and not undone without a word."""

import concurrent.futures
import os
import signal
import time

from support import MachineTestCase, eventually, free_port, unit_of

UNITS = "/etc/systemd/system"
LINKS = f"{UNITS}/multi-user.target.wants"
AGENT = "miosa-agent.service"
# A server on a port of 127.0.0.1, or of another address, that is the program itself.
SERVER = "exec python3 -m http.server --bind {address} {port}"


class ByHandCase(MachineTestCase):
    def run_service(self, name, command="sleep 1000", **fields):
        self.machine.create(name, command, **fields)
        return self.machine.wait(name, status="running")

    def assert_drifted(self, name, *words):
        service = self.machine.wait(name, sub_status="drifted")
        for word in words:
            self.assertIn(word, service["message"])
        return service

    def restart_agent(self):
        self.machine.exec("systemctl", "restart", AGENT)
        eventually(lambda: self.machine.call("GET", "/readyz").status == 200, "the agent is ready")


class Acts(ByHandCase):
    def test_a_stop_is_drift_also_for_the_next_agent_and_is_ended_by_a_start(self):
        self.run_service("web")
        self.machine.exec("systemctl", "stop", unit_of("web"))
        service = self.assert_drifted("web", "stopped by hand")
        self.assertEqual((service["status"], service["signal"]), ("stopped", "SIGTERM"))
        self.restart_agent()
        self.assert_drifted("web", "stopped by hand")
        self.assertEqual(self.machine.property(unit_of("web"), "ActiveState"), "inactive")
        started = self.machine.call("POST", "/v1/services/web/start").data
        self.assertEqual((started["status"], started["sub_status"], started["message"]), ("running", None, None))

    def test_a_stop_while_no_agent_runs_is_drift(self):
        self.run_service("web")
        self.machine.exec("systemctl", "stop", AGENT)
        self.machine.exec("systemctl", "stop", unit_of("web"))
        self.machine.exec("systemctl", "start", AGENT)
        self.assert_drifted("web", "stopped by hand")

    def test_a_stop_before_an_automatic_start_is_drift(self):
        self.run_service("web", "sleep 1000", restart="always")
        self.machine.shell(
            f"mkdir -p /run/systemd/system/{unit_of('web')}.d;"
            f"printf '[Service]\\nRestartSec=60\\n' > /run/systemd/system/{unit_of('web')}.d/slow.conf;"
            "systemctl daemon-reload"
        )
        self.machine.exec("systemctl", "kill", "--signal=KILL", unit_of("web"))
        self.machine.wait("web", status="starting", sub_status="restarting")
        self.machine.exec("systemctl", "stop", unit_of("web"))
        self.assert_drifted("web", "stopped by hand")

    def kill_agent(self):
        before = self.machine.property(AGENT, "NRestarts")
        self.machine.exec("systemctl", "kill", "--signal=KILL", AGENT)
        eventually(lambda: self.machine.property(AGENT, "NRestarts") != before, "systemd has started the agent again")
        eventually(lambda: self.machine.call("GET", "/readyz").status == 200, "the agent is ready")

    def test_an_act_after_a_request_holds_when_the_agent_is_killed_before_it_has_noted_the_end(self):
        for verb, act, state in (("restart", "stop", "inactive"), ("stop", "start", "active")):
            with self.subTest(verb):
                self.run_service("web")
                self.assertEqual(self.machine.call("POST", f"/v1/services/web/{verb}").status, 200)
                self.machine.shell(f"systemctl {act} {unit_of('web')}; systemctl kill --signal=KILL {AGENT}")
                self.kill_agent()
                self.machine.wait("web", sub_status="drifted", pending=None)
                self.assertEqual(self.machine.property(unit_of("web"), "ActiveState"), state)
                self.machine.delete("web")

    def hang_journald(self):
        pid = self.machine.property("systemd-journald.service", "MainPID")
        self.machine.exec("kill", "-STOP", pid)
        self.addCleanup(self.machine.exec, "kill", "-CONT", pid, check=False)
        return pid

    def assert_act_holds_when_journald_is_late(self, acts):
        """Few messages are sent meanwhile: a socket of a container holds 10, and systemd drops what has no room."""
        journald = self.hang_journald()
        acts()
        eventually(lambda: self.machine.call("GET", "/healthz").status == 200, "the agent is back")
        self.machine.exec("kill", "-CONT", journald)
        self.assert_drifted("web", "stopped by hand")
        self.assertEqual(self.machine.property(unit_of("web"), "ActiveState"), "inactive")

    def test_a_stop_while_no_agent_runs_is_drift_when_journald_is_late(self):
        self.run_service("web")
        # Else a run is written 1 s after its begin.
        self.restart_agent()
        self.assert_act_holds_when_journald_is_late(
            lambda: self.machine.shell(f"systemctl kill --signal=KILL {AGENT}; systemctl stop {unit_of('web')}")
        )

    def test_a_stop_after_a_restart_is_drift_when_journald_is_late(self):
        self.run_service("web")

        agent = self.machine.property(AGENT, "MainPID")
        # At once: 30 ms after its end a change is written as done.
        self.assert_act_holds_when_journald_is_late(
            lambda: self.machine.shell(
                "curl --silent --fail --unix-socket /run/miosa-agent/api.sock --request POST"
                f" http://localhost/v1/services/web/restart && kill -9 {agent} && systemctl stop {unit_of('web')}"
            )
        )

    def test_a_start_of_before_that_journald_writes_late_is_not_the_one_asked_for(self):
        settings = dict(line.split("=", 1) for line in self.machine.run("env", self.machine.name).splitlines())
        systemd = int(settings["SYSTEMD_PID"])
        journald = self.hang_journald()
        self.run_service("web")
        agent = self.machine.property(AGENT, "MainPID")
        os.kill(systemd, signal.SIGSTOP)
        self.addCleanup(os.kill, systemd, signal.SIGCONT)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            call = pool.submit(self.machine.call, "PUT", "/v1/services/web", {"command": "sleep 2000"})
            record = "/var/lib/miosa-agent/services/web.json"
            eventually(lambda: "sleep 2000" in self.machine.exec("cat", record), "the change is written")
            self.machine.exec("kill", "-9", agent)
            self.machine.exec("kill", "-CONT", journald)
            os.kill(systemd, signal.SIGCONT)
            self.assertIsNotNone(call.exception())
        service = self.machine.wait("web", status="running", command="sleep 2000", pending=None)
        self.assertEqual(self.machine.exec("cat", f"/proc/{service['pid']}/cmdline"), "sleep\x002000\x00")

    def test_the_link_for_boot_is_compared(self):
        self.run_service("web")
        self.machine.exec("systemctl", "disable", unit_of("web"))
        self.assert_drifted("web", "disabled by hand")
        self.restart_agent()
        self.assert_drifted("web", "disabled by hand")
        self.machine.shell(f"! test -L {LINKS}/{unit_of('web')}")
        restarted = self.machine.call("POST", "/v1/services/web/restart").data
        self.assertEqual((restarted["sub_status"], restarted["message"]), (None, None))
        self.machine.exec("test", "-L", f"{LINKS}/{unit_of('web')}")
        self.machine.call("POST", "/v1/services/web/stop")
        self.machine.exec("systemctl", "enable", unit_of("web"))
        self.assert_drifted("web", "enabled by hand")
        self.machine.exec("systemctl", "start", unit_of("web"))
        self.assertEqual(self.machine.wait("web", status="running")["sub_status"], "drifted")

    def test_another_unit_file_is_told_and_put_restart_and_create_make_it_true(self):
        file = f"{UNITS}/{unit_of('web')}"
        spoils = {
            "masked": f"ln -sf /dev/null {file}",
            "missing": f"rm {file}",
            "changed by hand": f"echo '# by hand' >> {file}",
        }
        for word, spoil in spoils.items():
            for verb in ("restart", "put"):
                with self.subTest(word, verb=verb):
                    before = self.run_service("web")
                    unit = self.machine.call("GET", "/v1/services/web/unit").text
                    self.machine.shell(f"{spoil}; systemctl daemon-reload")
                    service = self.assert_drifted("web", word)
                    self.assertEqual(service["pid"], before["pid"])
                    self.restart_agent()
                    self.assert_drifted("web", word)
                    body = {"command": "sleep 1000"}
                    reply = (
                        self.machine.call("POST", "/v1/services/web/restart")
                        if verb == "restart" else self.machine.call("PUT", "/v1/services/web", body)
                    )
                    self.assertEqual((reply.status, reply.data["sub_status"]), (200, None), reply)
                    self.assertNotEqual(reply.data["pid"], before["pid"])
                    self.assertEqual(self.machine.exec("cat", file), unit)
                    self.machine.delete("web")

    def test_a_record_that_is_older_than_the_unit_is_told_and_put_makes_it_true(self):
        self.run_service("web", "sleep 1001")
        record = "/var/lib/miosa-agent/services/web.json"
        self.machine.shell(f"cp {record} /root/backup")
        reply = self.machine.call("PUT", "/v1/services/web", {"command": "sleep 1002"})
        self.assertEqual(reply.status, 200, reply)
        self.machine.exec("systemctl", "stop", AGENT)
        self.machine.shell(f"cp /root/backup {record}")
        self.machine.exec("systemctl", "start", AGENT)
        service = self.assert_drifted("web", "changed by hand")
        self.assertEqual(service["command"], "sleep 1001")
        self.assertEqual(self.machine.command_line(service["pid"]), ["sleep", "1002"])
        reply = self.machine.call("PUT", "/v1/services/web", {"command": "sleep 1001"})
        self.assertEqual((reply.status, reply.data["sub_status"]), (200, None), reply)
        self.assertEqual(self.machine.command_line(reply.data["pid"]), ["sleep", "1001"])

    def test_a_unit_without_a_record_does_not_stay_with_a_new_spec(self):
        self.run_service("web", "sleep 1001")
        self.machine.exec("systemctl", "stop", AGENT)
        self.machine.shell("rm /var/lib/miosa-agent/services/web.json")
        self.machine.exec("systemctl", "start", AGENT)
        eventually(lambda: self.machine.call("GET", "/readyz").status == 200, "the agent is ready")
        self.assertEqual(self.machine.call("GET", "/v1/services/web").status, 404)
        self.run_service("web", "sleep 1002")
        pid = self.machine.wait("web", status="running")["pid"]
        self.assertEqual(self.machine.command_line(pid), ["sleep", "1002"])

    def test_drop_ins_are_shown_and_go_with_the_service(self):
        unit = unit_of("web")
        self.run_service("web")
        self.machine.exec("systemctl", "set-property", unit, "CPUWeight=50")
        self.machine.exec("systemctl", "set-property", "--runtime", unit, "IOWeight=50")
        self.machine.shell(
            f"mkdir -p {UNITS}/{unit}.d; printf '[Service]\\nEnvironment=A=b\\n' > {UNITS}/{unit}.d/a.conf;"
            f"mkdir -p {UNITS}/miosa-service-.service.d;"
            f"printf '[Service]\\nEnvironment=C=d\\n' > {UNITS}/miosa-service-.service.d/all.conf;"
            "systemctl daemon-reload"
        )
        self.addCleanup(
            self.machine.shell, f"rm -r {UNITS}/miosa-service-.service.d; systemctl daemon-reload"
        )
        wanted = self.machine.property(unit, "DropInPaths").split()
        self.assertEqual(len(wanted), 4, wanted)
        service = self.machine.wait("web", drop_ins=sorted(wanted, key=lambda path: path.rsplit("/", 1)[1]))
        self.assertEqual((service["sub_status"], service["message"]), (None, None))
        self.machine.delete("web")
        self.run_service("web")
        shared = [f"{UNITS}/miosa-service-.service.d/all.conf"]
        self.assertEqual(self.machine.wait("web", drop_ins=shared)["status"], "running")
        self.assertEqual(self.machine.property(unit, "DropInPaths").split(), shared)

    def test_a_frozen_service_is_paused(self):
        self.run_service("web")
        self.machine.exec("systemctl", "freeze", unit_of("web"))
        self.machine.wait("web", status="running", sub_status="paused")
        self.restart_agent()
        self.machine.wait("web", status="running", sub_status="paused")
        self.machine.exec("systemctl", "thaw", unit_of("web"))
        self.machine.wait("web", status="running", sub_status=None)


class Ends(ByHandCase):
    def test_what_ended_while_no_agent_ran_is_known_or_null(self):
        # A service that systemd starts again: of the run before only the journal tells.
        for name, end, code, signal in (
            ("term", "kill -TERM", None, None), ("hup", "kill -HUP", None, None), ("usr", "kill -USR1", 138, "SIGUSR1"),
        ):
            with self.subTest(name):
                before = self.run_service(name, restart="always")
                self.machine.exec("systemctl", "stop", AGENT)
                self.machine.shell(f"{end} {before['pid']}")
                pid = eventually(
                    lambda: (found := self.machine.property(unit_of(name), "MainPID")) not in ("0", str(before["pid"]))
                    and found,
                    "systemd has started it again",
                )
                self.machine.exec("systemctl", "start", AGENT)
                service = self.machine.wait(name, status="running", pid=int(pid))
                self.assertEqual((service["exit_code"], service["signal"]), (code, signal))

    def test_a_signal_by_hand_is_no_stop(self):
        service = self.run_service("web", restart="no")
        self.machine.shell(f"kill -HUP {service['pid']}")
        ended = self.machine.wait("web", status="stopped", signal="SIGHUP")
        self.assertEqual(ended["message"], "ended by SIGHUP without a stop that was asked for")
        self.assertIsNone(ended["sub_status"])

    def test_a_failed_step_in_front_of_the_command_has_its_own_code(self):
        unit = unit_of("web")
        self.machine.create("web", "exit 7", restart="no")
        self.machine.wait("web", status="failed", exit_code=7)
        self.machine.shell(
            f"mkdir -p {UNITS}/{unit}.d; printf '[Service]\\nExecStartPre=/bin/sh -c \"exit 3\"\\n'"
            f" > {UNITS}/{unit}.d/pre.conf; systemctl daemon-reload"
        )
        self.machine.call("POST", "/v1/services/web/start")
        service = self.machine.wait("web", status="failed", exit_code=None)
        service = eventually(
            lambda: (found := self.machine.get("web")) and "ExecStartPre=" in (found["message"] or "") and found,
            "the step is named",
        )
        self.assertIn("exited with code 3", service["message"])
        self.assertNotIn("code 7", service["message"])

    def test_giving_up_is_told_when_systemd_has(self):
        self.machine.create("limited", "exit 4", restart="always")
        service = self.machine.wait("limited", status="failed")
        service = eventually(
            lambda: (found := self.machine.get("limited")) and "gave up" in (found["message"] or "") and found,
            "it is told that systemd gave up",
        )
        self.assertIn("exited with code 4", service["message"])
        self.machine.create("once", "exit 4", restart="no")
        service = self.machine.wait("once", status="failed")
        self.assertNotIn("gave up", service["message"])

    def test_a_slow_crash_loop_is_told_while_it_runs(self):
        self.machine.create("loop", "echo 'no such table' >&2; sleep 2; exit 5", restart="always")
        service = self.machine.wait("loop", status="running", sub_status="crash-looping")
        self.assertIn("exited with code 5", service["message"])
        eventually(lambda: "no such table" in (self.machine.get("loop")["message"] or ""), "the last line is told")
        self.machine.wait("loop", status="starting", sub_status="crash-looping")
        self.machine.call("POST", "/v1/services/loop/stop")
        service = self.machine.wait("loop", status="stopped")
        self.assertIsNone(service["sub_status"])


class Ports(ByHandCase):
    def test_only_the_services_own_listener_is_ready(self):
        port = free_port()
        self.run_service("holder", SERVER.format(address="127.0.0.1", port=port), port=port)
        path = "/v1/services?wait=ready&timeout=2"
        reply = self.machine.call("POST", path, {"name": "other", "command": "sleep 60", "port": port})
        self.assertEqual((reply.status, reply.json["code"]), (504, "WAIT_TIMEOUT"), reply)
        self.assertIn(f"port {port} is held by the service 'holder'", reply.json["error"])
        self.assertEqual(self.machine.call("POST", "/v1/services/holder/restart?wait=ready").status, 200)

    def test_the_same_server_twice_fails_and_names_who_holds_the_port(self):
        port = free_port()
        command = SERVER.format(address="127.0.0.1", port=port)
        path = "/v1/services?wait=ready&timeout=60"
        first = self.machine.call("POST", path, {"name": "first", "command": command, "port": port})
        self.assertEqual((first.status, first.data["status"]), (201, "running"), first)
        second = self.machine.call("POST", path, {"name": "second", "command": command, "port": port})
        self.assertEqual(second.data["status"], "failed", second)
        self.assertIn("Address already in use", second.data["message"])
        self.assertIn(f"port {port} is held by the service 'first'", second.data["message"])

    def test_a_listener_of_another_unit_is_named(self):
        port = free_port()
        self.machine.shell(f"systemd-run --unit=stranger python3 -m http.server --bind 127.0.0.1 {port} 2>&1")
        self.addCleanup(self.machine.shell, "systemctl stop stranger")
        eventually(lambda: f":{port:04X} " in self.machine.shell("cat /proc/net/tcp"), "it listens")
        path = "/v1/services?wait=ready&timeout=2"
        reply = self.machine.call("POST", path, {"name": "other", "command": "sleep 60", "port": port})
        self.assertIn(f"port {port} is held by stranger.service (python3, pid ", reply.json["error"])

    def test_any_local_address_counts(self):
        for address in ("127.0.0.2", "::1", "0.0.0.0"):
            with self.subTest(address):
                port = free_port()
                path = "/v1/services?wait=ready&timeout=60"
                command = SERVER.format(address=address, port=port)
                reply = self.machine.call("POST", path, {"name": "web", "command": command, "port": port})
                self.assertEqual((reply.status, reply.data["status"]), (201, "running"), reply)
                self.machine.delete("web")

    def test_a_process_below_the_main_one_counts(self):
        port = free_port()
        command = f"python3 -m http.server --bind 127.0.0.1 {port} & wait"
        reply = self.machine.call(
            "POST", "/v1/services?wait=ready&timeout=60", {"name": "web", "command": command, "port": port}
        )
        self.assertEqual((reply.status, reply.data["status"]), (201, "running"), reply)

    def test_usage_is_told_on_request(self):
        self.run_service("web", "while :; do :; done")
        begin = time.monotonic()
        eventually(
            lambda: (self.machine.call("GET", "/v1/services/web?usage=true").data["usage"]["cpu_ms"] or 0) > 100,
            "its time on the processors grows",
        )
        self.assertLess(
            self.machine.call("GET", "/v1/services?usage=true").data[0]["usage"]["cpu_ms"],
            (time.monotonic() - begin + 60) * 2000,
        )
        self.assertIsNone(self.machine.get("web")["usage"])
        self.assertEqual(self.machine.call("GET", "/v1/services/web?usage=maybe").status, 400)


class TrixieActs(Acts):
    release = "trixie"


class TrixieEnds(Ends):
    release = "trixie"


class TrixiePorts(Ports):
    release = "trixie"
