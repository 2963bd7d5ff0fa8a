"""What schemathesis may not do to a machine on which its services really run, and what no schema can say."""

import collections
import itertools
import os
import re

import requests
import schemathesis

# As many services exist at a time; older ones are deleted.
SERVICES_LIMIT = 20
# The schemas say nothing of those outside the basic plane: regular expressions differ there from language to language.
NONCHARACTERS = re.compile(
    "[" + "".join(chr(plane << 16 | low) for plane in range(1, 17) for low in (0xFFFE, 0xFFFF)) + "]"
)

# Where the services are that were created and not yet deleted.
locations = collections.deque()
count = itertools.count()


def is_command(value):
    return (
        isinstance(value, str) and 0 < len(value.encode()) <= 65536 and not value.isspace()
        and not re.search("[\0\ufdd0-\ufdef\ufffe\uffff]", value)
    )


def tame(body):
    """What runs is harmless, whatever the text was; what is refused stays what it is."""
    if is_command(body.get("command")):
        body["command"] = "sleep 1"


def make_acceptable(case):
    """Makes a request that conforms to the schemas one that can be carried out."""
    if "computer" in case.path_parameters:
        case.path_parameters["computer"] = "self"
    # Half of the references are to a service that is there.
    phase = case.meta.phase.name.value
    if case.path_parameters.get("ref") and phase != "stateful" and locations and next(count) % 2:
        case.path_parameters["ref"] = locations[-1].rpartition("/")[2]
    # A key belongs to one request, and the generator likes to use the shortest one again.
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:200]}-{next(count)}"
    # A time-out means nothing without something to wait for.
    if "timeout" in case.query:
        case.query["wait"] = "ready"
    if not isinstance(case.body, dict):
        return
    # Two names for one thing have to agree, and so have the name in the path and the one in the body.
    for names in (("cwd", "working_dir"), ("restart", "restart_policy", "auto_restart")):
        for name in [name for name in names if case.body.get(name) is not None][1:]:
            del case.body[name]
    if "ref" in case.path_parameters and case.body.get("name") is not None:
        case.body["name"] = case.path_parameters["ref"]
    for name in ("cwd", "working_dir"):
        if isinstance(case.body.get(name), str):
            case.body[name] = NONCHARACTERS.sub("", case.body[name])
    if isinstance(case.body.get("env"), dict):
        case.body["env"] = {name: NONCHARACTERS.sub("", value) for name, value in case.body["env"].items()}


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is not None and case.meta.generation.mode.is_positive:
        make_acceptable(case)
    if isinstance(case.body, dict):
        tame(case.body)
    # Nobody waits for long.
    timeout = str(case.query.get("timeout", 30))
    if case.query.get("wait") == "ready" and timeout.isdecimal() and 1 <= int(timeout) <= 300:
        case.query["timeout"] = 1
    # A log that is followed never ends, and an event stream follows by default. test_openapi.py reads one.
    if case.operation.definition.raw["operationId"].startswith("getLogs"):
        if case.query.get("follow", True) in (True, "true"):
            case.query["follow"] = "false"


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code != 201:
        return
    locations.append(response.headers["location"][0])
    while len(locations) > SERVICES_LIMIT:
        requests.delete(
            os.environ["AGENT_URL"] + locations.popleft(),
            headers={"Authorization": f"Bearer {os.environ['AGENT_TOKEN']}"},
            timeout=30,
        )
