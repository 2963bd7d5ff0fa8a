"""Footprint: what the agent takes when it does nothing, and how fast it is there."""

import contextlib
import pathlib
import subprocess
import tempfile
import time

from measuring import INSIDE, REPOSITORY

ROUNDS = 5
STARTS = 8
STARTS_WITH_SERVICES = 3
IDLE_SECONDS = 30
IDLE_ROUNDS = 3
# sd-event sends a sign of life after a half to three quarters of WatchdogSec=30s.
WATCHDOG_WAKE_UPS = 2
STATE = "/var/lib/miosa-agent"
FRESH_STATE = "/var/tmp/bench-state"
SOCKET = "unix:/run/bench-starts.sock"


def without_services(bench, report):
    report.begin("footprint", "Idle, no service")
    # It fails where a unit has, which is no matter.
    bench.exec("systemctl", "is-system-running", "--wait", check=False)
    pid = bench.pid()
    report.value("proportional set size", "KiB", [bench.proportional_kib(pid)], at_most=7 * 1024)
    report.value("… of it in no file", "KiB", [bench.proportional_kib(pid, "Pss_Anon")])
    threads, before = tasks(bench, pid)
    wake_ups = []
    # In the first one the machine may have something left to do, and timers of what was asked before run out.
    for _ in range(IDLE_ROUNDS):
        time.sleep(IDLE_SECONDS)
        after = tasks(bench, pid)[1]
        wake_ups.append(after - before)
        before = after
    report.value(
        f"wake-ups in {IDLE_SECONDS} s, watchdog's 2 included", "", wake_ups, at_most=WATCHDOG_WAKE_UPS,
    )
    report.value("threads", "", [threads], at_most=1)
    report.value("binary, stripped", "MiB", [stripped_bytes() / 1024 / 1024], at_most=9)
    report.begin("footprint", "exec to the first answer, no service")
    with stopped(bench) as environment:
        bench.write(f"{INSIDE}/short", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        agent, limit, ready = [], [], []
        for _ in range(ROUNDS):
            bench.shell(f"rm -rf {FRESH_STATE} && mkdir {FRESH_STATE}")
            agent.append(start(bench, environment, FRESH_STATE, "/healthz", STARTS))
            limit.append(bench.program(
                "starts", STARTS, SOCKET, "/healthz", f"{INSIDE}/answer", "sd-event", f"{INSIDE}/short"
            )["p50_ms"])
            ready.append(start(bench, environment, FRESH_STATE, "/readyz", STARTS))
    report.value("to /healthz, p50", "ms", agent, at_most=10, name="E", reference=limit)
    report.value("to /readyz, p50", "ms", ready)
    bench.ready_ms = ready


def before_services(bench):
    """Starts the agent anew, so that what is measured next is the services' alone, without the code that they take."""
    bench.exec("systemctl", "restart", "miosa-agent.service")
    bench.wait_until_ready()
    bench.call("POST", "/v1/services", {"name": "first", "command": "exec sleep infinity"})
    bench.call("GET", "/v1/services")
    bench.call("DELETE", "/v1/services/first")
    bench.kib_without_services = bench.proportional_kib(bench.pid())


def with_services(bench, report):
    report.begin("footprint", "1,000 services")
    each = (bench.kib_with_services - bench.kib_without_services) / bench.service_count
    report.value("proportional set size", "KiB", [bench.kib_with_services])
    report.value("… more for each service", "KiB", [each], at_most=4)
    with stopped(bench) as environment:
        ready = [start(bench, environment, STATE, "/readyz", STARTS_WITH_SERVICES) for _ in range(3)]
    bench.wait_until_ready()
    calls = bench.counted("miosa_systemd_call_duration_seconds_count", "method")
    report.value("exec to /readyz, p50", "ms", ready)
    if hasattr(bench, "ready_ms"):
        base = sorted(bench.ready_ms)[len(bench.ready_ms) // 2]
        report.value("… more than with none", "ms", [time - base for time in ready], at_most=300)
    report.value("… calls of systemd's methods", "", [sum(calls.values())])
    with bench.supervisord() as unit:
        report.scale("proportional set size, one process", "KiB", "S", [bench.proportional_kib(bench.pid(unit))])


def tasks(bench, pid):
    """How many threads a process has, and how often one of them has gone to sleep."""
    text = bench.shell(f"cat /proc/{pid}/task/*/status")
    counts = [int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt_switches:")]
    return len(counts), sum(counts)


def stripped_bytes():
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "miosa-agent")
        subprocess.run(["strip", "-o", path, REPOSITORY / ".build" / "miosa-agent"], check=True)
        return path.stat().st_size


@contextlib.contextmanager
def stopped(bench):
    """Without the agent's unit; gives the environment that it would have."""
    environment = bench.property("miosa-agent.service", "Environment").split()
    bench.exec("systemctl", "stop", "miosa-agent.service", "miosa-agent.socket")
    try:
        yield environment
    finally:
        bench.exec("systemctl", "start", "miosa-agent.socket", "miosa-agent.service")


def start(bench, environment, state, path, count):
    return bench.program(
        "starts", count, SOCKET, path, "/usr/bin/miosa-agent", "serve",
        before=("env", f"STATE_DIRECTORY={state}", *environment),
    )["p50_ms"]
