"""The events of a booted machine: every change of every service, as systemd has it, once and in order."""

import concurrent.futures
import contextlib
import json
import statistics
import time
import unittest

from proof import Client, unit_of
from test_lifecycle import DOCUMENTED_FIELDS, OWN_FIELDS
from test_logs import LINE_LIMIT, SSE, LogsCase, LogsInside

SECRET = "value-that-nobody-may-see"
# So long a reader that takes nothing is kept, whatever there is to send.
WRITE_SECONDS = 25


class EventsInside(LogsInside):
    # sd-messages(3)
    EXITED = "98e322203f7a4ed290d09fe03c09fe15"
    SUCCEEDED = "7ad2d189f7e94e70a38c781354912448"

    def journal(self, *matches):
        self.run("journalctl", "--sync")
        output = self.run("journalctl", "--boot", "--output=json", "--all", "--no-pager", "--quiet", *matches)
        return [json.loads(line) for line in output.splitlines()]

    def runs(self):
        """What PID 1 wrote about the ends of runs: for each unit its runs in order, each with its end."""
        units = {}
        messages = [f"MESSAGE_ID={message}" for message in (self.EXITED, self.SUCCEEDED)]
        for entry in self.journal("_PID=1", *messages):
            unit, run = entry.get("UNIT", ""), entry.get("INVOCATION_ID")
            if not unit.startswith("miosa-service-") or not run:
                continue
            runs = units.setdefault(unit, {})
            if entry["MESSAGE_ID"] == self.EXITED:
                code, status = entry["EXIT_CODE"], int(entry["EXIT_STATUS"])
                runs[run] = [status, None] if code == "exited" else [128 + status, signal.Signals(status).name]
            else:
                # How a process ended that ended as it should is not written down; none here exits with 0.
                runs.setdefault(run, [143, "SIGTERM"])
        return {unit: list(runs.items()) for unit, runs in units.items()}

    def processes_of_runs(self):
        """The main process of each run, which has said so itself."""
        found = {}
        for entry in self.journal("_TRANSPORT=stdout"):
            words = entry["MESSAGE"].split() if isinstance(entry["MESSAGE"], str) else []
            if len(words) == 3 and words[0] == "process":
                found[words[1]] = int(words[2])
        return found

    def kill_one(self, pid):
        """Kills a process, and gives back when that was."""
        begin = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        return begin


class EventsCase(LogsCase):
    program = EventsInside
    MARK = "the-end"

    def events(self, last=None):
        stream = self.machine.stream("/v1/events", SSE, {"Last-Event-ID": last} if last else None)
        self.addCleanup(stream.close)
        self.assertEqual((stream.status, stream.headers["Content-Type"]), (200, SSE))
        return stream

    def snapshot(self, stream):
        """What comes first: the services, and the id from which it goes on."""
        services = []
        while (event := stream.event())["event"] == "service":
            services.append(event)
        self.assertEqual(event["event"], "ready")
        return services, event["id"]

    def follow(self):
        """A stream of events that has told what there is."""
        stream = self.events()
        self.snapshot(stream)
        return stream

    def until(self, stream, condition):
        """The next events, up to the first for which a condition holds."""
        found = []
        while not found or not condition(found[-1]["data"]):
            event = stream.event()
            self.assertEqual(event and event["event"], "service", event)
            found.append(event)
        return found

    def until_marked(self, stream):
        """What `until` gives back, read beside the test up to the service of the mark."""
        pool = concurrent.futures.ThreadPoolExecutor(1)
        self.addCleanup(pool.shutdown)
        return pool.submit(self.until, stream, lambda data: data["service"]["name"] == self.MARK)

    def mark(self):
        """Makes an event that shows that everything before it has been told."""
        self.machine.create(self.MARK, "true", restart="no")

    def change(self, client, name, count, first=1, **fields):
        """Makes so many events by changing a port, which is nothing that the process sees."""
        for port in range(first, first + count):
            status, _ = client.call("PUT", f"/v1/services/{name}", {"command": "sleep 1000", **fields, "port": port})
            self.assertIn(status, (200, 201))

    def client(self):
        client = Client(self.machine)
        self.addCleanup(client.close)
        return client

    def sequence(self, events):
        return [event["data"]["seq"] for event in events]


class Wire(EventsCase):
    def test_a_snapshot_the_word_that_it_is_complete_and_every_change(self):
        self.machine.create("web", "sleep 1000", env={"A": SECRET}, cwd="/tmp")
        self.machine.create("other", "sleep 1000")
        for name in ("web", "other"):
            self.machine.wait(name, status="running")
        stream = self.events()
        self.assertEqual(stream.headers["Cache-Control"], "no-store")
        services, ready = self.snapshot(stream)
        self.assertEqual([event["data"]["service"]["name"] for event in services], ["other", "web"])
        boot, _, sequence = ready.rpartition("-")
        self.assertEqual(boot, self.machine.call("GET", "/v1").data["boot_id"])
        for event in services:
            self.assertNotIn("id", event)
            data = event["data"]
            self.assertEqual(list(data), ["seq", "at", "type", "previous_status", "snapshot", "service"])
            self.assertEqual((data["seq"], data["type"], data["snapshot"]), (int(sequence), "snapshot", True))
            self.assertEqual(
                list(data["service"]), [field for field in DOCUMENTED_FIELDS + OWN_FIELDS if field != "env"]
            )
            whole = self.machine.get(data["service"]["name"])
            self.assertEqual(data["service"], {field: value for field, value in whole.items() if field != "env"})

        self.machine.call("POST", "/v1/services/web/restart")
        self.machine.call("PUT", "/v1/services/web", {"command": "sleep 1001", "env": {"A": SECRET + "2"}})
        self.machine.call("POST", "/v1/services/web/stop")
        self.machine.delete("web")
        events = self.until(stream, lambda data: data["type"] == "removed")
        self.assertEqual(self.sequence(events), list(range(int(sequence) + 1, int(sequence) + 1 + len(events))))
        status = "running"
        for event in events:
            data = event["data"]
            self.assertEqual(event["event"], "service")
            self.assertEqual(event["id"], f"{boot}-{data['seq']}")
            more = ["run"] if data["type"] == "run" else []
            self.assertEqual(list(data), ["seq", "at", "type", "previous_status", *more, "service"])
            self.assertEqual((data["previous_status"], data["service"]["name"]), (status, "web"))
            self.assertRegex(data["at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            status = data["service"]["status"]
        self.assertEqual([event["data"]["type"] for event in events].count("updated"), 1)
        self.assertEqual(events[-2]["data"]["service"]["status"], "stopped")
        self.assertEqual(events[-1]["data"]["service"]["status"], "removed")
        self.assertNotIn(SECRET, json.dumps([services, events]))

    def test_an_empty_machine_is_ready_at_once(self):
        services, _ = self.snapshot(self.events())
        self.assertEqual(services, [])

    def test_the_other_mount(self):
        self.machine.create("web", "sleep 1000")
        stream = self.machine.stream("/api/v1/computers/self/events", SSE)
        self.addCleanup(stream.close)
        services, _ = self.snapshot(stream)
        self.assertEqual([event["data"]["service"]["name"] for event in services], ["web"])
        reply = self.machine.call("GET", "/api/v1/computers/another/events")
        self.assertEqual((reply.status, reply.json["code"]), (404, "COMPUTER_NOT_FOUND"))

    def test_over_tcp_with_the_token_only(self):
        reply = self.machine.call("GET", "/v1/events", tcp=True, headers={"Authorization": "Bearer wrong"})
        self.assertEqual((reply.status, reply.json["code"]), (401, "UNAUTHORIZED"))
        with contextlib.closing(self.machine.connection(tcp=True)) as connection:
            connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {self.machine.token}"})
            with connection.getresponse() as response:
                self.assertEqual(response.readline(), b"event: ready\n")

    def test_head_has_no_body_and_holds_nothing(self):
        reply = self.machine.call("HEAD", "/v1/events")
        self.assertEqual((reply.status, reply.headers["Content-Type"], reply.text), (200, SSE, ""))

    def test_no_line_is_too_long_for_anybody(self):
        stream = self.follow()
        self.machine.create("web", "#" + "\x01" * 60000 + "\n\u0085\u2028\u2029", restart="no")
        lines = []
        while not (line := stream.line()).startswith("data: "):
            lines.append(line)
        lines.append(line)
        self.assertLessEqual(max(len(line.encode()) for line in lines), LINE_LIMIT)
        self.assertGreater(len(line), LINE_LIMIT - 100)
        self.assertTrue(json.loads(line.removeprefix("data: "))["truncated"])
        self.machine.delete("web")
        self.machine.create("short", "# \u0085\u2028\u2029", restart="no")
        text = ""
        while '"short"' not in text:
            text = stream.line()
        self.assertEqual(text.splitlines(), [text])
        self.assertEqual(json.loads(text.removeprefix("data: "))["service"]["command"], "# \u0085\u2028\u2029")

    def test_a_quiet_stream_shows_that_it_is_alive(self):
        self.assert_shows_that_it_is_alive(self.follow)

    def test_a_stop_of_the_agent_ends_the_stream_properly(self):
        stream = self.follow()
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.assertIsNone(stream.event())
        self.assertTrue(stream.response.isclosed())

    def test_a_reader_that_goes_away_is_noticed_at_once(self):
        before = self.probe.sockets()
        streams = [self.follow() for _ in range(20)]
        self.assertGreaterEqual(self.probe.sockets(), before + 20)
        for stream in streams:
            stream.close()
        self.assert_closed_at_once(before)


class Resuming(EventsCase):
    def setUp(self):
        super().setUp()
        self.machine.create("web", "sleep 1000")
        self.machine.wait("web", status="running")

    def test_it_goes_on_after_the_event_and_sends_nothing_else(self):
        stream = self.follow()
        self.change(self.client(), "web", 20)
        events = stream.events(20)
        for index in (0, 7, 18):
            again = self.events(events[index]["id"])
            self.assertEqual(again.events(19 - index), events[index + 1:])
        newest = self.events(events[-1]["id"])
        self.change(self.client(), "web", 1, first=1000)
        self.assertEqual(newest.event(), stream.event())

    def test_who_was_away_for_thousands_of_events_gets_all_of_them(self):
        stream = self.events()
        _, ready = self.snapshot(stream)
        stream.close()
        count = 2000
        self.change(self.client(), "web", count)
        events = self.events(ready).events(count)
        first = int(ready.rpartition("-")[2]) + 1
        self.assertEqual(self.sequence(events), list(range(first, first + count)))
        self.assertEqual([event["data"]["service"]["port"] for event in events], list(range(1, count + 1)))

    def test_the_newest_4096_are_kept_and_what_is_older_is_a_gap(self):
        stream = self.events()
        _, ready = self.snapshot(stream)
        stream.close()
        boot, _, before = ready.rpartition("-")
        self.change(self.client(), "web", 4096)
        self.assertEqual(self.events(ready).event()["data"]["seq"], int(before) + 1)
        self.change(self.client(), "web", 1, first=5000)
        self.assert_gap(ready)
        self.assertEqual(self.events(f"{boot}-{int(before) + 1}").event()["data"]["seq"], int(before) + 2)

    def assert_gap(self, last):
        stream = self.events(last)
        event = stream.event()
        self.assertEqual((event["event"], list(event["data"])), ("gap", ["reason"]))
        self.assertNotIn("id", event)
        services, ready = self.snapshot(stream)
        self.assertEqual([event["data"]["service"]["name"] for event in services], ["web"])
        return stream, ready

    def test_an_id_that_is_not_known_is_a_gap(self):
        stream = self.events()
        _, ready = self.snapshot(stream)
        boot, _, sequence = ready.rpartition("-")
        for last in (
            f"{boot}-{int(sequence) + 1}", f"{boot}-0", f"{boot}-9223372036854775807", f"{boot}-99999999999999999999",
            f"00000000-0000-0000-0000-000000000000-{sequence}", "nonsense", "-", boot,
        ):
            with self.subTest(last):
                self.assert_gap(last)

    def test_another_agent_does_not_know_what_was_and_goes_on_with_higher_numbers(self):
        stream = self.events()
        _, ready = self.snapshot(stream)
        self.change(self.client(), "web", 1)
        last = stream.event()["id"]
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        stream, later = self.assert_gap(last)
        self.assertEqual(later.rpartition("-")[0], last.rpartition("-")[0])
        self.assertGreater(int(later.rpartition("-")[2]), int(last.rpartition("-")[2]))
        # The first picture is no change: the next event is the next change.
        self.change(self.client(), "web", 1, first=2)
        self.assertEqual(stream.event()["data"]["service"]["port"], 2)


class Transitions(EventsCase):
    """What is told of crashing services against what PID 1 wrote down, run by run."""

    COUNT = 40
    SAYS = 'echo "process $INVOCATION_ID $$"; '
    COMMANDS = (
        SAYS + "exit 3",
        SAYS + "sleep 0.02; exit 4",
        SAYS + "kill -SEGV $$",
        SAYS + "exec sleep 1000",
        SAYS + "trap 'exit 7' TERM; while :; do sleep 0.05; done",
    )

    def test_every_run_of_forty_crashing_services_is_told(self):
        events = self.until_marked(self.follow())
        names = [f"crash-{number}" for number in range(self.COUNT)]
        for number, name in enumerate(names):
            command = self.COMMANDS[number % len(self.COMMANDS)]
            self.machine.create(name, command, restart="always", cwd="/tmp")
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            for _ in range(6):
                list(pool.map(self.restart_twice, names))
                self.probe.kill(pids=[service["pid"] for service in self.machine.list() if service["pid"]])
        for name in names:
            self.machine.call("POST", f"/v1/services/{name}/stop")
        self.mark()
        events = events.result()
        self.assertEqual(self.sequence(events), list(range(events[0]["data"]["seq"], events[-1]["data"]["seq"] + 1)))
        told = self.runs_told(events)
        self.assert_agreement_with_the_journal(names, told)
        self.assertGreater(sum(len(runs) for runs in told.values()), 10 * self.COUNT)

    def restart_twice(self, name):
        with contextlib.closing(Client(self.machine)) as client:
            for _ in range(2):
                self.assertEqual(client.call("POST", f"/v1/services/{name}/restart")[0], 200)

    def runs_told(self, events):
        """For each unit its runs in order: the run, its process and its end."""
        told = {}
        exits = {}
        for event in events:
            service = event["data"]["service"]
            runs = told.setdefault(service["unit"], [])
            if service["last_exited_at"] != exits.get(service["unit"]):
                exits[service["unit"]] = service["last_exited_at"]
                self.assertTrue(runs and runs[-1][2] is None, f"an end without a beginning: {event} after {runs[-2:]}")
                runs[-1][2] = [service["exit_code"], service["signal"]]
            pid = service["pid"]
            if pid is not None and not (runs and runs[-1][1] == pid):
                runs.append([service["invocation_id"].replace("-", ""), pid, None])
        return told

    def assert_agreement_with_the_journal(self, names, told):
        journal = self.probe.runs()
        processes = self.probe.processes_of_runs()
        unwritten = 0
        for name in names:
            runs = told[unit_of(name)]
            self.assertEqual(len({run for run, _, _ in runs}), len(runs), f"a run of {name} is told twice: {runs}")
            self.assertEqual([run for run, _, end in runs if end is None], [], name)
            # PID 1 does not wait for a journald that is behind, and drops what it would have written.
            written = dict(journal.get(unit_of(name), []))
            self.assertEqual(list(written), [run for run, _, _ in runs if run in written], name)
            for run, pid, end in runs:
                self.assertEqual(end, written.get(run, end), f"{run} of {name}")
                self.assertEqual(processes.pop(run, pid), pid, f"{run} of {name}")
                unwritten += run not in written
        # A service's own lines are never dropped.
        self.assertEqual(processes, {}, "runs that were not told")
        total = sum(len(told[unit_of(name)]) for name in names)
        print(f"{total} runs, of which PID 1 wrote down all but {unwritten}", flush=True)
        self.assertLess(unwritten, total / 4)

    def test_a_killed_process_is_told_soon(self):
        names = [f"victim-{number}" for number in range(50)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: self.machine.create(name, "sleep 1000"), names))
        pids = {name: self.machine.wait(name, status="running")["pid"] for name in names}
        stream = self.follow()
        delays = []
        for name, pid in pids.items():
            begin = self.probe.kill_one(pid=pid)
            while (event := stream.event()["data"])["service"]["name"] != name or event["service"]["signal"] is None:
                pass
            delays.append(time.monotonic() - begin)
            self.assertEqual((event["service"]["signal"], event["service"]["status"]), ("SIGKILL", "starting"))
        print(
            f"from kill -9 to the event: median {statistics.median(delays) * 1000:.1f} ms, "
            f"longest {max(delays) * 1000:.1f} ms",
            flush=True,
        )
        self.assertLess(statistics.median(delays), 5)


class Load(EventsCase):
    def test_a_hundred_readers_see_the_same(self):
        names = [f"web-{number}" for number in range(10)]
        for name in names:
            self.machine.create(name, "sleep 1000")
        for name in names:
            self.machine.wait(name, status="running")
        readers = [self.until_marked(self.follow()) for _ in range(100)]
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            list(pool.map(self.work, names))
        self.mark()
        seen = [reader.result() for reader in readers]
        self.assertGreater(len(seen[0]), 200)
        self.assertEqual(self.sequence(seen[0]), list(range(seen[0][0]["data"]["seq"], seen[0][-1]["data"]["seq"] + 1)))
        for events in seen[1:]:
            self.assertEqual(events, seen[0])

    def work(self, name):
        with contextlib.closing(Client(self.machine)) as client:
            self.change(client, name, 10)
            for _ in range(5):
                client.call("POST", f"/v1/services/{name}/restart")

    def test_a_reader_that_does_not_read_is_sent_away_and_costs_little(self):
        command = "sleep 1000 #" + "x" * 8000
        names = [f"web-{number}" for number in range(4)]
        for name in names:
            self.machine.create(name, command)
        for name in names:
            self.machine.wait(name, status="running")
        quick = self.until_marked(self.follow())
        before = self.probe.private_kib()
        slow = [self.follow() for _ in range(20)]

        def many(name):
            with contextlib.closing(Client(self.machine)) as client:
                self.change(client, name, 750, command=command)

        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(many, names))
        self.mark()
        duration = time.monotonic() - begin
        grown = self.probe.private_kib() - before
        seen = quick.result()
        # Whoever reads is not held up by those who do not.
        self.assertGreaterEqual(len(seen), 3000)
        self.assertEqual(self.sequence(seen), list(range(seen[0]["data"]["seq"], seen[0]["data"]["seq"] + len(seen))))
        print(f"3000 events in {duration:.1f} s; the agent has grown by {grown} KiB", flush=True)
        self.assertLess(grown, 24 * 1024)
        for stream in slow:
            events = []
            while (event := stream.event()) and event["event"] == "service":
                events.append(event)
            if event:
                self.assertEqual((event["event"], list(event["data"])), ("gap", ["reason"]))
                self.assertIsNone(stream.event())
            else:
                # It had taken nothing for so long that the connection was closed.
                self.assertGreater(time.monotonic() - begin, WRITE_SECONDS)
            self.assertEqual(self.sequence(events), self.sequence(seen)[:len(events)])
            self.assertLess(len(events), len(seen))


if __name__ == "__main__":
    unittest.main()
