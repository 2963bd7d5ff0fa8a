"""The daemon among its services: what its own end, a reboot and an upgrade do to them, and what it costs."""

import concurrent.futures
import contextlib
import hmac
import json
import socket
import threading
import unittest
import urllib.parse
import uuid

from support import REPOSITORY, SANITIZER, MachineTestCase, eventually, free_port


class Continuity(MachineTestCase):
    def main_pid(self):
        return self.machine.property("miosa-agent.service", "MainPID")

    def wait_for_another_agent(self, old):
        eventually(lambda: self.main_pid() not in ("0", old), "a new agent")
        # Who connects to the socket waits until the new one serves.
        return self.machine.call("GET", "/v1/services")

    def test_services_go_on_while_the_agent_is_killed_and_it_picks_them_up(self):
        created = self.machine.create("worker", "sleep 1000")
        before = self.machine.wait("worker", status="running")
        agent = self.main_pid()
        self.machine.exec("kill", "-9", agent)
        reply = self.wait_for_another_agent(agent)
        self.assertEqual(reply.status, 200, reply)
        after = self.machine.get(created["id"])
        self.assertEqual(after, before)

    def test_a_request_during_a_restart_of_the_agent_waits_and_is_answered(self):
        self.machine.create("worker", "sleep 1000")
        for _ in range(5):
            self.machine.exec("systemctl", "kill", "-s", "KILL", "miosa-agent.service")
            reply = self.machine.call("GET", "/v1/services/worker")
            self.assertEqual(reply.status, 200, reply)

    def test_a_client_waits_through_an_agent_that_keeps_dying_and_is_answered(self):
        directory = "/run/systemd/system/miosa-agent.service.d"
        self.machine.shell(
            f"mkdir -p {directory}; printf '[Service]\\nRestartSec=0\\nExecStartPre=/bin/false\\n' > {directory}/test.conf; "
            "systemctl daemon-reload; systemctl kill --signal=KILL miosa-agent.service"
        )
        with self.machine.raw() as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            restarts = lambda: int(self.machine.property("miosa-agent.service", "NRestarts"))
            first = restarts()
            eventually(lambda: restarts() > first + 60, "sixty deaths")
            self.machine.shell(f"rm -r {directory}; systemctl daemon-reload")
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 200 "))

    def test_tcp_stays_open_while_the_agent_restarts(self):
        address = urllib.parse.urlsplit(self.machine.url)
        done = threading.Event()
        counts = {"open": 0, "refused": 0}

        def knock():
            while not done.is_set():
                try:
                    socket.create_connection((address.hostname, address.port), timeout=10).close()
                    counts["open"] += 1
                except ConnectionRefusedError:
                    counts["refused"] += 1

        knocking = threading.Thread(target=knock)
        knocking.start()
        try:
            for how in ("restart", "kill --signal=KILL") * 3:
                seen = counts["open"]
                eventually(lambda: counts["open"] > seen + 20 or counts["refused"], "somebody is knocking")
                agent = self.main_pid()
                self.machine.shell(f"systemctl {how} miosa-agent.service")
                reply = self.machine.call("GET", "/v1/services", tcp=True)
                self.assertEqual(reply.status, 200, reply)
                self.assertNotEqual(self.main_pid(), agent)
        finally:
            done.set()
            knocking.join()
        self.assertEqual(counts["refused"], 0)
        self.assertGreater(counts["open"], 100)

    def test_an_address_that_is_configured_no_more_is_closed(self):
        address = urllib.parse.urlsplit(self.machine.url)
        settings = "/etc/default/miosa-agent"
        other = free_port()
        self.machine.shell(
            f"cp -p {settings} {settings}.old; echo MIOSA_AGENT_LISTEN=127.0.0.1:{other} >> {settings};"
            "systemctl restart miosa-agent"
        )
        self.addCleanup(self.machine.shell, f"mv {settings}.old {settings}; systemctl restart miosa-agent")
        for port in (other, address.port):
            socket.create_connection((address.hostname, port), timeout=10).close()
        self.doCleanups()
        socket.create_connection((address.hostname, address.port), timeout=10).close()

        def is_refused():
            try:
                socket.create_connection((address.hostname, other), timeout=10).close()
            except ConnectionResetError:
                # It was in the backlog when the socket was closed.
                return False
            except ConnectionRefusedError:
                return True
            return False

        # When systemd has told which sockets are wanted.
        eventually(is_refused, "the address is closed")

    def test_a_copy_of_the_disk_with_another_computer_id_is_another_computer(self):
        created = self.machine.create("worker", "sleep 1000")
        running = self.machine.wait("worker", status="running")
        settings = "/etc/default/miosa-agent"
        self.machine.shell(
            f"cp -p {settings} {settings}.old; echo MIOSA_AGENT_COMPUTER_ID=the-copy >> {settings};"
            "systemctl restart miosa-agent"
        )
        self.addCleanup(self.machine.shell, f"mv {settings}.old {settings}; systemctl restart miosa-agent")
        copy = self.machine.call("GET", "/api/v1/computers/the-copy/services/worker").data
        self.assertEqual(copy, {**running, "computer_id": "the-copy"})
        former = self.machine.call("GET", f"/api/v1/computers/{created['computer_id']}/services")
        self.assertEqual((former.status, former.json["code"]), (404, "COMPUTER_NOT_FOUND"))
        self.assertEqual(self.machine.call("GET", "/v1").data["id"], "the-copy")
        self.assertEqual(self.machine.create("new", "sleep 1000")["computer_id"], "the-copy")

    def test_it_follows_services_after_it_came_back(self):
        self.machine.create("worker", "sleep 1000", restart="no")
        pid = self.machine.wait("worker", status="running")["pid"]
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.machine.exec("kill", "-9", str(pid))
        self.assertEqual(self.machine.wait("worker", status="failed")["signal"], "SIGKILL")

    def test_a_failure_from_before_is_still_told_by_a_new_agent(self):
        self.machine.create("three", "exit 3", restart="no")
        before = self.machine.wait("three", status="failed")
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.assertEqual(self.machine.get("three"), before)

    def test_figures_of_a_unit_that_systemd_has_forgotten_are_kept(self):
        self.machine.create("once", "exit 0")
        before = self.machine.wait("once", status="stopped", exit_code=0)
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        after = self.machine.get("once")
        for field in ("exit_code", "last_started_at", "last_exited_at", "invocation_id", "boot_id"):
            self.assertEqual(after[field], before[field], field)

    def test_it_ends_cleanly_on_sigterm_and_services_do_not_notice(self):
        self.machine.create("worker", "sleep 1000")
        pid = self.machine.wait("worker", status="running")["pid"]
        self.machine.exec("systemctl", "stop", "miosa-agent.service", "miosa-agent.socket")
        self.addCleanup(self.machine.exec, "systemctl", "start", "miosa-agent.socket", "miosa-agent.service")
        self.assertEqual(self.machine.property("miosa-agent.service", "Result"), "success")
        self.assertEqual(self.machine.property("miosa-agent.service", "ExecMainStatus"), "0")
        self.machine.exec("test", "-e", f"/proc/{pid}")
        self.doCleanups()

    def test_an_interrupted_deletion_and_creation_are_finished_at_the_next_start(self):
        self.machine.create("half-deleted", "sleep 1000")
        self.machine.create("half-created", "sleep 1000")
        self.machine.wait("half-deleted", status="running")
        self.machine.wait("half-created", status="running")
        self.machine.exec("systemctl", "kill", "-s", "STOP", "miosa-agent.service")
        edit = "cd /var/lib/miosa-agent/services && sed -i 's/\"phase\":\"[a-z]*\"/\"phase\":\"{}\"/' half-{}.json"
        self.machine.shell(edit.format("deleting", "deleted"))
        self.machine.shell(edit.format("starting", "created"))
        self.machine.shell("cd /etc/systemd/system && rm miosa-service-half-created.service")
        self.machine.exec("systemctl", "kill", "-s", "KILL", "miosa-agent.service")
        eventually(lambda: self.machine.call("GET", "/v1/services").json["total"] == 1, "only one is left")
        self.machine.wait("half-created", status="running")
        self.machine.exec("test", "-e", "/etc/systemd/system/miosa-service-half-created.service")
        self.assertEqual(self.machine.property("miosa-service-half-deleted.service", "LoadState"), "not-found")

    def test_a_record_that_cannot_be_read_is_set_aside_and_the_others_are_served(self):
        self.machine.create("good", "sleep 1000")
        self.machine.shell("echo '{' > /var/lib/miosa-agent/services/bad.json")
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.assertEqual(self.machine.wait("good", status="running")["name"], "good")
        self.machine.exec("test", "-e", "/var/lib/miosa-agent/services/bad.json.unreadable")
        log = ("journalctl", "-b", "-u", "miosa-agent", "-o", "cat", "--no-pager")
        eventually(lambda: "cannot read the record 'bad.json'" in self.machine.exec(*log), "it is in the journal")

    def test_after_a_reboot_enabled_services_run_and_stopped_ones_do_not(self):
        self.machine.create("on", "sleep 1000")
        self.machine.create("off", "sleep 1000")
        before = self.machine.wait("on", status="running")
        self.machine.wait("off", status="running")
        self.machine.call("POST", "/v1/services/off/stop")
        self.machine.run("reboot", self.machine.name)
        after = self.machine.wait("on", status="running")
        self.assertNotEqual(after["boot_id"], before["boot_id"])
        self.assertEqual(after["id"], before["id"])
        off = self.machine.get("off")
        self.assertEqual((off["status"], off["signal"]), ("stopped", "SIGTERM"))

    def test_after_a_reboot_a_deleted_name_runs_what_it_is_created_with(self):
        self.machine.create("web", "sleep 1111")
        self.machine.run("reboot", self.machine.name)
        self.machine.wait("web", status="running")
        self.machine.delete("web")
        self.assertEqual(self.machine.property("miosa-service-web.service", "LoadState"), "not-found")
        self.machine.create("web", "sleep 2222")
        pid = self.machine.wait("web", status="running")["pid"]
        self.assertEqual(self.machine.command_line(pid), ["sleep", "2222"])

    def test_the_power_is_cut_and_everything_acknowledged_is_there(self):
        names = [f"s{number}" for number in range(10)]
        for name in names:
            self.machine.create(name, "sleep 1000")
        self.machine.run("kill", self.machine.name)
        self.machine.run("boot", self.machine.name)
        self.assertEqual([service["name"] for service in self.machine.call("GET", "/v1/services").data], names)
        for name in names:
            self.machine.wait(name, status="running")


class SystemdAway(MachineTestCase):
    def test_a_request_while_systemd_executes_itself_anew_waits_and_is_answered(self):
        self.machine.create("worker", "sleep 1000")
        before = self.machine.wait("worker", status="running")
        for _ in range(5):
            self.machine.exec("systemctl", "daemon-reexec")
            reply = self.machine.call("GET", "/v1/services/worker")
            self.assertEqual((reply.status, reply.data["pid"]), (200, before["pid"]), reply)

    def test_signals_arrive_after_systemd_has_executed_itself_anew(self):
        self.machine.create("worker", "sleep 1000", restart="no")
        pid = self.machine.wait("worker", status="running")["pid"]
        self.machine.exec("systemctl", "daemon-reexec")
        self.machine.exec("kill", "-9", str(pid))
        self.assertEqual(self.machine.wait("worker", status="failed")["signal"], "SIGKILL")

    def test_the_system_bus_may_go(self):
        self.machine.create("worker", "sleep 1000")
        self.machine.wait("worker", status="running")
        self.machine.exec("systemctl", "stop", "dbus.socket", "dbus.service")
        self.addCleanup(self.machine.exec, "systemctl", "start", "dbus.socket")
        reply = self.machine.call("POST", "/v1/services/worker/restart")
        self.assertEqual((reply.status, reply.data["status"]), (200, "running"), reply)

    def test_a_reload_by_somebody_in_the_middle_of_a_stop_does_no_harm(self):
        self.machine.shell("rm -f /tmp/go")
        self.machine.create(
            "slow",
            "trap 'until [ -e /tmp/go ]; do sleep 0.1; done; exit 0' TERM; echo ready; while :; do sleep 0.1; done",
        )
        self.machine.wait_for_line("slow", "ready")
        self.machine.wait("slow", status="running")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            stop = pool.submit(self.machine.call, "POST", "/v1/services/slow/stop")
            self.machine.wait("slow", sub_state="stop-sigterm")
            self.machine.exec("systemctl", "daemon-reload")
            self.assertFalse(stop.done())
            self.machine.shell("touch /tmp/go")
            reply = stop.result()
        self.assertEqual((reply.status, reply.data["status"], reply.data["exit_code"]), (200, "stopped", 0), reply)

    def test_a_failure_outlives_a_reload_and_ends_with_its_reset(self):
        self.machine.create("three", "exit 3", restart="no")
        before = self.machine.wait("three", status="failed")
        self.machine.exec("systemctl", "daemon-reload")
        self.assertEqual(self.machine.get("three"), before)
        self.machine.exec("systemctl", "reset-failed", "miosa-service-three")
        self.assertEqual(self.machine.wait("three", status="stopped")["exit_code"], 3)

    def test_what_is_done_by_hand_is_told(self):
        self.machine.create("worker", "sleep 1000")
        self.machine.wait("worker", status="running")
        self.machine.exec("systemctl", "stop", "miosa-service-worker")
        self.machine.wait("worker", status="stopped")
        self.machine.exec("systemctl", "start", "miosa-service-worker")
        self.machine.wait("worker", status="running")


class Reloads(MachineTestCase):
    def test_creating_stopping_starting_and_deleting_do_not_reload_systemd(self):
        before = self.machine.reloads()
        for number in range(5):
            self.machine.create(f"s{number}", "sleep 1000")
            self.machine.wait(f"s{number}", status="running")
            self.machine.call("POST", f"/v1/services/s{number}/stop")
            self.machine.call("POST", f"/v1/services/s{number}/start")
            self.machine.delete(f"s{number}")
            self.machine.create(f"s{number}", "sleep 2000")
        self.assertEqual(self.machine.reloads(), before)

    def test_a_stale_copy_is_reloaded_before_the_start(self):
        self.machine.create("web", "sleep 1111")
        self.machine.run("reboot", self.machine.name)
        self.machine.wait("web", status="running")
        before = self.machine.reloads()
        self.machine.delete("web")
        self.assertEqual(self.machine.reloads(), before + 1)


class Footprint(MachineTestCase):
    def status(self, field):
        pid = self.machine.property("miosa-agent.service", "MainPID")
        lines = self.machine.exec("cat", f"/proc/{pid}/status").splitlines()
        return next(line.split()[1] for line in lines if line.startswith(field + ":"))

    def test_it_is_one_thread_and_less_than_16_mib(self):
        self.machine.create("worker", "sleep 1000")
        self.machine.wait("worker", status="running")
        # The thread that writes files ends soon after the last one.
        eventually(lambda: self.status("Threads") == "1", "it has one thread")
        # A sanitizer has memory of its own.
        self.assertLess(int(self.status("VmRSS")), (64 if SANITIZER else 16) * 1024)

    def test_the_watchdog_is_served_and_the_status_line_counts(self):
        self.machine.create("worker", "sleep 1000")
        self.machine.wait("worker", status="running")
        self.assertEqual(self.machine.property("miosa-agent.service", "WatchdogUSec"), "30s")
        line = "Services: 1, running: 1, failed: 0"
        eventually(lambda: self.machine.property("miosa-agent.service", "StatusText") == line, line)

    def test_requests_are_in_the_journal_with_their_fields(self):
        self.machine.call(
            "POST", "/v1/services", {"name": "logged", "command": "true"}, headers={"X-Request-Id": "look-for-me"}
        )
        log = ("journalctl", "-o", "verbose", "--no-pager", "MIOSA_REQUEST_ID=look-for-me")
        entry = eventually(
            lambda: "MIOSA_STATUS" in (text := self.machine.exec(*log, check=False)) and text, "a log entry"
        )
        for field in ("MIOSA_METHOD=POST", "MIOSA_STATUS=201", "MIOSA_SERVICE=logged", "MIOSA_PATH=/v1/services"):
            self.assertIn(field, entry)
        self.assertRegex(entry, r"MIOSA_DURATION_USEC=[1-9]")


class TwoAgents(MachineTestCase):
    def test_the_second_agent_on_a_state_directory_ends_and_says_so(self):
        self.machine.create("web", "sleep 1000")
        before = self.machine.wait("web", status="running")
        output = self.machine.shell(
            "miosa-agent serve --state-directory /var/lib/miosa-agent --socket /run/second.sock 2>&1; echo rc=$?"
        )
        self.assertIn("another agent uses the state directory '/var/lib/miosa-agent'", output)
        self.assertIn("rc=1", output)
        after = self.machine.get("web")
        self.assertEqual([after[key] for key in ("id", "pid")], [before[key] for key in ("id", "pid")])


class SocketName(MachineTestCase):
    """The Unix socket whose name is removed while systemd and the agent have it open."""

    PATH = "/run/miosa-agent/api.sock"

    def assert_reachable(self):
        """Waits until a request is answered, and fails unless the group may send some."""
        def answered():
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return self.machine.call("GET", "/v1/services").status == 200

        eventually(answered, "a request is answered")
        self.assertEqual(self.machine.exec("stat", "-c", "%a %U %G", self.PATH), "660 root miosa-agent\n")

    def test_it_comes_back_at_once_and_outlives_the_agent(self):
        main_pid = self.machine.property("miosa-agent.service", "MainPID")
        for _ in range(3):
            self.machine.exec("rm", self.PATH)
            self.assert_reachable()
        self.assertEqual(self.machine.property("miosa-agent.service", "MainPID"), main_pid)
        log = self.machine.exec("journalctl", "-u", "miosa-agent.service", "-o", "cat", "--no-pager")
        self.assertEqual(log.count(f"the Unix socket '{self.PATH}' was removed, and is open again"), 3)
        for _ in range(3):
            # systemd keeps it meanwhile: the request waits.
            self.machine.exec("systemctl", "kill", "-s", "KILL", "miosa-agent.service")
            self.assertEqual(self.machine.call("GET", "/v1/services").status, 200)
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.assert_reachable()

    def test_it_comes_back_with_the_next_start(self):
        self.machine.shell(f"systemctl stop miosa-agent.service; rm {self.PATH}; systemctl start miosa-agent.service")
        self.assert_reachable()

    def test_it_comes_back_when_its_name_is_free(self):
        # The agent is quick.
        self.machine.shell(f"until rm -f {self.PATH} && mkdir {self.PATH}; do :; done")
        self.machine.exec("rmdir", self.PATH)
        self.assert_reachable()


class WrongSettings(MachineTestCase):
    SETTINGS = "/etc/default/miosa-agent"
    REASON = "MIOSA_AGENT_LOG_LEVEL: 'loud' is no log level: error, warning, notice, info or debug"

    def starts(self):
        """How often the agent has come to say why it cannot run."""
        self.machine.exec("journalctl", "--sync")
        log = self.machine.exec("journalctl", "-u", "miosa-agent.service", "-o", "cat", "--no-pager")
        return log.splitlines().count(f"cannot run: {self.REASON}")

    def assert_failed(self):
        show = self.machine.exec(
            "systemctl", "show", "-p", "ActiveState,ExecMainStatus,NRestarts,StatusText", "miosa-agent.service"
        )
        self.assertEqual(set(show.splitlines()), {
            "ActiveState=failed", "ExecMainStatus=78", "NRestarts=0", f"StatusText=Cannot run: {self.REASON}",
        })

    def test_the_agent_fails_at_once_and_clients_are_told_why(self):
        keep = f"cp -p {self.SETTINGS} {self.SETTINGS}.old"
        self.machine.shell(f"{keep}; echo MIOSA_AGENT_LOG_LEVEL=loud >> {self.SETTINGS}")
        restore = f"test ! -e {self.SETTINGS}.old || mv {self.SETTINGS}.old {self.SETTINGS}"
        self.addCleanup(self.machine.shell, f"{restore}; systemctl start miosa-agent.service")
        output = self.machine.shell("systemctl restart miosa-agent.service 2>&1; echo rc=$?")
        self.assertIn("rc=1", output)
        self.assert_failed()
        self.assertEqual(self.starts(), 1)
        # Over TCP the reason is not told.
        for count, tcp in ((2, False), (3, True), (4, False)):
            reply = self.machine.call("GET", "/v1/services", tcp=tcp)
            self.assertEqual((reply.status, reply.json["code"]), (503, "AGENT_CANNOT_RUN"), reply)
            reason = "its log has the reason" if tcp else self.REASON
            self.assertEqual(reply.json["error"], f"the agent cannot run: {reason}")
            eventually(
                lambda: self.machine.property("miosa-agent.service", "ActiveState") == "failed", "the agent has ended"
            )
            # One start for each client, and none for nobody.
            self.assertLessEqual(self.starts(), count)
        self.assert_failed()
        # One that sends nothing does not keep it.
        with self.machine.raw() as client:
            self.assertEqual(client.recv(1), b"")
        reply = self.machine.call("POST", "/v1/services", {"name": "web", "command": "true"})
        self.assertEqual((reply.status, reply.json["code"]), (503, "AGENT_CANNOT_RUN"), reply)
        self.machine.shell(restore)
        # Nothing has to be started by hand.
        self.assertEqual(self.machine.call("GET", "/v1/services").status, 200)

    def test_an_unknown_setting_is_told(self):
        self.machine.shell(f"cp -p {self.SETTINGS} {self.SETTINGS}.old; echo MIOSA_AGENT_PORT=80 >> {self.SETTINGS}")
        self.addCleanup(
            self.machine.shell, f"mv {self.SETTINGS}.old {self.SETTINGS}; systemctl restart miosa-agent.service"
        )
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        log = self.machine.exec("journalctl", "-u", "miosa-agent.service", "-o", "cat", "--no-pager")
        self.assertIn("MIOSA_AGENT_PORT is no setting of this version, and is ignored", log)


class Credentials(MachineTestCase):
    """Where the agent has its token and its computer's id from. The machine's host passes the token and nothing else."""

    # Whether systemd looks into /etc/credstore for what its host does not pass.
    has_store = True

    def restart(self, script):
        self.machine.shell(f"{script}; systemctl restart miosa-agent.service")
        return self.machine.call("GET", "/v1").data["id"]

    def test_what_is_not_passed_is_missing_or_empty_and_what_is_passed_comes_first(self):
        held = self.machine.shell("cd /run/credentials/miosa-agent.service; find -type f -size +0 -exec cat {} +")
        self.assertEqual(held, self.machine.token)
        settings = "/etc/default/miosa-agent"
        self.machine.shell(f"cp -p {settings} {settings}.old")
        self.addCleanup(self.restart, f"mv {settings}.old {settings}")
        self.restart(f"echo MIOSA_AGENT_TOKEN=the-token-of-an-image-0123456789abcdef >> {settings}")
        self.assertEqual(self.machine.call("GET", "/v1", tcp=True).status, 200)
        log = self.machine.exec("journalctl", "-u", "miosa-agent.service", "-o", "cat", "--no-pager")
        self.assertIn("MIOSA_AGENT_TOKEN is ignored: put the token into the file /etc/miosa-agent/tokens/", log)

    def test_without_an_id_it_is_made_from_the_machines(self):
        key = bytes.fromhex(self.machine.exec("cat", "/etc/machine-id").strip())
        code = bytearray(hmac.digest(key, bytes.fromhex("5e1c0f9a3b7d4e629f24d87106b5a3e9"), "sha256")[:16])
        code[6] = code[6] & 0x0F | 0x40
        code[8] = code[8] & 0x3F | 0x80
        self.assertEqual(self.machine.call("GET", "/v1").data["id"], str(uuid.UUID(bytes=bytes(code))))

    def test_what_the_credential_store_holds_comes_before_the_settings(self):
        without = self.machine.call("GET", "/v1").data["id"]
        self.addCleanup(self.restart, "rm -rf /etc/credstore")
        held = self.restart("mkdir -p /etc/credstore; echo from-the-store > /etc/credstore/miosa.computer-id")
        self.assertEqual(held, "from-the-store" if self.has_store else without)


class Program(MachineTestCase):
    def test_check_tells_what_would_be_used_and_hides_the_token(self):
        token = "0123456789abcdef0123456789abcdef-secret"
        self.machine.shell(f"echo {token} | install -m 0600 /dev/stdin /etc/miosa-agent/tokens/x.read")
        self.addCleanup(self.machine.shell, "rm /etc/miosa-agent/tokens/x.read")
        output = self.machine.shell("miosa-agent check")
        self.assertRegex(output, r"(?m)^identity +x: read  \[file\]$")
        self.assertNotIn("secret", output)
        self.assertRegex(output, r"(?m)^unit directory +/etc/systemd/system  \[default\]$")

    def test_check_fails_when_it_could_not_run(self):
        output = self.machine.shell("miosa-agent check --service-user nobody-here; echo rc=$?")
        self.assertIn("cannot run: the account 'nobody-here' does not exist", output)
        self.assertIn("rc=1", output)
        output = self.machine.shell("miosa-agent check --listen localhost:1 --state-directory x; echo rc=$?")
        self.assertIn("--listen: 'localhost:1' is not of the form", output)
        self.assertIn("--state-directory: 'x' is not an absolute path", output)
        self.assertIn("rc=1", output)

    def report(self):
        output = self.machine.shell("miosa-agent check --json; echo rc=$?")
        text, _, status = output.rpartition("rc=")
        return json.loads(text), int(status)

    def test_check_finds_nothing_wrong_with_an_agent_that_works(self):
        report, status = self.report()
        self.assertEqual((report["ok"], status), (True, 0), report)
        self.assertEqual([f for f in report["findings"] if f["severity"] != "note"], [])
        self.assertEqual(report["unit"]["active_state"], "active")
        self.assertEqual([identity["name"] for identity in report["identities"]], ["control-plane"])
        states = {listener["unit"]: listener["state"] for listener in report["listeners"]}
        self.assertEqual(states["miosa-agent.socket"], "listening")
        self.assertEqual(states["miosa-agent-tcp.socket"], "listening")

    def test_check_tells_everything_that_is_wrong_with_the_unit_at_once(self):
        tcp = "/etc/systemd/system/miosa-agent-tcp.socket.d/taken.conf"
        unit = "/etc/systemd/system/miosa-agent.service.d/wrong.conf"
        self.machine.shell(
            "cp -p /etc/default/miosa-agent /etc/default/miosa-agent.old\n"
            "cat >> /etc/default/miosa-agent <<'X'\n"
            "MIOSA_AGENT_LOG_LEVEL='loud'\n"
            "MIOSA_AGENT_LOGLEVEL=info\n"
            "MIOSA_AGENT_SERVICE_USER=nobody-here\n"
            "MIOSA_AGENT_UNIT_DIRECTORY=/srv\n"
            "X\n"
            f"mkdir -p {tcp.rpartition('/')[0]} {unit.rpartition('/')[0]}\n"
            f"printf '[Service]\nEnvironment=MIOSA_AGENT_HOSTS=http://x\nEnvironmentFile=/etc/nowhere\n' > {unit}\n"
            f"printf '[Socket]\nListenStream=127.0.0.1:{self.taken()}\n' > {tcp}\n"
            "echo short > /etc/miosa-agent/tokens/short.read; chmod 644 /etc/miosa-agent/tokens/short.read\n"
            "systemctl daemon-reload; systemctl stop miosa-agent-tcp.socket; systemctl start miosa-agent-tcp.socket\n"
            "systemctl restart miosa-agent.service; true"
        )
        self.addCleanup(
            self.machine.shell,
            f"mv /etc/default/miosa-agent.old /etc/default/miosa-agent; rm -f {tcp} {unit} /etc/miosa-agent/tokens/*\n"
            "systemctl daemon-reload; systemctl reset-failed 'miosa-agent*'; systemctl restart miosa-agent-tcp.socket\n"
            "systemctl restart miosa-agent.service",
        )
        report, status = self.report()
        self.assertEqual((report["ok"], status), (False, 1))
        texts = [(finding["severity"], finding["text"]) for finding in report["findings"]]
        for severity, text in (
            ("cannot run", "MIOSA_AGENT_LOG_LEVEL: 'loud' is no log level: error, warning, notice, info or debug"),
            ("cannot run", "MIOSA_AGENT_HOSTS: 'http://x' is no host name; it has neither a scheme nor a port"),
            ("cannot run", "the account 'nobody-here' does not exist"),
            ("cannot run", "'/etc/nowhere' cannot be read: No such file or directory"),
            ("cannot run", "the unit makes the unit directory '/srv' read-only: it needs ReadWritePaths=/srv"),
            ("fault", "MIOSA_AGENT_LOGLEVEL in /etc/default/miosa-agent is no setting of this version, and is ignored:"
                      " is it MIOSA_AGENT_LOG_LEVEL?"),
            ("fault", "refused: '/etc/miosa-agent/tokens/short.read': the file is not root's alone (mode 0600)"),
        ):
            self.assertIn((severity, text), texts)
        failed = [text for severity, text in texts if severity == "fault" and "is not open" in text]
        # The unit has two addresses, and only one of them is taken.
        self.assertEqual(len(failed), 2, texts)
        self.assertTrue(failed[0].endswith("is not open: miosa-agent-tcp.socket has failed (resources)"), failed)
        self.assertRegex(failed[1], r"miosa-agent-tcp.socket has failed \(resources\); the port is held by holder.service")
        self.assertIn({"name": "log level", "value": "loud", "source": "MIOSA_AGENT_LOG_LEVEL in /etc/default/miosa-agent"},
                      report["settings"])
        self.assertIn({"name": "hosts", "value": "http://x", "source": "MIOSA_AGENT_HOSTS in Environment="},
                      report["settings"])
        self.assertEqual(report["unit"]["drop_ins"], [unit])

    def taken(self):
        """A port that another unit of the machine listens on."""
        port = free_port()
        self.machine.shell(f"systemd-run --quiet --unit=holder python3 -m http.server --bind 127.0.0.1 {port}")
        self.addCleanup(self.machine.exec, "systemctl", "stop", "holder.service")
        eventually(lambda: f":{port} " in self.machine.exec("ss", "-tln"), "it listens")
        return port

    def test_check_tells_that_a_setting_has_changed_since_the_start(self):
        self.machine.shell("cp -p /etc/default/miosa-agent /etc/default/miosa-agent.old; echo MIOSA_AGENT_HOSTS=a >> /etc/default/miosa-agent")
        self.addCleanup(self.machine.shell, "mv /etc/default/miosa-agent.old /etc/default/miosa-agent")
        report, status = self.report()
        self.assertEqual((report["ok"], status), (True, 0))
        self.assertIn(
            {"severity": "warning",
             "text": "MIOSA_AGENT_HOSTS has changed since the agent was started: systemctl restart miosa-agent"},
            report["findings"],
        )

    def test_version_and_help(self):
        version = (REPOSITORY / "CHANGELOG.md").read_text().split("## ")[1].split()[0]
        self.assertEqual(self.machine.exec("miosa-agent", "--version").strip(), f"miosa-agent {version}")
        self.assertIn("MIOSA_AGENT_LISTEN", self.machine.exec("miosa-agent", "--help"))
        self.assertIn("rc=2", self.machine.shell("miosa-agent --nonsense; echo rc=$?"))

    def test_it_runs_without_socket_activation_in_a_terminal(self):
        self.machine.exec("systemctl", "stop", "miosa-agent.service", "miosa-agent.socket")
        self.addCleanup(self.machine.exec, "systemctl", "start", "miosa-agent.socket", "miosa-agent.service")
        output = self.machine.shell(
            "mkdir -p /run/miosa-agent; miosa-agent --listen '' --state-directory /var/lib/miosa-agent 2>/tmp/log & "
            "pid=$!; until curl -sf --unix-socket /run/miosa-agent/api.sock http://localhost/readyz; do sleep 0.02; done; "
            "stat -c %a /run/miosa-agent/api.sock; kill -INT $pid; wait $pid; echo rc=$?; cat /tmp/log"
        )
        self.assertIn('{"status":"ok"', output)
        self.assertIn("660\n", output)
        self.assertIn("rc=0", output)
        self.assertIn("stopping; services go on", output)
        self.doCleanups()


if __name__ == "__main__":
    unittest.main()
