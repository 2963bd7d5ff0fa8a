"""A service's log, out of the journal of a booted machine."""

import contextlib
import json
import re
import statistics
import threading
import time
import unittest

from proof import Client, Inside, ProofCase
from support import eventually, free_port

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
# A line that can be read by whoever stops at 64 KiB.
LINE_LIMIT = 60 * 1024
STREAMS_LIMIT = 256
TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (stdout|stderr) (.*)")
FIELDS = ["timestamp", "stream", "line", "message", "service_id", "pid"]


class LogsInside(Inside):
    def sockets(self):
        """How many connections the agent has."""
        pid = self.agent()["pid"]
        count = 0
        for entry in os.scandir(f"/proc/{pid}/fd"):
            # One that is closed meanwhile is none.
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(entry.path).startswith("socket:")
        return count

    def forge(self, identifier, account, count):
        """Writes lines to the journal under a service's name, each through a stream of its own and from a process that
        has ended when journald looks it up. Gives back how many of them have no unit."""
        uid = pwd.getpwnam(account).pw_uid
        journald = int(self.run("systemctl", "show", "--property=MainPID", "--value", "systemd-journald.service"))
        # It takes the streams when their processes are gone. Its queue is longer than that.
        os.kill(journald, signal.SIGSTOP)
        try:
            for number in range(count):
                child = os.fork()
                if child == 0:
                    os.setuid(uid)
                    with socket.socket(socket.AF_UNIX) as stream:
                        stream.connect("/run/systemd/journal/stdout")
                        stream.sendall(f"{identifier}\n\n27\n0\n0\n0\n0\nforged {number}\n".encode())
                        os._exit(0)
                os.waitpid(child, 0)
        finally:
            os.kill(journald, signal.SIGCONT)
        self.run("journalctl", "--sync")
        fields = ["journalctl", "--output=json", f"SYSLOG_IDENTIFIER={identifier}", f"_UID={uid}"]
        entries = map(json.loads, self.run(*fields).splitlines())
        return sum("_SYSTEMD_UNIT" not in entry and entry["MESSAGE"].startswith("forged") for entry in entries)

    def private_kib(self):
        """What memory the agent has to itself. The journal's pages are the kernel's, which takes them back."""
        with open(f"/proc/{self.agent()['pid']}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))


class LogsCase(ProofCase):
    program = LogsInside

    def assert_closed_at_once(self, before):
        """Fails unless the agent has closed connections whose peers have gone before many later requests are answered.

        Else it notices with the next thing that it sends, which on a quiet stream is after 15 seconds.
        """
        for _ in range(50):
            self.assertEqual(self.machine.call("GET", "/healthz").status, 200)
            if self.probe.sockets() <= before:
                return
        self.fail("the connections are still there")

    def assert_shows_that_it_is_alive(self, follow):
        """Fails unless a quiet stream has a comment after 15 seconds. Twice as much is what no busy machine explains."""
        begin = time.monotonic()
        stream = follow()
        self.assertTrue(stream.line().startswith(":"))
        duration = time.monotonic() - begin
        self.assertGreaterEqual(duration, 15)
        self.assertLess(duration, 30)

    def ended(self, name, command, **fields):
        """A service that has run once and ended."""
        service = self.machine.create(name, command, **{"restart": "no", "cwd": "/tmp", **fields})
        eventually(lambda: self.machine.get(name)["status"] in ("stopped", "failed"), f"{name} ends")
        return service

    def lines(self, reference, query="", **headers):
        """The lines of a log: pairs of stream and text."""
        reply = self.machine.call("GET", f"/v1/services/{reference}/logs{query}", headers={"Accept": NDJSON, **headers})
        self.assertEqual(reply.status, 200, reply)
        objects = [json.loads(line) for line in reply.text.split("\n")[:-1]]
        return [(entry["stream"], entry["line"]) for entry in objects]

    def texts(self, reference, query=""):
        return [text for _, text in self.lines(reference, query)]

    @staticmethod
    def texts_of(reply):
        """The lines of server-sent events."""
        return [json.loads(data)["line"] for data in re.findall(r"^data: (.*)$", reply.text, re.MULTILINE)]

    def follow(self, reference, query="", accept=SSE, **headers):
        stream = self.machine.stream(f"/v1/services/{reference}/logs{query}", accept, headers)
        self.addCleanup(stream.close)
        self.assertEqual(stream.status, 200)
        return stream


class Formats(LogsCase):
    def setUp(self):
        super().setUp()
        self.service = self.ended("web", "echo one; echo two >&2")
        # Between the two streams there is no order.
        self.expected = {("stdout", "one"), ("stderr", "two")}

    def reply(self, accept):
        return self.machine.call("GET", "/v1/services/web/logs?follow=false", headers={"Accept": accept})

    def assert_object(self, entry):
        self.assertEqual(list(entry), FIELDS)
        self.assertEqual(entry["line"], entry["message"])
        self.assertEqual(entry["service_id"], self.service["id"])
        self.assertIsInstance(entry["pid"], int)

    def test_text_is_the_default_and_says_when_and_from_where(self):
        for accept in (None, "*/*", "text/plain", "text/html"):
            headers = {"Accept": accept} if accept else {}
            reply = self.machine.call("GET", "/v1/services/web/logs", headers=headers)
            self.assertEqual(reply.headers["Content-Type"], "text/plain; charset=utf-8")
            lines = reply.text.splitlines()
            self.assertEqual({TEXT_LINE.fullmatch(line).groups() for line in lines}, self.expected)

    def test_a_line_of_json_for_each(self):
        reply = self.reply(NDJSON)
        self.assertEqual(reply.headers["Content-Type"], NDJSON)
        entries = [json.loads(line) for line in reply.text.splitlines()]
        self.assertEqual({(entry["stream"], entry["line"]) for entry in entries}, self.expected)
        for entry in entries:
            self.assert_object(entry)

    def test_one_json_document(self):
        reply = self.reply("application/json")
        self.assertEqual((reply.headers["Content-Type"], list(reply.json)), ("application/json", ["data", "total"]))
        self.assertEqual(reply.json["total"], 2)
        self.assertEqual({(entry["stream"], entry["line"]) for entry in reply.data}, self.expected)
        for entry in reply.data:
            self.assert_object(entry)

    def test_a_json_document_never_follows(self):
        reply = self.machine.call(
            "GET", "/v1/services/web/logs?follow=true", headers={"Accept": "application/json"}
        )
        self.assertEqual(reply.json["total"], 2)

    def test_an_empty_document(self):
        self.ended("quiet", "true")
        reply = self.machine.call("GET", "/v1/services/quiet/logs", headers={"Accept": "application/json"})
        self.assertEqual(reply.json, {"data": [], "total": 0})

    def test_server_sent_events_with_the_cursor_as_id(self):
        reply = self.reply(SSE)
        self.assertEqual(reply.headers["Content-Type"], SSE)
        self.assertNotIn("\r", reply.text)
        for event in reply.text.removesuffix("\n\n").split("\n\n"):
            head, data = event.split("\n")
            self.assertRegex(head, r"^id: s=[0-9a-f]{32};i=")
            self.assert_object(json.loads(data.removeprefix("data: ")))

    def test_head_has_no_body_and_holds_nothing(self):
        reply = self.machine.call("HEAD", "/v1/services/web/logs", headers={"Accept": SSE})
        self.assertEqual((reply.status, reply.headers["Content-Type"], reply.text), (200, SSE, ""))

    def test_bad_parameters_are_named(self):
        for query, name in (
            ("tail=-1", "tail"), ("tail=x", "tail"), ("tail=1000001", "tail"), ("lines=", "lines"),
            ("follow=yes", "follow"), ("since=yesterday", "since"), ("until=2026-13-01T00:00:00Z", "until"), ("boot=1", "boot"),
            ("boot=xyz", "boot"), ("boot=-1001", "boot"), ("tail=1&lines=2", "tail"), ("colour=red", "colour"),
        ):
            with self.subTest(query):
                reply = self.machine.call("GET", f"/v1/services/web/logs?{query}")
                self.assertEqual((reply.status, reply.json["code"]), (400, "BAD_REQUEST"))
                self.assertIn(f"'{name}'", reply.json["error"])
        self.assertEqual(len(self.lines("web", "?tail=1000000")), 2)

    def test_an_unknown_service_and_a_bad_cursor(self):
        self.assertEqual(self.machine.call("GET", "/v1/services/nobody/logs").json["code"], "SERVICE_NOT_FOUND")
        reply = self.machine.call(
            "GET", "/v1/services/web/logs", headers={"Accept": SSE, "Last-Event-ID": "no cursor"}
        )
        self.assertEqual((reply.status, reply.json["code"]), (400, "BAD_REQUEST"))


class Choice(LogsCase):
    def test_the_newest_lines_or_all(self):
        self.ended("count", "seq 1 1500")
        numbers = [str(number) for number in range(1, 1501)]
        self.assertEqual(self.texts("count"), numbers[-1000:])
        for query in ("tail=all", "lines=all", "tail=1500", "tail=9999"):
            self.assertEqual(self.texts("count", f"?{query}"), numbers, query)
        for query, count in (("tail=1", 1), ("lines=7", 7), ("tail=3&lines=3", 3), ("tail=1499", 1499)):
            self.assertEqual(self.texts("count", f"?{query}"), numbers[-count:], query)
        self.assertEqual(self.texts("count", "?tail=0"), [])

    def test_a_number_of_lines_while_the_service_writes(self):
        self.machine.create("busy", "i=0; while :; do i=$((i + 1)); echo $i; sleep 0.002; done", cwd="/tmp")
        eventually(lambda: len(self.texts("busy", "?tail=5")) == 5, "five lines")
        for _ in range(100):
            numbers = [int(text) for text in self.texts("busy", "?tail=5")]
            self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 5)))

    def test_a_period(self):
        service = self.machine.create("clock", "for i in 1 2 3; do echo $i; sleep 0.4; done; exec sleep 60", cwd="/tmp")
        eventually(lambda: len(self.texts("clock")) == 3, "three lines")
        reply = self.machine.call("GET", "/v1/services/clock/logs", headers={"Accept": "application/json"})
        times = [entry["timestamp"] for entry in reply.data]
        self.assertEqual(self.texts("clock", f"?since={times[1]}"), ["2", "3"])
        # The millisecond that a line shows is within.
        self.assertEqual(self.texts("clock", f"?until={times[1]}"), ["1", "2"])
        self.assertEqual(self.texts("clock", f"?since={times[0]}&until={times[1]}"), ["1", "2"])
        self.assertEqual(self.texts("clock", f"?tail=all&until={times[1]}"), ["1", "2"])
        self.assertEqual(self.texts("clock", f"?since={times[0]}&tail=1"), ["3"])
        self.assertEqual(self.texts("clock", f"?until={times[1]}&tail=1"), ["2"])
        self.assertEqual(self.texts("clock", "?since=1h&tail=all"), ["1", "2", "3"])
        self.assertEqual(self.texts("clock", "?until=1h"), [])
        self.assertEqual(self.texts("clock", f"?since={time.time() + 3600}"), [])
        self.assertEqual(self.texts("clock", f"?boot={service['boot_id'] or self.boot()}"), ["1", "2", "3"])
        self.assertEqual(self.texts("clock", "?boot=0"), ["1", "2", "3"])
        self.assertEqual(self.texts("clock", "?boot=00000000000000000000000000000000"), [])

    def boot(self):
        return self.machine.call("GET", "/v1").data["boot_id"]

    def test_boots_count_back(self):
        self.machine.create("many", "echo $(cat /proc/sys/kernel/random/boot_id); exec sleep 1000", cwd="/tmp")
        first = eventually(lambda: self.texts("many"), "the first boot's line")
        self.machine.reboot()
        both = eventually(lambda: len(lines := self.texts("many")) == 2 and lines, "the second boot's line")
        self.assertEqual(both[0], first[0])
        self.assertEqual(both[1], self.boot())
        self.assertEqual(self.texts("many", "?boot=0"), both[1:])
        self.assertEqual(self.texts("many", "?boot=-1"), both[:1])
        self.assertEqual(self.texts("many", f"?boot={both[0]}"), both[:1])
        reply = self.machine.call("GET", "/v1/services/many/logs?boot=-1000")
        self.assertEqual((reply.status, reply.json["code"]), (404, "NOT_FOUND"))
        self.assertIn("'boot'", reply.json["error"])

    def test_a_removed_service_by_its_id_and_no_other_of_that_name(self):
        old = self.ended("twin", "echo old")
        self.machine.delete("twin")
        new = self.ended("twin", "echo new")
        self.assertEqual(self.texts(old["id"]), ["old"])
        self.assertEqual(self.texts(new["id"]), ["new"])
        self.assertEqual(self.texts("twin"), ["new"])
        self.assertEqual(self.texts("twin", "?tail=all"), ["new"])
        self.assertEqual(self.texts(old["id"], "?tail=all"), ["old"])

    def test_what_others_write_under_its_name_is_not_its_own(self):
        self.ended("real", "echo mine; logger -t miosa-service-real through syslog")
        self.machine.shell(
            # The same account in another unit, and another account in none.
            "systemd-run --quiet --wait --uid=user systemd-cat -t miosa-service-real sh -c 'echo forged; sleep 0.5'\n"
            # Of no unit, or gone before journald could look; the same account as the service, and another.
            "for i in 1 2 3 4 5; do for user in user daemon; do\n"
            "  su -s /bin/sh $user -c 'echo forged | systemd-cat -t miosa-service-real'; done; done\n"
            "su -s /bin/sh user -c 'logger -t miosa-service-real forged'\n"
            "printf 'MESSAGE=forged\\n_SYSTEMD_UNIT=miosa-service-real.service\\n"
            "SYSLOG_IDENTIFIER=miosa-service-real\\nMIOSA_SERVICE_ID=x\\n' | logger --journald\n"
            "journalctl --sync"
        )
        self.assertEqual(self.texts("real", "?tail=all"), ["mine"])


class LinesWithoutUnit(LogsCase):
    """Lines of standard error whose process has ended before journald could look its unit up."""

    COUNT = 2000
    # The same request takes some milliseconds each time. With a search for each forged line it takes hundreds.
    FACTOR = 50

    def milliseconds(self, query):
        """What a request takes, the median of some."""
        durations = []
        for _ in range(9):
            begin = time.monotonic()
            self.texts("web", query)
            durations.append((time.monotonic() - begin) * 1000)
        return statistics.median(durations)

    @contextlib.contextmanager
    def hung_journald(self):
        """journald takes what is written when the processes that wrote it have ended."""
        journald = self.machine.property("systemd-journald.service", "MainPID")
        self.machine.exec("kill", "-STOP", journald)
        try:
            yield
        finally:
            self.machine.exec("kill", "-CONT", journald)
        self.machine.exec("journalctl", "--sync")

    def without_unit(self, name, priority):
        """How many lines have lost the unit."""
        matches = f"SYSLOG_IDENTIFIER=miosa-service-{name}", f"PRIORITY={priority}"
        output = self.machine.exec("journalctl", "--output=json", *matches)
        return sum("_SYSTEMD_UNIT" not in json.loads(line) for line in output.splitlines())

    def run_with_hung_journald(self, name, script, **fields):
        """A run of a service whose main process journald knows, and whose children it has not seen alive."""
        spec = {"command": f"read go < /tmp/gate; {script}", "restart": "no", "cwd": "/tmp", **fields}
        self.machine.shell("test -p /tmp/gate || mkfifo -m 666 /tmp/gate")
        reply = self.machine.call("PUT", f"/v1/services/{name}", spec)
        self.assertIn(reply.status, (200, 201), reply)
        # journald has read the mark by then.
        self.machine.wait(name, status="running")
        with self.hung_journald():
            self.machine.shell("echo > /tmp/gate")
            eventually(lambda: self.machine.get(name)["status"] == "stopped", f"{name} ends")

    def test_forged_lines_cost_nothing(self):
        lines = [str(number) for number in range(1, 31)]
        self.machine.create("web", "seq 1 30; exec sleep 1000", cwd="/tmp")
        self.machine.wait_for_line("web", "30")
        queries = ("?tail=10", "?tail=all", "?since=1h&tail=all")
        before = {query: self.milliseconds(query) for query in queries}
        for account in ("daemon", "user"):
            # Else there is nothing to search for.
            self.assertGreater(self.probe.forge(
                identifier="miosa-service-web", account=account, count=self.COUNT), self.COUNT // 2)
            for query in queries:
                after = self.milliseconds(query)
                print(f"{query} {before[query]:.1f} ms, with lines of {account} {after:.1f} ms", flush=True)
                self.assertLess(after, self.FACTOR * before[query], f"{query} after lines of {account}")
        self.assertEqual(self.texts("web", "?tail=10"), lines[-10:])
        self.assertEqual(self.texts("web", "?tail=all"), lines)
        stream = self.follow("web", "?tail=1")
        self.assertEqual(stream.event()["data"]["line"], "30")
        self.machine.call("POST", "/v1/services/web/restart")
        self.assertEqual(stream.event()["data"]["line"], "1")

    def test_lines_of_children_are_shown_whatever_their_account(self):
        # A child of another account than the service's, of which journald sees no line with the unit.
        child = "setpriv --reuid=daemon --clear-groups /bin/echo $i >&2"
        self.run_with_hung_journald("mixed", f"for i in $(seq 40); do {child}; done", user="root")
        self.assertEqual(self.without_unit("mixed", 3), 40)
        self.assertEqual(self.texts("mixed", "?tail=all"), [str(number) for number in range(1, 41)])

    def test_a_child_that_has_lost_the_unit_has_lost_it_on_both_streams(self):
        # journald remembers what it has found of a process, and asks nothing more when a line comes through another
        # stream. It reads the two in turn, and here comes to standard output later.
        before = "for i in $(seq 60); do /bin/echo before $i; done"
        child = 'sh -c "echo err $i >&2; echo out $i"'
        self.run_with_hung_journald("both", f"{before}; for i in $(seq 60); do {child}; done; /bin/echo end")
        self.assertGreater(self.without_unit("both", 6), 0)
        before = [("stdout", f"before {i}") for i in range(1, 61)]
        output = [("stdout", f"out {i}") for i in range(1, 61)]
        error = [("stderr", f"err {i}") for i in range(1, 61)]
        lines = self.lines("both", "?tail=all")
        # Between the two streams there is no order.
        self.assertEqual([line for line in lines if line[0] == "stdout"], [*before, *output, ("stdout", "end")])
        self.assertEqual([line for line in lines if line[0] == "stderr"], error)
        for count in range(1, len(lines) + 1, 9):
            self.assertEqual(self.lines("both", f"?tail={count}"), lines[-count:], count)
        reply = self.machine.call("GET", "/v1/services/both/logs?tail=all&follow=false", headers={"Accept": SSE})
        cursors = re.findall(r"^id: (.*)$", reply.text, re.MULTILINE)
        for index in range(0, len(lines), 9):
            reply = self.machine.call(
                "GET", "/v1/services/both/logs?follow=false", headers={"Accept": SSE, "Last-Event-ID": cursors[index]}
            )
            self.assertEqual(self.texts_of(reply), [text for _, text in lines[index + 1:]], index)

    def test_every_beginning_shows_the_same_lines(self):
        """Also over many runs, whose lines without a unit have a stream for each run, and over another account."""
        users = ("user", "root", "daemon")
        for number in range(12):
            script = f"for i in 1 2 3 4; do /bin/echo $i $(id -un) >&2; done; : {number}"
            self.run_with_hung_journald("runs", script, user=users[number // 4])
        self.assertEqual(self.without_unit("runs", 3), 48)
        expected = [f"{i} {users[number // 4]}" for number in range(12) for i in (1, 2, 3, 4)]
        self.assertEqual(self.texts("runs", "?tail=all"), expected)
        for count in range(1, len(expected) + 1):
            self.assertEqual(self.texts("runs", f"?tail={count}"), expected[-count:], count)
        reply = self.machine.call("GET", "/v1/services/runs/logs?tail=all&follow=false", headers={"Accept": SSE})
        cursors = re.findall(r"^id: (.*)$", reply.text, re.MULTILINE)
        times = re.findall(r'"timestamp":"([^"]*)"', reply.text)
        self.assertEqual((len(cursors), len(times)), (len(expected), len(expected)))
        for index in range(0, len(expected), 3):
            behind = self.texts_of(self.machine.call(
                "GET", "/v1/services/runs/logs?follow=false", headers={"Accept": SSE, "Last-Event-ID": cursors[index]}))
            self.assertEqual(behind, expected[index + 1:], index)
            # A line shows the millisecond in which it was written, and there may be others in it.
            since = self.texts("runs", f"?tail=all&since={times[index]}")
            self.assertEqual(since, expected[times.index(times[index]):], index)
            until = self.texts("runs", f"?tail=3&until={times[index]}")
            end = len(times) - times[::-1].index(times[index])
            self.assertEqual(until, expected[max(0, end - 3):end], index)


class Content(LogsCase):
    def test_the_streams_are_told_apart(self):
        self.ended(
            "both", "for i in $(seq 50); do echo out $i; echo err $i >&2; done; sh -c 'echo child >&2'; echo end"
        )
        lines = self.lines("both")
        self.assertEqual(
            [text for stream, text in lines if stream == "stdout"], [f"out {i}" for i in range(1, 51)] + ["end"]
        )
        self.assertEqual(
            [text for stream, text in lines if stream == "stderr"], [f"err {i}" for i in range(1, 51)] + ["child"]
        )

    def test_prefixes_that_look_like_priorities_are_text(self):
        self.ended("level", "echo '<3>three'; echo '<7>seven' >&2")
        self.assertEqual(set(self.lines("level")), {("stdout", "<3>three"), ("stderr", "<7>seven")})

    def test_bytes_that_are_no_text_and_a_last_line_without_an_end(self):
        self.ended(
            "bytes", "printf 'a\\377\\376b\\n\\303\\251\\n\\033[31mred\\033[0m \\001\\t|\\n\\342\\200\\250|\\nlast'"
        )
        self.assertEqual(self.texts("bytes"), ["a\ufffd\ufffdb", "é", "\x1b[31mred\x1b[0m \x01\t|", "\u2028|", "last"])
        text = self.machine.call("GET", "/v1/services/bytes/logs").text
        self.assertIn(" stdout red \\x01\t|\n", text)
        self.assertNotIn("\x1b", text)
        events = self.machine.call("GET", "/v1/services/bytes/logs?follow=false", headers={"Accept": SSE}).text
        # Python's own idea of lines, which the published library has, too.
        self.assertEqual(len(events.splitlines()), 5 * 3)

    def test_a_line_of_a_mebibyte(self):
        self.ended(
            "long", "head -c 1048576 /dev/zero | tr '\\000' x; echo; head -c 1000 /dev/zero | tr '\\000' '\\001'"
        )
        reply = self.machine.call("GET", "/v1/services/long/logs")
        pieces = [TEXT_LINE.fullmatch(line)[2] for line in reply.text.splitlines()]
        self.assertEqual(sum(map(len, pieces[:-1])), 1048576)
        self.assertEqual(pieces[-1], "\\x01" * 1000)
        for accept in (SSE, NDJSON):
            text = self.machine.call("GET", "/v1/services/long/logs?follow=false", headers={"Accept": accept}).text
            lines = text.split("\n")
            self.assertLessEqual(max(map(len, lines)), LINE_LIMIT)
            objects = [json.loads(line.removeprefix("data: ")) for line in lines if '"line"' in line]
            self.assertEqual(len(objects), len(pieces))
            for entry, piece in zip(objects[:-1], pieces[:-1]):
                self.assertEqual(entry.get("truncated", False), len(entry["line"]) < len(piece))
                self.assertTrue(piece.startswith(entry["line"]))
            self.assertTrue(objects[0]["truncated"])
            self.assertGreater(len(objects[0]["line"]), 29000)
            self.assertEqual(objects[-1]["line"], "\x01" * 1000)

    def test_the_last_lines_of_a_process_that_has_just_died_are_there(self):
        for number in range(30):
            self.ended(f"dies{number}", f"echo last {number}; echo words {number} >&2; exit 3")
            # At once, with the first request that shows the end.
            self.assertEqual(
                set(self.lines(f"dies{number}")), {("stdout", f"last {number}"), ("stderr", f"words {number}")}
            )

    def test_lines_that_journald_comes_to_when_the_process_is_long_gone(self):
        journald = self.machine.property("systemd-journald.service", "MainPID")
        names = [f"gone{number}" for number in range(40)]
        self.machine.exec("kill", "-STOP", journald)
        try:
            for name in names:
                self.ended(name, f"echo {name}; echo error of {name} >&2; exit 3")
        finally:
            self.machine.exec("kill", "-CONT", journald)
        # It has more to do than the agent waits for.
        self.machine.exec("journalctl", "--sync")
        for name in names:
            self.assertEqual(set(self.lines(name)), {("stdout", name), ("stderr", f"error of {name}")})

    def test_no_rate_limit_drops_lines(self):
        # The unit's own limit is known to journald while the unit is active.
        self.machine.create("flood", "seq 1 60000; exec sleep 1000", cwd="/tmp")
        self.machine.wait_for_line("flood", "60000")
        self.assertEqual(self.texts("flood", "?tail=all"), [str(number) for number in range(1, 60001)])

    def test_a_wait_that_is_too_long_shows_the_last_lines(self):
        spec = {"command": "echo starting; exec sleep 1000", "cwd": "/tmp", "port": free_port()}
        self.machine.create("slow", **spec)
        self.machine.wait_for_line("slow", "starting")
        reply = self.machine.call("PUT", "/v1/services/slow?wait=ready&timeout=1", spec)
        self.assertEqual((reply.status, reply.json["details"]["log"]), (504, ["starting"]))


class Following(LogsCase):
    def test_lines_come_as_they_are_written_and_the_stream_goes_on_over_restarts(self):
        self.machine.create("web", "echo started; exec sleep 1000", cwd="/tmp")
        stream = self.follow("web")
        self.assertEqual(stream.event()["data"]["line"], "started")
        for _ in range(3):
            self.machine.call("POST", "/v1/services/web/restart")
            self.assertEqual(stream.event()["data"]["line"], "started")

    def test_it_ends_when_the_service_is_deleted(self):
        self.machine.create("web", "echo started; exec sleep 1000", cwd="/tmp")
        stream = self.follow("web")
        self.assertEqual(stream.event()["data"]["line"], "started")
        self.machine.delete("web")
        self.assertEqual(stream.event(), {"event": "end", "data": {"reason": "the service was deleted"}})

    def test_it_begins_before_there_is_anything(self):
        self.machine.create("late", "sleep 0.5; echo late; exec sleep 1000", cwd="/tmp")
        for query in ("", "?tail=0", "?tail=all", "?since=1h"):
            stream = self.follow("late", query)
            self.assertEqual(stream.event()["data"]["line"], "late")
            self.machine.call("POST", "/v1/services/late/restart")

    def test_resuming_after_an_event_misses_and_repeats_nothing(self):
        self.machine.create("web", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.002; done", cwd="/tmp")
        seen, last = [], {}
        for _ in range(8):
            stream = self.follow("web", "?tail=all", **last)
            for event in stream.events(40):
                seen.append(int(event["data"]["line"]))
            last = {"Last-Event-ID": event["id"]}
            stream.close()
        self.assertEqual(seen, list(range(1, 321)))

    def test_other_forms_follow_when_asked_to(self):
        self.machine.create("web", "echo one; exec sleep 1000", cwd="/tmp")
        for accept in (NDJSON, "text/plain"):
            stream = self.follow("web", "?follow=true&tail=1", accept)
            self.assertIn("one", stream.line())
            self.machine.call("POST", "/v1/services/web/restart")
            self.assertIn("one", stream.line())

    def test_until_ends_it(self):
        self.machine.create("web", "echo one; exec sleep 1000", cwd="/tmp")
        eventually(lambda: self.texts("web"), "a line")
        stream = self.follow("web", f"?until={time.time() + 1}")
        self.assertEqual(stream.event()["data"]["line"], "one")
        self.assertIsNone(stream.event())

    def test_a_quiet_stream_shows_that_it_is_alive(self):
        self.machine.create("web", "exec sleep 1000", cwd="/tmp")
        # Entries that look like the service's and are not its own change nothing.
        forge = "while logger --tag miosa-service-web forged; do sleep 1; done"
        self.machine.exec("systemd-run", "--quiet", "--unit=forger", "sh", "-c", forge)
        try:
            self.assert_shows_that_it_is_alive(lambda: self.follow("web"))
        finally:
            self.machine.exec("systemctl", "stop", "forger.service")

    def test_rotation_and_vacuum_lose_no_line_and_end_no_stream(self):
        self.machine.create("web", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.001; done", cwd="/tmp")
        stream = self.follow("web", "?tail=all")
        done = threading.Event()
        seen = []
        rotations = []

        def rotate():
            while not done.is_set():
                self.probe.shell(script="journalctl --rotate; journalctl --vacuum-files=20 >/dev/null 2>&1")
                # Not before the reader has come as far: what is vacuumed unread is lost.
                newest = int(self.texts("web", "?tail=1")[0])
                rotations.append(newest)
                eventually(lambda: done.is_set() or seen and seen[-1] >= newest, f"line {newest} is read")

        rotation = threading.Thread(target=rotate)
        rotation.start()
        try:
            # More files than are kept.
            while len(seen) < 3000 or len(rotations) < 40:
                seen.append(int(stream.event()["data"]["line"]))
            self.assertEqual(seen, list(range(1, len(seen) + 1)))
        finally:
            done.set()
            rotation.join()

    def test_a_stop_of_the_agent_ends_the_stream_properly(self):
        self.machine.create("web", "echo one; exec sleep 1000", cwd="/tmp")
        stream = self.follow("web")
        self.assertEqual(stream.event()["data"]["line"], "one")
        self.machine.exec("systemctl", "restart", "miosa-agent.service")
        self.assertIsNone(stream.event())
        eventually(lambda: self.machine.get("web"), "the agent is back")

    def test_a_reader_that_goes_away_is_noticed_at_once(self):
        self.machine.create("web", "exec sleep 1000", cwd="/tmp")
        before = self.probe.sockets()
        streams = [self.follow("web", "?follow=true", accept) for accept in (SSE, NDJSON, "text/plain") * 5]
        self.assertGreaterEqual(self.probe.sockets(), before + 15)
        for stream in streams:
            stream.close()
        self.assert_closed_at_once(before)

    def test_so_many_streams_and_no_more(self):
        self.machine.create("web", "exec sleep 1000", cwd="/tmp")
        # None of an earlier test is left.
        eventually(
            lambda: self.machine.call("GET", "/metrics").text.count('miosa_agent_streams{kind="logs"} 0\n')
            and self.machine.call("GET", "/metrics").text.count('miosa_agent_streams{kind="events"} 0\n'), "no stream"
        )
        with contextlib.ExitStack() as stack:
            for _ in range(STREAMS_LIMIT):
                stream = stack.enter_context(self.machine.stream("/v1/services/web/logs", SSE))
                self.assertEqual(stream.status, 200)
            reply = self.machine.call("GET", "/v1/services/web/logs", headers={"Accept": SSE})
            self.assertEqual((reply.status, reply.json["code"]), (429, "TOO_MANY_REQUESTS"))
            self.assertIsNotNone(reply.headers["Retry-After"])
            self.assertEqual(self.machine.call("GET", "/v1/events").status, 429)
        eventually(
            lambda: self.machine.call("GET", "/v1/services/web/logs").status == 200, "there is room again"
        )


class Load(LogsCase):
    COUNT = 100

    def test_a_hundred_followers_at_full_speed_hold_up_nobody(self):
        self.machine.create("web", "seq 1 20000; exec sleep 1000", cwd="/tmp")
        eventually(lambda: self.texts("web", "?tail=1") == ["20000"], "all is written")
        counts = [0] * self.COUNT

        def read(index):
            with self.machine.stream("/v1/services/web/logs?tail=all&follow=true", NDJSON) as stream:
                while counts[index] < 20000 and stream.line() is not None:
                    counts[index] += 1

        readers = [threading.Thread(target=read, args=(index,)) for index in range(self.COUNT)]
        for reader in readers:
            reader.start()
        client = Client(self.machine)
        self.addCleanup(client.close)
        durations = []
        # How many lines had been read when a request was answered.
        progress = set()
        while any(reader.is_alive() for reader in readers):
            begin = time.monotonic()
            self.assertEqual(client.call("GET", "/v1/services/web")[0], 200)
            durations.append(time.monotonic() - begin)
            progress.add(sum(counts))
            time.sleep(0.01)
        self.assertEqual(set(counts), {20000})
        print(f"{len(durations)} status requests, median {statistics.median(durations) * 1000:.1f} ms", flush=True)
        # Who is held up is answered between few lines only, or after the last.
        self.assertGreater(len(progress), 20)

    def test_a_reader_that_does_not_read_costs_little_and_holds_up_nobody(self):
        self.machine.create("web", "seq 1 200000; exec sleep 1000", cwd="/tmp")
        before = self.probe.private_kib()
        stalled = [self.follow("web", "?tail=all&follow=true", NDJSON) for _ in range(20)]
        self.assertEqual(len(self.texts("web", "?tail=1")), 1)
        quick = self.follow("web", "?tail=all&follow=true", NDJSON)
        for _ in range(100000):
            self.assertIsNotNone(quick.line())
        self.assertLess(self.probe.private_kib(), before + 16 * 1024)
        self.assertEqual(len(stalled), 20)


if __name__ == "__main__":
    unittest.main()
