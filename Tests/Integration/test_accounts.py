"""Accounts have services of their own on user.sock: what one does with them, and what it cannot do to others."""

import json
import unittest

from support import MachineTestCase, Reply, eventually, unit_of

AGENT = "miosa-agent.service"
SOCKET_UNIT = "miosa-agent-user.socket"
SOCKET = "/run/miosa-agent/user.sock"
# The requests about a service that have a body.
BODIES = (("POST", "signal"), ("PATCH", "{ref}"))

# Sends requests one after another as an account: argv has the uid and the socket, standard input the requests as JSON.
ASK = """
import http.client, json, os, socket, sys

class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(sys.argv[2])

uid = int(sys.argv[1])
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
connection = Connection("localhost")
for method, path, body, headers in json.load(sys.stdin):
    connection.request(method, path, json.dumps(body) if isinstance(body, dict) else body, headers)
    response = connection.getresponse()
    print(json.dumps([response.status, dict(response.getheaders()), response.read().decode()]))
"""

# Opens connections as an account and holds them until its input ends.
HOLD = """
import os, socket, sys
uid, count = int(sys.argv[1]), int(sys.argv[3])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
held = []
for number in range(count):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect(sys.argv[2])
    held[-1].send(b"POST /v1/services HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 500000\\r\\n\\r\\nxxx")
print("held", flush=True)
sys.stdin.read()
"""

# A process of the first account connects and hands its connection to one of the second, which lists the services.
HAND_ON = """
import os, socket, sys
first, second = int(sys.argv[1]), int(sys.argv[3])
near, far = socket.socketpair(socket.AF_UNIX)
if os.fork() == 0:
    os.setresuid(first, first, first)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[2])
    socket.send_fds(far, [b"x"], [connection.fileno()])
    os._exit(0)
os.wait()
os.setresuid(second, second, second)
_, descriptors, _, _ = socket.recv_fds(near, 1, 1)
connection = socket.socket(fileno=descriptors[0])
connection.send(b"GET /v1/services HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
while data := connection.recv(65536):
    sys.stdout.buffer.write(data)
"""


class Answer(Reply):
    """What ASK prints of a response."""

    def __init__(self, line):
        self.status, self.headers, self.text = json.loads(line)


class AccountCase(MachineTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.uids = {}
        for name in ("alice", "bob"):
            cls.machine.shell(f"useradd --create-home {name}")
            cls.uids[name] = int(cls.machine.exec("id", "-u", name))
        cls.machine.exec("systemctl", "enable", SOCKET_UNIT)
        cls.machine.exec("systemctl", "restart", AGENT)

    def python(self, script, uid, *arguments, text=""):
        """Runs a program inside, with a text on its input."""
        self.machine.shell("cat > /tmp/input <<'END'\n" + text + "\nEND")
        quoted = " ".join(f"'{argument}'" for argument in (uid, SOCKET, *arguments))
        script = f"import sys\nsys.stdin = open(3)\n{script}"
        return self.machine.shell(f"python3 - {quoted} 3< /tmp/input <<'END'\n{script}\nEND")

    def ask(self, account, *requests):
        """The answers to requests of an account: each a method, a path, and maybe a body and headers."""
        uid = self.uids.get(account, account)
        requests = [[*request, *(None, {})[len(request) - 2:]] for request in requests]
        lines = self.python(ASK, uid, text=json.dumps(requests)).splitlines()
        self.assertEqual(len(lines), len(requests), lines)
        return [Answer(line) for line in lines]

    def call(self, account, *request):
        return self.ask(account, request)[0]

    def create(self, account, name, command, **fields):
        reply = self.call(account, "POST", "/v1/services?wait=running", {"name": name, "command": command, **fields})
        self.assertEqual(reply.status, 201, reply)
        return reply.data

    def full(self, account, name):
        return f"{name}.{self.uids[account]}"

    def status_of(self, pid):
        return self.machine.exec("cat", f"/proc/{pid}/status")

    def assert_runs_as(self, account, pid):
        uid = self.uids[account]
        status = self.status_of(pid)
        self.assertIn(f"\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n", status)
        self.assertIn(f"\nGid:\t{uid}\t{uid}\t{uid}\t{uid}\n", status)
        self.assertIn("\nCapEff:\t0000000000000000\n", status)


class Accounts(AccountCase):
    # MARK: What an account does

    def test_a_service_runs_as_its_account_and_starts_at_boot(self):
        command = "id -un; pwd; echo $HOME $GREETING; cat /proc/self/cgroup; exec sleep 1000"
        service = self.create("alice", "web", command, env={"GREETING": "hello"})
        self.assertEqual((service["name"], service["cwd"]), ("web", "/home/alice"))
        self.assertEqual(service["unit"], unit_of(self.full("alice", "web")))
        self.assert_runs_as("alice", service["pid"])
        lines = self.call("alice", "GET", "/v1/services/web/logs?tail=100").text
        for line in ("stdout alice", "stdout /home/alice", "stdout /home/alice hello"):
            self.assertIn(line, lines)
        self.assertIn(f"miosa-services-{self.uids['alice']}.slice", lines)
        usage = self.call("alice", "GET", "/v1/services/web?usage=true").data["usage"]
        self.assertEqual(usage, self.machine.call("GET", f"/v1/services/{service['id']}?usage=true").data["usage"])
        self.assertIsNotNone(usage["cpu_ms"])
        changed = self.call("alice", "PUT", "/v1/services/web?wait=running", {"command": "sleep 2000"})
        self.assertEqual(changed.status, 200, changed)
        self.assertEqual(self.machine.command_line(changed.data["pid"]), ["sleep", "2000"])
        self.machine.run("reboot", self.machine.name)
        self.machine.wait(service["id"], status="running")
        again = self.call("alice", "GET", "/v1/services/web").data
        self.assertEqual((again["id"], again["status"]), (service["id"], "running"))
        self.assert_runs_as("alice", again["pid"])
        stopped, started, deleted, gone = self.ask(
            "alice", ("POST", "/v1/services/web/stop"), ("POST", "/v1/services/web/start"),
            ("DELETE", "/v1/services/web"), ("GET", "/v1/services/web"),
        )
        self.assertEqual((stopped.data["status"], started.data["status"]), ("stopped", "running"))
        self.assertEqual((deleted.data["name"], gone.status), ("web", 404))
        self.assertEqual(
            self.machine.shell(f"ls -d /etc/systemd/system/*web.{self.uids['alice']}* || true"),
            f"ls: cannot access '/etc/systemd/system/*web.{self.uids['alice']}*': No such file or directory\n",
        )

    def test_an_administrators_service_that_runs_as_the_account_is_its_own_too(self):
        self.machine.create("site", "sleep 1000", user="alice", env={"A": "1"}, cwd="/")
        self.machine.wait("site", status="running")
        self.assertEqual(self.call("bob", "GET", "/v1/services").json["total"], 0)
        self.assertEqual(self.call("alice", "GET", "/v1/services/site").data["env"], {"A": "1"})
        self.assertEqual(self.call("alice", "POST", "/v1/services", {"name": "site", "command": "x"}).status, 409)
        changed = self.call("alice", "PUT", "/v1/services/site?wait=running", {"command": "echo needle; sleep 1001"})
        self.assertEqual(changed.status, 200, changed)
        self.assert_runs_as("alice", changed.data["pid"])
        self.assertNotIn("needle", self.machine.exec("systemctl", "cat", unit_of("site")))
        # Given to another account, it is gone.
        given = {"command": "sleep 1", "user": "root", "cwd": "/"}
        self.assertEqual(self.machine.call("PUT", "/v1/services/site", given).status, 200)
        self.assertEqual(self.call("alice", "GET", "/v1/services/site").status, 404)

    def test_root_is_an_administrator_there(self):
        self.create("alice", "web", "sleep 1000")
        names = [service["name"] for service in self.call(0, "GET", "/v1/services").data]
        self.assertEqual(names, [self.full("alice", "web")])
        refused = self.call(0, "PUT", f"/v1/services/{names[0]}", {"command": "sleep 1", "user": "root"})
        self.assertEqual((refused.status, list(refused.json["details"])), (422, ["user"]), refused)
        self.assertEqual(self.call(0, "PUT", f"/v1/services/{names[0]}", {"command": "sleep 1001"}).status, 200)
        self.assert_runs_as("alice", self.machine.wait(names[0], status="running")["pid"])
        self.assertEqual(self.call(0, "GET", "/v1/audit").status, 200)

    # MARK: What it cannot do

    def test_nothing_of_others_is_seen_or_touched(self):
        foreign = [
            self.machine.create("secret", "sleep 1000", user="root", env={"KEY": "hidden-value"}),
            self.create("bob", "treasure", "echo bobs-line; sleep 1000", env={"KEY": "hidden-value"}),
        ]
        removed = self.create("bob", "bygone", "echo bobs-line; sleep 1000")
        self.assertEqual(self.call("bob", "DELETE", "/v1/services/bygone").status, 200)
        self.machine.wait("secret", status="running")
        self.create("alice", "mine", "sleep 1000")
        ids = [service["id"] for service in (*foreign, removed)]
        words = ["secret", "treasure", "bygone", "hidden-value", "bobs-line", *ids]
        before = self.machine.call("GET", "/v1/services").data
        references = [word for word in words if "-value" not in word and "-line" not in word]
        references += [self.full("bob", "treasure"), f"treasure.{self.uids['alice']}", "secret.0"]
        body = {"command": "sleep 1"}
        # Every route that names a service, but for PUT, which creates one.
        paths = self.machine.call("GET", "/openapi.json").json["paths"]
        routes = [
            (method.upper(), path)
            for path, item in paths.items() if "{ref}" in path for method in item
            if method in ("get", "post", "patch", "delete")
        ]
        self.assertGreater(len(routes), 6)
        routes += [("GET", "/v1/services/{ref}?usage=true"), ("POST", "/v1/services/{ref}/restart?wait=running")]
        bodies = {"signal": {"signal": "TERM"}, "{ref}": {"command": "sleep 1"}}
        requests = [
            (method, path.replace("{ref}", reference).replace("{computer}", "self").replace("{n}", "1"))
            + ((bodies[path.rpartition("/")[2]],) if (method, path.rpartition("/")[2]) in BODIES else ())
            for reference in references for method, path in routes
        ]
        for request, reply in zip(requests, self.ask("alice", *requests), strict=True):
            self.assertEqual(reply.status, 404, (request, reply))
        readers = [
            ("GET", "/v1/services"), ("GET", "/v1/services?status=removed,running,stopped"), ("GET", "/openapi.json"),
            ("GET", "/v1/services", None, {"Accept": "text/plain"}), ("GET", "/v1/services?usage=true"),
            ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/v1"), ("GET", "/v1/audit"), ("GET", "/metrics"),
            ("POST", "/v1/services", {"name": "mine", "command": "x"}), ("POST", "/v1/services", {}),
        ]
        for request, reply in zip(readers, self.ask("alice", *readers), strict=True):
            for word in words[1 if request[1] == "/openapi.json" else 0:]:
                self.assertNotIn(word, reply.text, request)
        self.assertEqual([reply.status for reply in self.ask("alice", *readers[7:10])], [403] * 3)
        self.assertEqual(self.machine.call("GET", "/v1/services").data, before)
        # A PUT creates a service of its own.
        self.assertEqual(self.call("alice", "PUT", "/v1/services/treasure", body).status, 201)
        self.assertEqual(self.call("alice", "PUT", f"/v1/services/{self.full('bob', 'treasure')}", body).status, 422)
        self.assertEqual(self.call("alice", "PUT", f"/v1/services/{foreign[0]['id']}", body).status, 422)
        after = {service["id"]: service for service in self.machine.call("GET", "/v1/services").data}
        for service in before:
            self.assertEqual(after[service["id"]], service)

    def test_events_are_the_accounts_own(self):
        uid = self.uids["alice"]
        script = (
            "import os, socket, sys\nos.setresuid(%d, %d, %d)\ns = socket.socket(socket.AF_UNIX)\ns.connect('%s')\n"
            "s.send(b'GET /v1/events HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')\n"
            "while data := s.recv(65536):\n    sys.stdout.buffer.write(data)\n    sys.stdout.flush()\n"
        ) % (uid, uid, uid, SOCKET)
        self.machine.shell(f"cat > /tmp/events.py <<'END'\n{script}\nEND")
        self.machine.exec("systemd-run", "--unit=reader", "sh", "-c", "python3 /tmp/events.py > /tmp/events")
        self.addCleanup(self.machine.exec, "systemctl", "stop", "reader.service", check=False)
        eventually(lambda: "event: ready" in self.machine.exec("cat", "/tmp/events", check=False), "the stream is open")
        self.machine.create("secret", "sleep 1000")
        self.create("bob", "treasure", "sleep 1000")
        self.create("alice", "mine", "sleep 1000")
        eventually(lambda: '"status":"running"' in self.machine.exec("cat", "/tmp/events"), "its own event")
        text = self.machine.exec("cat", "/tmp/events")
        self.assertIn('"name":"mine"', text)
        self.assertNotIn("secret", text)
        self.assertNotIn("treasure", text)

    def test_nothing_runs_as_another_account_whatever_the_spec_says(self):
        refused = {
            "user": [{"user": "root"}, {"user": "bob"}, {"user": "0"}, {"user": "alice\nUser=root"}],
            "name": [{"name": name} for name in ("web.0", self.full("bob", "web"), "../web", "web@.service")],
        }
        base = {"name": "web", "command": "sleep 1000"}
        for field, specs in refused.items():
            for spec in specs:
                reply = self.call("alice", "POST", "/v1/services", {**base, **spec})
                self.assertEqual((reply.status, list(reply.json["details"])), (422, [field]), (spec, reply))
        needle = "n33dle"
        texts = [
            f"sleep 1000 # {needle}\nUser=root\n[Service]\nUser=root", f"sleep 1000 # {needle} %h %u ${{HOME}} \\",
            f"sleep 1000; # {needle} \"' ; User=0",
        ]
        for number, text in enumerate(texts):
            with self.subTest(text):
                name = f"s{number}"
                env = {"X": f"{needle}\nUser=root", "LD_PRELOAD": f"/tmp/{needle}.so", "HOME": f"/{needle}"}
                stdio = "pipe" if number else "journal"
                service = self.create("alice", name, text, env=env, cwd="/home/alice", stdio=stdio)
                self.assert_runs_as("alice", service["pid"])
                unit = service["unit"]
                # What systemd has read, as root: numbers and the name.
                shown = self.machine.exec("systemctl", "cat", unit) + self.machine.exec("systemctl", "show", unit)
                self.assertNotIn(needle, shown.replace(service["message"] or "none", ""))
                owner = self.machine.shell(f"stat -c %U /run/{unit.removesuffix('.service')} || true")
                self.assertEqual(owner, "alice\n" if number else owner)

    def test_paths_are_entered_and_read_as_the_account(self):
        self.machine.shell("mkdir -p /root/private /home/bob; chmod 700 /home/bob; echo '#!/bin/sh' > /root/run")
        self.machine.shell("chmod 755 /root/run; ln -sfn /root/private /home/alice/link")
        for cwd in ("/root/private", "/home/bob", "/home/alice/link", "/proc/1/root/root"):
            spec = {"name": "p", "command": "sleep 1000", "cwd": cwd, "restart": "no"}
            reply = self.call("alice", "POST", "/v1/services?wait=running", spec)
            self.assertEqual((reply.status, reply.data["status"]), (201, "failed"), (cwd, reply))
            self.assertIn("permission denied", reply.data["message"].lower())
            self.assertEqual(self.call("alice", "DELETE", "/v1/services/p").status, 200)
        reply = self.call(
            "alice", "POST", "/v1/services?wait=running", {"name": "p", "command": "/root/run", "restart": "no"}
        )
        self.assertIn("permission denied", reply.data["message"].lower())

    def test_keys_are_the_accounts_own(self):
        key = {"Idempotency-Key": "the-key"}
        body = {"name": "web", "command": "sleep 1000"}
        admin = self.machine.call("POST", "/v1/services", body, headers=key)
        alice = self.call("alice", "POST", "/v1/services", body, key)
        bob = self.call("bob", "POST", "/v1/services", body, key)
        self.assertEqual([reply.status for reply in (admin, alice, bob)], [201] * 3)
        self.assertEqual(len({reply.data["id"] for reply in (admin, alice, bob)}), 3)
        again = self.call("alice", "POST", "/v1/services", body, key)
        self.assertEqual((again.status, again.text), (201, alice.text))
        other = {"name": "other", "command": "sleep 1000"}
        self.assertEqual(self.call("alice", "POST", "/v1/services", other, key).status, 422)

    def test_an_account_has_a_number_of_services_and_takes_room_from_no_other(self):
        requests = [
            ("POST", "/v1/services", {"name": f"s{number}", "command": "sleep 1000"}) for number in range(65)
        ]
        statuses = [reply.status for reply in self.ask("alice", *requests)]
        self.assertEqual(statuses, [201] * 64 + [429])
        self.assertEqual(self.call("bob", "POST", "/v1/services", requests[0][2]).status, 201)
        self.machine.create("s0", "sleep 1000")

    def test_a_user_namespace_and_a_connection_of_another_give_no_rights(self):
        self.create("bob", "treasure", "sleep 1000")
        self.create("alice", "mine", "sleep 1000")
        inside = self.machine.shell(
            "setpriv --reuid=alice --regid=alice --init-groups unshare --user --map-root-user"
            f" curl --silent --unix-socket {SOCKET} http://localhost/v1/services"
        )
        self.assertEqual([service["name"] for service in json.loads(inside)["data"]], ["mine"])
        # A subordinate uid, subuid(5), is no account.
        reply = self.call(100_000, "GET", "/v1/services")
        self.assertEqual(reply.status, 403)
        self.assertIn("the uid 100000 is no account", reply.text)
        # The account is the one that has connected.
        text = self.python(HAND_ON, self.uids["alice"], self.uids["bob"])
        self.assertIn('"name":"mine"', text)
        self.assertNotIn("treasure", text)
        # A token, a forged header and another host name add nothing.
        headers = {"Authorization": f"Bearer {self.machine.token}", "X-Forwarded-User": "root", "Host": "localhost"}
        self.assertEqual(self.call("alice", "GET", "/v1/audit", None, headers).status, 403)
        self.assertEqual(self.call("alice", "GET", "/v1/services", None, {"Host": "evil.example"}).status, 403)

    def test_connections_of_an_account_take_no_place_of_another(self):
        self.machine.shell(f"cat > /tmp/hold.py <<'END'\n{HOLD}\nEND")
        uid = self.uids["alice"]
        self.machine.shell(
            f"systemd-run --unit=holder sh -c 'sleep infinity | python3 /tmp/hold.py {uid} {SOCKET} 1000 > /tmp/held'"
        )
        self.addCleanup(self.machine.exec, "systemctl", "stop", "holder.service", check=False)
        eventually(lambda: "held" in self.machine.exec("cat", "/tmp/held", check=False), "the connections are open")
        self.assertEqual(self.call("bob", "GET", "/v1/services").status, 200)
        self.create("bob", "web", "sleep 1000")
        self.assertEqual(self.machine.call("GET", "/v1/services").status, 200)
        pid = self.machine.property(AGENT, "MainPID")
        sockets = int(self.machine.shell(f"find /proc/{pid}/fd -lname 'socket:*' | wc -l"))
        self.assertLess(sockets, 60)

    def test_who_holds_a_port_is_not_named(self):
        spec = {"name": "secret", "command": "python3 -m http.server 7999", "user": "root", "cwd": "/", "port": 7999}
        self.assertEqual(self.machine.call("POST", "/v1/services?wait=ready", spec).status, 201)
        reply = self.call(
            "alice", "POST", "/v1/services?wait=ready",
            {"name": "mine", "command": "python3 -m http.server 7999", "port": 7999, "restart": "no"},
        )
        self.assertEqual(reply.data["status"], "failed", reply)
        self.assertNotIn("secret", reply.text)
        service = self.call("alice", "GET", "/v1/services/mine")
        self.assertIn("another process", service.data["message"])
        self.assertIn("the service 'secret'", self.machine.get(service.data["id"])["message"])
        run = "/v1/services/{}/runs/1"
        eventually(lambda: self.call("alice", "GET", run.format("mine")).status == 200, "its end has a record")
        self.assertEqual(self.call("alice", "GET", run.format("mine")).data["port_holder"], "another process")
        holder = self.machine.call("GET", run.format(service.data["id"])).data["port_holder"]
        self.assertEqual(holder, "the service 'secret'")

    # MARK: What is left of it

    def test_what_accounts_do_is_in_the_audit_and_displaces_nothing(self):
        self.machine.create("web", "sleep 1000")
        self.ask("alice", *[("POST", f"/v1/services/none-{number}/stop") for number in range(300)])
        entries = self.machine.call("GET", "/v1/audit?limit=1000").data
        uid = self.uids["alice"]
        own = [entry for entry in entries if entry["peer"].get("uid") == uid and "none-" in entry["path"]]
        self.assertEqual({(entry["role"], entry["status"]) for entry in own}, {("account", 404)})
        self.assertEqual(len(own), 300)
        self.assertEqual(self.machine.call("GET", "/v1/audit?service=web").data[0]["status"], 201)
        log = self.machine.exec("journalctl", "-u", AGENT, "-o", "cat", "--no-pager")
        self.assertLess(log.count("none-"), 20)

    def test_a_socket_that_is_removed_is_open_again_with_the_same_rights(self):
        for restart in (False, True):
            self.machine.exec("rm", SOCKET)
            eventually(lambda: self.machine.shell(f"test -S {SOCKET} && echo yes", check=False), "it is there again")
            if restart:
                self.machine.exec("systemctl", "kill", "--signal=KILL", AGENT)
                eventually(lambda: self.machine.call("GET", "/readyz").status == 200, "the agent is back")
            self.assertEqual(self.machine.exec("stat", "-c", "%a %U", SOCKET), "666 root\n")
            self.assertEqual(self.call("alice", "GET", "/v1/audit").status, 403)
            self.assertEqual(self.call("alice", "GET", "/v1/services").status, 200)

    def test_check_tells_of_the_socket_and_misses_it_nowhere(self):
        address = f"{SOCKET}: listening"
        self.assertIn(address, self.machine.exec("miosa-agent", "check"))
        self.machine.exec("systemctl", "disable", "--now", SOCKET_UNIT)
        self.machine.exec("systemctl", "start", AGENT)
        self.addCleanup(self.machine.shell, f"systemctl enable {SOCKET_UNIT}; systemctl restart {AGENT}")
        self.machine.exec("test", "!", "-e", SOCKET)
        text = self.machine.exec("miosa-agent", "check")
        self.assertNotIn("user.sock", text)
        self.assertNotIn("user.socket", text)


class TrixieAccounts(Accounts):
    release = "trixie"


if __name__ == "__main__":
    unittest.main()
