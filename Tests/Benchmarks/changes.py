"""Changes: from the request to what was asked for, beside the least that a program on sd-bus has to do for the same."""

import json
import re

from measuring import AGENT, INSIDE, SUPERVISORD

ROUNDS = 8
COUNT = 12
BURSTS = 7
BURST = 100
CLIENTS = 8
SOME = 100
TEMPLATE = "bench-template"
RECORDS = "/var/lib/bench-units"
START_STOP = f"""
import json, time, xmlrpc.client
from supervisor.xmlrpc import SupervisorTransport
server = xmlrpc.client.ServerProxy("http://localhost", SupervisorTransport(None, None, "unix://{SUPERVISORD}"))
times = dict(stop=[], start=[])
for _ in range(5):
    for verb, call in (("stop", server.supervisor.stopProcess), ("start", server.supervisor.startProcess)):
        begin = time.monotonic()
        call("web")
        times[verb].append((time.monotonic() - begin) * 1000)
print(json.dumps(times))
"""


def without_services(bench, report):
    write_templates(bench)
    report.begin("changes", "Changes, no other service")
    one_by_one(bench, report)
    bursts(bench, report)
    report.begin("changes", f"Changes, {SOME} other services")
    calls(bench, "create", SOME, CLIENTS, "some")
    launches(bench, report, "some-more")
    calls(bench, "delete", SOME, CLIENTS, "some")
    report.begin("changes", "Changes, for scale")
    with bench.supervisord():
        times = json.loads(bench.exec("python3", "-c", START_STOP))
        report.scale("startProcess", "ms", "S", times["start"])
        report.scale("stopProcess", "ms", "S", times["stop"])


def with_services(bench, report):
    write_templates(bench)
    report.begin("changes", "Changes, 1,000 other services")
    one_by_one(bench, report)


def write_templates(bench):
    """Gives C the agent's own unit file and record, and the same unit file with a program and nothing before it."""
    bench.create(TEMPLATE, "exec sleep infinity", restart="always")
    bench.wait(TEMPLATE, status="running")
    text = bench.call("GET", f"/v1/services/{TEMPLATE}/unit").text
    text = text.replace(f"miosa-service-{TEMPLATE}", "@NAME@").replace(TEMPLATE, "@NAME@")
    bench.write(f"{INSIDE}/unit", text)
    plain = f"ExecStart={INSIDE}/first /run/bench-first.sock @NAME@"
    bench.write(f"{INSIDE}/plain-unit", re.sub("^ExecStart=.*$", plain, text, flags=re.MULTILINE))
    bench.shell(f"cp /var/lib/miosa-agent/services/{TEMPLATE}.json {INSIDE}/record")
    bench.delete(TEMPLATE)


def calls(bench, verb, count, in_flight, prefix):
    return bench.program("calls", verb, AGENT, count, in_flight, prefix)


def units(bench, verb, count, in_flight, prefix):
    unit = f"{INSIDE}/plain-unit" if verb == "launch" else f"{INSIDE}/unit"
    return bench.program("units", verb, count, in_flight, prefix, unit, f"{INSIDE}/record", RECORDS)


def launches(bench, report, prefix):
    """From the request to the first instruction of the service's own program."""
    agent, minimum = [], []
    for number in range(ROUNDS):
        agent.append(calls(bench, "launch", COUNT, 1, f"{prefix}-{number}"))
        minimum.append(units(bench, "launch", COUNT, 1, f"bench-{prefix}-{number}"))
        calls(bench, "delete", COUNT, CLIENTS, f"{prefix}-{number}")
        units(bench, "delete", COUNT, CLIENTS, f"bench-{prefix}-{number}")
    report_launches(report, agent, minimum)


def report_launches(report, agent, minimum):
    report.ratio(
        "create to the first instruction, p50", "ms", [run["p50_ms"] for run in agent], "C",
        [run["p50_ms"] for run in minimum], at_most=1.25,
    )


def one_by_one(bench, report):
    reloads = bench.reloads()
    agent = {"launch": [], "stop": [], "delete": []}
    minimum = {"launch": [], "stop": [], "delete": []}

    def both(verb, name):
        agent[verb].append(calls(bench, verb, COUNT, 1, name))
        minimum[verb].append(units(bench, verb, COUNT, 1, f"bench-{name}"))

    for number in range(ROUNDS):
        # No name comes twice: one that is used again at once waits for the last lines of its former service.
        both("launch", f"one-{number}")
        both("stop", f"one-{number}")
        calls(bench, "delete", COUNT, CLIENTS, f"one-{number}")
        units(bench, "delete", COUNT, CLIENTS, f"bench-one-{number}")
        both("launch", f"two-{number}")
        both("delete", f"two-{number}")
    report_launches(report, agent["launch"], minimum["launch"])
    for verb, what, limit in (
        ("stop", "stop, p50", 1.5),
        ("delete", "delete of a running one, p50", 1.5),
    ):
        report.ratio(
            what, "ms", [run["p50_ms"] for run in agent[verb]], "C", [run["p50_ms"] for run in minimum[verb]],
            at_most=limit,
        )
    report.value("reloads of systemd meanwhile", "", [bench.reloads() - reloads], at_most=0)


def bursts(bench, report):
    agent, minimum = [], []
    for number in range(BURSTS):
        name = f"burst-{number}"
        agent.append(BURST / calls(bench, "create", BURST, CLIENTS, name)["seconds"])
        minimum.append(BURST / units(bench, "create", BURST, CLIENTS, f"bench-{name}")["seconds"])
        calls(bench, "delete", BURST, CLIENTS, name)
        units(bench, "delete", BURST, CLIENTS, f"bench-{name}")
    report.ratio(f"{BURST} creates, {CLIENTS} at a time", "/s", agent, "C", minimum, at_least=0.8)
