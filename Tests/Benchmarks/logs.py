"""Logs: from a service's writing a line to a follower's having it, and what it costs to follow many."""

from measuring import AGENT, INSIDE

ROUNDS = 3
# How many lines a second, and how many.
SLOW = (50, 100)
FAST = (20_000, 60_000)
# So that the follower is there before the first line.
DELAY_SECONDS = 0.8
KEEPING_UP_MS = 500


def without_services(bench, report):
    report.begin("logs", "Following a service's log")
    agent, journalctl = follow_both(bench, SLOW)
    report.value(
        "line to follower, 50 lines/s, p50", "ms", [run["p50_ms"] for run in agent], at_most=20, name="J",
        reference=[run["p50_ms"] for run in journalctl],
    )
    agent, journalctl = follow_both(bench, FAST)
    report.ratio(
        "20,000 lines/s for 3 s: CPU", "s", [run["cpu_seconds"] for run in agent], "J",
        [run["cpu_seconds"] for run in journalctl], at_most=1,
    )
    report.value(
        "… how late the last line is", "ms", [run["last_ms"] for run in agent], at_most=KEEPING_UP_MS,
        name="J", reference=[run["last_ms"] for run in journalctl],
    )
    report.value(
        "… p50 of all lines", "ms", [run["p50_ms"] for run in agent], name="J",
        reference=[run["p50_ms"] for run in journalctl],
    )
    report.value("… lines in the journal, in a round", "", [run["kept"] for run in agent])
    report.value("… of these not followed, or twice", "", [sum(run["wrong"] for run in agent)], at_most=0)


def follow_both(bench, workload):
    agent, journalctl = [], []
    for number in range(ROUNDS):
        agent.append(follow(bench, f"followed-{workload[0]}-{number}", *workload, through_agent=True))
        journalctl.append(follow(bench, f"tailed-{workload[0]}-{number}", *workload, through_agent=False))
    return agent, journalctl


def follow(bench, name, rate, count, through_agent):
    bench.create(name, f"exec {INSIDE}/lines {rate} {count} {DELAY_SECONDS}", restart="no")
    if through_agent:
        source = (bench.pid(), AGENT, f"/v1/services/{name}/logs?follow=true&tail=0")
    else:
        source = ("journalctl", "--quiet", "--follow", "--lines=0", "--output=json", f"--unit=miosa-service-{name}")
    run = bench.program("follow", count, *source)
    # Everything is in the files by then.
    bench.exec("journalctl", "--sync")
    run["kept"] = int(bench.shell(
        f"journalctl --quiet --output=cat --unit=miosa-service-{name} | grep --count ^line=", check=False
    ))
    run["wrong"] = abs(run["kept"] - run["count"]) + run["repeated"]
    bench.delete(name)
    return run
