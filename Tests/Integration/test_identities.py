"""Clients that are known by a token: what each role may do, and how tokens come and go."""

import contextlib
import http.client
import json
import secrets
import threading
import time
import unittest

from support import PATIENCE_SECONDS, MachineTestCase, Stream, eventually

UNIT = "miosa-agent.service"
TOKENS = "/etc/miosa-agent/tokens"


class TokenConnection:
    """What Stream needs of a machine, over TCP."""

    def __init__(self, machine):
        self.machine = machine

    def connection(self):
        return self.machine.connection(tcp=True)


class Identities(MachineTestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.machine.shell, f"rm -f {TOKENS}/*; systemctl reload {UNIT}")

    def write(self, name, token=None, mode="0600"):
        """Makes a token's file; gives back the token."""
        token = token or secrets.token_hex(32)
        self.machine.shell(f"printf '%s\\n' '{token}' | install -m {mode} /dev/stdin {TOKENS}/{name}")
        return token

    def reload(self, check=True):
        return self.machine.exec("systemctl", "reload", UNIT, check=check)

    def call(self, token, method, path, body=None):
        headers = {"Authorization": f"Bearer {token}"}
        return self.machine.call(method, path, body, tcp=True, headers=headers)

    def status(self, token, method="GET", path="/v1/services"):
        return self.call(token, method, path).status

    def log(self):
        return self.machine.exec("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")

    def test_roles_over_tcp(self):
        metrics, read, admin = self.write("prometheus.metrics"), self.write("dashboard.read"), self.write("x.admin")
        self.reload()
        self.machine.create("web", "sleep 1000", env={"SECRET": "value-of-the-secret"})
        for path, statuses in {
            "/metrics": (200, 200, 200), "/readyz": (200, 200, 200), "/v1/services": (403, 200, 200),
            "/v1/services/web/unit": (403, 200, 200), "/v1/services/web/logs": (403, 200, 200), "/v1": (403, 200, 200),
        }.items():
            with self.subTest(path):
                self.assertEqual(tuple(self.status(token, path=path) for token in (metrics, read, admin)), statuses)
        for token in (metrics, read):
            self.assertEqual(self.status(token, "DELETE", "/v1/services/web"), 403)
            self.assertEqual(self.call(token, "POST", "/v1/services", {"name": "x", "command": "y"}).status, 403)
        self.assertEqual(self.call(admin, "GET", "/v1/services/web").data["env"], {"SECRET": "value-of-the-secret"})
        self.assertEqual(self.call(read, "GET", "/v1/services/web").data["env"], {"SECRET": "(hidden)"})
        for path in ("/v1/services", "/v1/services/web", "/v1/services?usage=true", "/v1/services/web/unit", "/metrics"):
            self.assertNotIn("value-of-the-secret", self.call(read, "GET", path).text, path)

    def test_what_an_identity_does_is_told_with_its_name(self):
        token = self.write("deployer.admin")
        self.reload()
        identifier = self.machine.create("web", "sleep 1000")["id"]
        self.assertEqual(self.status(token, "DELETE", f"/v1/services/{identifier}"), 200)
        removed = self.machine.call("GET", "/v1/services?status=removed").data
        author = next(service["removed_by"] for service in removed if service["id"] == identifier)
        self.assertEqual((author["identity"], author["uid"]), ("deployer", None))
        fields = self.machine.exec("journalctl", "-u", UNIT, "-o", "json", "--no-pager", "MIOSA_METHOD=DELETE")
        self.assertEqual(json.loads(fields.splitlines()[-1])["MIOSA_IDENTITY"], "deployer")

    def test_a_file_takes_the_place_of_the_credential(self):
        self.assertEqual(self.status(self.machine.token), 200)
        token = self.write("control-plane.admin")
        self.reload()
        self.assertEqual((self.status(token), self.status(self.machine.token)), (200, 401))
        self.machine.shell(f"rm {TOKENS}/control-plane.admin")
        self.reload()
        self.assertEqual((self.status(token), self.status(self.machine.token)), (401, 200))
        self.assertIn("reloaded: 'control-plane' (admin) has another token", self.log())

    def test_a_reload_is_over_when_systemctl_returns(self):
        pid = self.machine.property(UNIT, "MainPID")
        for _ in range(10):
            token = self.write("x.read")
            self.reload()
            self.assertEqual(self.status(token), 200)
        self.assertEqual(self.machine.property(UNIT, "MainPID"), pid)

    def test_a_reload_works_without_kill(self):
        self.machine.shell("mv /bin/kill /bin/kill.away")
        self.addCleanup(self.machine.shell, "mv /bin/kill.away /bin/kill")
        token = self.write("x.read")
        self.reload()
        self.assertEqual(self.status(token), 200)

    def test_a_signal_by_hand_reads_the_tokens_and_ends_nobody(self):
        token = self.write("x.read")
        self.machine.shell(f"python3 -c 'import os, signal; os.kill({self.machine.property(UNIT, 'MainPID')}, 1)'; :")
        eventually(lambda: self.status(token) == 200, "the token is known")

    def test_a_reload_that_is_refused_fails_and_changes_nothing(self):
        good = self.write("good.read")
        self.reload()
        before = self.log().count("nothing has changed")
        for name, token, mode, reason in (
            ("bad.read", "short", "0600", "bad.read': the content is neither a token"),
            ("bad.owner", None, "0600", "bad.owner': the name is not NAME.ROLE"),
            ("bad.read", None, "0644", "bad.read': the file is not root's alone"),
            ("bad.admin", good, "0600", "the identities 'bad' and 'good' have the same token"),
        ):
            with self.subTest(reason):
                self.write(name, token, mode)
                self.assertIn("failed", self.reload(check=False))
                self.assertIn(reason, self.log())
                self.assertEqual(self.status(good), 200)
                self.assertEqual(self.machine.property(UNIT, "ActiveState"), "active")
                self.machine.shell(f"rm {TOKENS}/{name}")
        self.assertEqual(self.log().count("nothing has changed") - before, 4)
        self.reload()

    def test_a_start_goes_without_what_is_refused_and_check_tells_of_it(self):
        good = self.write("good.read")
        bad = self.write("bad.read", mode="0640")
        output = self.machine.shell("miosa-agent check; echo rc=$?")
        self.assertIn(f"refused: '{TOKENS}/bad.read': the file is not root's alone (mode 0600)", output)
        self.assertIn("rc=1", output)
        self.machine.exec("systemctl", "restart", UNIT)
        self.assertEqual((self.status(good), self.status(bad)), (200, 401))
        self.assertIn(f"refused: '{TOKENS}/bad.read'", self.log())

    def test_a_rotation_has_no_gap(self):
        """A client that polls with either token sees no failure."""
        tokens = {"one": self.write("one.read")}
        self.reload()
        statuses = []
        is_over = threading.Event()

        def poll():
            connection = self.machine.connection(tcp=True)
            with contextlib.closing(connection):
                while not is_over.is_set():
                    token = list(tokens.values())[-1]
                    connection.request("GET", "/v1/services", headers={"Authorization": f"Bearer {token}"})
                    reply = connection.getresponse()
                    reply.read()
                    statuses.append(reply.status)

        thread = threading.Thread(target=poll)
        thread.start()
        try:
            for number in range(10):
                name = f"more{number}"
                token = self.write(f"{name}.read")
                self.reload()
                tokens[name] = token
                count = len(statuses)
                eventually(lambda: len(statuses) > count + 2, "the client polls with the new token")
                former = list(tokens)[-2]
                self.machine.shell(f"rm {TOKENS}/{former}.read")
                self.reload()
        finally:
            is_over.set()
            thread.join()
        self.assertEqual(set(statuses), {200})

    def test_a_revocation_ends_what_the_identity_has_open(self):
        token, other = self.write("gone.admin"), self.write("stays.admin")
        self.reload()
        self.machine.create("web", "sleep 1000", port=4711)

        def stream(token, path):
            headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
            stream = Stream(TokenConnection(self.machine), path, headers)
            self.addCleanup(stream.close)
            self.assertEqual(stream.status, 200)
            return stream

        streams = [stream(token, path) for path in ("/v1/events", "/v1/services/web/logs?follow=true")]
        kept = stream(other, "/v1/events")
        idle = self.machine.connection(tcp=True)
        self.addCleanup(idle.close)
        idle.request("GET", "/v1/services", headers={"Authorization": f"Bearer {token}"})
        idle.getresponse().read()
        # A request that would be answered after a minute.
        waiting = self.machine.connection(tcp=True)
        self.addCleanup(waiting.close)
        headers = {"Authorization": f"Bearer {token}"}
        waiting.request("POST", "/v1/services/web/restart?wait=ready&timeout=60", headers=headers)
        newest = "/v1/audit?limit=1&identity=gone"
        eventually(lambda: [entry["status"] for entry in self.machine.call("GET", newest).data] == [None], "it waits")
        self.machine.shell(f"rm {TOKENS}/gone.admin")
        self.reload()
        for one in streams:
            # Without an end the keep-alive lines would come for ever.
            deadline = time.monotonic() + PATIENCE_SECONDS
            with self.assertRaises((http.client.HTTPException, ConnectionError, EOFError)):
                while one.line() is not None:
                    self.assertLess(time.monotonic(), deadline, "the stream goes on")
                raise EOFError
        self.assertEqual(idle.sock.recv(1), b"")
        with self.assertRaises((http.client.HTTPException, ConnectionError)):
            waiting.getresponse()
        self.assertEqual(self.status(token), 401)
        # The other identity's goes on.
        self.machine.create("more", "sleep 1000")
        while (event := kept.event())["event"] != "service" or event["data"]["service"]["name"] != "more":
            pass

    def test_without_any_identity_the_reason_is_told(self):
        token = self.write("control-plane.read")
        self.reload()
        self.assertEqual(self.status(token), 200)
        self.machine.shell(
            f"rm {TOKENS}/*; mkdir -p /etc/systemd/system/{UNIT}.d;"
            f"printf '[Service]\\nLoadCredential=\\n' > /etc/systemd/system/{UNIT}.d/none.conf;"
            f"systemctl daemon-reload; systemctl restart {UNIT}"
        )
        self.addCleanup(
            self.machine.shell,
            f"rm /etc/systemd/system/{UNIT}.d/none.conf; systemctl daemon-reload; systemctl restart {UNIT}",
        )
        reply = self.call(self.machine.token, "GET", "/v1/services")
        self.assertEqual(reply.status, 401)
        self.assertIn("there is no token", reply.json["error"])


class TrixieIdentities(Identities):
    release = "trixie"


if __name__ == "__main__":
    unittest.main()
