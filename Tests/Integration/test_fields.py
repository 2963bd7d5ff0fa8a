"""The fields of a spec on a real systemd: what its processes see of them, and what a change does to a running one."""

import re
import unittest

from support import MachineTestCase, eventually, unit_of

AGENT = "miosa-agent.service"


class Fields(MachineTestCase):
    def patch(self, name, body, query=""):
        reply = self.machine.call("PATCH", f"/v1/services/{name}{query}", body)
        self.assertEqual(reply.status, 200, reply)
        return reply.data

    def run_once(self, name, command, **fields):
        """Runs a command to its end; what it has printed."""
        spec = {"name": name, "command": command, "restart": "no", **fields}
        reply = self.machine.call("POST", "/v1/services?wait=stopped", spec)
        self.assertEqual(reply.status, 201, reply)
        return self.machine.call("GET", f"/v1/services/{name}/logs?tail=100").text

    def property(self, name, *properties):
        unit = unit_of(name)
        return [self.machine.property(unit, key) for key in properties]

    # MARK: What systemd and the processes get

    def test_systemd_has_what_was_asked_for(self):
        self.machine.create(
            "web", "exec sleep 1000", description="100% of it: \"a\" \\", stop_signal="INT", stop_timeout=30,
            stop_mode="main", start_timeout=120, restart_delay=7, restart_limit={"starts": 3, "within": 60},
            umask="0027", limits={"open_files": 4096, "tasks": 64, "memory": "1G", "cpus": 0.5}, network=True,
            log_rate_limit=100, user="root", group="adm", cwd="/",
        )
        wanted = {
            "Description": "100% of it: \"a\" \\", "KillSignal": "2", "TimeoutStopUSec": "30s", "KillMode": "mixed",
            "TimeoutStartUSec": "2min", "RestartUSec": "7s", "StartLimitBurst": "3", "StartLimitIntervalUSec": "1min",
            "UMask": "0027", "LimitNOFILE": "4096", "TasksMax": "64", "MemoryMax": str(1 << 30),
            "CPUQuotaPerSecUSec": "500ms", "Wants": "network-online.target", "LogRateLimitBurst": "100",
            "Group": "adm",
        }
        self.assertEqual(dict(zip(wanted, self.property("web", *wanted))), wanted)
        self.assertIn("network-online.target", self.property("web", "After")[0])
        self.assertEqual(self.property("web", "NeedDaemonReload"), ["no"])

    def test_the_processes_have_it(self):
        text = self.run_once(
            "env", "umask; id -gn; ulimit -n", umask="0027", user="root", group="adm", cwd="/",
            limits={"open_files": 4096},
        )
        for line in ("0027", "adm", "4096"):
            self.assertIn(f"stdout {line}", text)
        # Without them: what a service has had before.
        self.assertIn("stdout 0022", self.run_once("plain", "umask; id -gn"))

    def test_shells(self):
        self.machine.shell("su user -c 'echo export FROM_PROFILE=yes >> ~/.profile'")
        bash = "[[ a == a ]] && source /dev/null && echo ${FROM_PROFILE:-none} $0 ${BASH_VERSION:+is-bash}"
        self.assertIn("stdout none /bin/bash is-bash", self.run_once("bash", bash, shell="bash"))
        self.assertIn("stdout yes /bin/bash is-bash", self.run_once("login", bash, shell="login"))
        self.assertIn("stdout yes", self.run_once("plain", "printenv FROM_PROFILE", shell="login"))
        service = self.machine.create("gone", "exec -a x sleep 1000", shell="bash", restart="no")
        self.assertEqual(self.machine.wait(service["id"], status="running")["message"], None)
        self.machine.shell("mv /bin/bash /bin/bash.away")
        self.addCleanup(self.machine.shell, "mv /bin/bash.away /bin/bash")
        failed = self.machine.call("POST", "/v1/services/gone/restart?wait=running").data
        self.assertEqual(failed["status"], "failed")
        self.assertIn("/bin/bash", failed["message"])

    def test_a_group_that_does_not_exist_is_named(self):
        spec = {"name": "web", "command": "sleep 1000", "group": "nogroup-here", "restart": "no"}
        service = self.machine.call("POST", "/v1/services?wait=running", spec).data
        self.assertEqual(service["message"], "group 'nogroup-here' does not exist (systemd 216/GROUP)")

    # MARK: Stops

    WORKER = (
        "trap 'wait; echo main-has-stopped; exit 0' TERM INT; sh -c 'trap \"\" INT; sleep 2; echo task-is-done' & wait"
    )

    def test_the_main_process_lets_its_tasks_finish(self):
        script = "/home/user/worker"
        self.machine.shell(f"cat > {script} <<'END'\n#!/bin/sh\n{self.WORKER}\nEND\nchmod 755 {script}")
        for mode, is_done in (("all", False), ("main", True)):
            name = f"celery-{mode}"
            self.machine.create(name, f"exec {script}", stop_mode=mode)
            self.machine.wait(name, status="running")
            eventually(lambda: "sleep" in self.machine.exec("systemctl", "status", unit_of(name)), "its task runs")
            stopped = self.machine.call("POST", f"/v1/services/{name}/stop").data
            self.assertEqual((stopped["status"], stopped["message"]), ("stopped", None))
            text = self.machine.call("GET", f"/v1/services/{name}/logs?tail=100").text
            self.assertEqual("task-is-done" in text, is_done, text)
            self.assertIn("main-has-stopped", text)

    def test_a_signal_and_a_time_of_its_own(self):
        self.machine.create("soft", "trap 'echo got-int; exit 0' INT; while :; do sleep 0.1; done", stop_signal="INT")
        self.machine.wait("soft", status="running")
        self.assertEqual(self.machine.call("POST", "/v1/services/soft/stop").data["message"], None)
        self.assertIn("got-int", self.machine.call("GET", "/v1/services/soft/logs").text)
        self.machine.create("hard", "trap '' INT; while :; do sleep 0.1; done", stop_signal="INT", stop_timeout=1)
        self.machine.wait("hard", status="running")
        stopped = self.machine.call("POST", "/v1/services/hard/stop").data
        self.assertEqual(stopped["status"], "stopped")
        self.assertEqual(stopped["message"], "did not end within 1 s of SIGINT and was killed")

    def test_a_server_that_drains_gets_its_time(self):
        command = "trap 'sleep 12; echo drained; exit 0' TERM; while :; do sleep 0.1; done"
        self.machine.create("drain", command, stop_timeout=30)
        self.machine.wait("drain", status="running")
        stopped = self.machine.call("POST", "/v1/services/drain/stop").data
        self.assertEqual((stopped["status"], stopped["message"], stopped["exit_code"]), ("stopped", None, 0))
        self.assertIn("drained", self.machine.call("GET", "/v1/services/drain/logs").text)

    # MARK: Restarts

    def test_the_start_limit_is_the_specs(self):
        message = "systemd gave up after 2 starts in 60 s"
        # systemd can give up while the reasons of the last end are looked up.
        for name in [f"few{number}" for number in range(8)]:
            self.machine.create(name, "exit 7", restart_delay=0, restart_limit={"starts": 2, "within": 60})
            self.machine.wait(name, status="failed")
            eventually(lambda: message in self.machine.get(name)["message"], "the limit is told")
        self.machine.create("endless", "exit 7", restart_delay=0, restart_limit=None)
        eventually(lambda: self.machine.get("endless")["restarts"] > 20, "it is started again and again")
        service = self.machine.get("endless")
        self.assertEqual((service["sub_status"], service["restart_limit"]), ("crash-looping", None))
        self.assertNotEqual(service["status"], "failed")

    # MARK: Boot

    def test_what_starts_at_boot(self):
        self.machine.create("off", "sleep 1000", enabled=False)
        self.machine.create("on", "sleep 1000")
        spec = {"name": "later", "command": "sleep 1000"}
        later = self.machine.call("POST", "/v1/services?start=false", spec).data
        self.assertEqual((later["status"], later["sub_status"], later["message"]), ("stopped", None, None))
        self.machine.call("POST", "/v1/services?start=false", {**spec, "name": "never", "enabled": False})
        for name in ("off", "on"):
            self.machine.wait(name, status="running")
        self.machine.exec("systemctl", "kill", "--signal=KILL", AGENT)
        eventually(lambda: self.machine.call("GET", "/readyz").status == 200, "the agent is back")
        self.assertEqual(
            {name: self.machine.get(name)["status"] for name in ("off", "on", "later", "never")},
            {"off": "running", "on": "running", "later": "stopped", "never": "stopped"},
        )
        self.machine.run("reboot", self.machine.name)
        for name in ("on", "later"):
            self.machine.wait(name, status="running")
        for name in ("off", "never"):
            service = self.machine.get(name)
            self.assertEqual((service["status"], service["sub_status"], service["message"]), ("stopped", None, None))
            self.assertEqual(self.machine.call("POST", f"/v1/services/{name}/start").data["status"], "running")

    # MARK: Changes

    def test_some_fields_change_without_a_restart(self):
        before = self.machine.create("web", "sleep 1000")
        before = self.machine.wait("web", status="running")
        for body in (
            {"description": "the web server"}, {"labels": {"team": "web"}}, {"port": 8000}, {"enabled": False},
        ):
            after = self.patch("web", body)
            self.assertEqual((after["pid"], after["pending"], after["sub_status"]), (before["pid"], None, None), body)
        self.assertEqual(self.property("web", "Description", "NeedDaemonReload"), ["the web server", "no"])
        labelled = self.machine.call("GET", "/v1/services?label=team").data
        self.assertEqual([service["name"] for service in labelled], ["web"])
        restarted = self.patch("web", {"umask": "077"})
        self.assertNotEqual(restarted["pid"], before["pid"])
        self.assertEqual(self.patch("web", {"description": None, "labels": None})["labels"], {})

    def test_a_change_without_a_restart_is_outstanding(self):
        self.machine.create("web", "sleep 1000")
        before = self.machine.wait("web", status="running")
        after = self.patch("web", {"command": "sleep 2000", "restart_delay": 0}, "?restart=false")
        self.assertEqual(after["pid"], before["pid"])
        self.assertEqual((after["pending"]["operation"], after["pending"]["reason"]), ("restart", "restart-needed"))
        self.machine.exec("systemctl", "kill", "--signal=KILL", AGENT)
        eventually(lambda: self.machine.call("GET", "/readyz").status == 200, "the agent is back")
        self.assertEqual(self.machine.get("web")["pending"]["reason"], "restart-needed")
        # systemd starts it again by itself: from the new file.
        self.machine.exec("systemctl", "kill", "--signal=KILL", unit_of("web"))
        eventually(lambda: self.machine.get("web")["pid"] not in (None, before["pid"]), "it is restarted")
        again = self.machine.wait("web", status="running")
        self.assertEqual(self.machine.command_line(again["pid"]), ["sleep", "2000"])
        self.assertEqual(again["pending"], None)

    def test_what_is_got_can_be_put(self):
        self.machine.create(
            "web", "exec sleep 1000", env={"A": "é\n"}, cwd="/tmp", restart="always", port=8000, user="root",
            stdio="pipe", description="a", enabled=False, network=True, shell="bash", group="adm", umask="0007",
            stop_signal="INT", stop_timeout=3, stop_mode="main", reload_signal="HUP", start_timeout=9,
            restart_delay=2, restart_limit=None, limits={"tasks": 100}, sandbox="basic", writable=["/srv"],
            log_rate_limit=5, labels={"a": "b"},
        )
        before = self.machine.wait("web", status="running")
        files = self.machine.shell(f"cat /etc/systemd/system/{unit_of('web')} /var/lib/miosa-agent/services/*")
        for method, reference in (("PUT", "web"), ("PUT", before["id"]), ("PATCH", "web")):
            got = self.machine.call("GET", "/v1/services/web")
            for body in (got.data, got.json):
                reply = self.machine.call(method, f"/v1/services/{reference}", body)
                self.assertEqual((reply.status, reply.data["pid"]), (200, before["pid"]), reply)
                self.assertEqual(reply.data, got.data)
        self.assertEqual(
            self.machine.shell(f"cat /etc/systemd/system/{unit_of('web')} /var/lib/miosa-agent/services/*"), files
        )

    def test_a_dry_run_is_what_would_be(self):
        spec = {"name": "web", "command": "exec sleep 1000", "umask": "077", "description": "a"}
        new = self.machine.call("POST", "/v1/services?dry_run=true", spec)
        self.assertEqual((new.status, new.data["verdict"]), (200, "created"))
        self.assertEqual(self.machine.call("GET", "/v1/services/web").status, 404)
        self.machine.call("POST", "/v1/services", spec)
        before = self.machine.wait("web", status="running")
        verdict = self.machine.call("PATCH", "/v1/services/web?dry_run=true", {"umask": "027"}).data
        self.assertEqual(
            (verdict["verdict"], verdict["changed"], verdict["restarts"]), ("changed", ["umask"], True)
        )
        self.assertEqual(self.machine.get("web"), before)
        self.patch("web", {"umask": "027"})
        self.assertEqual(self.machine.call("GET", "/v1/services/web/unit").text, verdict["unit"])

    # MARK: Signals

    def test_a_reload_and_a_signal(self):
        self.machine.create(
            "web", "trap 'echo got-hup' HUP; trap 'echo got-usr1' USR1; echo ready; while :; do sleep 0.1; done",
            reload_signal="SIGHUP",
        )
        self.machine.wait_for_line("web", "ready")
        before = self.machine.get("web")
        self.assertEqual(self.machine.call("POST", "/v1/services/web/reload").data["pid"], before["pid"])
        self.machine.wait_for_line("web", "got-hup")
        self.assertEqual(self.machine.call("POST", "/v1/services/web/signal", {"signal": "USR1"}).status, 200)
        self.machine.wait_for_line("web", "got-usr1")
        self.machine.call("POST", "/v1/services/web/stop")
        reply = self.machine.call("POST", "/v1/services/web/reload")
        self.assertEqual((reply.status, reply.json["code"]), (409, "SERVICE_NOT_RUNNING"))

    # MARK: Sandboxes

    def exposure(self, name):
        text = self.machine.exec("systemd-analyze", "security", unit_of(name), "--no-pager", check=False)
        return float(re.search(r"Overall exposure level for \S+ ([0-9.]+)", text).group(1))

    def test_a_sandbox_scores_and_keeps(self):
        for sandbox, limit in (("basic", 5.0), ("strict", 2.5)):
            self.machine.create(f"score-{sandbox}", "sleep 1000", sandbox=sandbox)
            self.assertLess(self.exposure(f"score-{sandbox}"), limit, sandbox)
        probe = (
            "for f in /etc/x /usr/x /home/user/x /srv/open/x /var/x /tmp/x; do"
            " if touch $f 2>/dev/null; then echo yes $f; else echo no $f; fi; done; cat /proc/kmsg"
        )
        self.machine.shell("mkdir -p /srv/open; chmod 1777 /srv/open; touch /tmp/outside")
        basic = self.run_once("basic", probe, user="root", cwd="/", sandbox="basic")
        for line in ("no /etc/x", "no /usr/x", "yes /home/user/x", "yes /srv/open/x", "yes /var/x", "yes /tmp/x"):
            self.assertIn(f"stdout {line}", basic)
        strict = self.run_once("strict", probe, user="root", cwd="/", sandbox="strict", writable=["/srv/open", "/none"])
        for line in ("no /etc/x", "no /usr/x", "no /home/user/x", "yes /srv/open/x", "no /var/x", "yes /tmp/x"):
            self.assertIn(f"stdout {line}", strict)
        self.assertEqual(self.machine.shell("ls /tmp/x /srv/open/x").split(), ["/srv/open/x", "/tmp/x"])


class TrixieFields(Fields):
    release = "trixie"


if __name__ == "__main__":
    unittest.main()
