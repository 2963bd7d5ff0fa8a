"""The agent beside its references, in one machine: scripts/bench --help explains the figures.

    compare.py RESULT-FILE SECTION…

A section has measurements that need a machine without services, and some that need a thousand, which are made once for
all of them.
"""

import importlib
import json
import pathlib
import sys
import time
import traceback

from changes import calls
from measuring import Bench, Report

# In this order, because what is idle has to be measured before anything has happened.
SECTIONS = ("footprint", "reads", "changes", "events", "logs")
SERVICES = 1000
CLIENTS = 8


def main():
    path, wanted = pathlib.Path(sys.argv[1]), sys.argv[2:]
    sections = [importlib.import_module(name) for name in SECTIONS if name in wanted]
    bench, report = Bench(), Report()
    begin = time.monotonic()
    try:
        bench.up()
        for section in sections:
            attempt(report, section.without_services, bench, report)
        if any(hasattr(section, "with_services") for section in sections):
            attempt(report, make_services, bench, sections)
            for section in sections:
                if hasattr(section, "with_services"):
                    attempt(report, section.with_services, bench, report)
    finally:
        bench.down()
    seconds = time.monotonic() - begin
    result = {"benchmark": "comparison", "seconds": seconds, "rows": report.rows, "failures": report.failures}
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"\n{len(report.missed)} targets missed, {len(report.failures)} not measured, {seconds:.0f} s; {path}")
    return 1 if report.missed or report.failures else 0


def attempt(report, measure, *arguments):
    """What cannot be measured does not keep the rest from being measured."""
    try:
        measure(*arguments)
    except Exception as error:
        traceback.print_exc()
        report.fail(error)


def make_services(bench, sections):
    for section in sections:
        if hasattr(section, "before_services"):
            section.before_services(bench)
    calls(bench, "create", SERVICES, CLIENTS, "many")
    bench.call("GET", "/v1/services")
    bench.service_count = SERVICES
    bench.kib_with_services = bench.proportional_kib(bench.pid())


if __name__ == "__main__":
    sys.exit(main())
