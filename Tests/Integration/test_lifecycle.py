"""The life of a service, as a client of the API sees it and as systemd does."""

import datetime
import re
import unittest
import urllib.request

from support import MachineTestCase, eventually, free_port

DOCUMENTED_FIELDS = [
    "id", "computer_id", "tenant_id", "name", "command", "env", "cwd", "restart", "status", "pid", "exit_code",
    "last_started_at", "last_exited_at", "created_at", "updated_at",
]
OWN_FIELDS = [
    "working_dir", "restart_policy", "port", "user", "unit", "active_state", "sub_state", "result", "signal", "restarts",
    "boot_id", "invocation_id", "message", "pending", "sub_status", "drop_ins", "usage",
    "stdio", "description", "enabled", "network", "shell", "group", "umask", "env_file", "pre_start", "post_stop",
    "stop_signal", "stop_timeout", "stop_mode", "reload_signal", "start_timeout", "restart_delay", "restart_max_delay",
    "restart_limit", "limits", "sandbox", "writable", "log_rate_limit", "labels",
]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class WebServer(MachineTestCase):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.created = self.machine.create("web", f"python3 -m http.server {self.port}", port=self.port)

    def serves(self):
        def answers():
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).status == 200
            except OSError:
                return False

        return eventually(answers, "the web server answers")

    def test_create_answers_as_soon_as_the_start_is_dispatched(self):
        self.assertEqual(list(self.created), DOCUMENTED_FIELDS + OWN_FIELDS)
        # The process may have come to its command by the time that the record is durable.
        self.assertIn(self.created["status"], ("starting", "running"))
        self.assertEqual(self.created["cwd"], "/home/user")
        self.assertEqual(self.created["restart"], "on-failure")
        self.assertEqual(self.created["unit"], "miosa-service-web.service")

    def test_it_runs_with_a_pid_that_exists_and_serves_http(self):
        service = self.machine.wait("web", status="running")
        self.serves()
        self.assertEqual(self.machine.exec("cat", f"/proc/{service['pid']}/comm").strip(), "python3")
        self.assertEqual(str(service["pid"]), self.machine.property(service["unit"], "MainPID"))
        self.assertEqual(self.machine.exec("stat", "-c", "%U", f"/proc/{service['pid']}").strip(), "user")
        self.assertEqual(self.machine.exec("readlink", f"/proc/{service['pid']}/cwd").strip(), "/home/user")
        self.assertIn("miosa-services.slice", self.machine.exec("cat", f"/proc/{service['pid']}/cgroup"))
        self.assertTrue(TIME.fullmatch(service["last_started_at"]), service["last_started_at"])
        self.assertEqual(
            service["invocation_id"].replace("-", ""), self.machine.property(service["unit"], "InvocationID")
        )
        self.assertEqual(
            service["boot_id"], self.machine.exec("cat", "/proc/sys/kernel/random/boot_id").strip()
        )

    def test_name_and_id_both_find_it(self):
        self.assertEqual(self.machine.get("web")["id"], self.created["id"])
        self.assertEqual(self.machine.get(self.created["id"])["name"], "web")

    def test_stop_ends_the_process_and_keeps_it_from_starting_at_boot(self):
        pid = self.machine.wait("web", status="running")["pid"]
        reply = self.machine.call("POST", "/v1/services/web/stop")
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(reply.data["status"], "stopped")
        self.assertIsNone(reply.data["pid"])
        self.assertEqual(reply.data["signal"], "SIGTERM")
        self.assertEqual(reply.data["exit_code"], 143)
        self.assertEqual(self.machine.shell(f"test -e /proc/{pid} || echo gone").strip(), "gone")
        self.assertEqual(
            self.machine.exec("systemctl", "is-enabled", "miosa-service-web", check=False).strip(), "disabled"
        )
        again = self.machine.call("POST", "/v1/services/web/stop")
        self.assertEqual((again.status, again.json["code"]), (409, "SERVICE_NOT_RUNNING"))
        self.assertEqual(again.json["error"], "service is not running")

    def test_start_runs_it_again_and_at_boot(self):
        self.machine.wait("web", status="running")
        self.machine.call("POST", "/v1/services/web/stop")
        reply = self.machine.call("POST", "/v1/services/web/start")
        self.assertEqual((reply.status, reply.data["status"]), (200, "running"), reply)
        self.serves()
        self.assertEqual(self.machine.exec("systemctl", "is-enabled", "miosa-service-web").strip(), "enabled")
        again = self.machine.call("POST", "/v1/services/web/start")
        self.assertEqual((again.status, again.json["code"]), (409, "SERVICE_RUNNING"))
        self.assertEqual(again.json["error"], "service is already running")

    def test_restart_gives_it_a_new_pid(self):
        before = self.machine.wait("web", status="running")
        reply = self.machine.call("POST", f"/v1/services/{before['id']}/restart")
        self.assertEqual((reply.status, reply.data["status"]), (200, "running"), reply)
        self.assertNotEqual(reply.data["pid"], before["pid"])
        self.assertNotEqual(reply.data["invocation_id"], before["invocation_id"])
        self.assertGreater(reply.data["last_started_at"], before["last_started_at"])
        self.serves()

    def test_restart_starts_a_stopped_one(self):
        self.machine.wait("web", status="running")
        self.machine.call("POST", "/v1/services/web/stop")
        reply = self.machine.call("POST", "/v1/services/web/restart")
        self.assertEqual((reply.status, reply.data["status"]), (200, "running"), reply)

    def test_restart_many_times_does_not_hit_the_start_limit(self):
        self.machine.wait("web", status="running")
        for _ in range(8):
            reply = self.machine.call("POST", "/v1/services/web/restart")
            self.assertEqual((reply.status, reply.data["status"]), (200, "running"), reply)

    def test_delete_leaves_nothing(self):
        pid = self.machine.wait("web", status="running")["pid"]
        reply = self.machine.call("DELETE", "/v1/services/web")
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.json, {"data": {"name": "web", "status": "removed"}})
        self.assertEqual(self.machine.call("GET", "/v1/services/web").json["code"], "SERVICE_NOT_FOUND")
        self.assertEqual(self.machine.call("DELETE", "/v1/services/web").status, 404)
        self.assertEqual(self.machine.shell(f"test -e /proc/{pid} || echo gone").strip(), "gone")
        left = self.machine.shell("find /etc/systemd /var/lib/miosa-agent -name '*web*' -not -path '*/removed/*'")
        self.assertEqual(left, "")
        self.assertEqual(self.machine.property("miosa-service-web.service", "LoadState"), "not-found")

    def test_the_name_of_a_deleted_one_can_be_used_again_at_once(self):
        self.machine.wait("web", status="running")
        self.machine.delete("web")
        again = self.machine.create("web", "sleep 4711")
        self.assertNotEqual(again["id"], self.created["id"])
        pid = self.machine.wait("web", status="running")["pid"]
        self.assertEqual(self.machine.command_line(pid), ["sleep", "4711"])

    def test_a_second_one_of_the_name_is_refused(self):
        reply = self.machine.call("POST", "/v1/services", {"name": "web", "command": "true"})
        self.assertEqual((reply.status, reply.json["code"]), (409, "SERVICE_EXISTS"))
        self.assertEqual(reply.json["error"], "a service with this name already exists")
        self.assertEqual(self.machine.get("web")["id"], self.created["id"])

    def test_the_list_has_full_objects_by_name_and_a_total(self):
        self.machine.create("aaa", "sleep 100")
        reply = self.machine.call("GET", "/v1/services")
        self.assertEqual(list(reply.json), ["data", "total"])
        self.assertEqual(reply.json["total"], 2)
        self.assertEqual([service["name"] for service in reply.data], ["aaa", "web"])
        self.assertEqual(list(reply.data[0]), DOCUMENTED_FIELDS + OWN_FIELDS)


class Endings(MachineTestCase):
    def test_a_command_that_exits_3_is_failed_with_its_code(self):
        self.machine.create("three", "exit 3", restart="no")
        service = self.machine.wait("three", status="failed")
        self.assertEqual((service["exit_code"], service["signal"]), (3, None))
        self.assertEqual((service["active_state"], service["result"]), ("failed", "exit-code"))
        self.assertEqual(service["message"], "exited with code 3")
        self.assertTrue(TIME.fullmatch(service["last_exited_at"]))
        self.assertIsNone(service["pid"])

    def test_a_command_that_exits_0_is_stopped(self):
        self.machine.create("zero", "true")
        service = self.machine.wait("zero", status="stopped")
        self.assertEqual((service["exit_code"], service["message"]), (0, None))

    def test_one_that_is_killed_starts_again_and_tells_the_signal(self):
        self.machine.create("victim", "sleep 1000")
        before = self.machine.wait("victim", status="running")
        self.machine.exec("kill", "-9", str(before["pid"]))
        after = self.machine.wait("victim", status="running", restarts=1)
        self.assertNotEqual(after["pid"], before["pid"])
        self.assertEqual((after["signal"], after["exit_code"]), ("SIGKILL", 137))
        self.assertGreater(after["last_started_at"], after["last_exited_at"])

    def test_one_that_is_killed_and_not_to_be_restarted_is_failed(self):
        self.machine.create("victim", "sleep 1000", restart="no")
        self.machine.exec("kill", "-9", str(self.machine.wait("victim", status="running")["pid"]))
        service = self.machine.wait("victim", status="failed")
        self.assertEqual((service["signal"], service["exit_code"]), ("SIGKILL", 137))
        self.assertEqual(service["message"], "ended by SIGKILL")

    def test_a_command_that_does_not_exist_fails_with_127_and_systemd_gives_up(self):
        self.machine.create("absent", "no-such-program --at-all")
        service = self.machine.wait("absent", status="failed")
        self.assertEqual(service["exit_code"], 127)
        self.assertIn("the command 'no-such-program' was not found; PATH was /home/user/.local/bin:", service["message"])
        # Told once systemd's line on that is found in the journal.
        eventually(
            lambda: "gave up after 5 starts" in self.machine.get("absent")["message"], "it is told that systemd gave up"
        )

    def test_a_start_clears_the_start_limit(self):
        self.machine.create("flapping", "exit 1")
        self.machine.wait("flapping", status="failed")
        # The last event about the failure: its diagnosis.
        eventually(
            lambda: "gave up after 5 starts" in self.machine.get("flapping")["message"], "it is told why it failed"
        )
        # In the order in which it goes through them: in a second the state is another one.
        with self.machine.stream("/v1/events", "text/event-stream") as events:
            while events.event()["event"] != "ready":
                pass
            reply = self.machine.call("POST", "/v1/services/flapping/start")
            self.assertEqual(reply.status, 200, reply)
            while (service := events.event()["data"]["service"])["sub_state"] != "auto-restart":
                self.assertNotEqual(service["status"], "failed")
        self.assertEqual((service["status"], service["restarts"]), ("starting", 0))

    def test_while_it_is_restarted_it_is_never_failed(self):
        self.machine.create("flapping", "sleep 0.1; exit 1")
        seen = set()
        while (service := self.machine.get("flapping"))["restarts"] < 3:
            seen.add(service["status"])
        self.assertLessEqual(seen, {"starting", "running"})

    def test_a_missing_working_directory_is_named(self):
        self.machine.create("lost", "sleep 1", cwd="/srv/x", restart="no")
        service = self.machine.wait("lost", status="failed")
        self.assertEqual(
            service["message"], "working directory '/srv/x' does not exist: create it or change cwd (exit code 200)"
        )

    def test_a_missing_account_is_named(self):
        self.machine.create("lost", "sleep 1", user="nobody-here", restart="no")
        self.machine.wait("lost", message="account 'nobody-here' does not exist (systemd 217/USER)", status="failed")

    def test_one_that_fails_when_it_is_stopped_is_stopped_and_leaves_no_failed_unit(self):
        self.machine.create("stubborn", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done")
        self.machine.wait_for_line("stubborn", "ready")
        reply = self.machine.call("POST", "/v1/services/stubborn/stop")
        self.assertEqual((reply.status, reply.data["status"]), (200, "stopped"), reply)
        self.assertEqual(reply.data["exit_code"], 5)
        self.assertEqual(reply.data["message"], "ended with exit code 5 when it was stopped")
        self.assertEqual(self.machine.exec("systemctl", "--failed", "--no-legend", "--plain"), "")

    def test_one_that_ignores_sigterm_is_killed_after_the_time_out(self):
        self.machine.create("deaf", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
        self.machine.wait_for_line("deaf", "ready")
        began = datetime.datetime.now()
        reply = self.machine.call("POST", "/v1/services/deaf/stop")
        self.assertGreater(datetime.datetime.now() - began, datetime.timedelta(seconds=9))
        self.assertEqual((reply.status, reply.data["status"]), (200, "stopped"), reply)
        self.assertEqual((reply.data["signal"], reply.data["exit_code"]), ("SIGKILL", 137))
        self.assertEqual(
            reply.data["message"], "did not end within 10 s of SIGTERM and was killed"
        )
        self.assertEqual(self.machine.exec("systemctl", "--failed", "--no-legend", "--plain"), "")


if __name__ == "__main__":
    unittest.main()
