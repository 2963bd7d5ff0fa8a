"""What a spec says is what the process gets, and what is no spec changes nothing."""

import unittest

from support import MachineTestCase

# Every kind of byte that means something to a shell, to systemd or to JSON.
NASTY = (
    "a\"b'c\\d%e$f`g;h|i&j<k>l(m)n{o}p[q]r*s?t~u#v!w=x,y:z@ \t"
    "%% %n %h $HOME ${HOME} \\x41 \\n é 日本 🎉 \x7f\x01"
)


class Bytes(MachineTestCase):
    def output(self, name, path):
        self.machine.wait(name, status="stopped", exit_code=0)
        return self.machine.exec("cat", path)

    def test_a_command_reaches_the_shell_byte_for_byte(self):
        # The delimiter makes the shell take everything between as it is, line ends included.
        text = NASTY + "\nsecond line\n[Service]\nExecStart=/bin/false\n"
        self.machine.create("writer", f"cat > /tmp/command <<'END OF TEXT'\n{text}\nEND OF TEXT\n", restart="no")
        self.assertEqual(self.output("writer", "/tmp/command"), text + "\n")

    def test_environment_values_reach_the_process_byte_for_byte(self):
        env = {
            "NASTY": NASTY, "LINES": "one\ntwo\r\nthree\n", "EMPTY": "", "_x1": " spaces ", "QUOTE": '"', "END": "\\",
        }
        self.machine.create("printer", "env -0 > /tmp/env", env=env, restart="no")
        got = dict(entry.split("=", 1) for entry in self.output("printer", "/tmp/env").split("\0") if entry)
        self.assertEqual({name: got.get(name) for name in env}, env)

    def test_a_working_directory_may_have_any_name(self):
        names = [
            "with space", "tail ", "tab\t", "back\\", "100%", "%n", 'q"uote', "ünï✓", "$HOME", "#",
        ]
        for number, name in enumerate(names):
            path = f"/tmp/{name}"
            self.machine.exec("mkdir", "-p", path)
            self.machine.create(f"dir{number}", f"pwd > /tmp/pwd{number}", cwd=path, restart="no", user="root")
            self.assertEqual(self.output(f"dir{number}", f"/tmp/pwd{number}"), path + "\n")

    def test_a_working_directory_may_be_spelled_any_way(self):
        self.machine.exec("mkdir", "-p", "/tmp/here/below")
        for number, path in enumerate(["/tmp/here/below/..", "/tmp/./here", "//tmp///here/", "/tmp/here/"]):
            self.machine.create(f"dir{number}", f"pwd -P > /tmp/pwd{number}", cwd=path, restart="no", user="root")
            self.assertEqual(self.output(f"dir{number}", f"/tmp/pwd{number}"), "/tmp/here\n")
        self.machine.create("long", "pwd > /tmp/pwd", cwd="/tmp" + "/." * 2045 + "/", restart="no", user="root")
        self.machine.wait("long", status="stopped", exit_code=0)
        self.machine.create("none", "true", cwd="/tmp/../none", restart="no")
        message = self.machine.wait("none", status="failed")["message"]
        self.assertEqual(
            message, "working directory '/tmp/../none' does not exist: create it or change cwd (exit code 200)"
        )

    def test_the_longest_command_and_environment_run(self):
        command = "true " + "\x01" * (64 * 1024 - 5)
        env = {"A": "a" * (64 * 1024), "B": "b" * (64 * 1024 - 2)}
        self.machine.create("long", command, env=env, restart="no")
        self.machine.wait("long", status="stopped", exit_code=0)

    def test_environment_values_are_for_root_only(self):
        self.machine.create("keeper", "sleep 1000", env={"PASSWORD": "hunter2-secret"})
        self.machine.wait("keeper", status="running")
        for command in (
            "systemctl show miosa-service-keeper",
            "systemctl cat miosa-service-keeper",
            "busctl --no-pager introspect org.freedesktop.systemd1 "
            "/org/freedesktop/systemd1/unit/miosa_2dservice_2dkeeper_2eservice",
            "grep -r hunter2 /etc/systemd /run/systemd/units /var/lib/miosa-agent 2>&1",
        ):
            seen = self.machine.shell(f"su -s /bin/sh user -c '{command}'", check=False)
            self.assertNotIn("hunter2", seen, command)
        self.assertNotIn("hunter2", self.machine.exec("journalctl", "--no-pager", "-b"))
        self.assertEqual(
            self.machine.exec("stat", "-c", "%a", "/var/lib/miosa-agent/environment/keeper.env").strip(), "600"
        )
        self.assertEqual(self.machine.exec("stat", "-c", "%a", "/var/lib/miosa-agent").strip(), "700")

    def test_a_plain_program_has_the_pid_itself_and_a_shell_construct_has_the_shell(self):
        self.machine.create("plain", "sleep 1000")
        self.machine.create("shell", "sleep 1000; true")
        plain = self.machine.wait("plain", status="running")["pid"]
        shell = self.machine.wait("shell", status="running")["pid"]
        self.assertEqual(self.machine.command_line(plain), ["sleep", "1000"])
        self.assertEqual(self.machine.command_line(shell), ["/bin/sh", "-c", "sleep 1000; true"])
        self.assertEqual(self.machine.exec("cat", f"/proc/{plain}/comm").strip(), "sleep")
        self.assertEqual(self.machine.exec("cat", f"/proc/{shell}/comm").strip(), "sh")

    def test_another_account_can_be_named(self):
        self.machine.create("daemon", "sleep 1000", user="daemon", cwd="/")
        pid = self.machine.wait("daemon", status="running")["pid"]
        # In the middle of an exec its directory in /proc may be root's.
        self.machine.command_line(pid)
        self.assertEqual(self.machine.exec("stat", "-c", "%U", f"/proc/{pid}").strip(), "daemon")


class Refusals(MachineTestCase):
    def refuse(self, body, status, code):
        reply = self.machine.call("POST", "/v1/services", body)
        self.assertEqual((reply.status, reply.json["code"]), (status, code), reply)
        self.assertEqual(self.machine.call("GET", "/v1/services").json["total"], 0)
        return reply.json

    def test_every_bad_field_is_named_at_once(self):
        error = self.refuse(
            {
                "name": "Web", "command": "  ", "env": {"1": "x"}, "cwd": "relative", "restart": "maybe",
                "port": 65536, "user": "-x", "nmae": "typo",
            },
            422, "VALIDATION_ERROR",
        )
        self.assertEqual(
            set(error["details"]), {"name", "command", "env", "cwd", "restart", "port", "user", "nmae"}
        )

    def test_limits_hold_at_the_limit_and_one_past(self):
        for number, (field, good, bad) in enumerate([
            ("name", "n" * 63, "n" * 64),
            ("command", "c" * 65536, "c" * 65537),
            ("cwd", "/" + "d" * 4094, "/" + "d" * 4095),
            ("port", 65535, 65536),
            ("port", 1, 0),
            ("env", {f"E{i}": "" for i in range(256)}, {f"E{i}": "" for i in range(257)}),
            ("env", {"A": "a" * 65536}, {"A": "a" * 65537}),
            ("env", {"A": "a" * 65535, "B": "b" * 65535}, {"A": "a" * 65536, "B": "b" * 65535}),
        ]):
            body = {"name": f"limit{number}", "command": "true", "restart": "no"}
            with self.subTest(field=field, number=number):
                error = self.refuse({**body, field: bad}, 422, "VALIDATION_ERROR")
                self.assertEqual(set(error["details"]), {field})
                self.machine.delete(self.machine.create(**{**body, field: good})["id"])

    def test_what_is_no_json_is_refused_with_the_place(self):
        for body, offset in (
            ("", 0), ("{", 1), ('{"name":}', 8), ('{"a":1,"a":2}', 7), ("{} x", 3), (b'{"a":"\xff"}', 6),
            ('{"a":"\\ud800"}', 6), ("[" * 10000, 64),
        ):
            with self.subTest(body[:20]):
                error = self.refuse(body, 400, "BAD_REQUEST")
                self.assertEqual(error["details"], {"offset": offset}, error)

    def test_two_names_for_one_thing_may_agree_and_not_differ(self):
        error = self.refuse({"name": "x", "command": "true", "cwd": "/a", "working_dir": "/b"}, 422, "VALIDATION_ERROR")
        self.assertEqual(list(error["details"]), ["working_dir"])
        created = self.machine.create(
            "x", "true", cwd="/tmp", working_dir="/tmp", restart_policy="no", auto_restart=False
        )
        self.assertEqual((created["cwd"], created["restart"]), ("/tmp", "no"))

    def test_an_unknown_query_parameter_is_refused(self):
        reply = self.machine.call("GET", "/v1/services?colour=red")
        self.assertEqual((reply.status, reply.json["code"]), (400, "BAD_REQUEST"))
        self.assertIn("'colour'", reply.json["error"])


if __name__ == "__main__":
    unittest.main()
