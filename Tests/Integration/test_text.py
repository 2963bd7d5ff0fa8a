"""What a person at a terminal reads: the API's answers as text, and systemctl's word on the agent."""

import json
import re
import unittest

from support import MachineTestCase, eventually

PERSON = {"Accept": "text/plain"}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
TEXT = "text/plain; charset=utf-8"
SECRET = "value-that-nobody-may-see"


class Text(MachineTestCase):
    def text(self, path, method="GET", body=None, status=200):
        reply = self.machine.call(method, path, body, headers=PERSON)
        self.assertEqual((reply.status, reply.headers["Content-Type"]), (status, TEXT), reply)
        self.assertTrue(reply.text.endswith("\n"))
        return reply.text

    def test_the_list_is_a_table(self):
        self.assertEqual(self.text("/v1/services"), "NAME  STATUS  PID  SINCE  RESTARTS  COMMAND\n")
        self.machine.create("web", "sleep 1000", env={"A": SECRET})
        self.machine.create("broken", "exit 3", restart="no")
        self.machine.create("long", "sleep 1000 # \x1b[31m\n" + "x" * 100, cwd="/tmp")
        web = self.machine.wait("web", status="running")
        long = self.machine.wait("long", status="running")
        broken = self.machine.wait("broken", status="failed")
        text = self.text("/v1/services")
        command = "sleep 1000 # \\x0a" + "x" * 42 + "…"
        rows = [re.split(r"  +", line) for line in text.splitlines()]
        self.assertEqual(
            rows,
            [
                ["NAME", "STATUS", "PID", "SINCE", "RESTARTS", "COMMAND"],
                ["broken", "failed", "-", broken["last_exited_at"], "0", "exit 3"],
                ["long", "running", str(long["pid"]), long["last_started_at"], "0", command],
                ["web", "running", str(web["pid"]), web["last_started_at"], "0", "sleep 1000"],
            ],
        )
        # One column begins where the other rows' does.
        for column in (1, 3, 5):
            starts = {line.index(row[column]) for line, row in zip(text.splitlines(), rows)}
            self.assertEqual(len(starts), 1, text)
        self.assertNotIn(SECRET, text)
        self.assertEqual(len(self.text("/v1/services?status=failed").splitlines()), 2)

    def test_a_removed_service_is_in_the_table_of_those(self):
        self.machine.create("gone", "sleep 1000")
        self.machine.delete("gone")
        self.assertRegex(
            self.text("/v1/services?status=removed"), rf"(?m)^gone +removed +- +{TIME} +0 +sleep 1000$"
        )

    def test_a_service_is_a_page_with_the_last_ten_lines_of_its_log(self):
        self.machine.create(
            "web", "for i in $(seq 15); do echo line $i; done; echo '\033[1mbold\033[0m \007'; exec sleep 1000",
            env={"A": SECRET}, cwd="/tmp", port=9,
        )
        service = self.machine.wait("web", status="running")
        self.machine.wait_for_line("web", "\033[1mbold\033[0m \007")
        text = self.text("/v1/services/web")
        head, _, log = text.partition("\n\n")
        self.assertEqual(
            [re.sub(f"^{TIME} ", "", line) for line in log.splitlines()],
            [f"stdout line {number}" for number in range(7, 16)] + ["stdout bold \\x07"],
        )
        lines = head.splitlines()
        self.assertEqual(lines[0], "web")
        facts = dict(line.strip().split(": ", 1) for line in lines[1:])
        for label, value in (
            ("Status", "running"), ("PID", str(service["pid"])), ("Started", service["last_started_at"]),
            ("Restarts", "0"), ("Directory", "/tmp"), ("Account", "user"), ("Port", "9"), ("Restart", "on-failure"),
            ("Unit", "miosa-service-web.service: active (running)"), ("Id", service["id"]),
        ):
            self.assertEqual(facts[label], value)
        self.assertNotIn(SECRET, text)
        self.assertEqual(self.text(f"/v1/services/{service['id']}"), text)

    def test_a_failure_is_explained_on_its_page(self):
        self.machine.create("lost", "sleep 1", cwd="/srv/x", restart="no")
        service = self.machine.wait("lost", status="failed")
        text = self.text("/v1/services/lost")
        self.assertIn(f" Message: {service['message']}\n", text)
        self.assertIn(f" Ended: {service['last_exited_at']}, exit code 200\n", text)

    def test_an_error_is_one_line(self):
        for method, path, body, status, line in (
            ("GET", "/v1/services/x", None, 404, r"service not found \(SERVICE_NOT_FOUND, request \S+\)"),
            ("GET", "/nothing", None, 404, r"no such path \(NOT_FOUND, request \S+\)"),
            ("POST", "/v1/services", "{", 400, r".+ \(BAD_REQUEST, request \S+\)"),
            ("POST", "/v1/services", {"name": "A"}, 422, r"'name' .+; 'command' .+ \(VALIDATION_ERROR, request \S+\)"),
            ("PATCH", "/v1/services", None, 405, r".+ \(METHOD_NOT_ALLOWED, request \S+\)"),
        ):
            with self.subTest(path=path, method=method):
                self.assertRegex(self.text(path, method, body, status), rf"\Aerror: {line}\n\Z")

    def test_whoever_does_not_ask_for_text_gets_json(self):
        self.machine.create("web", "sleep 1000")
        for accept in (None, "*/*", "application/json", "text/html,*/*;q=0.8", "text/plain;q=0.5, application/json"):
            for path, status in (("/v1/services", 200), ("/v1/services/web", 200), ("/v1/services/x", 404)):
                with self.subTest(accept=accept, path=path):
                    reply = self.machine.call("GET", path, headers={"Accept": accept} if accept else {})
                    self.assertEqual((reply.status, reply.headers["Content-Type"]), (status, "application/json"))
                    json.loads(reply.text)


class Status(MachineTestCase):
    def status_line(self):
        lines = self.machine.exec("systemctl", "status", "--no-pager", "--lines=0", "miosa-agent").splitlines()
        return [line.strip() for line in lines if line.strip().startswith("Status: ")]

    def test_systemctl_status_counts_the_services(self):
        def shows(services, running, failed):
            line = f'Status: "Services: {services}, running: {running}, failed: {failed}"'
            eventually(lambda: self.status_line() == [line], line)

        shows(0, 0, 0)
        self.machine.create("web", "sleep 1000")
        self.machine.create("broken", "exit 3", restart="no")
        shows(2, 1, 1)
        self.machine.call("POST", "/v1/services/web/stop")
        shows(2, 0, 1)
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        shows(2, 0, 1)
        self.machine.delete("broken")
        shows(1, 0, 0)


if __name__ == "__main__":
    unittest.main()
