"""What a service has besides its command: files of variables, commands before it and after it, and a delay of restarts
that grows."""

import concurrent.futures
import json
import random
import time
import unittest

from proof import seeded
from support import MachineTestCase, eventually, unit_of

STEP_FILES = 150


class Steps(MachineTestCase):
    def run_once(self, name, command, **fields):
        """Runs a command to its end; the lines that it has printed."""
        spec = {"name": name, "command": command, "restart": "no", **fields}
        reply = self.machine.call("POST", "/v1/services?wait=stopped", spec)
        self.assertEqual(reply.status, 201, reply)
        return self.lines(name)

    def lines(self, name):
        reply = self.machine.call("GET", f"/v1/services/{name}/logs?tail=1000", headers={"Accept": "application/x-ndjson"})
        return [(entry["stream"], entry["line"]) for entry in map(json.loads, reply.text.splitlines())]

    def failed(self, name, command="sleep 1000", **fields):
        """What is told of a service that does not come to its command."""
        spec = {"name": name, "command": command, "restart": "no", **fields}
        return self.machine.call("POST", "/v1/services?wait=running", spec).data

    def write(self, path, text):
        self.machine.exec("sh", "-c", 'printf %s "$1" > "$0"', path, text)

    def starts(self):
        return [float(line) for line in self.machine.shell("cat /srv/starts 2>/dev/null || true").split()]

    def crash_loop(self, **fields):
        self.machine.shell("rm -f /srv/starts; touch /srv/starts; chmod 666 /srv/starts")
        command = "date +%s.%N >> /srv/starts; exit 1"
        return self.machine.create("web", command, restart_limit=None, **fields)


class Files(Steps):
    def test_a_file_is_read_at_each_start_and_env_wins(self):
        self.machine.shell("printf 'A=file\\nexport B=\"b  c\"\\nPATH=/opt/bin:/usr/bin:/bin\\n' > /srv/one.env")
        self.machine.shell("printf 'C=two\\nB=l4ter\\n' > /srv/two.env; chown user /srv/one.env; chmod 600 /srv/one.env")
        command = "echo $A/$B/$C/$PATH"
        fields = {"env": {"A": "own"}, "env_file": ["/srv/one.env", "/srv/two.env"]}
        shown = [("stdout", "own/l4ter/two//opt/bin:/usr/bin:/bin")]
        self.assertEqual(self.run_once("web", command, **fields), shown)
        self.machine.shell("echo C=three >> /srv/two.env")
        self.assertEqual(self.machine.call("POST", "/v1/services/web/start?wait=stopped").status, 200)
        eventually(lambda: self.lines("web")[-1][1].endswith("three//opt/bin:/usr/bin:/bin"), "the new value is there")
        # One path is a list of one, and the agent keeps no value of a file.
        self.assertEqual(self.run_once("one", "echo $A", env_file="/srv/one.env"), [("stdout", "file")])
        self.assertEqual(self.machine.get("one")["env_file"], ["/srv/one.env"])
        kept = "grep -rl l4ter /etc/systemd /var/lib/miosa-agent /run/systemd 2>/dev/null | wc -l"
        self.assertEqual(self.machine.shell(kept).strip(), "0")

    def test_a_file_is_read_as_the_account(self):
        self.machine.shell("echo A=secret > /root/x.env; chmod 600 /root/x.env; echo A=b > /srv/closed; chmod 0 /srv/closed")
        for name, path, told in (
            ("gone", "/srv/none.env", "env_file '/srv/none.env' does not exist: create it or change env_file"),
            ("closed", "/srv/closed", "env_file '/srv/closed' cannot be read by the service's account (permission denied)"),
            ("root", "/root/x.env", "env_file '/root/x.env' cannot be read by the service's account (permission denied)"),
            ("directory", "/srv", "env_file '/srv' is no file"),
            ("endless", "/dev/zero", "env_file '/dev/zero' is no file"),
        ):
            service = self.failed(name, env_file=path)
            self.assertEqual((service["status"], service["exit_code"]), ("failed", 78), service)
            self.assertEqual(service["message"], f"{told} (exit code 78)")
        self.machine.shell("head -c 1048577 /dev/zero | tr '\\0' x > /srv/large; printf 'A=\\0' > /srv/nul")
        self.assertIn("is larger than 1 MiB", self.failed("large", env_file="/srv/large")["message"])
        self.assertIn("has a NUL byte", self.failed("nul", env_file="/srv/nul")["message"])
        self.machine.shell("printf 'A=b\\nnothing\\n' > /srv/odd")
        told = ("stderr", "line 2 of the env_file /srv/odd assigns no variable, and is ignored")
        # journald reads the two streams in any order.
        self.assertEqual(sorted(self.run_once("odd", "echo $A", env_file="/srv/odd")), [told, ("stdout", "b")])

    def test_files_mean_what_they_mean_to_systemd(self):
        """Generated files: a service gets from `env_file` what a unit gets from EnvironmentFile=."""
        generator, seed = seeded("STEPS_SEED")
        pieces = [
            "A", "B1", "_c", "=", "=", "=", "'", "\"", "\\", "\\\\", "\\\n", "\n", "\n", "\n", "\r\n", " ", "  ", "\t", "#",
            ";", "$x", "`y`", "é", "text", "1", "\\$", "\\n", "\\\"", "\n#", "\nD=", "\nE='", "\nF=\"",
        ]
        texts = []
        while len(texts) < STEP_FILES:
            text = "A=" * generator.randint(0, 1) + "".join(generator.choices(pieces, k=generator.randint(1, 25)))
            # A comment goes on behind a backslash until version 254.
            comments = [line for line in text.replace("\r", "\n").split("\n") if line.strip()[:1] in ("#", ";")]
            if not any("\\" in line for line in comments):
                texts.append(text)
        self.write("/srv/texts.json", json.dumps(texts))
        script = (
            "import json,subprocess,sys\nfound=[]\nkeep=('A','B1','_c','D','E','F')\n"
            "for text in json.load(open('/srv/texts.json')):\n"
            " open('/srv/this.env','w',newline='').write(text)\n"
            " out=subprocess.run(sys.argv[1:],capture_output=True,check=True).stdout\n"
            " found.append({k:v for k,v in (p.split('=',1) for p in out.decode().split('\\0') if p) if k in keep})\n"
            "print(json.dumps(found))"
        )
        self.write("/srv/each.py", script)
        systemd = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "-p", "EnvironmentFile=/srv/this.env", "env", "-0"]
        expected = json.loads(self.machine.exec("python3", "/srv/each.py", *systemd))
        self.machine.create("env", "env -0 > /srv/out", env_file="/srv/this.env", restart="no", user="root", cwd="/")
        self.machine.call("POST", "/v1/services/env/stop")
        once = ["sh", "-c", f"systemctl start --wait {unit_of('env')} && cat /srv/out"]
        self.machine.shell(f"mkdir -p /run/systemd/system/{unit_of('env')}.d")
        self.write(f"/run/systemd/system/{unit_of('env')}.d/fast.conf", "[Unit]\nStartLimitIntervalSec=0\n")
        self.machine.shell("systemctl daemon-reload")
        found = json.loads(self.machine.exec("python3", "/srv/each.py", *once))
        wrong = [(text, a, b) for text, a, b in zip(texts, expected, found) if a != b]
        self.assertEqual(wrong, [], f"STEPS_SEED={seed}")


class Commands(Steps):
    def test_commands_run_in_order_as_the_service_does(self):
        self.machine.shell("rm -f /srv/steps; touch /srv/steps; chmod 666 /srv/steps; echo F=file > /srv/f.env")
        note = "echo {} $(id -un) $PWD $A $F >> /srv/steps"
        for number, more in enumerate(({}, {"env_file": "/srv/f.env"}, {"env_file": "/srv/f.env", "sandbox": "basic"})):
            self.machine.shell(": > /srv/steps")
            name = f"web{number}"
            self.machine.create(
                name, note.format("main") + "; exec sleep 1000", cwd="/srv", env={"A": "a \uffff" if number else "a"},
                pre_start=[note.format("first"), "sh -c 'echo second >> /srv/steps; echo told; echo warned >&2'"],
                post_stop=[note.format("last") + "; echo $SERVICE_RESULT $EXIT_CODE >> /srv/steps"], **more,
            )
            self.machine.wait(name, status="running")
            self.machine.call("POST", f"/v1/services/{name}/stop")
            text = "a \uffff file" if number else "a"
            self.assertEqual(
                self.machine.shell("cat /srv/steps").splitlines(),
                [f"first user /srv {text}", "second", f"main user /srv {text}", f"last user /srv {text}", "success killed"],
            )
            self.assertEqual(sorted(self.lines(name)), [("stderr", "warned"), ("stdout", "told")])
            self.assertEqual(self.machine.get(name)["status"], "stopped")
            self.assertEqual(self.machine.get(name)["message"], None)

    def test_a_command_that_fails_is_named(self):
        service = self.failed("web", pre_start=["true", "echo no database >&2; exit 3", "touch /tmp/never"])
        told = "pre_start[1] exited with code 3; its last line on standard error: no database"
        self.assertEqual((service["status"], service["message"]), ("failed", told))
        self.assertIn("No such file", self.machine.shell("ls /tmp/never 2>&1 || true"))
        service = self.failed("gone", pre_start=["no-such-program --x"])
        self.assertIn("pre_start[0]: the command 'no-such-program' was not found; PATH was ", service["message"])
        service = self.failed("many", pre_start=["exit 4"], restart_max_delay=5)
        self.assertEqual(service["message"], "pre_start[0] exited with code 4")
        spec = {"name": "after", "command": "true", "restart": "no", "post_stop": ["true", "exit 5"]}
        service = self.machine.call("POST", "/v1/services?wait=stopped", spec).data
        self.assertEqual((service["status"], service["message"]), ("failed", "post_stop[1] exited with code 5"))
        # A failure of the command itself comes first.
        service = self.machine.call("PUT", "/v1/services/after?wait=stopped", {**spec, "command": "sh -c 'exit 6'"}).data
        self.assertEqual((service["status"], service["message"]), ("failed", "exited with code 6"))
        # A stop on request is one, whatever comes after the end.
        self.machine.create("stop", "sleep 1000", post_stop=["exit 7"])
        self.machine.wait("stop", status="running")
        service = self.machine.call("POST", "/v1/services/stop/stop").data
        self.assertEqual(service["status"], "stopped", service)

    def streams(self, unit):
        """How many sockets the command before the start has open."""
        pid = self.machine.property(unit, "ControlPID")
        return self.machine.shell(f"ls -l /proc/{pid}/fd 2>/dev/null || true").count("socket:")

    def test_the_reason_is_found_when_journald_takes_it_before_the_begin_of_the_start(self):
        # journald takes turns between systemd's messages, of which some wait, and the lines of services.
        send = "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect('/run/systemd/journal/socket')"
        waiting = f"{send}; [s.send(b'MESSAGE=waiting') for _ in range(5)]"
        journald = self.machine.property("systemd-journald.service", "MainPID")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            self.machine.exec("kill", "-STOP", journald)
            try:
                self.machine.exec("python3", "-c", waiting)
                failing = pool.submit(self.failed, "gone", pre_start=["no-such-program"])
                eventually(lambda: self.streams(unit_of("gone")) == 2, "the launcher waits for journald")
            finally:
                self.machine.exec("kill", "-CONT", journald)
            self.assertIn("pre_start[0]: the command 'no-such-program' was not found", failing.result()["message"])

    def test_each_has_the_time_of_a_stop(self):
        self.machine.create(
            "web", "trap 'sleep 2; exit 0' TERM; sleep 1000 & wait", post_stop=["sleep 2", "sleep 2; touch /home/user/done"],
            stop_timeout=3, stop_mode="all",
        )
        self.machine.wait("web", status="running")
        service = self.machine.call("POST", "/v1/services/web/stop").data
        self.assertEqual((service["status"], service["message"]), ("stopped", None))
        self.assertEqual(self.machine.shell("ls /home/user/done").strip(), "/home/user/done")

    def test_the_start_waits_for_the_commands_before_it(self):
        self.machine.shell("rm -f /srv/go")
        self.machine.create("web", "sleep 1000", pre_start=["until [ -e /srv/go ]; do sleep 0.1; done"])
        service = self.machine.get("web")
        self.assertEqual((service["status"], service["pid"]), ("starting", None))
        self.machine.shell("touch /srv/go")
        self.assertEqual(self.machine.wait("web", status="running")["sub_status"], None)


class Delays(Steps):
    def test_the_delay_doubles_up_to_the_maximum(self):
        self.crash_loop(restart_max_delay=3)
        # Without the maximum the last of them would come after four minutes, which is longer than this waits.
        eventually(lambda: len(self.starts()) >= 9, "it has been started nine times")
        starts = self.starts()
        for before, after, wanted in zip(starts, starts[1:], (1, 2, 3, 3, 3, 3, 3, 3)):
            self.assertGreaterEqual(after - before, wanted)

    def test_the_delay_grows_without_the_agent_and_over_the_time_of_a_start(self):
        self.crash_loop(restart_max_delay=8, start_timeout=2)
        eventually(lambda: len(self.starts()) >= 2, "it has been started twice")
        self.machine.exec("systemctl", "stop", "miosa-agent.service", "miosa-agent.socket", "miosa-agent-tcp.socket")
        eventually(lambda: len(self.starts()) >= 5, "it has been started five times")
        self.machine.exec("systemctl", "start", "miosa-agent.socket", "miosa-agent.service")
        starts = self.starts()
        self.assertGreaterEqual(starts[4] - starts[3], 8)
        # systemd did not take the wait for a start that takes too long.
        self.assertNotIn("timed out", self.machine.exec("journalctl", "-u", unit_of("web"), "-o", "cat"))
        service = eventually(lambda: self.machine.get("web"), "the agent answers")
        self.assertIn(service["sub_status"], ("crash-looping", "restarting"))
        self.assertEqual(service["status"], "starting")

    def test_a_change_during_the_wait_is_made_at_once(self):
        self.crash_loop(restart_max_delay=600, restart_delay=60)
        eventually(lambda: self.machine.get("web")["sub_status"] == "restarting", "it has ended")
        service = self.machine.call("PATCH", "/v1/services/web?wait=running", {"command": "sleep 1000"}).data
        self.assertEqual(service["status"], "running")
        self.assertEqual(self.machine.shell("ls /run/miosa-service-web/").strip(), "restarts")
        self.machine.call("POST", "/v1/services/web/stop")
        self.assertEqual(self.machine.shell("ls -d /run/miosa-service-web 2>/dev/null | wc -l").strip(), "0")


class Requests(Steps):

    def test_a_start_on_request_does_not_wait(self):
        self.crash_loop(restart_max_delay=600, restart_delay=2)
        for number, call in enumerate((
            lambda: self.machine.call("POST", "/v1/services/web/restart"),
            lambda: self.machine.exec("systemctl", "restart", unit_of("web"), check=False),
            lambda: self.machine.call("PATCH", "/v1/services/web", {"env": {"A": "b"}}),
        )):
            # After 2, 4 and 8 s the next restart is after 16 s, 14 of them in front of the command.
            before = len(self.starts())
            eventually(lambda: len(self.starts()) >= before + (4 if number == 0 else 3), "it has been started again")
            eventually(lambda: self.machine.property(unit_of("web"), "SubState") == "start-pre", "it waits")
            count, begin = len(self.starts()), time.monotonic()
            call()
            eventually(lambda: len(self.starts()) > count, "it is started")
            self.assertLess(time.monotonic() - begin, 10)


class TrixieFiles(Files):
    release = "trixie"


class TrixieCommands(Commands):
    release = "trixie"


class TrixieDelays(Delays):
    release = "trixie"


class BullseyeFiles(Files):
    release = "bullseye"


class BullseyeDelays(Delays):
    release = "bullseye"


class BullseyeCommands(Steps):
    release = "bullseye"

    def test_what_this_systemd_cannot_do_is_refused(self):
        self.machine.shell("echo A=b > /srv/a.env")
        reason = "needs systemd 252 in a service with env_file, of an account, or with Unicode noncharacters; this is systemd 247"
        for field, value in (("pre_start", ["true"]), ("restart_max_delay", 60)):
            spec = {"name": "web", "command": "sleep 1000", "env_file": "/srv/a.env", field: value}
            for query in ("", "?dry_run=true"):
                reply = self.machine.call("POST", f"/v1/services{query}", spec)
                self.assertEqual((reply.status, reply.json["details"]), (422, {field: reason}), reply)
        self.machine.create("web", "sleep 1000", pre_start=["true"], post_stop=["touch /home/user/done"])
        self.assertEqual(self.machine.call("PATCH", "/v1/services/web", {"env_file": "/srv/a.env"}).status, 422)
        self.machine.call("POST", "/v1/services/web/stop")
        self.assertEqual(self.machine.shell("ls /home/user/done").strip(), "/home/user/done")
        self.machine.call("PATCH", "/v1/services/web", {"env_file": "/srv/a.env", "pre_start": None})
        self.machine.call("POST", "/v1/services/web/start?wait=running")
        self.machine.shell("rm /home/user/done")
        self.machine.call("POST", "/v1/services/web/stop")
        self.assertEqual(self.machine.shell("ls /home/user/done").strip(), "/home/user/done")


if __name__ == "__main__":
    unittest.main()
