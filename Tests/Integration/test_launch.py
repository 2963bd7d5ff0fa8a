"""The way from systemd to the first instruction of the command, and what is told where it does not come to that."""

import json
import threading
import time
import unittest

import support
from support import MachineTestCase, eventually, free_port, unit_of

LAUNCHER = "/usr/lib/miosa-agent/launch-1"
RELAY = f"{LAUNCHER}\0--relay\0"


class LaunchCase(MachineTestCase):
    def fail_with(self, name, command, **fields):
        """The message of a service that fails, once that says all that there is to say."""
        fields.setdefault("restart", "no")
        reply = self.machine.call(
            "POST", "/v1/services?wait=ready&timeout=20", {"name": name, "command": command, **fields}
        )
        self.assertEqual((reply.status, reply.data["status"]), (201, "failed"), reply)
        return reply.data

    def output(self, name, command, **fields):
        """What a service writes to standard output, line by line, before its last line, which is "end"."""
        self.machine.create(name, f"{command}; echo end; exec sleep 1000", **fields)
        self.machine.wait_for_line(name, "end")
        text = self.machine.call("GET", f"/v1/services/{name}/logs?tail=all", headers={"Accept": "text/plain"}).text
        lines = [line.split(" ", 2)[2] for line in text.splitlines() if line.split(" ", 2)[1] == "stdout"]
        return lines[: lines.index("end")]

    def drop_in(self, name, text):
        """What a person adds to the unit of a service that is still to be created."""
        directory = f"/etc/systemd/system/{unit_of(name)}.d"
        self.machine.shell(f"mkdir -p {directory}; printf '[Service]\\n{text}\\n' > {directory}/a.conf")
        self.addCleanup(self.machine.shell, f"rm -r {directory}; systemctl daemon-reload")
        self.machine.exec("systemctl", "daemon-reload")

    def environment(self, pid):
        pairs = self.machine.exec("cat", f"/proc/{pid}/environ").rstrip("\0").split("\0")
        return dict(pair.split("=", 1) for pair in pairs)


class Failures(LaunchCase):
    """What cannot be started is told with its reason."""

    def test_a_working_directory(self):
        self.machine.shell("ln -sfn /srv/loop /srv/loop; mkdir -p /srv/closed/inside; chmod 700 /srv/closed; touch /srv/file")
        cases = [
            ("missing", "/srv/none", "working directory '/srv/none' does not exist"),
            ("forbidden", "/srv/closed", "working directory '/srv/closed' cannot be entered by the service's account"),
            ("inside", "/srv/closed/inside", "working directory '/srv/closed/inside' cannot be entered by the service's"),
            ("file", "/srv/file", "working directory '/srv/file' is no directory"),
            ("below", "/srv/file/x", "working directory '/srv/file/x' is no directory, or a part of the path is none"),
            ("loop", "/srv/loop", "working directory '/srv/loop' is a loop of symbolic links"),
            ("dots", "/srv/../none", "working directory '/srv/../none' does not exist"),
            ("odd", "/srv/\uffff", "working directory '/srv/?' does not exist"),
        ]
        for name, cwd, message in cases:
            with self.subTest(name):
                service = self.fail_with(name, "sleep 1000", cwd=cwd)
                self.assertEqual(service["exit_code"], 200)
                self.assertTrue(service["message"].startswith(message), service["message"])

    def test_a_service_whose_launcher_fails_is_never_running(self):
        with self.machine.stream("/v1/events", "text/event-stream") as stream:
            while stream.event()["event"] != "ready":
                pass
            for _ in range(30):
                reply = self.machine.call(
                    "POST", "/v1/services?wait=running", {"name": "w", "command": "x", "cwd": "/none", "restart": "no"}
                )
                self.assertEqual((reply.status, reply.data["status"]), (201, "failed"), reply)
                self.machine.delete("w")
            self.machine.create("last", "sleep 1000")
            statuses = set()
            while (event := stream.event()["data"])["service"]["name"] == "w":
                statuses.add(event["service"]["status"])
        self.assertLessEqual(statuses, {"starting", "failed", "stopped", "removed"})

    def test_a_command(self):
        self.machine.shell(
            "cd /srv; printf '#!/usr/bin/python9\\n' > no-interpreter; printf '#!/bin/sh\\r\\nsleep 9\\r\\n' > crlf;"
            "printf '#!/srv/plain\\n' > bad-interpreter; echo x > plain; cp plain denied;"
            "printf '\\177ELF\\2\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\267\\0' > other; ln -sfn /srv/round /srv/round;"
            "sed 's/\\(ld-linux[a-z0-9_-]*\\.so\\)\\.[0-9]/\\1.9/' /bin/sleep > no-loader;"
            "printf '#!/usr/bin/env python3\\r\\nprint()\\r\\n' > env-crlf; chmod 755 env-crlf;"
            "chmod 755 no-interpreter crlf bad-interpreter other no-loader; chmod 644 denied plain"
        )
        cases = [
            ("/srv/absent", 127, "the command '/srv/absent' does not exist"),
            ("./absent", 127, "the command './absent' does not exist"),
            ("/srv/denied", 126, "the command '/srv/denied' cannot be executed by the service's account"),
            ("/srv", 126, "the command '/srv' cannot be executed"),
            ("/srv/round", 127, "the command '/srv/round' is a loop"),
            ("/srv/denied/x", 127, "the command '/srv/denied/x' does not exist: a part of the path is no directory"),
            ("/srv/no-interpreter", 127, "the command's interpreter '/usr/bin/python9', which its first line names"),
            ("/srv/bad-interpreter", 126, "the command's interpreter '/srv/plain' cannot be executed"),
            ("/srv/crlf", 127, "the first line of '/srv/crlf' ends with CR LF"),
            ("/srv/other", 126, "'/srv/other' is a program for another kind of machine"),
            ("/srv/no-loader 9", 127, "'/srv/no-loader' needs a dynamic loader that does not exist"),
            ("/srv/env-crlf", 127, "exited with code 127: "),
            ("absent --x", 127, "the command 'absent' was not found; PATH was /home/user/.local/bin:/home/user/bin:"),
        ]
        for number, (command, code, message) in enumerate(cases):
            with self.subTest(command):
                service = self.fail_with(f"c{number}", command)
                self.assertEqual(service["exit_code"], code)
                self.assertTrue(service["message"].startswith(message), service["message"])
                if "env-crlf" in command:
                    self.assertIn("ends with CR LF", service["message"])
                    continue
                # The reason is in the log, too.
                log = self.machine.call("GET", f"/v1/services/c{number}/logs", headers={"Accept": "text/plain"})
                self.assertIn(" stderr launch: ", log.text)

    def test_a_directory_of_path_that_the_account_cannot_enter_has_no_command(self):
        self.machine.shell("mkdir -p /srv/shut; chmod 700 /srv/shut")
        service = self.fail_with("shut", "absent", env={"PATH": "/srv/shut:/usr/bin"})
        self.assertEqual(service["exit_code"], 127)
        self.assertIn("the command 'absent' was not found; PATH was /srv/shut:/usr/bin", service["message"])

    def test_the_path_of_a_service_is_named(self):
        service = self.fail_with("path", "absent", env={"PATH": "/opt/mine:/opt/other"})
        self.assertIn("PATH was /opt/mine:/opt/other", service["message"])

    def test_what_the_launcher_itself_needs(self):
        cases = [
            ("texts", "LoadCredential=", {"env": {"T": "\uffff"}}, 243, "the launcher cannot read the service's cred"),
            ("pipes", "LimitNOFILE=7", {"stdio": "pipe"}, 209, "the pipes for standard output and error cannot"),
            ("place", "RuntimeDirectory=", {"stdio": "pipe"}, 209, "the pipes for standard output and error cannot"),
        ]
        for name, directive, fields, code, message in cases:
            with self.subTest(name):
                self.drop_in(name, directive)
                service = self.fail_with(name, "sleep 1000", **fields)
                self.assertEqual(service["exit_code"], code)
                self.assertTrue(service["message"].startswith(message), service["message"])

    def test_a_word_of_bash_in_the_shell(self):
        for word, command in [("source", "source x && sleep 1"), ("[[", "[[ -f x ]]"), ("declare", "declare x; exit $?")]:
            with self.subTest(word):
                name = f"w{len(word)}"
                service = self.fail_with(name, command)
                self.assertEqual(service["exit_code"], 127)
                self.assertIn("the shell /bin/sh did not find a command", service["message"])
                # On a busy machine journald can be later with the line than the answer waits for it.
                eventually(lambda: f"'{word}' is a word of bash" in self.machine.get(name)["message"], "it is named")
                self.assertIn("PATH was ~user/.local/bin:~user/bin:/usr/local/sbin:", service["message"])

    def test_a_program_that_exits_with_a_code_of_systemds(self):
        for code in (200, 203, 217, 226, 243):
            with self.subTest(code):
                service = self.fail_with(f"e{code}", f"exit {code}")
                self.assertEqual((service["exit_code"], service["message"]), (code, f"exited with code {code}"))

    def test_what_systemd_itself_cannot_set_up(self):
        service = self.fail_with("account", "sleep 1", user="nobody-here")
        self.assertEqual(service["message"], "account 'nobody-here' does not exist (systemd 217/USER)")
        self.drop_in("spaces", "ReadWritePaths=/none")
        service = self.fail_with("spaces", "sleep 1")
        self.assertEqual(service["exit_code"], 226)
        self.assertIn("systemd could not set up the process (systemd 226/NAMESPACE): Failed at step", service["message"])

    def test_the_last_line_of_standard_error_goes_with_an_exit_code(self):
        service = self.fail_with("talks", "echo first >&2; echo 'no database' >&2; exit 3")
        self.assertEqual(service["message"], "exited with code 3; its last line on standard error: no database")

    def test_a_launcher_that_is_gone(self):
        self.machine.shell(f"mv {LAUNCHER} {LAUNCHER}.away")
        self.addCleanup(self.machine.shell, f"mv {LAUNCHER}.away {LAUNCHER}")
        service = self.fail_with("gone", "sleep 1000")
        self.assertIn("systemd cannot run the launcher of services: install miosa-agent again", service["message"])


class Environment(LaunchCase):
    """Every process of a service has what a child of a shell has."""

    def test_path_has_the_accounts_directories_and_those_of_snaps(self):
        self.machine.create("web", "sleep 1000")
        pid = self.machine.wait("web", status="running")["pid"]
        variables = self.environment(pid)
        system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
        self.assertTrue(
            variables["PATH"].startswith(f"/home/user/.local/bin:/home/user/bin:{system}"), variables["PATH"]
        )
        self.assertTrue(variables["PATH"].endswith(":/snap/bin"), variables["PATH"])
        self.assertEqual(variables["PWD"], "/home/user")
        self.assertEqual({"NOTIFY_SOCKET", "JOURNAL_STREAM", "LISTEN_FDS"} & set(variables), set())

    def test_a_program_in_the_accounts_own_directory_is_found_first(self):
        self.machine.shell(
            "mkdir -p /home/user/.local/bin; printf '#!/bin/sh\\necho mine; exec sleep 1000\\n' > /home/user/.local/bin/nice;"
            "chmod 755 /home/user/.local/bin/nice; chown -R user: /home/user/.local"
        )
        self.machine.create("mine", "nice")
        self.machine.wait_for_line("mine", "mine")

    def test_variables_of_the_service_stay_as_they_are(self):
        env = {
            "PATH": "/opt/mine", "NOTIFY_SOCKET": "/run/mine", "JOURNAL_STREAM": "1:2", "LISTEN_FDS": "3", "PWD": "/",
            "HOME": "/srv", "RUNTIME_DIRECTORY": "x", "CREDENTIALS_DIRECTORY": "y",
        }
        for name, more in (("kept", {}), ("pipes", {"stdio": "pipe"}), ("texts", {"env": {**env, "T": "\uffff"}})):
            with self.subTest(name):
                self.machine.create(name, "/bin/sleep 1000", **{"env": env, **more})
                found = self.environment(self.machine.wait(name, status="running")["pid"])
                # A shell, too, puts the true directory there.
                self.assertEqual({key: found[key] for key in env}, {**env, "PWD": "/home/user"})

    def test_sigpipe_ends_a_process_that_writes_to_nobody(self):
        lines = self.output("loop", "while :; do echo x; done | head -n 1; echo after")
        self.assertEqual(lines, ["x", "after"])
        pid = self.machine.get("loop")["pid"]
        ignored = int(self.machine.shell(f"sed -n 's/^SigIgn:\\s*//p' /proc/{pid}/status"), 16)
        self.assertEqual(ignored, 0)

    def test_a_hostile_environment_is_the_accounts_alone(self):
        self.machine.shell("mkdir -p /srv/bad; echo garbage > /srv/bad/libc.so.6; chmod -R 755 /srv/bad")
        env = {
            "LD_PRELOAD": "/srv/bad/libc.so.6", "IFS": "/", "ENV": "/srv/bad/env", "BASH_ENV": "/srv/bad/env",
            "GLIBC_TUNABLES": "glibc.malloc.check=3", "LD_DEBUG": "all", "LD_DEBUG_OUTPUT": "/srv/bad/debug",
            "LOCALDOMAIN": "x" * 1000, "MALLOC_TRACE": "/srv/bad/trace",
        }
        self.machine.create("hostile", "/bin/sleep 1000", env=env)
        pid = self.machine.wait("hostile", status="running")["pid"]
        self.assertEqual(self.machine.exec("stat", "-c", "%U", f"/proc/{pid}").strip(), "user")
        self.assertLessEqual(env.items(), self.environment(pid).items())
        # Nothing was written where the account cannot write, which root could.
        self.assertEqual(self.machine.exec("ls", "/srv/bad").split(), ["libc.so.6"])

    def test_a_loader_that_is_broken_for_the_command_is_not_the_launchers(self):
        self.machine.shell("mkdir -p /srv/broken; : > /srv/broken/libc.so.6; chmod -R 755 /srv/broken")
        service = self.fail_with("broken", "/bin/sleep 1000", env={"LD_LIBRARY_PATH": "/srv/broken"})
        self.assertEqual(service["exit_code"], 127)
        # It is the program's own loader that speaks.
        self.assertIn("libc.so.6", service["message"])
        self.assertNotIn("launch", service["message"])

    def test_an_empty_path_is_the_working_directory(self):
        self.machine.shell("printf '#!/bin/sh\\n/bin/sleep 1000\\n' > /srv/here; chmod 755 /srv/here")
        self.machine.create("here", "here", env={"PATH": ""}, cwd="/srv")
        self.machine.wait("here", status="running")
        service = self.fail_with("nowhere", "sleep 1000", env={"PATH": ""})
        self.assertIn("the command 'sleep' was not found; PATH was ", service["message"])

    def test_the_longest_environment(self):
        env = {"A": "x" * 65536, "B": "y" * (131072 - 65536 - 2)}
        self.machine.create("long", "/bin/sleep 1000", env=env)
        found = self.environment(self.machine.wait("long", status="running")["pid"])
        self.assertEqual({key: found[key] for key in env}, env)

    def test_a_launcher_without_descriptors_runs_the_command(self):
        script = f"exec 0<&- 1>&- 2>&-; exec {LAUNCHER} x / /bin/sh -c 'echo ran > /srv/ran'"
        self.machine.shell(script)
        self.assertEqual(self.machine.exec("cat", "/srv/ran"), "ran\n")

    def test_a_directory_of_a_drop_in_stays(self):
        self.drop_in("moved", "WorkingDirectory=/srv")
        self.machine.create("moved", "sleep 1000")
        pid = self.machine.wait("moved", status="running")["pid"]
        self.assertEqual(self.machine.exec("readlink", f"/proc/{pid}/cwd").strip(), "/srv")


class Marks(LaunchCase):
    """What the launcher tells comes from it alone."""

    FORGE = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.sendto(sys.argv[1].encode(), '/run/systemd/notify')\n"
    )
    MARK = "STATUS=launch: directory 2 (No such file or directory): /forged\nERRNO=2"

    def test_another_account_cannot_forge_them(self):
        pid = self.machine.create("real", "exec sleep 1000; :") and self.machine.wait("real", status="running")["pid"]
        self.machine.shell(f"cat > /srv/forge.py <<'END'\n{self.FORGE}END\n")
        for user in ("daemon", "user"):
            for text in (self.MARK, f"MAINPID=1\n{self.MARK}"):
                self.machine.exec("setpriv", f"--reuid={user}", "--clear-groups", "python3", "/srv/forge.py", text)
                # systemd has looked at the message when it answers.
                self.assertEqual(self.machine.property(unit_of("real"), "StatusText"), "")
                self.assertEqual(self.machine.property(unit_of("real"), "MainPID"), str(pid))
        # The main process's own message is taken.
        program = self.FORGE + "import time\ntime.sleep(1000)"
        self.machine.create("own", "exec python3 -c \"$FORGE\" STATUS=mine", env={"FORGE": program})
        self.machine.wait("own", status="running")
        eventually(lambda: self.machine.property(unit_of("own"), "StatusText") == "mine", "its status is taken")

    def test_a_child_of_the_command_cannot_either(self):
        self.machine.shell(f"cat > /srv/forge.py <<'END'\n{self.FORGE}END\n")
        text = self.MARK.replace("\n", "\\n")
        service = self.fail_with("child", f"python3 /srv/forge.py \"$(printf '{text}')\"; exit 3")
        self.assertEqual(service["message"], "exited with code 3")


class Stops(LaunchCase):
    """A service ends when it is told to, whatever its main process tells systemd."""

    STUBBORN = (
        "import signal, socket, time\n"
        "def extend(*_):\n"
        "    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "    s.sendto(b'EXTEND_TIMEOUT_USEC=86400000000', '/run/systemd/notify')\n"
        "signal.signal(signal.SIGTERM, extend)\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(1)\n"
    )

    def test_a_process_that_puts_off_its_end_is_killed(self):
        self.machine.create("stubborn", "exec python3 -c \"$PROGRAM\"", env={"PROGRAM": self.STUBBORN})
        self.machine.wait_for_line("stubborn", "ready")
        service = self.machine.call("POST", "/v1/services/stubborn/stop")
        self.assertEqual((service.status, service.data["status"], service.data["signal"]), (200, "stopped", "SIGKILL"))


class Running(LaunchCase):
    """A service is running when its process is the command."""

    def test_no_service_is_running_while_its_process_is_the_launcher(self):
        count = 60
        with self.machine.stream("/v1/events", "text/event-stream") as events:
            while events.event()["event"] != "ready":
                pass
            threading.Thread(target=self.create_all, args=(count,), daemon=True).start()
            running = 0
            while running < count:
                event = events.event()
                service = event["data"].get("service") or event["data"]
                if service.get("status") != "running" or service.get("pid") is None:
                    continue
                running += 1
                with open(f"/proc/{self.host_pid(service['pid'])}/cmdline") as file:
                    self.assertEqual(file.read(), "sleep\x001000\x00", service)

    def create_all(self, count):
        for number in range(count):
            self.machine.create(f"r{number}", "sleep 1000")

    def host_pid(self, pid):
        """The machine's process as the host sees it: its own cgroup lists it there."""
        return self.pids()[str(pid)]

    def pids(self):
        leader = dict(
            line.split("=", 1) for line in self.machine.run("env", self.machine.name).splitlines()
        )["SYSTEMD_PID"]
        found = {}
        waiting = [leader]
        while waiting:
            pid = waiting.pop()
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as file:
                    waiting += file.read().split()
                with open(f"/proc/{pid}/status") as file:
                    found[next(line for line in file if line.startswith("NSpid:")).split()[-1]] = pid
            except FileNotFoundError:
                continue
        return found

    def test_a_start_answers_when_the_command_runs(self):
        self.machine.create("web", "sleep 1000")
        for verb in ("restart", "stop", "start", "restart"):
            service = self.machine.call("POST", f"/v1/services/web/{verb}").data
            if verb != "stop":
                self.assertEqual(service["status"], "running", verb)
                line = self.machine.exec("cat", f"/proc/{service['pid']}/cmdline")
                self.assertEqual(line, "sleep\x001000\x00")


class Background(LaunchCase):
    """A command that puts itself into the background is never ready, and is told so."""

    DAEMON = (
        "import os, socket, sys, time\n"
        "s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "time.sleep(float(sys.argv[2]))\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "while True: s.accept()\n"
    )

    def background(self, name, command, **fields):
        reply = self.machine.call(
            "POST", "/v1/services?wait=ready&timeout=20", {"name": name, "command": command, **fields}
        )
        self.assertEqual(reply.status, 201, reply)
        self.assertIn(reply.data["status"], ("stopped", "failed"), reply)
        self.assertIn("left processes behind", reply.data["message"] or "", reply)
        self.assertIn("run it in the foreground", reply.data["message"])

    def test_a_server_that_opens_its_port_first(self):
        self.machine.shell(f"cat > /srv/daemon.py <<'END'\n{self.DAEMON}END\n")
        for number, delay in enumerate((0, 0.02, 0.05)):
            with self.subTest(delay):
                port = free_port()
                self.background(f"d{number}", f"python3 /srv/daemon.py {port} {delay}", port=port)

    def test_commands_of_the_shell(self):
        self.background("nohup", "nohup sleep 1000 &")
        self.background("setsid", "setsid -f sleep 1000", restart="no")
        self.background("sub", "(sleep 1000 &)")

    def test_one_that_ends_alone_is_told_nothing(self):
        self.machine.create("ends", "true; sleep 0.1; true")
        self.assertIsNone(self.machine.wait("ends", status="stopped")["message"])
        # Nor is one that is stopped.
        self.machine.create("stopped", "sleep 1000 & sleep 1000 & wait")
        self.machine.wait("stopped", status="running")
        self.assertIsNone(self.machine.call("POST", "/v1/services/stopped/stop").data["message"])
        self.machine.create("by-hand", "trap 'exit 0' TERM; sleep 1000 & wait")
        self.machine.wait("by-hand", status="running")
        self.machine.exec("systemctl", "stop", unit_of("by-hand"))
        stopped = self.machine.wait("by-hand", status="stopped")
        self.assertEqual(stopped["message"], "the unit was stopped by hand: start the service to run it again")


class Journal(LaunchCase):
    """Services start whether journald is there or not."""

    SOCKETS = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket"

    def stop_journal(self):
        self.machine.shell(f"systemctl stop systemd-journald.service {self.SOCKETS} 2>/dev/null || true")
        self.machine.shell("rm -f /run/systemd/journal/stdout")

    def start_journal(self):
        self.machine.shell("systemctl start systemd-journald.socket systemd-journald-dev-log.socket")
        self.machine.shell("systemctl restart systemd-journald.service")

    def test_without_journald_a_service_runs_and_says_that_its_output_is_lost(self):
        self.addCleanup(self.start_journal)
        self.assertIn("\nmiosa_journal_active 1\n", self.machine.call("GET", "/metrics").text)
        self.stop_journal()
        eventually(lambda: self.machine.call("GET", "/readyz").json["journal"] == "inactive", "it is told")
        self.assertIn("\nmiosa_journal_active 0\n", self.machine.call("GET", "/metrics").text)
        self.machine.create("quiet", "while :; do echo line; sleep 0.05; done")
        service = self.machine.wait("quiet", status="running")
        self.assertIn("the output of this run is discarded, because journald could not be reached", service["message"])
        self.assertIn('miosa_service_output_discarded{service="quiet"} 1', self.machine.call("GET", "/metrics").text)
        self.start_journal()
        # The run goes on without journald, whatever else has come back.
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        service = self.machine.wait("quiet", status="running")
        self.assertIn("the output of this run is discarded, because journald could not be reached", service["message"])
        self.assertIn('miosa_service_output_discarded{service="quiet"} 1', self.machine.call("GET", "/metrics").text)
        eventually(lambda: self.machine.call("GET", "/readyz").json["journal"] == "active", "it is back")
        self.assertEqual(self.machine.call("POST", "/v1/services/quiet/restart").status, 200)
        service = self.machine.wait("quiet", status="running", message=None)
        self.machine.wait_for_line("quiet", "line")
        self.assertNotIn("miosa_service_output_discarded{", self.machine.call("GET", "/metrics").text)

    def test_a_journald_that_hangs_holds_up_no_start(self):
        pid = self.machine.property("systemd-journald.service", "MainPID")
        self.machine.exec("kill", "-STOP", pid)
        self.addCleanup(self.machine.exec, "kill", "-CONT", pid, check=False)
        for number in range(5):
            self.machine.create(f"h{number}", "echo line; exec sleep 1000")
            self.machine.wait(f"h{number}", status="running")
        self.machine.exec("kill", "-CONT", pid)
        for number in range(5):
            self.machine.wait_for_line(f"h{number}", "line")

    def test_a_journald_that_hangs_holds_up_the_reason_of_a_failure_and_no_longer(self):
        pid = self.machine.property("systemd-journald.service", "MainPID")
        self.machine.exec("kill", "-STOP", pid)
        self.addCleanup(self.machine.exec, "kill", "-CONT", pid, check=False)
        self.machine.create("w", "declare x; exit $?", restart="no")
        message = self.machine.wait("w", status="failed")["message"]
        self.assertNotIn("'declare' is a word of bash", message or "")
        eventually(lambda: "did not find a command" in (self.machine.get("w")["message"] or ""), "what is known")
        self.machine.exec("kill", "-CONT", pid)
        eventually(lambda: "'declare' is a word of bash" in self.machine.get("w")["message"], "the reason")

    def test_a_journal_without_room_holds_up_no_start(self):
        self.machine.shell(
            "mount -t tmpfs -o size=1M,mode=2755 tmpfs /var/log/journal; systemctl restart systemd-journald;"
            "journalctl --flush; head -c 2000000 /dev/zero > /var/log/journal/fill; true"
        )
        self.addCleanup(self.machine.shell, "umount --lazy /var/log/journal; systemctl restart systemd-journald")
        for number in range(5):
            self.machine.create(f"f{number}", "echo line; exec sleep 1000")
            self.assertIsNone(self.machine.wait(f"f{number}", status="running")["message"])

    def test_a_journald_that_is_killed_during_starts(self):
        stop = threading.Event()

        def kill():
            while not stop.is_set():
                self.machine.shell("systemctl kill -s KILL systemd-journald.service", check=False)
                stop.wait(0.2)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            for number in range(20):
                self.machine.create(f"k{number}", "exec sleep 1000")
                self.machine.wait(f"k{number}", status="running")
        finally:
            stop.set()
            killer.join()
            self.machine.shell("systemctl reset-failed systemd-journald.service; systemctl start systemd-journald")


class Pipes(LaunchCase):
    """Standard output and error that can be opened by name."""

    def test_without_them_the_field_is_named(self):
        for number, command in enumerate(("echo x > /dev/stdout", "echo x > /dev/stderr", "exec 3>/proc/self/fd/1")):
            with self.subTest(command):
                service = self.fail_with(f"n{number}", command)
                self.assertIn("set stdio to 'pipe'", service["message"])

    def test_both_can_be_opened_and_stay_apart(self):
        command = "echo one > /dev/stdout; echo two > /dev/stderr; echo three; echo four >&2; echo end >> /dev/stdout"
        created = self.machine.create("web", f"{command}; exec sleep 1000", stdio="pipe")
        self.assertEqual(created["stdio"], "pipe")
        self.machine.wait_for_line("web", "end")
        self.machine.wait_for_line("web", "four")
        log = self.machine.call("GET", "/v1/services/web/logs?tail=all", headers={"Accept": "application/json"})
        lines = [(entry["stream"], entry["line"]) for entry in log.data]
        self.assertEqual([line for stream, line in lines if stream == "stdout"], ["one", "three", "end"])
        self.assertEqual([line for stream, line in lines if stream == "stderr"], ["two", "four"])
        # The unit in the journal is the service's, and the main process the command.
        journal = self.machine.exec("journalctl", "-u", unit_of("web"), "-o", "cat", "--no-pager")
        self.assertLessEqual({"one", "two", "three", "four", "end"}, set(journal.splitlines()))
        pid = self.machine.get("web")["pid"]
        self.assertEqual(self.machine.command_line(pid), ["sleep", "1000"])
        self.assertEqual(self.machine.property(unit_of("web"), "MainPID"), str(pid))

    def write_and(self, name, end, before="", stream="stdout", **fields):
        """Has a service write, ends it, and finds in its log every line that it had written until then."""
        file = f"/home/user/{name}"
        # No more than journald's own rate limit lets through, which holds for what it reads when the unit is gone.
        script = (
            f"trap '' TERM; i=0; echo begin; {before} "
            f"while [ $i -lt 9900 ]; do i=$((i+1)); echo $i > /dev/{stream}; echo $i >> {file};"
            " [ $((i % 100)) -ne 0 ] || sleep 0.01; done; while :; do sleep 1; done"
        )
        self.machine.create(name, script, stdio="pipe", **fields)
        self.machine.wait_for_line(name, "begin")
        end(file)
        service = eventually(
            lambda: (found := self.machine.get(name))["status"] in ("stopped", "failed") and found, f"{name} has ended"
        )
        written = int(self.machine.shell(f"wc -l < {file}"))
        self.assertGreater(written, 1000)

        def lines():
            log = self.machine.call(
                "GET", f"/v1/services/{service['id']}/logs?lines=all", headers={"Accept": "text/plain"}
            ).text
            words = [line.split(" ", 2) for line in log.splitlines()]
            return [int(line) for _, found, line in words if found == stream and line.isdigit()]

        # journald takes its time with that many. What was left in the pipes comes through another stream, whose lines it
        # may read before the last ones of the first.
        try:
            eventually(lambda: len(lines()) >= written, f"{written} lines are in the log")
        except AssertionError as error:
            found = set(lines())
            missing = [number for number in range(1, written + 1) if number not in found]
            raise AssertionError(f"{error}; missing are {len(missing)}: {missing[:3]} to {missing[-3:]}") from None
        self.assertEqual(sorted(lines()), list(range(1, len(lines()) + 1)))

    def written(self, file):
        """Waits until a service has written a good deal."""
        eventually(lambda: int(self.machine.shell(f"wc -l < {file} || echo 0")) > 2000, "it writes")

    def kill(self, name):
        self.machine.exec("systemctl", "kill", "-s", "KILL", unit_of(name))

    def test_no_line_is_lost_when_all_processes_are_killed(self):
        def end(file):
            self.written(file)
            self.kill("killed")

        self.write_and("killed", end, restart="no")

    def test_no_line_of_standard_error_is_lost_either(self):
        def end(file):
            self.written(file)
            self.kill("errors")

        self.write_and("errors", end, stream="stderr", restart="no")

    def test_no_line_is_lost_when_a_stop_ends_with_a_kill(self):
        # It begins to write shortly before its time is over.
        before = "trap 'sleep 9; go=1' TERM; while [ -z \"$go\" ]; do sleep 0.1; done;"
        self.write_and("deaf", lambda _: self.machine.call("POST", "/v1/services/deaf/stop"), before)

    def test_no_line_is_lost_when_the_agent_is_killed(self):
        def end(file):
            self.written(file)
            self.machine.exec("systemctl", "kill", "-s", "KILL", "miosa-agent.service")
            self.kill("third")
            eventually(lambda: self.machine.exec("systemctl", "is-active", "miosa-agent", check=False) == "active\n", "up")

        self.write_and("third", end, restart="no")

    def test_a_command_has_no_descriptors_or_children_that_are_not_its_own(self):
        script = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1], flush=True)\ntry: os.wait()\n"
        script += "except ChildProcessError: print('no child', flush=True)\nimport time; time.sleep(1000)"
        self.machine.create("clean", "exec python3 -c \"$PROGRAM\"", env={"PROGRAM": script}, stdio="pipe")
        for _ in range(3):
            self.machine.wait("clean", status="running")
            eventually(lambda: self.lines_of("clean")[-1:] == ["no child"], "it has looked")
            self.assertEqual(self.lines_of("clean")[-2:], ["[0, 1, 2]", "no child"])
            pid = self.machine.get("clean")["pid"]
            self.assertNotIn("LISTEN_FDS", self.environment(pid))
            count = len(self.lines_of("clean"))
            self.machine.call("POST", "/v1/services/clean/restart")
            eventually(lambda: len(self.lines_of("clean")) == count + 2, "it looks again")

    def lines_of(self, name):
        text = self.machine.call("GET", f"/v1/services/{name}/logs?tail=all", headers={"Accept": "text/plain"}).text
        return [line.split(" ", 2)[2] for line in text.splitlines()]

    def test_a_relay_outlives_no_service(self):
        self.machine.create("relayed", "exec sleep 1000; :", stdio="pipe")
        self.machine.wait("relayed", status="running")
        group = self.machine.property(unit_of("relayed"), "ControlGroup")
        pids = self.machine.shell(f"cat /sys/fs/cgroup{group}/cgroup.procs || cat /sys/fs/cgroup/unified{group}/cgroup.procs")
        self.assertEqual(len(pids.split()), 2, pids)
        lines = [self.machine.exec("cat", f"/proc/{pid}/cmdline") for pid in pids.split()]
        self.assertIn(RELAY, lines)
        self.machine.call("POST", "/v1/services/relayed/stop")
        for pid in pids.split():
            self.assertNotEqual(self.machine.shell(f"test -e /proc/{pid}; echo $?"), "0\n")
        self.assertEqual(self.machine.shell("ls -d /run/miosa-service-* 2>/dev/null; true"), "")
        # What a stop looks for in empty pipes leaves no trace.
        lines = self.machine.exec("journalctl", "-u", unit_of("relayed"), "-o", "json", "--output-fields=MESSAGE", "--no-pager")
        marks = [line for line in lines.splitlines() if json.loads(line)["MESSAGE"] == "\u2060"]
        self.assertEqual(len(marks), 1, lines)

    def test_a_restart_has_pipes_of_its_own(self):
        self.machine.create("web", "echo run > /dev/stdout; sleep 0.2; exit 1", stdio="pipe")
        self.machine.wait("web", status="failed")
        log = self.machine.call("GET", "/v1/services/web/logs?lines=all", headers={"Accept": "text/plain"}).text
        self.assertEqual(sum(line.endswith(" stdout run") for line in log.splitlines()), 5, log)

    def test_a_change_of_the_field_is_a_change_of_the_service(self):
        spec = {"command": "sleep 1000"}
        self.machine.create("web", **spec)
        before = self.machine.wait("web", status="running")
        after = self.machine.call("PUT", "/v1/services/web", {**spec, "stdio": "pipe"}).data
        self.assertNotEqual((after["pid"], after["stdio"]), (before["pid"], before["stdio"]))
        reply = self.machine.call("PUT", "/v1/services/web", {**spec, "stdio": "file"})
        self.assertEqual((reply.status, reply.json["details"]), (422, {"stdio": "must be one of 'journal', 'pipe'"}))


class TrixieFailures(Failures):
    release = "trixie"


class TrixieJournal(Journal):
    release = "trixie"


class TrixiePipes(Pipes):
    release = "trixie"


class TrixieBackground(Background):
    release = "trixie"


if __name__ == "__main__":
    unittest.main()
