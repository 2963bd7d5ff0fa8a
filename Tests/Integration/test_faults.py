"""The agent dies at every single step of every operation, and what it leaves is finished or undone.

Sweeps that repeat the steps of others under other conditions take every FAULTS_STRIDEth step, beginning with another one
each time; FAULTS_SEED repeats a run.
"""

import collections
import contextlib
import dataclasses
import http.client
import os
import pathlib
import subprocess
import time
import unittest

from proof import STATE_DIRECTORY, UNIT_DIRECTORY, WANTS_DIRECTORY, Blueprints, ProofCase, ProofMachine
from proof import seeded, settle, unit_of
from support import REPOSITORY, eventually

ONE = {"command": "sleep 1001", "env": {"WHICH": "one", "ODD": 'a"b\\c\n$d'}}
# Another command and environment, and a shell in front.
TWO = {"command": "sleep 1002; exit", "env": {"WHICH": "two"}, "restart": "always"}
BARE = {"command": "sleep 1003"}

# More steps than any operation has: a sweep that gets there has gone wrong.
STEPS_LIMIT = 150
STRIDE = int(os.environ.get("FAULTS_STRIDE") or 2)
# The steps of one run are not always those of the next, because systemd's signals may come together.
QUIET_RUNS = 2


@dataclasses.dataclass
class State:
    """How a service may be found: its spec, and whether somebody has stopped it."""

    spec: dict
    stopped: bool = False

    def __str__(self):
        return f"{'stopped' if self.stopped else 'running'} with {self.spec['command']!r}"


GONE = None


@dataclasses.dataclass(kw_only=True)
class Operation:
    """A request, the state in which it finds the service, and the state that it makes.

    `repeated` is what the same request answers when it is sent again: in the old state, and in the new one.
    """

    title: str
    method: str
    path: str
    body: dict | None = None
    before: State | None
    after: State | None
    repeated: tuple


CREATE = Operation(
    title="create", method="POST", path="", body=ONE, before=GONE, after=State(ONE), repeated=(201, 409)
)
PUT_NEW = Operation(
    title="create by PUT", method="PUT", path="/{}", body=ONE, before=GONE, after=State(ONE), repeated=(201, 200)
)
PUT_RUNNING = Operation(
    title="replace a running one", method="PUT", path="/{}", body=TWO,
    before=State(ONE), after=State(TWO), repeated=(200, 200),
)
PUT_WITHOUT_ENV = Operation(
    title="replace a running one and take its environment away", method="PUT", path="/{}", body=BARE,
    before=State(ONE), after=State(BARE), repeated=(200, 200),
)
PUT_STOPPED = Operation(
    title="replace a stopped one", method="PUT", path="/{}", body=TWO,
    before=State(ONE, True), after=State(TWO, True), repeated=(200, 200),
)
STOP = Operation(
    title="stop", method="POST", path="/{}/stop", before=State(ONE), after=State(ONE, True), repeated=(200, 409)
)
START = Operation(
    title="start", method="POST", path="/{}/start", before=State(ONE, True), after=State(ONE), repeated=(200, 409)
)
RESTART = Operation(
    title="restart", method="POST", path="/{}/restart", before=State(ONE), after=State(ONE), repeated=(200, 200)
)
RESTART_STOPPED = Operation(
    title="restart a stopped one", method="POST", path="/{}/restart",
    before=State(ONE, True), after=State(ONE), repeated=(200, 200),
)
DELETE = Operation(title="delete", method="DELETE", path="/{}", before=State(ONE), after=GONE, repeated=(200, 404))
DELETE_STOPPED = Operation(
    title="delete a stopped one", method="DELETE", path="/{}",
    before=State(ONE, True), after=GONE, repeated=(200, 404),
)


class FaultCase(ProofCase):
    """A machine whose agent can be told at which step to die, and is started again at once."""

    @classmethod
    def make_machine(cls):
        binary = os.environ.get("MIOSA_AGENT_TEST_BINARY_WITH_FAULT_POINTS")
        if not binary:
            subprocess.run([REPOSITORY / "scripts" / "build", "--fault-points"], check=True, stdout=subprocess.DEVNULL)
            binary = str(REPOSITORY / ".build" / "miosa-agent-faults")
        return ProofMachine(cls.release, binary)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The agent has to remove the file that tells it where to die, or it would die again and again. The commands
        # before its start, for which no sandbox holds, tell it to die a second time where that is wanted.
        cls.machine.probe.shell(
            script="mkdir -p /etc/systemd/system/miosa-agent.service.d\n"
            "cat > /etc/systemd/system/miosa-agent.service.d/faults.conf <<'X'\n"
            "[Service]\nRestartSec=0\nReadWritePaths=/run/miosa-agent\n"
            "ExecStartPre=-+/bin/sh -c 'cd /run/miosa-agent && mv -f die-again die-at-fault-point 2>/dev/null'\n"
            "X\nsystemctl daemon-reload; systemctl restart miosa-agent.service"
        )
        cls.run_directory = pathlib.Path(cls.machine.socket).parent
        cls.blueprints = Blueprints(cls.machine, [ONE, TWO, BARE])
        cls.machine.create("bystander", **TWO)
        cls.bystander = cls.machine.wait("bystander", status="running")
        cls.count = 0
        cls.random, _ = seeded("FAULTS_SEED")
        # Units of no service that systemd remembers from before a run, and may go on to.
        cls.remembered = set()

    def remove_services(self):
        """There is nothing to remove: each run removes its own."""

    # How many steps lie between two deaths of a sweep.
    stride = 1

    # MARK: One run

    def prepare(self, state):
        """A new service in that state; its name, and how it then is."""
        type(self).count += 1
        name = f"s{self.count}"
        if state is GONE:
            return name, None
        self.machine.create(name, **state.spec)
        self.machine.wait(name, status="running")
        if state.stopped:
            self.assertEqual(self.machine.call("POST", f"/v1/services/{name}/stop").status, 200)
        return name, self.machine.get(name)

    def send(self, operation, name):
        """The answer; None when the agent died before it gave one."""
        path = "/v1/services" + operation.path.format(name)
        body = operation.body
        if operation.method == "POST" and body is not None:
            body = {"name": name, **body}
        try:
            return self.machine.call(operation.method, path, body)
        except (ConnectionError, http.client.HTTPException):
            return None

    def describe(self, name):
        """The state in which a service is found, once all is settled."""
        service = next((service for service in self.machine.list() if service["name"] == name), None)
        if service is None:
            return GONE, None
        spec = next(
            (spec for spec in (ONE, TWO, BARE) if Blueprints.key(spec) == Blueprints.key(service)), {"command": service}
        )
        return State(spec, service["status"] == "stopped"), service

    def run_once(self, operation, name, former, step, second_step=None):
        """Sends the request to an agent that dies at that step. Gives back what came of it; None: it did not die."""
        agent = self.probe.agent()["pid"]
        if second_step:
            self.write("die-again", second_step)
        self.write("die-at-fault-point", step)
        reply = self.send(operation, name)
        if reply is not None:
            self.assertIn(reply.status, (200, 201), reply)
            # What follows the answer are steps, too.
            with contextlib.suppress(AssertionError):
                eventually(lambda: self.is_quiet(name), "it is quiet")
            time.sleep(0.05)
        self.settle()
        if reply is not None and self.probe.agent()["pid"] == agent:
            return None

        found, service = self.describe(name)
        if reply is not None:
            self.assertEqual(found, operation.after, f"{reply.status} was answered, and then it is {found}")
        self.assertIn(found, (operation.before, operation.after), f"it is {found}: neither as before nor as wanted")
        if found == operation.before != operation.after and former:
            for field in ("id", "pid", "restarts", "created_at", "last_started_at", "invocation_id"):
                self.assertEqual(service[field], former[field], f"nothing has happened, and yet its {field} changed")
        if operation.before and operation.after:
            self.assertEqual(service["id"], former["id"])

        if second_step:
            # What was not counted down then is not to be counted down now.
            self.stop_counting()
        outcome = "as before" if found != operation.after else "as wanted" if reply is None else "as answered"
        reply = self.send(operation, name)
        expected = operation.repeated[found == operation.after]
        if operation.before == operation.after:
            expected = 200
        self.assertEqual(reply and reply.status, expected, f"repeated when it was {found}: {reply}")
        self.settle()
        end = self.describe(name)[0]
        self.assertEqual(end, operation.after, f"repeated when it was {found}")
        if end and end.stopped:
            # What it is now is what it runs next.
            self.assertEqual(self.machine.call("POST", f"/v1/services/{name}/start").status, 200)
            self.settle()
            self.assertEqual(self.describe(name)[0], dataclasses.replace(end, stopped=False))
        if former and operation.after is GONE:
            removed = self.machine.ask("/v1/services?status=removed").data
            self.assertEqual([service["id"] for service in removed].count(former["id"]), 1, "one record for audit")
        return outcome

    def write(self, file, step):
        """Makes a file that has its content from the beginning: the agent reads it at its next step, and removes it."""
        temporary = self.run_directory / "die-later"
        temporary.write_text(str(step))
        temporary.rename(self.run_directory / file)

    def is_quiet(self, name):
        service = next((service for service in self.machine.list() if service["name"] == name), None)
        return service is None or service["status"] != "starting"

    def settle(self):
        self.assert_agreement(self.blueprints, remembered=self.remembered)
        self.assertEqual(self.machine.ask("/v1/services/bystander").data, self.bystander, "the bystander")

    def stop_counting(self):
        """Puts an agent in place that is not to die."""
        for file in ("die-again", "die-at-fault-point"):
            (self.run_directory / file).unlink(missing_ok=True)
        self.probe.shell(script="systemctl kill --signal=KILL miosa-agent.service")
        self.machine.list()

    def tear_down_run(self, name):
        """Makes sure that nothing of a run is left, whatever became of it."""
        self.stop_counting()
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.machine.call("DELETE", f"/v1/services/{name}")
        self.remembered = set()
        if settle(self.machine, self.blueprints, 3) or self.describe(name)[0] is not GONE:
            self.machine.remove(name)

    # MARK: Sweeps

    def sweep(self, operation, prepare=None, second_step=lambda: None):
        """Lets the agent die at one step after the other, until it no longer dies."""
        outcomes = collections.Counter()
        problems = []
        quiet = 0
        for step in range(self.random.randint(1, self.stride), STEPS_LIMIT, self.stride):
            name, former = (prepare or self.prepare)(operation.before)
            again = second_step()
            try:
                with self.subTest(operation=operation.title, step=step, again=again):
                    try:
                        outcome = self.run_once(operation, name, former, step, again)
                    except AssertionError as error:
                        outcome = "WRONG"
                        raise AssertionError(f"{operation.title}, step {step}, again at {again}: {error}") from None
            finally:
                self.tear_down_run(name)
            if outcome is None:
                quiet += 1
                if quiet == QUIET_RUNS:
                    break
            else:
                quiet = 0
                outcomes[outcome] += 1
        else:
            self.fail(f"{operation.title} has more than {STEPS_LIMIT} steps")
        figures = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"{operation.title}: {outcomes.total()} kills: {figures}", flush=True)
        self.assertGreater(outcomes.total(), 2, "there are fault points at all")


class EveryStep(FaultCase):
    """The agent dies once."""

    def test_create(self):
        self.sweep(CREATE)

    def test_create_by_put(self):
        self.sweep(PUT_NEW)

    def test_replace_a_running_one(self):
        self.sweep(PUT_RUNNING)

    def test_replace_a_running_one_and_take_its_environment_away(self):
        self.sweep(PUT_WITHOUT_ENV)

    def test_replace_a_stopped_one(self):
        self.sweep(PUT_STOPPED)

    def test_stop(self):
        self.sweep(STOP)

    def test_start(self):
        self.sweep(START)

    def test_restart(self):
        self.sweep(RESTART)

    def test_restart_a_stopped_one(self):
        self.sweep(RESTART_STOPPED)

    def test_delete(self):
        self.sweep(DELETE)

    def test_delete_a_stopped_one(self):
        self.sweep(DELETE_STOPPED)


class TwiceInARow(FaultCase):
    """The agent dies, and the one that is to put things right dies over it."""

    stride = STRIDE

    def sweep_twice(self, operation):
        self.sweep(operation, second_step=lambda: self.random.randint(1, 14))

    def test_create(self):
        self.sweep_twice(CREATE)

    def test_replace_a_running_one(self):
        self.sweep_twice(PUT_RUNNING)

    def test_stop(self):
        self.sweep_twice(STOP)

    def test_start(self):
        self.sweep_twice(START)

    def test_delete(self):
        self.sweep_twice(DELETE)


class AfterAReboot(FaultCase):
    """Units that systemd keeps in memory, because a target started them at boot."""

    stride = STRIDE
    POOL = 60 // STRIDE

    def setUp(self):
        """Makes services and boots anew, so that there is one for each step."""
        self.pool = [f"p{self.count}-{number}" for number in range(self.POOL)]
        for name in self.pool:
            self.machine.create(name, **ONE)
        for name in self.pool:
            self.machine.wait(name, status="running")
        self.machine.reboot()
        # Before that an end before the reboot is not known.
        eventually(lambda: self.machine.call("GET", "/readyz").status == 200, "the states of the services are known")
        for name in self.pool:
            self.machine.wait(name, status="running")
        type(self).bystander = self.machine.wait("bystander", status="running")
        self.addCleanup(lambda: [self.machine.delete(name) for name in self.pool])

    def prepare_pinned(self, state):
        type(self).count += 1
        name = self.pool.pop()
        if state.stopped:
            self.assertEqual(self.machine.call("POST", f"/v1/services/{name}/stop").status, 200)
            self.assertIn(unit_of(name), self.probe.loaded(), "systemd keeps it")
        return name, self.machine.get(name)

    def prepare_forgotten(self, state):
        """Takes all of a service away but what systemd remembers of it."""
        type(self).count += 1
        name = self.pool.pop()
        self.machine.restart_agent(
            f"systemctl stop {unit_of(name)}\n"
            f"rm {STATE_DIRECTORY}/services/{name}.json {STATE_DIRECTORY}/environment/{name}.env"
            f" {UNIT_DIRECTORY}/{unit_of(name)} {WANTS_DIRECTORY}/{unit_of(name)}"
        )
        self.assertEqual(self.probe.loaded()[unit_of(name)]["NeedDaemonReload"], "yes")
        self.remembered = {unit_of(name)}
        return name, None

    def test_delete(self):
        self.sweep(DELETE, self.prepare_pinned)

    def test_delete_a_stopped_one(self):
        self.sweep(DELETE_STOPPED, self.prepare_pinned)

    def test_replace_a_running_one(self):
        self.sweep(PUT_RUNNING, self.prepare_pinned)

    def test_replace_a_stopped_one(self):
        self.sweep(PUT_STOPPED, self.prepare_pinned)

    def test_start(self):
        self.sweep(START, self.prepare_pinned)

    def test_create_where_systemd_remembers_another(self):
        self.sweep(dataclasses.replace(CREATE, body=TWO, after=State(TWO)), self.prepare_forgotten)


if __name__ == "__main__":
    unittest.main()
