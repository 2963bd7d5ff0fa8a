"""The records of a service's ended runs: each end is one, whoever caused it and whether the agent was there."""

import json
import time
import unittest

from support import MachineTestCase, eventually, unit_of

AGENT_UNITS = ("miosa-agent.service", "miosa-agent.socket", "miosa-agent-tcp.socket", "miosa-agent-tcp6.socket")


class RunsTestCase(MachineTestCase):
    def runs(self, name, count=None):
        """The records, the oldest first; waits until there are so many."""

        def found():
            reply = self.machine.call("GET", f"/v1/services/{name}/runs")
            self.assertEqual(reply.status, 200, reply)
            runs = reply.data[::-1]
            numbers = [run["n"] for run in runs]
            self.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)) if runs else [])
            return runs if len(runs) >= (count or 0) else None

        return eventually(found, f"there are {count} runs of {name}")

    def causes(self, name, count):
        return [run["cause"] for run in self.runs(name, count)]

    def run_of(self, name, number, text=False):
        accept = "text/plain" if text else "application/json"
        reply = self.machine.call("GET", f"/v1/services/{name}/runs/{number}", headers={"Accept": accept})
        self.assertEqual(reply.status, 200, reply)
        return reply.text if text else reply.data

    def put(self, name, command, wait="running", **fields):
        spec = {"command": command, "restart": "no", "cwd": "/", **fields}
        reply = self.machine.call("PUT", f"/v1/services/{name}?wait={wait}", spec)
        self.assertIn(reply.status, (200, 201), reply)
        return reply.data


class Runs(RunsTestCase):
    def test_each_end_has_its_cause(self):
        self.machine.create("web", "exec sleep 1000")
        self.machine.wait("web", status="running")
        self.machine.call("POST", "/v1/services/web/restart")
        self.machine.call("POST", "/v1/services/web/stop")
        self.machine.call("POST", "/v1/services/web/start?wait=running")
        self.machine.exec("systemctl", "stop", unit_of("web"))
        self.machine.exec("systemctl", "start", unit_of("web"))
        self.machine.exec("systemctl", "restart", unit_of("web"))
        self.machine.wait("web", status="running")
        self.machine.exec("systemctl", "kill", "--signal=KILL", unit_of("web"))
        self.runs("web", 5)
        self.machine.wait("web", status="running")
        # Two that exit, and three that do not come to their command.
        self.put("web", "sh -c 'exit 3'", "stopped")
        self.put("web", "exit 217", "stopped")
        self.put("web", "true", "stopped", pre_start=["exit 4"])
        self.put("web", "no-such-program", "stopped")
        self.put("web", "true", "stopped", start_timeout=1, pre_start=["sleep 1000"])
        told = [
            (run["cause"], run["exit_code"], run["result"], run["restarts_after"], run["started_at"] is not None)
            for run in self.runs("web", 11)
        ]
        self.assertEqual(
            told,
            [
                ("replaced", 143, "success", False, True),
                ("stopped", 143, "success", False, True),
                ("stopped", 143, "success", False, True),
                ("replaced", 143, "success", False, True),
                ("signal", 137, "signal", True, True),
                ("replaced", 143, "success", False, True),
                ("exited", 3, "exit-code", False, True),
                ("exited", 217, "exit-code", False, True),
                ("start-failed", None, "exit-code", False, False),
                ("start-failed", 127, "exit-code", False, True),
                ("timeout", None, "timeout", False, False),
            ],
        )
        # A restart that systemd refuses is none.
        self.machine.create("limited", "exit 3", restart_limit={"starts": 2, "within": 60})
        self.machine.wait("limited", status="failed")
        eventually(lambda: [run["restarts_after"] for run in self.runs("limited")] == [True, False], "it has given up")
        for run in self.runs("web"):
            self.assertLessEqual(run["started_at"] or "", run["ended_at"])
            self.assertEqual(run["boot_id"], self.machine.get("web")["boot_id"])
        self.assertEqual(len({run["invocation_id"] for run in self.runs("web")}), 11)

    def test_what_a_run_has_used_and_written_is_kept_with_it(self):
        busy = "echo first; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo told >&2; exit 3"
        self.put("web", busy, "stopped")
        self.put("web", "echo second; exit 4", "stopped")
        first, second = self.runs("web", 2)
        self.assertGreater(first["cpu_ms"], second["cpu_ms"])
        self.assertEqual(sorted(self.run_of("web", 1)["log"]), ["first", "told"])
        self.assertEqual(self.run_of("web", 2)["log"], ["second"])
        self.put("web", "echo third", "stopped", pre_start=["echo prepared"])
        self.runs("web", 3)
        self.assertEqual(self.run_of("web", 2)["log"], ["second"])
        self.assertEqual(sorted(self.run_of("web", 3)["log"]), ["prepared", "third"])
        self.put("web", "seq 1 200", "stopped")
        self.runs("web", 4)
        self.assertEqual(self.run_of("web", 4)["log"], [str(number) for number in range(101, 201)])
        page = self.run_of("web", 2, text=True)
        self.assertRegex(page, r"(?m)^ +Cause: exited \(exit-code\)\n +End: exit code 4$")
        self.assertRegex(page, r"(?m)^ +Changed: command$")
        self.assertTrue(page.endswith("\n\nsecond\n"), page)
        table = self.machine.call("GET", "/v1/services/web/runs", headers={"Accept": "text/plain"}).text.splitlines()
        self.assertEqual([row.split()[0] for row in table], ["N", "4", "3", "2", "1"])

    def test_what_has_changed_since_the_run_before_is_named(self):
        self.put("web", "sleep 1000", env={"SECRET": "hidden-value"})
        self.machine.call("PATCH", "/v1/services/web?restart=false", {"env": {"SECRET": "other-value"}})
        self.machine.call("PATCH", "/v1/services/web", {"labels": {"a": "b"}, "stop_timeout": 7})
        # A package of nothing, which is installed between two runs.
        self.machine.shell(
            "mkdir -p /srv/nothing/DEBIAN; printf 'Package: nothing-at-all\\nVersion: 1\\nArchitecture: all\\n"
            "Maintainer: nobody <a@b.c>\\nDescription: nothing\\n' > /srv/nothing/DEBIAN/control;"
            " dpkg-deb --build /srv/nothing /srv/nothing.deb; dpkg --install /srv/nothing.deb"
        )
        self.addCleanup(self.machine.exec, "dpkg", "--purge", "nothing-at-all")
        drop_in = f"/etc/systemd/system/{unit_of('web')}.d/nice.conf"
        self.machine.shell(f"mkdir -p $(dirname {drop_in}); printf '[Service]\\nNice=1\\n' > {drop_in}")
        eventually(lambda: self.machine.get("web")["drop_ins"] == [drop_in], "the drop-in is seen")
        # The log of packages has whole seconds.
        second = int(time.time())
        eventually(lambda: int(time.time()) > second, "the second is over")
        self.machine.call("POST", "/v1/services/web/restart?wait=running")
        self.machine.call("POST", "/v1/services/web/restart?wait=running")
        self.machine.call("POST", "/v1/services/web/restart?wait=running")
        self.machine.shell(f"printf '[Service]\\nNice=2\\n' > {drop_in}")
        self.machine.call("POST", "/v1/services/web/restart?wait=running")
        self.machine.call("POST", "/v1/services/web/stop")
        self.runs("web", 6)
        self.assertIsNone(self.run_of("web", 1)["changes"])
        changes = [self.run_of("web", number)["changes"] for number in range(2, 7)]
        fields = [sorted(each["fields"]) for each in changes]
        self.assertEqual(fields, [["env", "labels", "stop_timeout"], [], [], [], []])
        self.assertEqual([each["packages"] for each in changes][1:], [["nothing-at-all"], [], [], []])
        self.assertEqual([each["drop_ins"] for each in changes], [[], [drop_in], [], [], [drop_in]])
        self.assertEqual([each["boot"] for each in changes], [False] * 5)
        kept = self.machine.shell("grep -al -e hidden-value -e other-value -r /var/lib/miosa-agent/runs || true")
        self.assertEqual(kept, "")

    def test_each_end_is_an_event(self):
        with self.machine.stream("/v1/events", "text/event-stream") as events:
            while events.event()["event"] != "ready":
                pass
            self.put("web", "exit 3", "stopped")
            while (data := events.event()["data"])["type"] != "run":
                pass
        run = self.runs("web", 1)[0]
        self.assertEqual(data["run"], run)
        self.assertEqual((data["service"]["name"], run["cause"], run["exit_code"]), ("web", "exited", 3))

    def test_runs_that_end_while_the_agent_is_away_are_found(self):
        self.machine.create("loop", "sleep 0.3; exit 5", restart_limit=None)
        self.runs("loop", 1)
        self.machine.exec("systemctl", "stop", *AGENT_UNITS)
        before = self.starts("loop")
        eventually(lambda: self.starts("loop") >= before + 4, "it has been started without the agent")
        self.machine.exec("systemctl", "start", *AGENT_UNITS[1:], AGENT_UNITS[0])
        self.runs("loop", 6)
        for number in range(5):
            self.machine.exec("systemctl", "kill", "--signal=KILL", AGENT_UNITS[0])
            before = self.starts("loop")
            eventually(lambda: self.starts("loop") > before, "it has been started again")
        eventually(lambda: self.machine.call("POST", "/v1/services/loop/stop").status == 200, "it is stopped")
        ids = self.invocations("loop")
        runs = self.runs("loop", min(len(ids), 20))
        self.assertEqual([run["invocation_id"].replace("-", "") for run in runs], ids[-20:])
        self.assertEqual(runs[-1]["n"], len(ids))
        self.assertEqual({(run["cause"], run["exit_code"]) for run in runs[:-1]}, {("exited", 5)})
        self.assertEqual({run["restarts_after"] for run in runs[:-1]}, {True})

    def starts(self, name):
        return int(self.machine.property(unit_of(name), "NRestarts"))

    def invocations(self, name):
        """The ids of all runs, by what systemd wrote."""
        output = self.machine.exec(
            "journalctl", "--output=json", "_PID=1", f"UNIT={unit_of(name)}",
            "MESSAGE_ID=7d4958e842da4a758f6c1cdc7b36dcc5",
        )
        return [json.loads(line)["INVOCATION_ID"] for line in output.splitlines()]


class Boots(RunsTestCase):
    def setUp(self):
        # Every test boots.
        pass

    def test_runs_end_with_the_machine(self):
        self.machine.create("web", "sleep 1000", cwd="/")
        self.machine.create("done", "exit 3", restart="no", cwd="/")
        self.runs("done", 1)
        boots = [self.machine.wait("web", status="running")["boot_id"]]
        self.machine.run("reboot", self.machine.name)
        boots.append(self.machine.wait("web", status="running")["boot_id"])
        self.machine.run("kill", self.machine.name)
        self.machine.run("boot", self.machine.name)
        boots.append(self.machine.wait("web", status="running")["boot_id"])
        self.machine.call("POST", "/v1/services/web/stop")
        runs = self.runs("web", 3)
        self.assertEqual([run["cause"] for run in runs], ["power-off", "power-off", "stopped"])
        self.assertEqual([run["boot_id"] for run in runs], boots)
        self.assertEqual([run["restarts_after"] for run in runs], [False] * 3)
        self.assertEqual([self.run_of("web", n)["changes"]["boot"] for n in (2, 3)], [True, True])
        done = self.runs("done", 3)
        self.assertEqual([(run["cause"], run["exit_code"]) for run in done], [("exited", 3)] * 3)


class TrixieRuns(Runs):
    release = "trixie"


class TrixieBoots(Boots):
    release = "trixie"


if __name__ == "__main__":
    unittest.main()
