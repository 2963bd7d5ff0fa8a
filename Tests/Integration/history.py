"""Decides whether what clients have seen of one service can be explained by the contract: linearizability.

A history is a list of operations, each with the time of its invocation and of its response. An operation takes effect
in one or more steps, all of them between the two; requests that change a service take turns. `check` looks for an order
of the steps in which every answer is true. It goes through the invocations and responses by time and holds the set of
all states that are possible (just-in-time linearization: G. Lowe, Testing for linearizability, 2017): a response
removes the states in which the operation cannot have ended like that. When none is left, the history is refused.

Between the steps of operations the model makes moves of its own: a process ends that is to end, one begins that is to
run, the agent learns of it, a service that is being deleted is gone. What was acknowledged stays outstanding until a
move has reached it, and the operation `final` accepts only a state in which nothing is outstanding.
"""

import dataclasses
import typing

RUN, STOP = "run", "stop"
# What the unit has: a process; none; none, after SIGKILL; none, and systemd will start one after SIGKILL.
UP, DOWN, KILLED, AGAIN = "up", "down", "killed", "again"
# What the agent knows of that, and the status words with which it may tell it.
WORDS = {
    UP: ("running", "starting"), "starting": ("starting",), "stopped": ("stopped",), "killed": ("stopped", "failed"),
}
# More states at a time than this are not examined.
STATES_LIMIT = 200_000
# So many operations that change something are shown from before the part that has no explanation.
EARLIER_SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation on one service as a client has seen it."""

    number: int
    client: str
    # create, put, start, stop, restart, delete, get, look, final; by hand: hand-stop, hand-start, hand-restart,
    # hand-kill, hand-term.
    verb: str
    begin: float
    end: float
    # The HTTP status; None when the connection broke. By hand, systemctl's exit status.
    status: typing.Optional[int] = None
    code: typing.Optional[str] = None
    # The number in the command of create and put.
    tag: typing.Optional[int] = None
    # What the answer shows: id, tag, status, pending. A look: tag and pid of the process, or nothing. `final`: all.
    shows: typing.Optional[dict] = None
    # Whether an earlier attempt with the same idempotency key had no final answer.
    is_retry: bool = False
    # Whether a time-out is that of an earlier operation, and this one has not begun.
    has_not_begun: bool = False
    request_id: str = ""

    def line(self, origin=0.0):
        what = self.verb if self.tag is None else f"{self.verb} {self.tag}"
        outcome = "no answer" if self.status is None else str(self.status)
        details = [outcome, self.code or "", "retry" if self.is_retry else ""]
        if self.shows is not None:
            details.append(" ".join(f"{key}={value}" for key, value in self.shows.items()) or "no process")
        times = f"{self.begin - origin:9.3f} … {self.end - origin:9.3f}"
        return f"{times}  {self.client:8} {what:16} {' '.join(filter(None, details))}  {self.request_id}".rstrip()


class State(typing.NamedTuple):
    """What a service is."""

    is_present: bool = False
    # None as long as no answer has shown it.
    id: typing.Optional[str] = None
    tag: typing.Optional[int] = None
    is_enabled: bool = False
    # The operation that deletes it; -1 for one without an answer of success; 0 for none.
    deleter: int = 0
    # What the newest actor wants: RUN or STOP.
    target: str = STOP
    process: str = DOWN
    # The process' command, or that of the last one; its PID once a look has shown it.
    loaded: typing.Optional[int] = None
    pid: typing.Optional[int] = None
    # The PID of the process before it.
    former: typing.Optional[int] = None
    # What the agent knows of the process: a key of WORDS.
    seen: str = "stopped"
    # Operations that want another process than the one that runs; negative for those by hand.
    owed: frozenset = frozenset()
    # Whether the next process may be one of the older command `loaded`: somebody acts by hand, and systemd has a copy
    # of the unit's file, or a start was queued before the command changed.
    may_be_old: bool = False
    # Whether the process has an older command for this reason.
    is_drifted: bool = False
    # For operations that will turn out to be refused: (number, id, tag, is_enabled, target before, acts by hand since).
    undo: tuple = ()
    # The target of an operation without an answer of success, which is kept although somebody acts by hand, and
    # whether somebody did.
    outstanding: typing.Optional[str] = None
    is_overruled: bool = False

    @property
    def shown(self):
        if self.process == UP:
            return UP
        if self.process == AGAIN or self.target == RUN:
            return "starting"
        return "killed" if self.process == KILLED else "stopped"

    @property
    def is_seen_up(self):
        return self.seen in (UP, "starting")


ABSENT = State()


class Undecided(Exception):
    """There are too many possible states."""


# --- Moves that nobody asks for at that moment ------------------------------------------------------------------------


def moves(state):
    if not state.is_present:
        return
    if state.seen != state.shown:
        yield state._replace(seen=state.shown)
    if state.process in (UP, AGAIN) and (state.target == STOP or state.owed):
        yield state._replace(process=DOWN, pid=None, former=state.pid or state.former)
    if state.process != UP and state.target == RUN:
        begun = state._replace(process=UP, pid=None, may_be_old=False)
        yield begun._replace(loaded=state.tag, is_drifted=False, owed=frozenset())
        if state.may_be_old and state.loaded not in (None, state.tag):
            yield begun._replace(is_drifted=True, owed=frozenset(number for number in state.owed if number > 0))
    if state.deleter and state.process in (DOWN, KILLED):
        yield ABSENT
    if state.is_overruled:
        if state.target != state.outstanding:
            yield state._replace(target=state.outstanding)
        if state.is_enabled != (state.target == RUN):
            yield state._replace(is_enabled=state.target == RUN)


# --- Steps of operations ----------------------------------------------------------------------------------------------
#
# A step is a function of the state and the operation, and gives the states that it can make, each with how many steps
# are done by that: more than one where the operation has nothing left to do.


def changes(state, operation, **fields):
    """The state after the record has been changed by a request."""
    is_outstanding = operation.status is None or operation.status >= 500
    fields["outstanding"] = fields.get("target", state.target) if is_outstanding else None
    fields["is_overruled"] = False
    if operation.code in ("SUPERSEDED", "SYSTEMD_REFUSED"):
        is_disturbed = "kill" if state.process == AGAIN else ""
        before = (operation.number, state.id, state.tag, state.is_enabled, state.target, is_disturbed)
        fields["undo"] = state.undo + (before,)
    return state._replace(**fields)


def with_debt(state, number):
    """Who wants another process than the one that runs."""
    return state.owed | {number} if state.process == UP else state.owed


def create(state, operation):
    if state.is_present:
        if operation.is_retry and state.tag == operation.tag and not state.deleter:
            yield state, 1
        return
    made = State(
        is_present=True, id=(operation.shows or {}).get("id"), tag=operation.tag, is_enabled=True, target=RUN,
        seen="starting",
    )
    yield changes(made, operation), 1


def put(state, operation):
    if not state.is_present:
        if operation.status != 200:
            yield from create(state, operation)
        return
    if state.deleter or operation.status == 201:
        return
    if state.tag == operation.tag:
        # An equal spec restarts nothing.
        yield state, 2
        return
    if state.target == RUN or state.process == UP:
        changed = changes(state, operation, tag=operation.tag, target=RUN, owed=state.owed | {operation.number})
        if state.process != UP:
            changed = changed._replace(may_be_old=True, loaded=state.tag)
        yield changed, 1
        return
    # It is not to run, and does not.
    yield changes(state, operation, tag=operation.tag), 2
    if state.is_enabled:
        # Somebody has stopped it by hand, which is not on record.
        yield changes(state, operation, tag=operation.tag, target=RUN), 1


def start(state, operation):
    if not state.is_present or state.deleter:
        return
    if state.is_seen_up:
        if operation.is_retry:
            yield state, 2
        return
    yield changes(state, operation, is_enabled=True, target=RUN), 1


def stop(state, operation):
    if not state.is_present or state.deleter:
        return
    if not state.is_seen_up:
        if operation.is_retry:
            yield state, 2
        return
    yield changes(state, operation, is_enabled=False, target=STOP), 1


def restart(state, operation):
    if not state.is_present or state.deleter:
        return
    yield changes(state, operation, is_enabled=True, target=RUN, owed=with_debt(state, operation.number)), 1


def delete(state, operation):
    if not state.is_present or state.deleter > 0:
        return
    deleter = operation.number if operation.status == 200 else -1
    yield changes(state, operation, is_enabled=False, deleter=deleter, target=STOP), 1


# Each of these can act after somebody else has acted by hand, so that its own target is the newest.


def runs(state, operation):
    """A process runs that the operation has started or may have."""
    if state.process == UP and operation.number not in state.owed:
        if state.loaded == state.tag or state.is_drifted:
            yield state._replace(seen=UP), 1
    if state.is_present and state.target == STOP:
        yield state._replace(target=RUN), 0


def runs_the_command(state, operation):
    """The command of a PUT runs."""
    if state.process == UP and state.loaded == operation.tag and operation.number not in state.owed:
        yield state._replace(seen=UP), 1
    if state.is_present and state.target == STOP:
        yield state._replace(target=RUN), 0


def has_ended(state, _):
    if state.is_present and state.process not in (UP, AGAIN):
        yield state._replace(seen=state.shown), 1
    if state.is_present and state.target == RUN:
        yield state._replace(target=STOP), 0


def is_removed(state, _):
    if not state.is_present:
        yield state, 1
    elif state.target == RUN:
        yield state._replace(target=STOP), 0


def is_gone(state, _):
    if not state.is_present:
        yield state, 1


def is_there(state, _):
    if state.is_present:
        yield state, 1


def is_up(state, _):
    if state.is_present and state.is_seen_up:
        yield state, 1


def is_not_up(state, _):
    if state.is_present and not state.is_seen_up:
        yield state, 1


def undone(state, operation):
    """The record is as before, because somebody else has acted; what that one wanted holds."""
    for before in state.undo:
        number, identifier, tag, is_enabled, target, acts = before
        if number == operation.number and acts:
            rest = tuple(other for other in state.undo if other != before)
            restored = state._replace(id=identifier, tag=tag, is_enabled=is_enabled, deleter=0, undo=rest)
            yield restored, 1
            if acts == "kill":
                # Whoever kills a process wants nothing of the service.
                yield restored._replace(target=target), 1


def never(_state, _operation):
    return ()


def shows(state, operation):
    """What the answer shows is so."""
    shown = operation.shows
    if shown is None:
        if not state.is_present:
            yield state, 1
        return
    if not state.is_present or state.tag != shown["tag"]:
        return
    pending = shown.get("pending")
    if shown["status"] not in WORDS[state.seen]:
        # A start that is told to be outstanding has not begun.
        if pending != "start" or state.seen == UP or shown["status"] not in WORDS["killed"]:
            return
    if state.id is None:
        state = state._replace(id=shown["id"])
    if state.id != shown["id"]:
        return
    if pending == "start" and state.target != RUN or pending == "stop" and state.is_enabled:
        return
    if pending == "delete" and not state.deleter:
        return
    yield state, 1


def look(state, operation):
    """The kernel has this process in the unit's cgroup, or none."""
    if not operation.shows:
        if state.process != UP:
            yield state, 1
    elif state.process == UP and state.loaded == operation.shows["tag"]:
        pid = operation.shows["pid"]
        if state.pid == pid or state.pid is None and state.former != pid:
            yield state._replace(pid=pid), 1


def final(state, operation):
    """Nothing is outstanding, and the API, the disk and systemd agree with that."""
    shown = operation.shows
    if shown is None:
        if not state.is_present:
            yield state, 1
        return
    state = state._replace(seen=state.shown)
    for state, _ in shows(state, operation):
        if state.deleter or state.undo or state.is_enabled != shown["enabled"]:
            continue
        if state.target == STOP:
            if state.process in (DOWN, KILLED) and shown["runs"] is None:
                yield state, 1
        elif state.process == UP and not state.owed and shown["runs"] == state.loaded:
            if state.loaded == state.tag or state.is_drifted:
                yield state, 1


def by_hand(state, **fields):
    """The state after somebody has acted by hand."""
    kind = fields.pop("kind", "job")
    undo = tuple((*before[:5], before[5] if before[5] == "job" else kind) for before in state.undo)
    return state._replace(undo=undo, is_overruled=state.is_overruled or bool(state.outstanding), **fields)


def hand_stop(state, _):
    yield (by_hand(state, target=STOP) if state.is_present else state), 1


def hand_start(state, operation):
    if state.is_present:
        yield by_hand(state, target=RUN, may_be_old=state.process != UP or state.may_be_old), 1
    elif operation.status != 0:
        yield state, 1


def hand_restart(state, operation):
    if state.is_present:
        yield by_hand(state, target=RUN, may_be_old=True, owed=with_debt(state, -operation.number)), 1
    elif operation.status != 0:
        yield state, 1


def hand_kill(state, _):
    if not state.is_present or state.process != UP:
        yield state, 1
        return
    ended = by_hand(state, kind="kill", process=AGAIN if state.target == RUN else KILLED, pid=None)
    yield ended._replace(may_be_old=True, former=state.pid or state.former), 1


def hand_term(state, _):
    """An end by SIGTERM is a clean one, after which systemd starts nothing."""
    if not state.is_present or state.process != UP or state.target == STOP:
        yield state, 1
        return
    yield by_hand(state, target=STOP), 1
    if state.owed:
        # A restart was under way, which goes on.
        yield by_hand(state), 1


def runs_by_hand(state, operation):
    if state.process == UP and -operation.number not in state.owed:
        yield state, 1


def not_up(state, _):
    if state.process not in (UP, AGAIN):
        yield state, 1


BEGINNINGS = {"create": create, "put": put, "start": start, "stop": stop, "restart": restart, "delete": delete}
READS = {"get", "look", "final"}
BY_HAND = {
    "hand-stop": (hand_stop, not_up), "hand-start": (hand_start, runs_by_hand),
    "hand-restart": (hand_restart, runs_by_hand), "hand-kill": (hand_kill,), "hand-term": (hand_term,),
}
ENDS = {
    ("create", 201): (create, shows), ("put", 201): (put, shows), ("put", 200): (put, runs_the_command, shows),
    ("start", 200): (start, runs, shows), ("stop", 200): (stop, has_ended, shows),
    ("restart", 200): (restart, runs, shows), ("delete", 200): (delete, is_removed),
    ("create", "SERVICE_EXISTS"): (is_there,), ("start", "SERVICE_RUNNING"): (is_up,),
    ("stop", "SERVICE_NOT_RUNNING"): (is_not_up,),
}


def steps_of(operation):
    """The steps of an operation, and how many of them must be done when it ends."""
    verb, status = operation.verb, operation.status
    if verb in BY_HAND:
        steps = BY_HAND[verb]
        return (steps, len(steps)) if status == 0 else (steps[:1], 0)
    if verb == "look":
        return (look,), 1
    if verb == "final":
        return (final,), 1
    if status == 503 or status is None and verb == "get":
        return (), 0
    if verb == "get":
        return ((shows,), 1) if status in (200, 404) else ((never,), 1)
    if status is None or operation.has_not_begun:
        return (begins,), 0
    if status == 404 and verb != "create":
        return (is_gone,), 1
    if status == 504:
        return (begins_or_waits_for_removal,), 1
    if operation.code in ("SUPERSEDED", "SYSTEMD_REFUSED") and verb != "create":
        return (begins, undone), 2
    steps = ENDS.get((verb, operation.code or status), (never,))
    return steps, len(steps)


def begins(state, operation):
    """The first step of an operation that has not ended well."""
    for after, _ in BEGINNINGS[operation.verb](state, operation):
        yield after, 1


def begins_or_waits_for_removal(state, operation):
    """What a time-out leaves: the wish, or nothing where an earlier removal was waited for."""
    if state.deleter and operation.verb != "delete":
        yield state, 1
    yield from begins(state, operation)


# --- The search -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Verdict:
    # None when the history can be explained.
    refused: typing.Optional[Operation] = None
    # The smallest part of the history that was found to have no explanation, and the states that it begins with.
    window: tuple = ()
    states: frozenset = frozenset()
    # The last operations before the window, for the reader.
    before: tuple = ()
    # What else happened at that time.
    beside: tuple = ()
    examined: int = 0

    @property
    def is_good(self):
        return self.refused is None

    def __str__(self):
        if self.is_good:
            return f"explained; {self.examined} states"
        origin = min(operation.begin for operation in self.window)
        lines = [f"no order of the steps explains operation {self.refused.number}:", self.refused.line(origin)]
        lines.append("with these operations, by invocation:")
        lines += [operation.line(origin) for operation in sorted(self.window, key=lambda each: each.begin)]
        lines.append("states at the beginning:")
        lines += [f"  {describe(state)}" for state in sorted(self.states, key=str)[:5]]
        for title, others in (("before that:", self.before), ("meanwhile:", self.beside)):
            if others:
                lines += [title, *(operation.line(origin) for operation in others)]
        return "\n".join(lines)


def describe(state):
    fields = zip(State._fields, state, ABSENT)
    return " ".join(f"{name}={value}" for name, value, usual in fields if value != usual) or "absent"


def check(operations, beside=()):
    """Whether a history of one service, which begins without it, can be explained. `beside` is for the reader alone:
    disturbances, in the form of operations."""
    verdict = run(operations, frozenset([ABSENT]))
    if verdict.is_good:
        return verdict
    # Fewer observations have more explanations: each that can go without an explanation coming up is not needed.
    needed = list(verdict.window)
    for operation in sorted(verdict.window, key=lambda each: each.begin):
        if operation.verb in READS and operation is not verdict.refused:
            fewer = [other for other in needed if other is not operation]
            if run(fewer, verdict.states).refused is verdict.refused:
                needed = fewer
    origin = min(operation.begin for operation in verdict.window)
    earlier = [each for each in operations if each.end < origin and each.verb not in READS]
    before = sorted(earlier, key=lambda each: each.end)[-EARLIER_SHOWN:]
    first = min([origin, *(each.begin for each in before)])
    near = tuple(each for each in beside if each.end >= first and each.begin <= verdict.refused.end)
    return dataclasses.replace(verdict, window=tuple(needed), before=tuple(before), beside=near)


def run(operations, states):
    steps = {operation.number: steps_of(operation) for operation in operations}
    # At the same moment an invocation comes first, which allows more.
    events = [(operation.begin, 0, operation.number, operation) for operation in operations]
    events += [(operation.end, 1, operation.number, operation) for operation in operations]
    open_operations = {}
    # Possible states, each with how far the open operations are that have begun.
    possible = {(state, frozenset()) for state in states}
    examined = 0
    window, quiet_states = [], states
    for _, is_end, number, operation in sorted(events, key=lambda event: event[:3]):
        if not is_end:
            if not open_operations:
                window, quiet_states = [], frozenset(state for state, _ in possible)
            open_operations[number] = operation
            window.append(operation)
            continue
        before = possible
        possible, count = ended(before, operation, open_operations, steps)
        examined += count
        del open_operations[number]
        if not possible:
            return Verdict(operation, tuple(window), quiet_states, examined=examined)
    return Verdict(examined=examined)


def ended(possible, operation, open_operations, steps):
    """The states that are possible once an operation has ended, and how many were looked at."""
    wanted = steps[operation.number][1]
    left = set()
    known = set()
    waiting = []

    def meet(state, progress):
        progress = observe(state, progress, open_operations, steps)
        if (state, progress) not in known:
            known.add((state, progress))
            waiting.append((state, progress))

    for state, progress in possible:
        meet(state, progress)
    while waiting:
        if len(known) > STATES_LIMIT:
            raise Undecided(f"more than {STATES_LIMIT} states are possible at the end of: {operation.line()}")
        state, progress = waiting.pop()
        done = dict(progress)
        own = done.get(operation.number, 0)
        if own >= wanted:
            left.add((state, frozenset(pair for pair in progress if pair[0] != operation.number)))
            if own >= len(steps[operation.number][0]):
                continue
        for after in moves(state):
            meet(after, progress)
        # Requests that change a service take turns.
        is_turn_taken = any(
            0 < done.get(number, 0) < len(steps[number][0])
            for number, other in open_operations.items() if other.verb in BEGINNINGS
        )
        for number, other in open_operations.items():
            position = done.get(number, 0)
            if position >= len(steps[number][0]):
                continue
            if position == 0 and is_turn_taken and other.verb in BEGINNINGS:
                continue
            for after, count in steps[number][0][position](state, other):
                meet(after, advance(done, number, count))
    return left, len(known)


def advance(done, number, count):
    return frozenset({**done, number: done.get(number, 0) + count}.items())


def observe(state, progress, open_operations, steps):
    """Counts the observations as made that the state agrees with: to make one later is never needed."""
    done = None
    for number, operation in open_operations.items():
        if operation.verb in READS:
            done = dict(progress) if done is None else done
            if done.get(number, 0) == 0 and steps[number][0]:
                # What binds the id or the PID is a choice, and left to the search.
                if any(after == state for after, _ in steps[number][0][0](state, operation)):
                    done[number] = 1
    return progress if done is None else frozenset(done.items())
