/*
 * The convergence of a service on what was asked for, as Convergence.converge does it: Sources/ARCHITECTURE.md.
 *
 * Two clients with a request each, one service, an agent that may die at any step, a systemd that answers late, refuses,
 * cancels or ends a job without doing it, and a person who starts, stops or freezes the unit by hand. Each fault happens a
 * bounded number of times. What has to hold:
 *
 *   - A 2xx is true when it is given, unless a person has acted since.
 *   - What has a process is not removed.
 *   - When nothing happens any more, what was last asked for is reached, and nothing is outstanding. What was answered with
 *     a time-out counts as asked for.
 *   - The agent comes to an end: it does not try more often than something has failed.
 *   - What a person does after a change was reached is not undone, also by the next agent: that a change was reached is
 *     written later, and an agent that dies before that finds systemd's job in the journal.
 *
 * -DDROP_ON_TIMEOUT, -DSERVE_BEFORE_FINISHING, -DIGNORE_RESULTS, -DFORGET_JOBS and -DTRUST_JOBS put back what was wrong
 * once; each must be found.
 */

mtype = { STOP, START, PING, THAW };
mtype = { done, refused, canceled, unanswered, signal };
mtype = { established, starting, stopping, deleting };
mtype = { ask_stop, ask_put, ask_start, ask_delete };
mtype = { ok, conflict, timed_out, no_answer };

/* How often each fault may happen: scripts/model takes them in groups, or all at once. */
#ifndef DEATHS
#define DEATHS 1
#define TIMEOUTS 1
#define REFUSALS 1
#define CANCELS 1
#define FREEZES 1
#define ACTS 1
#endif
byte deaths = DEATHS, timeouts = TIMEOUTS, refusals = REFUSALS, cancels = CANCELS, freezes = FREEZES, acts = ACTS;

/* On disk: the record and the unit's file. */
bool exists = true, wanted = true;
mtype disk_phase = established;
byte spec = 0, disk_replaced = 0;
/* The time of the record's last change: runs up to this one began before it. */
byte updated_at = 0;
/* In the agent's memory. */
mtype phase = established;
byte replaced = 0;
/* The journal: the last job of that kind since the record was written. */
bool stop_done = false, start_done = false;

/* systemd: the run that goes on, 0 for none, and the spec that it was started with. */
byte current = 1, current_spec = 0, runs = 1;
bool frozen = false;

/* One connection: calls in order; replies and signals in order, with the run at that moment. */
chan calls = [6] of { mtype, byte };
chan replies = [8] of { mtype, byte, byte };
chan requests = [0] of { mtype, byte };
chan answers[2] = [1] of { mtype };

/* What was last asked for and not refused. */
bool goal_exists = true, goal_enabled = true;
byte goal_spec = 0;
/* A person has acted since the agent's last job, or since the request began. */
bool by_hand = false, by_hand_since_request = false;
/* What was asked for was reached, and nothing is asked for since. */
bool reached = true;
/* What a person has done since then: 1 for a stop, 2 for a start. */
byte act_stands = 0;

inline tell() {
    if
    :: nfull(replies) -> replies ! signal, 0, current
    :: full(replies) -> skip
    fi
}

active proctype systemd() {
    mtype call, result;
    byte number;
end:
    do
    :: calls ? call, number ->
        atomic {
            result = done;
            if
            :: (call == STOP || call == START) && refusals > 0 -> refusals--; result = refused
            :: call == STOP && current != 0 && cancels > 0 ->
                /* A person's start takes the place of the stop. */
                cancels--; result = canceled; by_hand = true; by_hand_since_request = true; start_done = true
            :: call == STOP && frozen -> skip
            :: call == STOP && !frozen -> current = 0; by_hand = false; stop_done = true
            :: call == START && current == 0 ->
                runs++; current = runs; current_spec = spec; by_hand = false; start_done = true
            :: call == START && current != 0 -> skip
            :: call == THAW -> frozen = false
            :: call == PING -> skip
            fi;
            replies ! result, number, current
        }
    od
}

active proctype person() {
    if
    :: atomic { acts > 0 && current != 0 ->
        acts--; current = 0; frozen = false; by_hand = true; by_hand_since_request = true; stop_done = true;
        act_stands = (reached -> 1 : 0); tell() }
    :: atomic { acts > 0 && current == 0 && exists ->
        acts--; runs++; current = runs; current_spec = spec; by_hand = true; by_hand_since_request = true;
        start_done = true; act_stands = (reached -> 2 : 0); tell() }
    :: atomic { freezes > 0 && current != 0 -> freezes--; frozen = true }
    :: true
    fi
}

active [2] proctype client() {
    mtype ask, answer;
    byte me = _pid - 2;
    if
    :: ask = ask_stop
    :: ask = ask_put
    :: ask = ask_start
    :: ask = ask_delete
    fi;
    requests ! ask, me;
    answers[me] ? answer
}

/* The agent dies here, or not. */
#define STEP if :: deaths > 0 -> deaths--; goto died :: true fi

inline invoke(what) {
    number = (number + 1) % 16;
    calls ! what, number;
    result = unanswered;
    do
    :: replies ? got, got_number, known ->
        if
        :: got_number == number -> result = got; break
        :: got_number != number -> skip
        fi
    :: timeouts > 0 -> timeouts--; break
    od;
    STEP
}

/* Stops the unit; `result` is done when its last process is gone. */
inline stop_unit() {
    before = known;
    invoke(STOP);
#ifndef IGNORE_RESULTS
    if
    :: result == done ->
        invoke(PING);
        if
        :: result == done && known != 0 && known != before -> result = canceled
        :: result == done && known != 0 && known == before ->
            invoke(THAW);
            if
            :: result == done -> invoke(STOP)
            :: else
            fi;
            if
            :: result == done -> invoke(PING)
            :: else
            fi;
            if
            :: result == done && known != 0 -> result = refused
            :: else
            fi
        :: else
        fi
    :: else
    fi
#else
    if
    :: result == refused || result == canceled -> result = done
    :: else
    fi
#endif
}

/* Does what the record says is outstanding. */
inline reach() {
    result = done;
    if
    :: phase == stopping -> stop_unit()
    :: phase == deleting -> stop_unit()
    :: phase == starting && known != 0 && known != replaced -> skip
    :: phase == starting && (known == 0 || known == replaced) ->
        if
        :: known != 0 -> stop_unit()
        :: known == 0
        fi;
        if
        :: result == done -> invoke(START)
        :: else
        fi;
#ifndef TRUST_JOBS
        if
        :: result == done && known != 0 && known <= updated_at ->
            /* The job found a run that the agent had not heard of, of the former spec. */
            stop_unit();
            if
            :: result == done -> invoke(START)
            :: else
            fi
        :: else
        fi
#endif
    :: phase == established -> skip
    fi;
    if
    :: result == done && phase == deleting ->
        atomic {
            assert(current == 0 || by_hand);
            exists = false;
            phase = established; disk_phase = established; reached = true
        }
    :: result == done && phase != deleting -> atomic { phase = established; replaced = 0; reached = true }
    :: else
    fi;
    STEP
}

/* The newest actor's wish is what holds. */
inline follow_newest() {
    atomic {
        wanted = (known != 0);
        goal_exists = true;
        goal_enabled = wanted;
        goal_spec = spec;
        phase = established;
        replaced = 0;
        reached = true
    }
}

active proctype agent() {
    mtype ask, result, got, old_phase;
    byte who = 2, number = 0, got_number, known, before, old_spec, old_replaced, old_known, tries = 0;
    bool old_enabled, outstanding = false;
    goto began;

died:
    /* Memory is lost, and whoever waits is cut off. What systemd was told it still does. */
    atomic { phase = disk_phase; replaced = disk_replaced };
    if
    :: who < 2 -> answers[who] ! no_answer; who = 2
    :: who == 2
    fi;
began:
    do
    :: replies ? got, got_number, known
    :: empty(replies) -> break
    od;
    number = (number + 1) % 16;
    calls ! PING, number;
    do
    :: replies ? got, got_number, known ->
        if
        :: got_number == number -> break
        :: got_number != number -> skip
        fi
    od;
    outstanding = exists && phase != established;
#ifndef SERVE_BEFORE_FINISHING
    if
    :: outstanding -> goto again
    :: !outstanding
    fi;
#endif

end:
    do
    :: replies ? got, got_number, known
    :: disk_phase != phase && phase == established -> atomic { disk_phase = phase; disk_replaced = 0 }
    :: exists && phase != established ->
again:
        tries++;
        assert(tries <= DEATHS + TIMEOUTS + REFUSALS + CANCELS + FREEZES + ACTS + 1);
        invoke(PING);
        if
#ifndef FORGET_JOBS
        :: result == done && ((phase == starting && start_done) || (phase == stopping && stop_done)) ->
            atomic { phase = established; replaced = 0; reached = true }
        :: result == done && !((phase == starting && start_done) || (phase == stopping && stop_done)) -> reach()
#else
        :: result == done -> reach()
#endif
        :: else
        fi;
        if
        :: result == canceled -> follow_newest()
        :: else
        fi
    :: requests ? ask, who ->
        tries = 0;
        by_hand_since_request = false;
        result = done;
        if
        :: exists && phase != established -> invoke(PING)
        :: else
        fi;
        if
        :: result != done -> answers[who] ! timed_out
        :: result == done && !exists ->
            answers[who] ! conflict
        :: exists && phase == deleting && ask != ask_delete ->
            /* The removal comes first. */
            answers[who] ! timed_out
#ifndef SERVE_BEFORE_FINISHING
        :: exists && ask == ask_stop && phase == established && known == 0 -> answers[who] ! conflict
        :: exists && ask == ask_start && phase == established && known != 0 -> answers[who] ! conflict
#else
        :: exists && ask == ask_stop && known == 0 ->
            /* "It is not running", while something else is about to be reached. */
            assert(phase == established);
            answers[who] ! conflict
#endif
        :: else ->
            atomic {
                old_known = known; old_enabled = wanted; old_spec = spec; old_phase = phase; old_replaced = replaced;
                if
                :: ask == ask_stop -> wanted = false; phase = stopping
                :: ask == ask_start -> wanted = true; phase = starting; replaced = known
                :: ask == ask_put ->
                    spec = spec + 1;
                    if
                    :: wanted -> phase = starting; replaced = known
                    :: !wanted
                    fi
                :: ask == ask_delete -> wanted = false; phase = deleting
                fi;
                /* Written: from here on it is what is wanted, unless it is refused. */
                goal_exists = (ask != ask_delete); goal_enabled = wanted; goal_spec = spec;
                disk_phase = phase; disk_replaced = replaced; updated_at = runs;
                stop_done = false; start_done = false;
                reached = (phase == established);
                /* Newer than an act until now. */
                act_stands = 0
            };
            STEP;
            reach();
            if
            :: result == done ->
                atomic {
                    if
                    :: ask == ask_stop || ask == ask_delete -> assert(current == 0 || by_hand_since_request)
                    :: (ask == ask_start || ask == ask_put) && wanted ->
                        assert((current != 0 && current_spec == spec) || by_hand_since_request)
                    :: else
                    fi;
                    answers[who] ! ok
                }
            :: result == unanswered ->
#ifdef DROP_ON_TIMEOUT
                atomic { phase = established; wanted = old_enabled; spec = old_spec; replaced = 0 };
#endif
                answers[who] ! timed_out
            :: result == refused || result == canceled ->
                atomic {
                    wanted = old_enabled; spec = old_spec; phase = established; replaced = 0;
                    /* What was outstanding before stays what is wanted. */
                    if
                    :: old_phase != established -> phase = old_phase; replaced = old_replaced
                    :: old_phase == established && wanted && old_known != 0 && known == 0 ->
                        /* It was stopped on the way. */
                        phase = starting
                    :: else
                    fi;
                    goal_exists = (phase != deleting); goal_enabled = wanted; goal_spec = spec;
                    disk_phase = phase; disk_replaced = replaced; reached = (phase == established);
                    answers[who] ! conflict
                }
            fi
        fi;
        who = 2
    od
}

/* When nothing happens any more. */
active proctype judge() {
    timeout ->
    assert(phase == established);
    assert(exists == goal_exists);
    assert(!exists || wanted == goal_enabled);
    assert(!exists || spec == goal_spec);
    assert(exists || current == 0 || by_hand);
    assert(!exists || by_hand || (wanted -> current != 0 && current_spec == spec : current == 0));
    assert(!exists || act_stands != 1 || current == 0);
    assert(!exists || act_stands != 2 || current != 0)
}
