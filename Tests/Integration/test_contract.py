"""The rest of the contract: replacing, waiting, repeating, auditing, and figures that belong to the right run."""

import concurrent.futures
import json
import time
import unittest

from support import MachineTestCase, eventually, free_port


class Replacing(MachineTestCase):
    def put(self, name, body, query=""):
        return self.machine.call("PUT", f"/v1/services/{name}{query}", body)

    def command_line(self, name):
        pid = self.machine.wait(name, status="running")["pid"]
        return self.machine.command_line(pid)

    def test_it_creates_what_is_not_there(self):
        reply = self.put("web", {"command": "sleep 1000"})
        self.assertEqual((reply.status, reply.data["name"], reply.data["status"]), (201, "web", "starting"))
        self.assertEqual(reply.headers["Location"], "/v1/services/web")
        self.assertEqual(self.command_line("web"), ["sleep", "1000"])

    def test_an_equal_spec_changes_and_restarts_nothing(self):
        body = {"command": "sleep 1000", "env": {"B": "2", "A": "1"}, "cwd": "/tmp", "port": 8000}
        self.put("web", body)
        before = self.machine.wait("web", status="running")
        reply = self.put("web", {**body, "env": {"A": "1", "B": "2"}, "restart": "on-failure"})
        self.assertEqual((reply.status, reply.data), (200, before))
        self.machine.call("POST", "/v1/services/web/stop")
        self.assertEqual(self.put("web", body).data["status"], "stopped")

    def test_a_changed_spec_is_what_runs(self):
        self.put("web", {"command": "sleep 1000"})
        before = self.machine.wait("web", status="running")
        reply = self.put("web", {"command": "sleep 2000", "env": {"A": "b"}})
        self.assertEqual((reply.status, reply.data["status"]), (200, "running"), reply)
        self.assertEqual(reply.data["id"], before["id"])
        self.assertEqual(reply.data["created_at"], before["created_at"])
        self.assertGreater(reply.data["updated_at"], before["updated_at"])
        self.assertNotEqual(reply.data["pid"], before["pid"])
        self.assertEqual(self.command_line("web"), ["sleep", "2000"])
        environment = self.machine.exec("cat", f"/proc/{reply.data['pid']}/environ").split("\0")
        self.assertIn("A=b", environment)

    def test_a_stopped_one_stays_stopped_and_runs_the_new_spec_next(self):
        self.put("web", {"command": "sleep 1000"})
        self.machine.wait("web", status="running")
        self.machine.call("POST", "/v1/services/web/stop")
        reply = self.put("web", {"command": "sleep 2000"})
        self.assertEqual((reply.status, reply.data["status"]), (200, "stopped"))
        self.machine.call("POST", "/v1/services/web/start")
        self.assertEqual(self.command_line("web"), ["sleep", "2000"])

    def test_a_failed_one_is_started_with_the_new_spec(self):
        self.put("web", {"command": "exit 1", "restart": "no"})
        self.machine.wait("web", status="failed")
        self.assertEqual(self.put("web", {"command": "sleep 2000"}).data["status"], "running")

    def test_another_port_restarts_nothing(self):
        self.put("web", {"command": "sleep 1000", "port": 8000})
        before = self.machine.wait("web", status="running")
        reply = self.put("web", {"command": "sleep 1000", "port": 8001})
        self.assertEqual((reply.data["pid"], reply.data["port"]), (before["pid"], 8001))

    def test_a_bad_body_changes_nothing(self):
        self.put("web", {"command": "sleep 1000"})
        before = self.machine.wait("web", status="running")
        reply = self.put("web", {"command": "", "cwd": "x", "name": "other"})
        self.assertEqual((reply.status, set(reply.json["details"])), (422, {"command", "cwd", "name"}))
        self.assertEqual(self.put("Bad_Name", {"command": "true"}).json["details"].keys(), {"name"})
        self.assertEqual(self.machine.get("web"), before)

    def test_many_changes_of_units_that_systemd_holds_share_reloads(self):
        names = [f"s{number}" for number in range(16)]
        for name in names:
            self.machine.create(name, "sleep 1111")
        self.machine.run("reboot", self.machine.name)
        for name in names:
            self.machine.wait(name, status="running")
        before = self.machine.reloads()
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            replies = list(pool.map(lambda name: self.put(name, {"command": "sleep 2222"}), names))
        self.assertEqual({(reply.status, reply.data["status"]) for reply in replies}, {(200, "running")})
        for name in names:
            self.assertEqual(self.command_line(name), ["sleep", "2222"])
        self.assertLess(self.machine.reloads() - before, len(names) / 2)


class Waiting(MachineTestCase):
    def post(self, body, query="?wait=ready"):
        return self.machine.call("POST", f"/v1/services{query}", body)

    def test_a_port_that_accepts_is_ready(self):
        port = free_port()
        reply = self.post({"name": "web", "command": f"sleep 0.5; exec python3 -m http.server {port}", "port": port})
        self.assertEqual((reply.status, reply.data["status"]), (201, "running"))
        self.assertTrue(self.machine.shell(f"curl -sf http://127.0.0.1:{port}/ >/dev/null && echo yes").strip())

    def test_without_a_port_a_second_of_life_is_ready(self):
        began = time.monotonic()
        reply = self.post({"name": "worker", "command": "sleep 1000"})
        self.assertEqual((reply.status, reply.data["status"]), (201, "running"))
        self.assertGreaterEqual(time.monotonic() - began, 0.9)

    def test_one_that_fails_is_told_in_the_body_with_its_last_lines(self):
        reply = self.post({"name": "bad", "command": "echo one; echo two >&2; exit 4", "restart": "no"})
        self.assertEqual((reply.status, reply.data["status"], reply.data["exit_code"]), (201, "failed", 4))
        self.assertEqual(sorted(reply.json["details"]["log"]), ["one", "two"])
        # Without a wait there is nothing but the object.
        self.assertEqual(set(self.machine.call("GET", "/v1/services/bad").json), {"data"})

    def test_running_and_stopped_are_waited_for(self):
        reply = self.post({"name": "job", "command": "sleep 0.3; exit 0", "restart": "no"}, "?wait=running")
        self.assertEqual((reply.status, reply.data["status"], "details" in reply.json), (201, "running", False))
        reply = self.machine.call("POST", "/v1/services/job/restart?wait=stopped")
        self.assertEqual((reply.status, reply.data["status"], reply.data["exit_code"]), (200, "stopped", 0))
        self.machine.call("POST", "/v1/services/job/start")
        reply = self.machine.call("POST", "/v1/services/job/stop?wait=stopped")
        self.assertEqual((reply.status, reply.data["status"]), (200, "stopped"))
        reply = self.post({"name": "long", "command": "sleep 1000"}, "?wait=stopped&timeout=1")
        self.assertEqual((reply.status, reply.json["code"]), (504, "WAIT_TIMEOUT"))
        self.assertEqual(reply.json["error"], "the service is not stopped in time")
        # It was created nevertheless.
        self.assertEqual(self.machine.get("long")["status"], "running")

    def test_one_that_is_not_ready_in_time_is_504_with_the_service_and_its_log(self):
        spec = {"command": "echo one; echo two >&2; sleep 1000", "port": free_port()}
        reply = self.post({"name": "deaf", **spec}, "?wait=ready&timeout=1")
        self.assertEqual((reply.status, reply.json["code"]), (504, "WAIT_TIMEOUT"))
        # A busy machine may have taken longer to start it. A wait for what is there already finds it started.
        for line in ("one", "two"):
            self.machine.wait_for_line("deaf", line)
        self.machine.wait("deaf", status="running")
        reply = self.machine.call("PUT", "/v1/services/deaf?wait=ready&timeout=1", spec)
        self.assertEqual((reply.status, reply.json["code"]), (504, "WAIT_TIMEOUT"))
        self.assertEqual(reply.json["details"]["service"]["name"], "deaf")
        self.assertEqual(reply.json["details"]["service"]["status"], "running")
        self.assertEqual(sorted(reply.json["details"]["log"]), ["one", "two"])
        self.assertEqual(self.machine.get("deaf")["status"], "running")

    def test_start_restart_and_put_wait_too(self):
        self.post({"name": "worker", "command": "sleep 1000"}, "")
        self.machine.wait("worker", status="running")
        self.machine.call("POST", "/v1/services/worker/stop")
        for method, path, body in (
            ("POST", "/start", None), ("POST", "/restart", None), ("PUT", "", {"command": "sleep 2000"}),
        ):
            began = time.monotonic()
            reply = self.machine.call(method, f"/v1/services/worker{path}?wait=ready", body)
            self.assertEqual((reply.status, reply.data["status"]), (200, "running"), reply)
            self.assertGreaterEqual(time.monotonic() - began, 0.9)

    def test_bad_parameters_are_refused_and_nothing_is_done(self):
        for query in ("?wait=soon", "?wait=ready&timeout=0", "?wait=ready&timeout=301", "?wait=ready&timeout=x",
                      "?timeout=0", "?wait=ready&timeout=-1", "?wait=ready&timeout=1.5"):
            reply = self.post({"name": "worker", "command": "sleep 1000"}, query)
            self.assertEqual((reply.status, reply.json["code"]), (400, "BAD_REQUEST"), query)
        self.assertEqual(self.machine.call("GET", "/v1/services").json["total"], 0)


class Repeating(MachineTestCase):
    def post(self, body, key, path="/v1/services"):
        return self.machine.call("POST", path, body, headers={"Idempotency-Key": key})

    def test_the_same_key_and_body_give_the_first_answer_again(self):
        first = self.post({"name": "once", "command": "sleep 1000"}, "key-1")
        self.assertEqual(first.status, 201)
        self.machine.wait("once", status="running")
        again = self.post({"name": "once", "command": "sleep 1000"}, "key-1")
        self.assertEqual((again.status, again.text), (201, first.text))
        self.assertEqual(again.headers["Location"], first.headers["Location"])
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.assertEqual(self.post({"name": "once", "command": "sleep 1000"}, "key-1").text, first.text)

    def test_another_body_or_path_is_422(self):
        self.post({"name": "once", "command": "sleep 1000"}, "key-2")
        for body, path in (({"name": "once", "command": "sleep 1001"}, "/v1/services"),
                           ({"name": "once", "command": "sleep 1000"}, "/v1/services/once/restart")):
            reply = self.post(body, "key-2", path)
            self.assertEqual((reply.status, list(reply.json["details"])), (422, ["Idempotency-Key"]))

    def test_at_the_same_time_the_work_is_done_once(self):
        body = json.dumps({"name": "once", "command": "sleep 1000"})
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: self.post(body, "key-3"), range(8)))
        self.assertEqual({(reply.status, reply.text) for reply in replies}, {(201, replies[0].text)})

    def test_a_restart_that_is_repeated_restarts_once(self):
        self.machine.create("once", "sleep 1000")
        self.machine.wait("once", status="running")
        first = self.post(None, "key-4", "/v1/services/once/restart")
        self.assertEqual(self.post(None, "key-4", "/v1/services/once/restart").text, first.text)
        self.assertEqual(self.machine.get("once")["pid"], first.data["pid"])

    def test_values_of_the_environment_leave_the_disk_with_the_service(self):
        body = {"name": "once", "command": "sleep 1000", "env": {"SECRET": "value-of-the-secret"}}
        find = "grep -rl value-of-the-secret /var/lib/miosa-agent /etc/systemd/system; :"
        for how in ("", "systemctl kill --signal=KILL miosa-agent.service"):
            key = f"key-env-{how}".replace(" ", "-")
            self.assertEqual(self.post(body, key).status, 201)
            self.assertIn("/answers/", self.machine.shell(find))
            self.machine.delete("once")
            self.machine.shell(how)
            eventually(lambda: self.machine.shell(find) == "", "no file has the value")
            # The request is not carried out again.
            again = self.post(body, key)
            self.assertEqual((again.status, again.data["env"]), (201, {"SECRET": "(hidden)"}))
            self.assertEqual(self.machine.call("GET", "/v1/services").json["total"], 0)

    def test_a_key_has_a_limit(self):
        self.assertEqual(self.post({"name": "x", "command": "sleep 1"}, "k" * 255).status, 201)
        for key in ("k" * 256, "with blank", "é"):
            reply = self.machine.call("POST", "/v1/services", {}, headers={"Idempotency-Key": key.encode()})
            self.assertEqual(reply.status, 400, key)


class Auditing(MachineTestCase):
    def removed(self):
        return self.machine.call("GET", "/v1/services?status=removed").data

    def test_a_removed_service_leaves_who_and_when_and_no_secret(self):
        created = self.machine.create("gone", "sleep 1000", env={"SECRET": "hunter2-audit"})
        self.machine.wait("gone", status="running")
        self.machine.call("DELETE", "/v1/services/gone", headers={"X-Request-Id": "audit-1"})
        record = self.removed()[0]
        self.assertEqual((record["id"], record["status"], record["env"]), (created["id"], "removed", {}))
        self.assertEqual(record["removed_by"], {"identity": None, "uid": 0, "request_id": "audit-1"})
        self.assertEqual(record["signal"], "SIGTERM")
        self.assertGreater(record["removed_at"], record["created_at"])
        self.assertEqual(self.machine.shell("grep -r hunter2-audit /var/lib/miosa-agent || echo none").strip(), "none")
        self.assertEqual(self.machine.call("GET", "/v1/services").json["total"], 0)

    def test_over_tcp_there_is_no_uid(self):
        self.machine.create("gone", "sleep 1000")
        self.machine.call("DELETE", "/v1/services/gone", tcp=True)
        self.assertIsNone(self.removed()[0]["removed_by"]["uid"])

    def test_the_newest_thousand_are_kept_newest_first(self):
        # Records as the agent writes them, but older, so that the limit is reached without a thousand deletions.
        self.machine.create("seed", "true")
        self.machine.delete("seed")
        self.machine.shell(
            "cd /var/lib/miosa-agent/removed && seed=$(ls | tail -n 1) && "
            "for i in $(seq 1 1000); do cp \"$seed\" \"$(printf %020d $i)-seed.json\"; done"
        )
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.machine.create("last", "true")
        self.machine.delete("last")
        removed = self.removed()
        self.assertEqual((len(removed), removed[0]["name"]), (1000, "last"))
        self.machine.shell("rm /var/lib/miosa-agent/removed/*")
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.assertEqual(self.removed(), [])


class RightRun(MachineTestCase):
    def without_agent(self, script):
        self.machine.exec("systemctl", "stop", "miosa-agent.service", "miosa-agent.socket")
        try:
            self.machine.shell(script)
        finally:
            self.machine.exec("systemctl", "start", "miosa-agent.socket", "miosa-agent.service")

    def test_endings_while_the_agent_is_away_are_still_told(self):
        go = "while [ ! -e /tmp/go-{0} ]; do sleep 0.05; done; {1}"
        self.machine.shell("rm -f /tmp/go-*")
        endings = {"zero": "exit 0", "three": "exit 3", "killed": "kill -KILL $$", "loop": "exit 7"}
        for name, ending in endings.items():
            self.machine.create(name, go.format(name, ending), restart="on-failure" if name == "loop" else "no")
        before = {name: self.machine.wait(name, status="running") for name in endings}
        self.without_agent(
            "touch /tmp/go-zero /tmp/go-three /tmp/go-killed /tmp/go-loop; "
            "while systemctl -q is-active miosa-service-zero miosa-service-three miosa-service-killed; "
            "do sleep 0.1; done; "
            "until [ \"$(systemctl show -p NRestarts --value miosa-service-loop)\" -ge 1 ]; do sleep 0.1; done; "
            "rm /tmp/go-loop; until systemctl -q is-active miosa-service-loop; do sleep 0.1; done; sleep 0.5"
        )
        expected = {
            # Of an end that counts as success the journal does not tell whether it was exit code 0 or SIGTERM.
            "zero": ("stopped", None, None), "three": ("failed", 3, None), "killed": ("failed", 137, "SIGKILL"),
            "loop": ("running", 7, None),
        }
        for name, (status, code, signal) in expected.items():
            service = self.machine.wait(name, status=status)
            self.assertEqual((service["exit_code"], service["signal"]), (code, signal), name)
            self.assertGreater(service["last_exited_at"], before[name]["last_started_at"], name)

    def test_rapid_restarts_lose_no_ending(self):
        for number in range(1, 30):
            self.machine.create("quick", f"exit {number}", restart="no")
            service = self.machine.wait("quick", status="failed")
            self.assertEqual(service["exit_code"], number)
            self.machine.delete("quick")

    def test_a_hundred_that_die_in_the_same_second_are_told_apart(self):
        names = [f"s{number}" for number in range(100)]
        self.machine.shell("rm -f /tmp/die")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(
                lambda number: self.machine.create(
                    f"s{number}", f"until [ -e /tmp/die ]; do sleep 0.2; done; exit {number + 1}", restart="no"
                ),
                range(100),
            ))
        for name in names:
            self.machine.wait(name, status="running")
        self.machine.shell("touch /tmp/die")
        eventually(
            lambda: self.machine.call("GET", "/v1/services?status=failed").json["total"] == 100, "all have failed"
        )
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        codes = {service["name"]: service["exit_code"] for service in self.machine.call("GET", "/v1/services").data}
        self.assertEqual(codes, {f"s{number}": number + 1 for number in range(100)})

    def test_the_figures_of_the_last_run_survive_a_reboot(self):
        self.machine.create("once", "exit 5", restart="no")
        self.machine.create("off", "sleep 1000")
        self.machine.wait("once", status="failed")
        self.machine.wait("off", status="running")
        before = self.machine.call("POST", "/v1/services/off/stop").data
        self.machine.run("reboot", self.machine.name)
        after = self.machine.get("off")
        for field in ("status", "exit_code", "signal", "last_started_at", "last_exited_at", "boot_id", "invocation_id"):
            self.assertEqual(after[field], before[field], field)
        self.assertEqual(self.machine.wait("once", status="failed")["exit_code"], 5)


class TheComputer(MachineTestCase):
    systemd_version = "252"

    def test_it_tells_about_itself(self):
        self.machine.create("up", "sleep 1000")
        self.machine.create("down", "exit 1", restart="no")
        self.machine.wait("up", status="running")
        self.machine.wait("down", status="failed")
        computer = self.machine.call("GET", "/v1").data
        self.assertEqual(
            list(computer),
            ["id", "tenant_id", "hostname", "boot_id", "booted_at", "agent_version", "systemd_version", "services"],
        )
        self.assertEqual(computer["id"], self.machine.get("up")["computer_id"])
        self.assertEqual(computer["hostname"], self.machine.exec("hostname").strip())
        self.assertTrue(computer["systemd_version"].startswith(self.systemd_version))
        self.assertEqual(
            computer["services"], {"total": 2, "starting": 0, "running": 1, "failed": 1, "stopped": 0}
        )

    def test_the_unit_file_is_shown_as_it_is(self):
        self.machine.create("up", "sleep 1000")
        reply = self.machine.call("GET", "/v1/services/up/unit")
        self.assertEqual(reply.headers["Content-Type"], "text/plain; charset=utf-8")
        self.assertEqual(reply.text, self.machine.exec("cat", "/etc/systemd/system/miosa-service-up.service"))

    def test_readyz_names_the_records_that_were_set_aside(self):
        self.machine.shell("echo nonsense > /var/lib/miosa-agent/services/odd.json")
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        reply = self.machine.call("GET", "/readyz")
        expected = {"status": "ok", "unreadable_records": ["odd.json.unreadable"], "journal": "active"}
        self.assertEqual(reply.json, {**expected, "port_owner": "cgroup"})
        self.machine.shell("rm /var/lib/miosa-agent/services/odd.json.unreadable")

    def test_calls_for_one_service_wait_and_those_for_others_do_not(self):
        self.machine.create("deaf", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
        self.machine.wait_for_line("deaf", "ready")
        self.machine.create("quick", "sleep 1000")
        self.machine.wait("deaf", status="running")
        self.machine.wait("quick", status="running")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            stop = pool.submit(self.machine.call, "POST", "/v1/services/deaf/stop")
            self.machine.wait("deaf", sub_state="stop-sigterm")
            start = pool.submit(self.machine.call, "POST", "/v1/services/deaf/start")
            # systemd gives the process ten seconds.
            answered = 0
            while not stop.done():
                self.assertEqual(self.machine.call("POST", "/v1/services/quick/restart").status, 200)
                answered += not stop.done()
            self.assertGreater(answered, 1)
            self.assertEqual(stop.result().data["status"], "stopped")
            self.assertEqual(start.result().data["status"], "running")


if __name__ == "__main__":
    unittest.main()
