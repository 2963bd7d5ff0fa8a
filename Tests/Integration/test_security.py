"""Who may call the agent, and what it could do if it went wrong."""

import concurrent.futures
import re
import subprocess
import sys
import unittest

from support import MachineTestCase, eventually

UNIT = "miosa-agent.service"
# What `systemd-analyze security` may say at most.
EXPOSURE_LIMIT = 2.0

# Asks with a token; prints the status and the time.
ASK = """
import http.client, sys, time
begin = time.monotonic()
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=120)
connection.request("GET", "/v1/services", headers={"Authorization": "Bearer " + sys.argv[2]})
print(connection.getresponse().status, time.monotonic() - begin)
"""


class Security(MachineTestCase):
    def curl(self, account, path, group=None):
        """The status that an account inside gets on the Unix socket; 000 when it cannot connect."""
        as_group = f"--gid={group} " if group else ""
        return self.machine.shell(
            f"systemd-run --quiet --pipe --wait --uid={account} {as_group}"
            f"curl -s -o /dev/null -w '%{{http_code}}' --unix-socket /run/miosa-agent/api.sock http://localhost{path}",
            check=False,
        ).strip()

    def test_the_unit_is_shut_out_of_what_it_does_not_need(self):
        text = self.machine.exec("systemd-analyze", "security", "--no-pager", UNIT)
        score = float(re.search(r"Overall exposure level for miosa-agent.service: ([0-9.]+)", text)[1])
        self.assertLessEqual(score, EXPOSURE_LIMIT, text)
        pid = self.machine.property(UNIT, "MainPID")
        self.assertIn("CapEff:\t0000000000000000", self.machine.exec("cat", f"/proc/{pid}/status"))

    def test_root_and_members_of_the_group_get_in_on_the_unix_socket_and_nobody_else(self):
        self.assertEqual(self.curl("root", "/v1/services"), "200")
        self.assertEqual(self.curl("daemon", "/v1/services", "miosa-agent"), "200")
        self.machine.shell("useradd --groups miosa-agent helper")
        self.assertEqual(self.curl("helper", "/v1/services"), "200")
        self.assertEqual(self.curl("user", "/v1/services"), "000")

    def test_the_agent_asks_the_kernel_who_it_is_even_where_the_socket_lets_everybody_in(self):
        self.machine.shell("chmod 666 /run/miosa-agent/api.sock")
        self.addCleanup(self.machine.shell, "chmod 660 /run/miosa-agent/api.sock")
        self.assertEqual(self.curl("user", "/v1/services"), "403")
        self.assertEqual(self.curl("user", "/nothing"), "403")
        self.assertEqual(self.curl("user", "/healthz"), "200")
        self.assertEqual(self.curl("daemon", "/v1/services", "miosa-agent"), "200")

    def test_pages_of_other_sites_are_refused_on_every_listener(self):
        hostname = self.machine.exec("cat", "/proc/sys/kernel/hostname").strip()
        computer = self.machine.call("GET", "/v1").data["id"]
        for tcp in (True, False):
            for headers, status in (
                ({"Origin": "https://example.com"}, 403), ({"Origin": "null"}, 403),
                ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Host": "rebound.example.com"}, 403),
                ({"Host": "192.0.2.1"}, 403), ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
                ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200), ({"Host": f"{computer}:80"}, 200),
                ({"Host": hostname}, 200), ({"Host": "[::1]:2088"}, 200), ({"Host": "127.0.0.1"}, 200),
            ):
                with self.subTest(tcp=tcp, headers=headers):
                    for method, path in (
                        ("GET", "/v1/services"), ("GET", "/healthz"), ("POST", "/v1/services/web/stop"),
                    ):
                        reply = self.machine.call(method, path, tcp=tcp, headers=headers)
                        if status == 403:
                            self.assertEqual((reply.status, reply.json["code"]), (403, "FORBIDDEN"), reply)
                        else:
                            self.assertEqual(reply.status, 200 if method == "GET" else 404, reply)

    def test_a_further_name_is_a_setting(self):
        settings = "/etc/default/miosa-agent"
        reply = self.machine.call("GET", "/v1/services", headers={"Host": "agent.example:443"})
        self.assertEqual(reply.status, 403)
        told = "'agent.example:443' is no name of this computer; MIOSA_AGENT_HOSTS may have it"
        self.assertEqual(reply.json["error"], told)
        self.machine.shell(
            f"cp -p {settings} {settings}.old; echo 'MIOSA_AGENT_HOSTS=\"x.example agent.example\"' >> {settings};"
            "systemctl restart miosa-agent"
        )
        self.addCleanup(self.machine.shell, f"mv {settings}.old {settings}; systemctl restart miosa-agent")
        reply = self.machine.call("GET", "/v1/services", headers={"Host": "agent.example:443"})
        self.assertEqual(reply.status, 200)

    def test_services_run_as_the_accounts_that_are_allowed(self):
        settings = "/etc/default/miosa-agent"
        self.machine.create("before", "sleep 1000", user="root")
        self.machine.shell(
            f"cp -p {settings} {settings}.old; echo 'MIOSA_AGENT_ALLOWED_USERS=\"user daemon\"' >> {settings};"
            "systemctl restart miosa-agent"
        )
        self.addCleanup(self.machine.shell, f"mv {settings}.old {settings}; systemctl restart miosa-agent")
        reason = "must be one of 'user', 'daemon', the accounts of MIOSA_AGENT_ALLOWED_USERS"
        for method, path, body in (
            ("POST", "/v1/services", {"name": "web"}), ("PUT", "/v1/services/web", {}),
            ("PUT", "/v1/services/before", {}),
        ):
            reply = self.machine.call(method, path, {**body, "command": "sleep 1000", "user": "root"})
            self.assertEqual((reply.status, reply.json["details"]), (422, {"user": reason}), reply)
        self.machine.create("web", "sleep 1000", user="daemon")
        self.machine.create("usual", "sleep 1000")
        self.assertEqual(self.machine.wait("before", status="running")["restarts"], 0)

    def test_a_name_whose_drop_ins_would_be_those_of_others_is_refused(self):
        for name, reason in (
            ("web-", "must not end in '-'"), ("a0000000-0000-4000-8000-000000000000", "must not be a UUID"),
        ):
            spec = {"command": "sleep 1000"}
            for reply in (
                self.machine.call("POST", "/v1/services", {"name": name, **spec}),
                self.machine.call("PUT", f"/v1/services/{name}", spec),
            ):
                self.assertEqual((reply.status, reply.json["details"]), (422, {"name": reason}), reply)
        self.assertEqual(self.machine.call("GET", "/v1/services").data, [])

    def answer(self, token, account=0):
        """The status of an answer to that account of this machine, and how long it took."""
        port = self.machine.url.rpartition(":")[2].strip("/")
        command = ["setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups", sys.executable, "-I", "-c", ASK]
        output = subprocess.run([*command, port, token], capture_output=True, text=True, check=True).stdout
        status, seconds = output.split()
        return int(status), float(seconds)

    def test_who_guesses_tokens_waits_for_right_ones_too_and_nobody_else_does(self):
        right, wrong = self.machine.token, "wrong-token-0123456789-0123456789"
        for _ in range(12):
            self.assertEqual(self.answer(wrong, account=65534)[0], 401)
        # The time does not tell which token is right.
        for token, status in ((wrong, 401), (right, 200)):
            answered, seconds = self.answer(token, account=65534)
            self.assertEqual(answered, status)
            self.assertGreater(seconds, 0.5)
        # A busy machine may hold up one of them.
        self.assertLess(min(self.answer(right, account=65533)[1] for _ in range(5)), 0.5)
        self.assertLess(min(self.answer(right)[1] for _ in range(5)), 0.5)

    def test_a_guess_among_many_is_answered_no_sooner_when_it_is_right(self):
        right, wrong = self.machine.token, "wrong-token-0123456789-0123456789"
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            guesses = [pool.submit(self.answer, wrong, 65532) for _ in range(40)]
            hit = pool.submit(self.answer, right, 65532)
            guesses += [pool.submit(self.answer, wrong, 65532) for _ in range(20)]
        self.assertEqual({guess.result()[0] for guess in guesses}, {401})
        self.assertEqual(hit.result()[0], 200)
        # At least 20 wrong tokens were answered before it was sent.
        self.assertGreater(hit.result()[1], 0.5)

    def test_a_body_of_somebody_without_a_token_is_not_read(self):
        connection = self.machine.connection(tcp=True)
        self.addCleanup(connection.close)
        connection.putrequest("POST", "/v1/services")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 401)

    def test_links_that_somebody_has_planted_are_not_followed(self):
        unit = "/etc/systemd/system/miosa-service-web.service"
        wants = "/etc/systemd/system/multi-user.target.wants"
        state = "/var/lib/miosa-agent"
        places = [
            unit, "/etc/systemd/system/.miosa-service-web.service.tmp",
            f"{wants}/miosa-service-web.service", f"{wants}/.miosa-service-web.service.tmp",
            f"{state}/environment/web.env", f"{state}/environment/.web.env.tmp",
            f"{state}/services/web.json", f"{state}/services/.web.json.tmp",
        ]
        for plant in ("ln -s /root/victim", "ln -s /root/nowhere/at/all", "ln /root/victim"):
            for place in places:
                with self.subTest(f"{plant} {place}"):
                    self.machine.shell(
                        f"mkdir -p {wants}; echo precious > /root/victim; chmod 644 /root/victim;"
                        f"touch -d @1 /root/victim; {plant} {place}"
                    )
                    before = self.machine.shell("stat -c '%a %U %Y %s' /root/victim; cat /root/victim")
                    spec = {"command": "sleep 1000", "env": {"SECRET": "x"}}
                    created = self.machine.call("POST", "/v1/services", {"name": "web", **spec})
                    self.assertEqual(created.status, 201, created)
                    changed = self.machine.call("PUT", "/v1/services/web", {**spec, "env": {"SECRET": "y"}})
                    self.assertEqual(changed.status, 200, changed)
                    for name in (unit, f"{state}/environment/web.env", f"{state}/services/web.json"):
                        self.assertEqual(self.machine.shell(f"stat -c '%F %h' {name}").strip(), "regular file 1")
                    self.machine.delete("web")
                    after = self.machine.shell("stat -c '%a %U %Y %s' /root/victim; cat /root/victim")
                    self.assertEqual(after, before)
                    self.assertEqual(self.machine.shell("ls /root/nowhere 2>&1", check=False)[:3], "ls:")
                    self.machine.shell(f"rm -f /root/victim {' '.join(places)}")

    def test_a_directory_that_was_turned_into_a_link_is_not_followed(self):
        for directory in (
            "/etc/systemd/system/multi-user.target.wants", "/var/lib/miosa-agent/environment",
            "/var/lib/miosa-agent/services",
        ):
            with self.subTest(directory):
                self.machine.shell(
                    f"mkdir -p /root/elsewhere; mv {directory} /root/was; ln -s /root/elsewhere {directory}"
                )
                reply = self.machine.call(
                    "POST", "/v1/services", {"name": "web", "command": "sleep 1000", "env": {"A": "b"}}
                )
                found = self.machine.shell("ls /root/elsewhere")
                self.machine.shell(f"rm {directory}; mv /root/was {directory}; rmdir /root/elsewhere", check=False)
                self.assertEqual((reply.status, reply.json["code"]), (500, "STORAGE_FAILED"), reply)
                self.assertEqual(found, "")
                self.assertEqual(self.machine.call("GET", "/v1/services/web").status, 404)
                self.assertEqual(self.machine.shell("ls /etc/systemd/system | grep service-web", check=False), "")

    def test_a_record_that_others_can_write_is_not_trusted(self):
        record = "/var/lib/miosa-agent/services/web.json"
        for spoil in (f"chown user {record}", f"chmod 666 {record}"):
            with self.subTest(spoil):
                self.machine.create("web", "sleep 1000")
                text = self.machine.shell(f"cat {record}")
                self.machine.shell(f"systemctl stop {UNIT}; {spoil}; systemctl start {UNIT}")
                self.assertEqual(self.machine.call("GET", "/v1/services/web").status, 404)
                ready = self.machine.call("GET", "/readyz").json
                self.assertIn("web.json.unreadable", ready["unreadable_records"])
                self.machine.shell(
                    f"systemctl stop miosa-service-web; rm {record}*; systemctl restart {UNIT};"
                    "rm -f /etc/systemd/system/miosa-service-web.service"
                    " /etc/systemd/system/multi-user.target.wants/miosa-service-web.service; systemctl daemon-reload"
                )
                self.assertIn("sleep 1000", text)

    def test_a_service_cannot_pose_as_another(self):
        victim = self.machine.create("victim", "sleep 1000")
        before = self.machine.wait("victim", status="running")
        group = self.machine.property("miosa-service-victim.service", "ControlGroup")
        with self.machine.stream("/v1/events", "text/event-stream") as events:
            while events.event()["event"] != "ready":
                pass
            self.machine.create("forger", f"""
                export NOTIFY_SOCKET=/run/systemd/notify
                systemd-notify MAINPID=1 READY=1 STOPPING=1 'STATUS=I am victim' RELOADING=1
                systemd-notify --pid={before['pid']} --ready
                for at in /sys/fs/cgroup{group} /sys/fs/cgroup/systemd{group} /sys/fs/cgroup/unified{group}; do
                    echo $$ > $at/cgroup.procs; echo 1 > $at/memory.max; mkdir $at/below
                done 2>/dev/null
                printf 'MESSAGE=forged\nMIOSA_SERVICE_ID={victim['id']}\nUNIT=miosa-service-victim.service\n' \
                    'SYSLOG_IDENTIFIER=miosa-service-victim\n_SYSTEMD_UNIT=miosa-service-victim.service\n' \
                    | logger --journald
                logger -t miosa-service-victim forged
                logger -t systemd 'miosa-service-victim.service: Main process exited, code=killed, status=9/KILL'
                curl -s --unix-socket /run/miosa-agent/api.sock -X DELETE http://localhost/v1/services/victim
                cat /var/lib/miosa-agent/services/victim.json /run/credentials/miosa-agent.service/token
                systemctl stop miosa-service-victim
                echo tried
                exec sleep 1000""")
            self.machine.wait_for_line("forger", "tried")
            after = self.machine.get("victim")
            self.assertEqual(after, before)
            self.machine.create("last", "sleep 1000")
            told = []
            while not told or told[-1] != "last":
                told.append(events.event()["data"]["service"]["name"])
            self.assertNotIn("victim", told)
            self.assertIn("forger", told)
        log = self.machine.call("GET", "/v1/services/victim/logs?tail=all").text
        self.assertNotIn("forged", log)
        self.assertNotIn("Main process exited", log)
        own = self.machine.call("GET", "/v1/services/forger/logs?tail=all").text
        self.assertNotIn(self.machine.token, own)
        self.assertNotIn("sleep 1000", own)
        metrics = self.machine.call("GET", "/metrics").text.splitlines()
        self.assertIn('miosa_service_status{service="victim",status="running"} 1', metrics)
        self.assertIn('miosa_service_restarts_total{service="victim"} 0', metrics)
        self.assertFalse([line for line in metrics if line.startswith('miosa_service_exits_total{service="victim"')])

    def test_changes_are_in_the_journal_with_who_asked(self):
        body = {"name": "a", "command": "true"}
        self.machine.call("POST", "/v1/services", body, headers={"X-Request-Id": "by-socket"})
        self.machine.call("DELETE", "/v1/services/a", tcp=True, headers={"X-Request-Id": "by-tcp"})

        def entry(request):
            return self.machine.exec(
                "journalctl", "-o", "verbose", "--no-pager", f"MIOSA_REQUEST_ID={request}", check=False
            )

        for request, fields in (
            ("by-socket", ["MIOSA_PEER_UID=0", "MIOSA_PEER_GID=0", "MIOSA_PEER_PID=", "MIOSA_STATUS=201"]),
            ("by-tcp", ["MIOSA_PEER_ADDRESS=127.0.0.1:", "MIOSA_STATUS=200"]),
        ):
            text = eventually(lambda: "MIOSA_STATUS" in (text := entry(request)) and text, "the entry is there")
            for field in fields:
                self.assertIn(field, text)


if __name__ == "__main__":
    unittest.main()
