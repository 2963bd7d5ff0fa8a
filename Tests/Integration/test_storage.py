"""A disk that is full, read-only or hangs: what is new is refused, what is there stops, starts and goes."""

import concurrent.futures
import re
import time
import unittest

from support import eventually

from proof import AGENT, STATE_DIRECTORY, UNIT_DIRECTORY, Blueprints, FreezableDisk, ProofCase

ONE = {"command": "sleep 1001", "env": {"WHICH": "one"}}
TWO = {"command": "sleep 1002; exit", "env": {"WHICH": "two"}}
BRITTLE = {"command": "sleep 1003", "restart": "no"}

# Records that just fit into a page, and that no longer do with one thing more in them.
EDGES = [{"command": "sleep 1004; exit #" + "x" * length} for length in range(3100, 3700, 40)]

# The room that is left for an operation, in pages: from none to more than any of them needs.
ROOMS = range(10)


class StorageCase(ProofCase):
    """A machine in which a directory of the agent is on a small file system of its own."""

    # Half of it is the audit's.
    SIZE = 16 * 1024 * 1024
    INODES = 2000
    directory: str

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.blueprints = Blueprints(cls.machine, [ONE, TWO, BRITTLE])
        directory = cls.directory
        # The agent sees mounts that are there when it starts.
        cls.machine.restart_agent(
            f"cp -a {directory} /tmp/copy\nmount -t tmpfs -o size={cls.SIZE},nr_inodes={cls.INODES} small {directory}\n"
            f"chmod --reference=/tmp/copy {directory}\ncp -a /tmp/copy/. {directory}/\nrm -r /tmp/copy"
        )

    def setUp(self):
        self.addCleanup(self.remove_services)
        self.addCleanup(self.make_room)
        self.begin()

    def begin(self):
        """Makes the services that everything here begins with."""
        self.remove_services()
        self.machine.create("running", **ONE)
        self.machine.create("stopped", **ONE)
        self.machine.wait("running", status="running")
        self.machine.wait("stopped", status="running")
        self.answers("POST", "/v1/services/stopped/stop", 200)
        self.assert_agreement(self.blueprints)

    def remove_services(self):
        for service in self.machine.list():
            # One whose removal was interrupted may be gone any moment.
            self.answers("DELETE", f"/v1/services/{service['name']}", 200, 404)

    def answers(self, method, path, *statuses, body=None):
        reply = self.machine.call(method, path, body)
        self.assertIn(reply.status, statuses, f"{method} {path}: {reply}")
        if reply.status == 507:
            self.assertEqual(reply.json["code"], "STORAGE_FULL")
        return reply

    def fill(self, pages=0, blueprints=None):
        """Fills the file system up but for so many pages."""
        # What has been written up to now shall not need room of its own later.
        self.assert_agreement(blueprints or self.blueprints)
        self.probe.shell(
            script=f"cd {self.directory}; rm -f filler; dd if=/dev/zero of=filler bs=4096 2>/dev/null || :\n"
            f"truncate --size=-{pages * 4096} filler"
        )

    def exhaust_inodes(self):
        """Leaves no room for one more file, however small."""
        self.assert_agreement(self.blueprints)
        self.probe.shell(
            script=f"mkdir -p {self.directory}/filler.d; cd {self.directory}/filler.d\n"
            "number=0; while ( : > $number ) 2>/dev/null; do number=$((number + 1)); done"
        )

    def make_room(self):
        self.probe.shell(script=f"rm -rf {self.directory}/filler {self.directory}/filler.d")

    def everything(self):
        """All that must be the same when nothing has changed."""
        picture = self.probe.snapshot()
        removed = self.machine.call("GET", "/v1/services?status=removed").data
        return {"API": self.machine.list(), "removed": removed, **picture}

    def assert_unchanged(self, before, what):
        after = self.everything()
        for part in before:
            if after[part] != before[part]:
                self.fail(f"{what} has changed {part}: {self.difference(before[part], after[part])}")

    def difference(self, before, after):
        """What is in only one of two parts of a picture."""
        if isinstance(before, list):
            before, after = ({service["id"]: service for service in services} for services in (before, after))
        lines = []
        for key in sorted({*before, *after}):
            sides = [side.get(key) for side in (before, after)]
            if sides[0] != sides[1]:
                # Files as text, and long commands not in full.
                old, new = (bytes.fromhex(side["bytes"]) if side and "bytes" in side else side for side in sides)
                lines += [f"{key} was {old}", f"{key} is {new}"]
        return re.sub("x{20,}", "x…x", "\n".join(lines))

    def writing(self):
        """What needs room for something new, each with what it answers where there is some."""
        return [
            ("POST", "/v1/services", {"name": "new", **TWO}, 201),
            ("PUT", "/v1/services/new", TWO, 201),
            ("PUT", "/v1/services/running", TWO, 200),
            ("PUT", "/v1/services/stopped", TWO, 200),
        ]

    def acting(self):
        """What is done whatever room there is, each with the status that it leads to; None for no service."""
        return [
            ("POST", "/v1/services/stopped/start", "running"),
            ("POST", "/v1/services/stopped/restart", "running"),
            ("POST", "/v1/services/running/restart", "running"),
            ("POST", "/v1/services/running/stop", "stopped"),
            ("DELETE", "/v1/services/running", None),
            ("DELETE", "/v1/services/stopped", None),
        ]

    def assert_is(self, name, status):
        """What the service is, whatever it was."""
        if status is None:
            self.assertNotIn(name, [service["name"] for service in self.machine.list()])
        else:
            self.assertEqual(self.machine.get(name)["status"], status)

    def acts(self, take_room, what, restarts=True):
        """Each is done, stays done when the agent starts anew, and is on disk when there is room, without a request."""
        for method, path, status in self.acting():
            for restart in (False, True) if restarts else (False,):
                with self.subTest(what, operation=f"{method} {path}", restart=restart):
                    self.make_room()
                    self.begin()
                    take_room()
                    name = path.split("/")[3]
                    reply = self.answers(method, path, 200)
                    self.assert_is(name, status)
                    if status:
                        self.assertIn(reply.data["pending"] and reply.data["pending"]["reason"], (None, "disk-full"))
                    if restart:
                        self.machine.restart_agent()
                        self.assert_is(name, status)
                    self.make_room()
                    self.assert_reached()
                    self.assert_is(name, status)

    def assert_reached(self):
        """Without a request, everything that was asked for is on disk."""
        eventually(
            lambda: not [service for service in self.machine.list() if service["pending"]], "nothing is pending"
        )
        self.assert_agreement(self.blueprints)

    def refuses(self, operations, take_room, what):
        """Each is refused and changes nothing, for an agent that starts anew neither, and with room it works."""
        for method, path, body, status in operations:
            with self.subTest(what, operation=f"{method} {path}"):
                self.make_room()
                self.begin()
                take_room()
                before = self.everything()
                self.answers(method, path, 507, body=body)
                self.assert_unchanged(before, f"{what}: {method} {path}")
                self.machine.restart_agent()
                self.assert_unchanged(before, f"{what}: {method} {path}, then a new start of the agent,")
                self.make_room()
                self.answers(method, path, status, body=body)
                self.assert_agreement(self.blueprints)

class FullStateDirectory(StorageCase):
    directory = STATE_DIRECTORY

    def test_nothing_that_has_to_be_written_is_done_and_with_room_it_is(self):
        self.refuses(self.writing(), self.fill, "no page is free")

    def test_the_same_without_inodes(self):
        self.refuses(self.writing(), self.exhaust_inodes, "no inode is free")

    def test_what_is_there_starts_and_stops_and_goes(self):
        self.acts(self.fill, "no page is free")

    def test_what_is_there_starts_and_stops_and_goes_without_inodes(self):
        self.acts(self.exhaust_inodes, "no inode is free")

    def test_the_audit_needs_no_room(self):
        self.fill()
        requests = []
        for number in range(20):
            path = f"/v1/services/running/{'start' if number % 2 else 'stop'}"
            reply = self.machine.call("POST", path, headers={"X-Request-Id": f"full-{number}"})
            self.assertEqual(reply.status, 200, reply)
            requests.append(f"full-{number}")
        self.assertIn("\nmiosa_audit_unwritten_entries 0\n", self.machine.call("GET", "/metrics").text)
        self.probe.shell(script="systemctl kill --signal=KILL miosa-agent.service")
        entries = self.machine.ask("/v1/audit?limit=20").data
        self.assertEqual([entry["request_id"] for entry in entries], requests[::-1])

    def test_with_any_amount_of_room_an_operation_is_done_or_changes_nothing(self):
        counts = {201: 0, 200: 0, 507: 0}
        for method, path, body, status in self.writing():
            for pages in ROOMS:
                with self.subTest(operation=f"{method} {path}", pages=pages):
                    self.make_room()
                    self.begin()
                    self.fill(pages)
                    before = self.everything()
                    reply = self.answers(method, path, status, 507, body=body)
                    counts[reply.status] += 1
                    if reply.status == 507:
                        self.assert_unchanged(before, f"{method} {path} with {pages} pages")
                    self.make_room()
                    self.assert_settled()
        print(f"any amount of room: {counts}", flush=True)
        self.assertGreater(counts[507], 4)

    def test_with_little_room_records_of_any_size_are_stopped_and_removed(self):
        blueprints = Blueprints(self.machine, [ONE, *EDGES])
        for spec in EDGES:
            for method, path in (("DELETE", ""), ("POST", "/stop")):
                with self.subTest(operation=f"{method} {path}", length=len(spec["command"])):
                    self.answers("POST", "/v1/services", 201, body={"name": "edge", **spec})
                    self.machine.wait("edge", status="running")
                    try:
                        self.fill(1, blueprints)
                        self.answers(method, f"/v1/services/edge{path}", 200)
                        self.assert_is("edge", None if method == "DELETE" else "stopped")
                    finally:
                        self.make_room()
                        self.machine.call("DELETE", "/v1/services/edge")

    def assert_settled(self):
        """After the next change that there is room for, everything is on disk."""
        self.machine.create("another", **ONE)
        self.assert_agreement(self.blueprints)
        self.machine.restart_agent()
        self.assert_agreement(self.blueprints)

    def test_reading_and_what_changes_nothing_need_no_room(self):
        self.fill()
        self.answers("GET", "/v1/services", 200)
        self.answers("PUT", "/v1/services/running", 200, body=ONE)
        self.answers("POST", "/v1/services/running/start", 409)
        self.answers("POST", "/v1/services/stopped/stop", 409)
        self.answers("DELETE", "/v1/services/nothing", 404)

    def test_an_exit_is_told_and_is_on_disk_once_there_is_room(self):
        self.machine.create("brittle", **BRITTLE)
        pid = self.machine.wait("brittle", status="running")["pid"]
        self.fill()
        self.probe.kill(pids=[pid])
        told = self.machine.wait("brittle", status="failed")
        self.assertEqual((told["signal"], told["exit_code"]), ("SIGKILL", 137))
        self.make_room()
        self.machine.create("another", **ONE)
        self.assert_agreement(self.blueprints)
        # Nobody but the record knows of the exit now, and of that the journal is no part.
        self.machine.restart_agent(
            "systemctl reset-failed 'miosa-service-*'\n"
            "systemctl stop --quiet systemd-journald.socket systemd-journald.service 2>&1\n"
            "rm -rf /var/log/journal/* /run/log/journal/*\nsystemctl start systemd-journald.service"
        )
        after = self.machine.wait("brittle", status="stopped")
        for field in ("signal", "exit_code", "last_started_at", "last_exited_at", "invocation_id"):
            self.assertEqual(after[field], told[field], field)

    def test_a_service_that_starts_by_itself_again_does_so_on_a_full_disk(self):
        self.fill()
        before = self.machine.get("running")
        self.probe.kill(pids=[before["pid"]])
        after = self.machine.wait("running", status="running", restarts=1)
        self.assertNotEqual(after["pid"], before["pid"])
        self.make_room()
        self.answers("POST", "/v1/services/running/stop", 200)
        self.assert_agreement(self.blueprints)

    def test_an_agent_that_starts_on_a_full_disk_serves(self):
        self.fill()
        before = self.everything()
        self.machine.restart_agent()
        self.assertEqual(self.machine.call("GET", "/readyz").status, 200)
        self.assert_unchanged(before, "a new start")


class FullUnitDirectory(StorageCase):
    directory = UNIT_DIRECTORY

    def test_nothing_that_has_to_be_written_is_done_and_with_room_it_is(self):
        self.refuses(self.writing(), self.fill, "no page is free")

    def test_without_inodes_there_is_no_link_either(self):
        self.refuses(self.writing(), self.exhaust_inodes, "no inode is free")

    def test_what_is_there_starts_and_stops_and_goes(self):
        self.acts(self.exhaust_inodes, "no inode is free")


class ReadOnlyUnitDirectory(StorageCase):
    directory = UNIT_DIRECTORY

    def set_mode(self, mode):
        self.machine.restart_agent(f"mount -o remount,bind,{mode} {UNIT_DIRECTORY}")

    def make_room(self):
        if self.probe.shell(script=f"findmnt -no OPTIONS {UNIT_DIRECTORY} | tail -n 1").startswith("ro"):
            self.set_mode("rw")

    def test_nothing_that_has_to_be_written_is_done_and_later_it_is(self):
        self.refuses(self.writing(), lambda: self.set_mode("ro"), "read-only")

    def test_what_is_there_starts_and_stops(self):
        for method, path, status in self.acting():
            with self.subTest(operation=f"{method} {path}"):
                self.make_room()
                self.begin()
                self.set_mode("ro")
                name = path.split("/")[3]
                # A unit's files cannot be taken away: the process ends, and the rest follows.
                reply = self.answers(method, path, 500 if status is None else 200)
                self.assert_is(name, status or "stopped")
                pending = self.machine.get(name)["pending"]
                if status is None:
                    self.assertEqual((reply.json["code"], pending["operation"]), ("STORAGE_FAILED", "delete"))
                    # The record, by which the next agent knows of the deletion, stays as long as the files do.
                    state = self.probe.snapshot()["state"]
                    self.assertTrue([path for path in state if f"/services/{name}.json" in path], sorted(state))
                elif path != "/v1/services/running/restart":
                    self.assertEqual(pending["reason"], "disk-full")
                self.make_room()
                self.assert_reached()
                self.assert_is(name, status)

    def test_what_is_there_is_served_and_can_be_restarted(self):
        self.set_mode("ro")
        before = self.machine.get("running")
        reply = self.answers("POST", "/v1/services/running/restart", 200)
        self.assertNotEqual(reply.data["pid"], before["pid"])
        self.probe.kill(pids=[reply.data["pid"]])
        self.machine.wait("running", status="running", restarts=1)
        self.assert_agreement(self.blueprints)


class HangingDisk(FreezableDisk, ProofCase):
    """Longer than systemd's watchdog waits for the agent."""

    FROZEN_SECONDS = 35

    def test_reads_streams_and_stops_go_on_and_everything_comes_to_its_end_afterwards(self):
        settings = dict(line.split("=", 1) for line in self.machine.run("env", self.machine.name).splitlines())
        self.mount_disk(int(settings["SYSTEMD_PID"]))
        eventually(lambda: self.machine.ask("/readyz").status == 200, "the agent is ready")
        blueprints = Blueprints(self.machine, [ONE, TWO])
        for name in ("stops", "changes", "goes", "stays"):
            self.machine.create(name, **ONE)
            self.machine.wait(name, status="running")
        self.assert_agreement(blueprints)
        pid = self.machine.property(AGENT, "MainPID")
        with self.machine.stream("/v1/events", "text/event-stream") as events:
            with concurrent.futures.ThreadPoolExecutor() as pool, self.frozen_disk():
                begin = time.monotonic()
                calls = {
                    "stops": pool.submit(self.machine.call, "POST", "/v1/services/stops/stop"),
                    "changes": pool.submit(self.machine.call, "PUT", "/v1/services/changes", TWO),
                    "goes": pool.submit(self.machine.call, "DELETE", "/v1/services/goes"),
                    "new": pool.submit(self.machine.call, "POST", "/v1/services", {"name": "new", **ONE}),
                }
                rounds = 0
                while time.monotonic() - begin < self.FROZEN_SECONDS:
                    for path in ("/healthz", "/readyz", "/v1/services", "/v1/services/stays", "/metrics"):
                        self.assertEqual(self.machine.ask(path).status, 200, path)
                    rounds += 1
                    time.sleep(0.1)
                # Each of them waited for no more than a request.
                self.assertGreater(rounds, self.FROZEN_SECONDS)
                replies = {name: call.result(timeout=0) for name, call in calls.items()}
                for name in ("stops", "goes"):
                    service = self.machine.get(name)
                    self.assertEqual((service["status"], service["pid"]), ("stopped", None), name)
                    self.assertEqual(service["pending"]["reason"], "disk-hangs", name)
                while True:
                    told = events.event()["data"]
                    if told.get("service", {}).get("name") == "stops" and told["service"]["status"] == "stopped":
                        break
            self.assertEqual(replies["stops"].status, 200, replies["stops"])
            for name in ("changes", "goes", "new"):
                reply = replies[name]
                self.assertEqual((reply.status, reply.json["code"]), (504, "STORAGE_TIMEOUT"), reply)
        eventually(
            lambda: not [service for service in self.machine.list() if service["pending"]], "nothing is pending"
        )
        self.assertEqual(self.machine.property(AGENT, "MainPID"), pid, "the agent was started again")
        services = {service["name"]: service for service in self.machine.list()}
        self.assertEqual(sorted(services), ["changes", "stays", "stops"])
        self.assertEqual(services["stops"]["status"], "stopped")
        self.assertEqual((services["changes"]["status"], services["changes"]["command"]), ("running", ONE["command"]))
        # Its unit file was written twice, and is newer than systemd's copy.
        restarted = self.machine.call("POST", "/v1/services/changes/restart").data
        self.assertEqual(self.machine.command_line(restarted["pid"]), ONE["command"].split())
        self.assert_agreement(blueprints)


if __name__ == "__main__":
    unittest.main()
