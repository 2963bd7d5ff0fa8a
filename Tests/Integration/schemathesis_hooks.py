"""What schemathesis may not do to a machine on which its services really run, and what no schema can say."""

import collections
import itertools
import os
import re
import uuid

import requests
import schemathesis

# As many services exist at a time; older ones are deleted.
SERVICES_LIMIT = 20
# Where the services are that were created and not yet deleted.
locations = collections.deque()
# Names of services that a request has deleted.
deleted = set()
count = itertools.count()


def is_command(value):
    return (
        isinstance(value, str) and 0 < len(value.encode()) <= 65536 and not value.isspace()
        and "\0" not in value
    )


def has_name(body):
    name = body.get("name") if isinstance(body, dict) else None
    return isinstance(name, str) and re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name)


def tame(body):
    """What runs is harmless, whatever the text was; what is refused stays what it is."""
    if is_command(body.get("command")):
        body["command"] = "sleep 1"
    for key in ("pre_start", "post_stop"):
        if isinstance(body.get(key), list):
            body[key] = ["true" if is_command(command) else command for command in body[key]]
    # Any signal may be the one of a stop, and most are ignored: no stop takes long.
    if isinstance(body.get("stop_timeout"), int) and 0 <= body["stop_timeout"] <= 3600:
        body["stop_timeout"] %= 2


def is_restart(value):
    return isinstance(value, bool) or value in ("always", "on-failure", "no")


def is_path(value):
    return isinstance(value, str) and value.startswith("/")


def shorten(body):
    """Limits are of bytes where schemas count characters, and texts that name a size or a number of processors have a
    range that no pattern can say."""
    if isinstance(body.get("description"), str):
        body["description"] = body["description"][:60]
    if isinstance(body.get("labels"), dict):
        body["labels"] = {
            key: value[:60] if isinstance(value, str) else value for key, value in body["labels"].items()
        }
    limits = body.get("limits")
    if not isinstance(limits, dict):
        return
    if isinstance(limits.get("memory"), str) and re.fullmatch("[0-9]+[KMGT]?", limits["memory"]):
        limits["memory"] = "64M"
    if isinstance(limits.get("cpus"), float) and 0.01 <= limits["cpus"] <= 1024:
        limits["cpus"] = round(limits["cpus"], 2)


def reconcile(case):
    """Takes away what a request would be refused for that no schema can say, lest it hides what the schemas say."""
    body = case.body
    # A maximum is not below what it is the maximum of.
    if isinstance(body.get("restart_max_delay"), int):
        body.pop("restart_delay", None)
    # Two names for one thing have to agree.
    for names, is_good in (
        (("cwd", "working_dir"), is_path), (("restart", "restart_policy", "auto_restart"), is_restart),
    ):
        for name in [name for name in names if is_good(body.get(name))][1:]:
            del body[name]
    # So have the name in the path and the one in the body; a new service needs a new name.
    if has_name(body) and "ref" in case.path_parameters:
        body["name"] = case.path_parameters["ref"]
    elif has_name(body) and next(count) % 8:
        body["name"] = f"{body['name'][:26]}-{uuid.uuid4()}"


def make_acceptable(case):
    """Makes a request that conforms to the schemas one that can be carried out."""
    if "computer" in case.path_parameters:
        case.path_parameters["computer"] = "self"
    # Half of the references are to a service that is there.
    phase = case.meta.phase.name.value
    if case.path_parameters.get("ref") and phase != "stateful" and locations and next(count) % 2:
        case.path_parameters["ref"] = locations[-1].rpartition("/")[2]
    # Two names for one thing have to agree.
    if "tail" in case.query:
        case.query.pop("lines", None)
    # A time-out means nothing without something to wait for.
    if "timeout" in case.query:
        case.query["wait"] = "ready"


def use_no_name_twice(case):
    """A deleted service is not there any more, unless another request creates one of that name meanwhile."""
    if case.method == "PUT" and case.path_parameters.get("ref") in deleted:
        case.path_parameters["ref"] = f"{case.path_parameters['ref'][:26]}-{uuid.uuid4()}"
    if case.method == "POST" and has_name(case.body) and case.body["name"] in deleted:
        case.body["name"] = f"{case.body['name'][:26]}-{uuid.uuid4()}"


def hasten(case):
    """Most requests do not wait for a state, and none waits for long."""
    timeout = str(case.query.get("timeout", 30))
    if case.query.get("wait") not in ("ready", "running", "stopped") or not timeout.isdecimal() or not 1 <= int(timeout) <= 300:
        return
    if next(count) % 8:
        case.query.pop("wait")
        case.query.pop("timeout", None)
    else:
        case.query["timeout"] = 1


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is not None and case.meta.generation.mode.is_positive:
        make_acceptable(case)
    use_no_name_twice(case)
    if isinstance(case.body, dict):
        tame(case.body)
        shorten(case.body)
        reconcile(case)
    hasten(case)
    # A key belongs to one request, and the generator likes to use the same again.
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[!-~]{1,255}", key):
        case.headers["Idempotency-Key"] = f"{key[:200]}-{uuid.uuid4()}"
    # A log that is followed never ends, and an event stream follows by default. test_openapi.py reads one.
    if case.operation.definition.raw["operationId"].startswith("getLogs"):
        if case.query.get("follow", True) in (True, "true"):
            case.query["follow"] = "false"


@schemathesis.hook
def after_call(context, case, response):
    if case.method == "DELETE" and response.status_code == 200:
        deleted.add(response.json()["data"]["name"])
    if response.status_code != 201:
        return
    locations.append(response.headers["location"][0])
    while len(locations) > SERVICES_LIMIT:
        requests.delete(
            os.environ["AGENT_URL"] + locations.popleft(),
            headers={"Authorization": f"Bearer {os.environ['AGENT_TOKEN']}"},
            timeout=30,
        )
