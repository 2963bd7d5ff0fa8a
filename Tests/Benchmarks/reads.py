"""Reads: how fast the agent answers, beside servers that answer the same bytes to whatever comes."""

import contextlib
import urllib.parse

from measuring import AGENT, INSIDE, SUPERVISORD, eventually, free_ports

ROUNDS = 9
SECONDS = 0.35
SERVICE = "bench-read"
PROCESS_INFO = (
    "<?xml version='1.0'?><methodCall><methodName>supervisor.getProcessInfo</methodName>"
    "<params><param><value><string>web</string></value></param></params></methodCall>"
)
PROPERTIES = "/org/freedesktop/systemd1/unit/{unit} org.freedesktop.systemd1.Unit ActiveState"


def without_services(bench, report):
    bench.create(SERVICE, "exec sleep infinity")
    try:
        bench.wait(SERVICE, status="running")
        beside_servers(bench, report)
        by_hand(bench, report)
    finally:
        bench.delete(SERVICE)


def beside_servers(bench, report):
    with servers(bench, f"/v1/services/{SERVICE}", both=True) as addresses:
        report.begin("reads", "GET of one service")
        runs = interleaved(bench, addresses, 16)
        for transport in ("tcp", "unix"):
            what = f"16 connections, {transport}"
            agent, limit = rates(runs["agent", transport]), rates(runs["E", transport])
            report.ratio(what, "/s", agent, "E", limit, at_least=0.75)
            report.ratio(
                what, "/s", agent, "L", rates(runs["L", transport]), at_least=0.60 if transport == "tcp" else None
            )
        report.ratio(
            "16 connections, tcp: E in the agent's place", "/s", rates(runs["E", "tcp"]), "L",
            rates(runs["L", "tcp"]),
        )
        runs = interleaved(bench, {key: value for key, value in addresses.items() if key[0] != "E"}, 1)
        for transport in ("tcp", "unix"):
            for figure, limit in (("p50", 1.5), ("p99", 3)):
                report.ratio(
                    f"1 connection, {transport}, {figure}", "µs",
                    [run[f"{figure}_us"] for run in runs["agent", transport]], "L",
                    [run[f"{figure}_us"] for run in runs["L", transport]], at_most=limit,
                )


def with_services(bench, report):
    with servers(bench, "/v1/services", both=False) as addresses:
        report.begin("reads", "List of 1,000 services")
        runs = interleaved(bench, addresses, 1)
        for transport in ("tcp", "unix"):
            report.ratio(
                f"1 connection, {transport}, p50", "µs", [run["p50_us"] for run in runs["agent", transport]], "E",
                [run["p50_us"] for run in runs["E", transport]], at_most=2,
            )


def rates(runs):
    return [run["per_second"] for run in runs]


@contextlib.contextmanager
def servers(bench, path, both):
    """The addresses of the agent and of E (and L), all on processor 0, by server and transport."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bench.token}\r\n\r\n"
    bench.write(f"{INSIDE}/request", head)
    bench.write(f"{INSIDE}/response", bench.raw_answer(head.encode()))
    port = urllib.parse.urlsplit(bench.url).port
    addresses = {("agent", "tcp"): f"tcp:{port}", ("agent", "unix"): AGENT}
    agent = str(bench.pid())
    with contextlib.ExitStack() as stack:
        bench.exec("taskset", "--all-tasks", "--cpu-list", "--pid", "0", agent)
        stack.callback(bench.exec, "taskset", "--all-tasks", "--cpu-list", "--pid", "0-1", agent)
        kinds = {"L": "epoll", "E": "sd-event"} if both else {"E": "sd-event"}
        for (name, kind), port in zip(kinds.items(), free_ports(len(kinds))):
            addresses[name, "tcp"] = f"tcp:{port}"
            addresses[name, "unix"] = f"unix:/run/bench-{kind}.sock"
            stack.enter_context(bench.running(
                kind, "taskset", "--cpu-list", "0", f"{INSIDE}/answer", kind, f"{INSIDE}/response",
                addresses[name, "tcp"], addresses[name, "unix"],
            ))
            eventually(lambda: bench.shell(f"test -S /run/bench-{kind}.sock && echo there", check=False), kind)
        yield addresses


def interleaved(bench, addresses, connections):
    """The runs of the load client, on processor 1, by server and transport."""
    runs = {key: [] for key in addresses}
    for _ in range(ROUNDS):
        for key, address in addresses.items():
            runs[key].append(load(bench, address, connections, f"{INSIDE}/request"))
    return runs


def load(bench, address, connections, request):
    return bench.program(
        "load", address, connections, SECONDS, request, before=("taskset", "--cpu-list", "1")
    )


def by_hand(bench, report):
    """What the same question costs without the agent."""
    report.begin("reads", "State of one service, for scale")
    unit = f"miosa-service-{SERVICE}.service"
    path = PROPERTIES.format(unit=unit.replace("-", "_2d").replace(".", "_2e"))
    for name, command in (
        ("systemctl show", f"systemctl show --property=ActiveState,MainPID {unit}"),
        ("busctl get-property", f"busctl get-property org.freedesktop.systemd1 {path}"),
    ):
        report.scale(f"{name}, a call", "ms", "", [bench.seconds_per_call(command) * 1000 for _ in range(3)])
    with bench.supervisord():
        bench.write(
            f"{INSIDE}/request",
            "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n"
            f"Content-Length: {len(PROCESS_INFO)}\r\n\r\n{PROCESS_INFO}",
        )
        runs = [load(bench, f"unix:{SUPERVISORD}", 1, f"{INSIDE}/request") for _ in range(3)]
        report.scale("getProcessInfo, 1 connection, unix, p50", "µs", "S", [run["p50_us"] for run in runs])
