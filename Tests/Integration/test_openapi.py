"""The description of the API against the running agent: what it answers, and what schemathesis makes of it.

OPENAPI_SEED sets what schemathesis generates, OPENAPI_EXAMPLES how many examples of each operation in each phase.
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import unittest

import jsonschema
import openapi_spec_validator
import referencing
import referencing.jsonschema

from support import PATIENCE_SECONDS, REPOSITORY, MachineTestCase, Reply, eventually

FILE = REPOSITORY / "Sources" / "API" / "openapi.json"
MOUNTS = ("/v1", "/api/v1/computers/{computer}")
LARGEST_PORT = 65535


class Description:
    """The document, and what it says of an answer."""

    def __init__(self, document):
        self.document = document
        self.registry = referencing.Registry().with_resource(
            "urn:openapi", referencing.Resource(document, referencing.jsonschema.DRAFT202012)
        )
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in document["paths"].items() for method, operation in methods.items()
        }

    def operation(self, method, target):
        """The id of the operation that a request is for."""
        method = "GET" if method == "HEAD" else method
        path = target.partition("?")[0]
        matches = [
            (template.count("{"), name) for name, (verb, template, _) in self.operations.items()
            if verb == method and re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), path)
        ]
        return min(matches)[1] if matches else None

    def check(self, instance, schema):
        """Fails when a value is not as the schema says; references are those of the document."""
        schema = json.loads(json.dumps(schema).replace('"#/', '"urn:openapi#/'))
        validator = jsonschema.Draft202012Validator(
            schema, registry=self.registry, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        )
        errors = [f"{error.json_path}: {error.message[:500]}" for error in validator.iter_errors(instance)]
        if errors:
            raise AssertionError(f"{errors} in {json.dumps(instance)[:2000]}")

    def check_schema(self, instance, name):
        self.check(instance, {"$ref": f"#/components/schemas/{name}"})

    def check_reply(self, reply, response, has_body=True):
        """Fails when an answer is not the described one."""
        response = self.follow(response)
        for name, header in response["headers"].items():
            header = self.follow(header)
            value = reply.headers[name]
            if value is None:
                raise AssertionError(f"there is no {name}: {reply}")
            is_number = header["schema"].get("type") == "integer"
            self.check(int(value) if is_number else value, header["schema"])
        media_type = (reply.headers["Content-Type"] or "").partition(";")[0]
        if media_type not in response["content"]:
            raise AssertionError(f"'{media_type}' is not one of {list(response['content'])}: {reply}")
        if has_body:
            is_json = media_type == "application/json"
            self.check(reply.json if is_json else reply.text, response["content"][media_type]["schema"])

    def follow(self, value):
        while "$ref" in value:
            place = value["$ref"].removeprefix("#/").split("/")
            value = self.document
            for key in place:
                value = value[key]
        return value


class OpenAPITestCase(MachineTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.description = Description(json.loads(FILE.read_text()))

    def setUp(self):
        super().setUp()
        # What was asked and answered: (operationId, status).
        self.seen = set()

    def checked(self, method, target, body=None, status=None, **options):
        """Sends a request, and fails when the answer is not the described one."""
        reply = self.machine.call(method, target, body, **options)
        name = self.description.operation(method, target)
        self.assertIsNotNone(name, f"{method} {target} is not described")
        responses = self.description.operations[name][2]["responses"]
        self.assertIn(str(reply.status), responses, f"{method} {target}: {reply}")
        try:
            self.description.check_reply(reply, responses[str(reply.status)], has_body=method != "HEAD")
        except AssertionError as error:
            raise AssertionError(f"{method} {target} {reply.status}: {error}") from None
        if status is not None:
            self.assertEqual(reply.status, status, reply)
        self.seen.add((name, reply.status))
        return reply


class Document(OpenAPITestCase):
    def test_the_file_is_what_is_served(self):
        for tcp in (False, True):
            reply = self.machine.call("GET", "/openapi.json", tcp=tcp)
            self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "application/json"))
            self.assertEqual(reply.text.encode(), FILE.read_bytes())

    def test_it_is_openapi(self):
        openapi_spec_validator.validate(self.description.document)
        self.assertTrue(self.description.document["openapi"].startswith("3.1."))

    def test_the_examples_are_what_their_schemas_say(self):
        def visit(value):
            if isinstance(value, dict):
                for example in value.get("examples", []):
                    self.description.check(example, value)
                if "schema" in value and "example" in value:
                    self.description.check(value["example"], value["schema"])
            for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
                visit(part)

        visit(self.description.document)

    def test_its_version_is_the_agents(self):
        self.assertEqual(
            self.description.document["info"]["version"], self.machine.call("GET", "/v1").data["agent_version"]
        )


class Answers(OpenAPITestCase):
    def sweep(self, mount, **options):
        """Asks every route for what it gives and for what it refuses."""
        services = f"{mount}/services"

        def call(method, path, body=None, status=200, **more):
            return self.checked(method, path, body, status, **{**options, **more})

        call("GET", mount)
        call("HEAD", mount)
        call("GET", services)
        created = call("POST", services, {
            "name": "web", "command": "echo out; echo err >&2; exec sleep 1000", "env": {"A": "b", "B": "é\n"},
            "working_dir": "/tmp", "restart_policy": "always", "port": LARGEST_PORT, "user": "root",
        }, 201).data
        self.machine.wait("web", status="running")
        call("POST", services, {"name": "web", "command": "true"}, 409)
        call("POST", services, {"name": "No Name", "port": 0, "colour": "red", "env": {"A": 1}}, 422)
        call("POST", services, "{", 400)
        call("POST", services, "[]", 400)
        call("POST", services, "{}", 415, headers={"Content-Encoding": "gzip"})
        call("POST", services, "{}", 400, headers={"Idempotency-Key": "with blank"})
        call("POST", f"{services}?wait=soon", "{}", 400)
        for reference in ("web", created["id"]):
            for path in ("", "/unit", "/runs"):
                call("GET", f"{services}/{reference}{path}")
                call("HEAD", f"{services}/{reference}{path}")
        call("GET", f"{services}/web?x=y", status=400)
        call("GET", f"{services}/%00", status=400)
        for query in ("?status=running", "?status=failed,stopped,starting"):
            call("GET", f"{services}{query}")
        call("GET", f"{services}?status=up", status=400)

        call("POST", f"{services}/web/start", status=409)
        call("POST", f"{services}/web/stop")
        call("POST", f"{services}/web/stop", status=409)
        call("POST", f"{services}/web/start")
        call("POST", f"{services}/web/restart?wait=ready&timeout=1", status=504)
        call("POST", f"{services}/web/restart", headers={"Idempotency-Key": f"{mount}-1"})
        call("POST", f"{services}/web/stop", status=422, headers={"Idempotency-Key": f"{mount}-1"})
        call("POST", f"{services}/web/reload", status=409)
        call("POST", f"{services}/web/signal", {"signal": "nothing"}, 422)
        call("POST", f"{services}/web/signal", {"signal": "SIGCONT"})
        call("PATCH", f"{services}/web", {"reload_signal": "CONT", "labels": {"team": "web"}, "limits": {"cpus": 0.5}})
        call("PATCH", f"{services}/web?restart=false", {"env": None, "umask": "077"})
        call("PATCH", f"{services}/web", {"port": 0}, 422)
        call("PATCH", f"{services}/web?dry_run=true", {"port": 1})
        call("POST", f"{services}/web/reload")
        call("GET", f"{services}?label=team=web&label=team")
        call("GET", f"{services}?label=", status=400)
        call("PUT", f"{services}/web?dry_run=true", {"command": "sleep 1000"})
        call("POST", f"{services}?dry_run=true", {"name": "new", "command": "sleep 1000"})
        call("POST", f"{services}?start=false", {"name": "later", "command": "sleep 1000"}, 201)
        call("DELETE", f"{services}/later")
        call("PUT", f"{services}/web", {"command": "sleep 1000"})
        call("PUT", f"{services}/web", {"command": "sleep 1000", "name": "other"}, 422)
        call("PUT", f"{services}/quick", {"command": "exit 3", "restart": "no"}, 201)
        call("PUT", f"{services}/worker?wait=ready", {"command": "sleep 1000", "auto_restart": False}, 201)
        self.machine.wait("quick", status="failed")
        call("POST", f"{services}/quick/restart?wait=ready")
        eventually(lambda: len(call("GET", f"{services}/quick/runs").data) == 2, "it has two records")
        for accept in ("application/json", "text/plain"):
            call("GET", f"{services}/quick/runs", headers={"Accept": accept})
            call("GET", f"{services}/quick/runs/2", headers={"Accept": accept})
        call("GET", f"{services}/quick/runs/3", status=404)
        call("POST", services, {"name": "lost", "command": "true", "cwd": "/nowhere", "user": "nobody-there"}, 201)
        for method, path in (
            ("GET", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/stop"), ("POST", "/restart"), ("GET", "/unit"),
            ("GET", "/logs"), ("POST", "/reload"), ("GET", "/runs"), ("GET", "/runs/1"),
        ):
            call(method, f"{services}/nothing{path}", status=404)
        call("GET", services)
        call("GET", services, headers={"User-Agent": "miosa-python/2.19.2"})
        call("GET", mount, headers={"User-Agent": "miosa-python/2.19.2"})
        call("GET", f"{mount}/audit")
        call("GET", f"{mount}/audit?since=1h&service=web&identity=uid:0&limit=1")
        call("GET", f"{mount}/audit?limit=0", status=400)

        for name in ("web", "quick", "worker", "lost"):
            call("DELETE", f"{services}/{name}")
        self.assertEqual(call("GET", f"{services}?status=removed,running").data[0]["status"], "removed")

    def assert_all_have_succeeded(self, mount):
        streams = {"getEvents", "getEventsOnComputer", "getLogs", "getLogsOnComputer"}
        wanted = {
            name for name, (_, path, _) in self.description.operations.items() if path.startswith(mount)
        } - streams
        self.assertEqual(wanted - {name for name, status in self.seen if status < 300}, set())

    def test_of_the_short_paths(self):
        self.sweep("/v1")
        self.assert_all_have_succeeded(MOUNTS[0])

    def test_of_the_platforms_paths(self):
        mount = "/api/v1/computers/self"
        self.sweep(mount, tcp=True)
        self.assert_all_have_succeeded(MOUNTS[1])
        for method, path in (("GET", ""), ("GET", "/services"), ("PUT", "/services/web")):
            self.checked(method, f"/api/v1/computers/another{path}", status=404)

    def test_of_the_daemon(self):
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            self.checked("GET", path, status=200)
            self.checked("HEAD", path, status=200)
            self.checked("GET", f"{path}?x=y", status=400)

    def test_without_the_token(self):
        for method, path, _ in self.description.operations.values():
            path = path.replace("{computer}", "self").replace("{ref}", "web").replace("{n}", "1")
            expected = 200 if path in ("/healthz", "/readyz") else 401
            self.checked(method, path, status=expected, tcp=True, headers={"Authorization": "Bearer wrong"})

    def test_where_there_is_nothing(self):
        responses = self.description.document["components"]["responses"]
        for path in ("/", "/v2", "/v1/services/", "/v1/services/web/nothing"):
            reply = self.machine.call("GET", path)
            self.assertEqual(reply.status, 404)
            self.description.check_reply(reply, responses["NotFound"])
        for method, path in (("POST", "/v1/services/web"), ("DELETE", "/v1"), ("POST", "/healthz")):
            reply = self.machine.call(method, path)
            self.assertEqual(reply.status, 405)
            self.description.check_reply(reply, responses["MethodNotAllowed"])

    def test_to_what_is_hardly_a_request(self):
        for status, line, fields in (
            (400, "GET /v1 HTTP/1.1", []),
            (400, "GET  /v1 HTTP/1.1", ["Host: localhost"]),
            (408, "GET /v1 HTTP/1.1", None),
            (413, "POST /v1/services HTTP/1.1", ["Host: localhost", "Content-Length: 1048577"]),
            (414, f"GET /v1/{'x' * 8192} HTTP/1.1", ["Host: localhost"]),
            (417, "GET /v1 HTTP/1.1", ["Host: localhost", "Expect: more"]),
            (421, "GET https://x/v1 HTTP/1.1", ["Host: localhost"]),
            (431, "GET /v1 HTTP/1.1", ["Host: localhost", *["A: b"] * 100]),
            (431, "GET /v1 HTTP/1.1", ["Host: localhost", f"A: {'x' * 32768}"]),
            (501, "CONNECT x:1 HTTP/1.1", ["Host: localhost"]),
            (501, "POST /v1/services HTTP/1.1", ["Host: localhost", "Transfer-Encoding: gzip, chunked"]),
            (505, "GET /v1 HTTP/2.0", ["Host: localhost"]),
        ):
            with self.subTest(line[:60], fields=str(fields)[:60]), contextlib.closing(self.machine.raw()) as connection:
                # One without an end is one that does not arrive.
                end = ["", ""] if fields is not None else []
                connection.sendall("\r\n".join([line, *(fields or []), *end]).encode())
                response = http.client.HTTPResponse(connection)
                response.begin()
                reply = Reply(response)
                self.assertEqual(reply.status, status, reply)
                responses = self.description.operations["createService"][2]["responses"]
                self.description.check_reply(reply, responses[str(status)])

    def test_for_a_person(self):
        self.machine.create("web", "sleep 1000")
        person = {"Accept": "text/plain"}
        for mount in ("/v1", "/api/v1/computers/self"):
            for path in ("/services", "/services/web", "/services/nothing"):
                reply = self.checked("GET", f"{mount}{path}", headers=person)
                self.assertEqual(reply.headers["Content-Type"], "text/plain; charset=utf-8", path)


class Streams(OpenAPITestCase):
    def setUp(self):
        super().setUp()
        self.machine.create("talker", "echo one; echo two >&2; exec sleep 1000")
        self.machine.wait("talker", status="running")

    def logs(self, mount, media_type):
        """The reply once both lines are in the log."""
        def reply():
            target = f"{mount}/services/talker/logs?follow=false"
            reply = self.checked("GET", target, headers={"Accept": media_type}, status=200)
            self.assertEqual(reply.headers["Content-Type"].partition(";")[0], media_type)
            return reply if "one" in reply.text and "two" in reply.text else None

        return eventually(reply, f"two lines of {media_type}")

    def test_a_log_line_is_as_described_in_every_form(self):
        for mount in ("/v1", "/api/v1/computers/self"):
            lines = self.logs(mount, "application/json").json["data"]
            self.assertEqual({line["line"]: line["stream"] for line in lines}, {"one": "stdout", "two": "stderr"})
            for line in self.logs(mount, "application/x-ndjson").text.splitlines():
                self.description.check_schema(json.loads(line), "LogLine")
            events = re.findall("^data:(.*)$", self.logs(mount, "text/event-stream").text, re.MULTILINE)
            self.assertEqual(len(events), 2)
            for event in events:
                self.description.check_schema(json.loads(event), "LogLine")
            self.logs(mount, "text/plain")

    def test_the_parameters_of_logs(self):
        for query, status in (
            ("tail=0", 200), ("tail=all", 200), ("tail=1000000", 200), ("lines=5", 200), ("since=10m", 200),
            ("since=2h30m&until=2100-01-01T00:00:00Z", 200), ("since=1.5", 200), ("boot=0", 200), ("follow=false", 200),
            ("tail=-1", 400), ("tail=1000001", 400), ("tail=x", 400), ("lines=", 400), ("since=", 400),
            ("since=soon", 400), ("boot=x", 400), ("boot=1", 400), ("follow=maybe", 400), ("colour=red", 400),
        ):
            for mount in ("/v1", "/api/v1/computers/self"):
                with self.subTest(query, mount=mount):
                    self.checked("GET", f"{mount}/services/talker/logs?{query}", status=status)

    def test_an_event_is_as_described(self):
        for mount in ("/v1", "/api/v1/computers/self"):
            with contextlib.closing(self.machine.connection()) as connection:
                connection.request("GET", f"{mount}/events")
                response = connection.getresponse()
                media_type = response.headers["Content-Type"].partition(";")[0]
                self.assertEqual((response.status, media_type), (200, "text/event-stream"))
                name, count = None, 0
                while name != "ready":
                    line = response.readline().decode()
                    self.assertTrue(line, "the stream has ended")
                    if line.startswith("event:"):
                        name = line.removeprefix("event:").strip()
                    elif line.startswith("data:") and name == "service":
                        self.description.check_schema(json.loads(line.removeprefix("data:")), "ServiceEvent")
                        count += 1
                self.assertEqual(count, 1)


class Generated(OpenAPITestCase):
    """schemathesis, over TCP with the token: requests that conform and that do not, one by one and in sequences.

    Streams that never end are left out: schemathesis.toml and schemathesis_hooks.py say how.
    """

    MEMORY_BYTES = 6 << 30

    def test_schemathesis_finds_nothing(self):
        seed = os.environ.get("OPENAPI_SEED") or "1"
        examples = int(os.environ.get("OPENAPI_EXAMPLES") or 3)
        print(f"\nOPENAPI_SEED={seed} OPENAPI_EXAMPLES={examples}", flush=True)
        before = self.machine.property("miosa-agent.service", "MainPID")
        here = pathlib.Path(__file__).resolve().parent
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                [
                    sys.executable, "-m", "schemathesis.cli", "--config-file", here / "schemathesis.toml", "run", FILE,
                    "--url", self.machine.url, "--seed", seed, "--max-examples", str(examples),
                ],
                env={
                    **os.environ, "PYTHONPATH": here, "AGENT_URL": self.machine.url, "AGENT_TOKEN": self.machine.token,
                },
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (self.MEMORY_BYTES, self.MEMORY_BYTES)),
                cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=5 * PATIENCE_SECONDS + 10 * examples,
            )
        self.assertEqual(done.returncode, 0, done.stdout)
        operations = len([name for name in self.description.operations if not name.startswith("getEvents")])
        self.assertIn(f"Tested: {operations}\n", done.stdout)
        for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
            self.assertIn(f"✅ {phase}\n", done.stdout)
        generated = int(re.search(r"(\d+) generated", done.stdout)[1])
        self.assertGreater(generated, 20 * operations, done.stdout)
        print(f"{generated} requests", flush=True)
        self.assertEqual(self.machine.property("miosa-agent.service", "MainPID"), before)


if __name__ == "__main__":
    unittest.main()
