"""Events: from the death of a process to the client's knowing of it."""

import time

from changes import calls
from measuring import AGENT

ROUNDS = 8
COUNT = 20
# A service starts again after 1 s, and fails after 5 starts in 10 s.
ROUND_SECONDS = 2.7


def without_services(bench, report):
    report.begin("events", "kill -9 to event")
    for prefix in ("heard", "signalled"):
        calls(bench, "create", COUNT, 1, prefix)
    agent, listener = [], []
    for _ in range(ROUNDS):
        begin = time.monotonic()
        agent.append(bench.program("deaths", "http", AGENT, "heard", COUNT))
        listener.append(bench.program("deaths", "bus", "signalled", COUNT))
        for prefix in ("heard", "signalled"):
            bench.wait(f"{prefix}-{COUNT - 1}", status="running")
        # systemd's limit of starts is one of time: there is nothing else to wait for.
        time.sleep(max(0, begin + ROUND_SECONDS - time.monotonic()))
    for figure, limit in (("p50", 1.5), ("p99", None)):
        report.ratio(
            f"event in the client, {figure}", "ms", [run[f"{figure}_ms"] for run in agent], "B",
            [run[f"{figure}_ms"] for run in listener], at_most=limit,
        )
    for prefix in ("heard", "signalled"):
        calls(bench, "delete", COUNT, 8, prefix)
