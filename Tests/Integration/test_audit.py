"""The audit: who has changed what. It outlasts a killed agent, and no stranger can crowd anything out of it."""

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import unittest

from support import MachineTestCase, eventually

UNIT = "miosa-agent.service"
RING = "/var/lib/miosa-agent/audit"
RING_BYTES = 8 * 1024 * 1024

# Sends without a right to, over and over, until its input ends: a request that is refused, or bytes that are none.
STRANGER = """
import select, socket, sys
count = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60) as connection:
            connection.sendall(sys.argv[2].encode())
            assert connection.recv(100).split()[1] in (b"401", b"400", b"429")
            count += 1
    except (ConnectionError, IndexError):
        pass
    if count == 3:
        print("under way", flush=True)
print(count)
"""


class Audit(MachineTestCase):
    def audit(self, query=""):
        return self.machine.call("GET", f"/v1/audit{query}").data

    def newest(self):
        return self.audit("?limit=1")[0]

    def test_what_is_changed_has_an_entry_and_what_is_read_has_none(self):
        self.machine.create("web", "exec sleep 1000")
        entry = self.newest()
        self.assertEqual((entry["method"], entry["path"], entry["service"]), ("POST", "/v1/services", "web"))
        self.assertEqual((entry["status"], entry["identity"], entry["role"]), (201, None, "admin"))
        self.assertEqual(entry["peer"]["uid"], 0)
        reply = self.machine.call("POST", "/v1/services/web/stop", tcp=True, headers={"X-Request-Id": "r-17"})
        self.assertEqual(reply.status, 200)
        self.machine.call("GET", "/v1/services/web")
        entry = self.newest()
        self.assertEqual((entry["identity"], entry["request_id"], entry["status"]), ("control-plane", "r-17", 200))
        self.assertRegex(entry["peer"]["address"], r"^127\.0\.0\.1(:\d+)?$")
        self.assertEqual(self.machine.call("POST", "/v1/services/web/stop").status, 409)
        self.assertEqual(self.newest()["status"], 409)
        self.machine.delete("web")
        self.assertEqual([entry["status"] for entry in self.audit("?service=web&limit=4")], [200, 409, 200, 201])
        self.assertEqual([entry["method"] for entry in self.audit("?identity=control-plane&limit=1")], ["POST"])
        self.assertEqual(self.audit("?identity=uid:1"), [])
        table = self.machine.call("GET", "/v1/audit?limit=1", headers={"Accept": "text/plain"}).text
        self.assertRegex(table.splitlines()[1], r"uid 0, pid \d+ +200 +web +DELETE /v1/services/web$")

    def test_the_file_has_its_space_from_the_first_start(self):
        size, blocks, mode, owner = self.machine.exec("stat", "-c", "%s %b %a %U", RING).split()
        self.assertEqual((int(size), mode, owner), (RING_BYTES, "600", "root"))
        self.assertGreaterEqual(int(blocks) * 512, RING_BYTES)

    def test_a_killed_agent_and_a_reboot_lose_nothing(self):
        requests = []
        for number in range(10):
            request = f"kill-{number}"
            body = {"name": f"k{number}", "command": "exec sleep 1000"}
            reply = self.machine.call("POST", "/v1/services", body, headers={"X-Request-Id": request})
            self.assertEqual(reply.status, 201)
            self.machine.exec("systemctl", "kill", "--signal=KILL", UNIT)
            requests.append(request)
        kept = [entry["request_id"] for entry in self.audit("?limit=10")]
        self.assertEqual(kept, requests[::-1])
        self.machine.run("reboot", self.machine.name)
        eventually(lambda: self.machine.call("GET", "/readyz").status == 200, "it is ready again")
        self.assertEqual([entry["request_id"] for entry in self.audit("?limit=10")], kept)

    def test_who_asked_is_known_although_the_agent_died_before_its_answer(self):
        self.machine.create("slow", "trap '' TERM; echo ready; while :; do sleep 1; done")
        self.machine.wait_for_line("slow", "ready")
        answers = []

        def stop():
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                answers.append(self.machine.call("POST", "/v1/services/slow/stop", headers={"X-Request-Id": "died"}))

        thread = threading.Thread(target=stop)
        thread.start()
        eventually(lambda: self.newest()["request_id"] == "died", "it is in the audit before it is done")
        self.assertIsNone(self.newest()["status"])
        self.machine.exec("systemctl", "kill", "--signal=KILL", UNIT)
        thread.join()
        self.assertEqual(answers, [])
        entry = self.newest()
        self.assertEqual((entry["request_id"], entry["status"], entry["path"]), ("died", None, "/v1/services/slow/stop"))

    def test_strangers_crowd_nothing_out_and_fill_no_journal(self):
        self.machine.create("kept", "exec sleep 1000")
        port = self.machine.url.rpartition(":")[2].strip("/")
        strangers = [
            subprocess.Popen(
                [sys.executable, "-I", "-c", STRANGER, port, text],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for text in ("DELETE /v1/services/kept HTTP/1.1\r\nHost: localhost\r\n\r\n", "garbage\r\n\r\n") * 2
        ]
        begin = float(self.machine.exec("date", "+%s.%N"))
        for stranger in strangers:
            self.assertEqual(stranger.stdout.readline(), "under way\n")
        requests = []
        for number in range(60):
            request = f"change-{number}"
            verb = "stop" if number % 2 == 0 else "start"
            reply = self.machine.call("POST", f"/v1/services/kept/{verb}", headers={"X-Request-Id": request})
            self.assertEqual(reply.status, 200)
            requests.append(request)
        refused = sum(int(stranger.communicate()[0]) for stranger in strangers)
        self.assertEqual([entry["request_id"] for entry in self.audit("?limit=60")], requests[::-1])
        self.assertGreater(refused, 100)
        log = self.machine.exec("journalctl", "-u", UNIT, "-o", "json", "--no-pager", "--since", f"@{begin:.6f}")
        seconds = float(self.machine.exec("date", "+%s.%N")) - begin
        entries = [json.loads(line) for line in log.splitlines()]
        strange = [entry for entry in entries if entry.get("MIOSA_STATUS") in ("400", "401", "429")]
        self.assertLessEqual(len(strange), seconds + 2)
        self.assertTrue(any(" refused before it" in entry["MESSAGE"] for entry in strange))
        changes = [entry for entry in entries if entry.get("MIOSA_REQUEST_ID", "").startswith("change-")]
        self.assertEqual(len(changes), 60, "root's changes are in the journal as well")
        counted = sum(
            int(line.rpartition(" ")[2])
            for line in self.machine.call("GET", "/metrics").text.splitlines()
            if line.startswith("miosa_http_requests_total{") and ('status="401"' in line or 'status="400"' in line)
        )
        self.assertGreaterEqual(counted, refused)


class TrixieAudit(Audit):
    release = "trixie"


if __name__ == "__main__":
    unittest.main()
