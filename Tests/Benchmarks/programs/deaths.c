// Kills the processes of services, one after another, and tells after what time a listener knew.
//
//     deaths bus PREFIX COUNT
//     deaths http ADDRESS PREFIX COUNT
//
// The services are PREFIX-0 to PREFIX-COUNT, made through the agent, and run. On the bus it listens as plainly as one
// can: for PropertiesChanged on systemd's private socket; over HTTP for the agent's events. Each time is that from
// kill(2) with SIGKILL to the first signal or event that shows the process gone. Prints JSON.
#include "http.h"

#include <poll.h>
#include <signal.h>
#include <systemd/sd-bus.h>

static const char *prefix;
static int count;
static uint32_t *pids;

static void kill_process(int number) {
    if (pids[number] == 0) {
        fprintf(stderr, "%s-%d has no process\n", prefix, number);
        exit(1);
    }
    if (kill(pids[number], SIGKILL) < 0) die("kill");
}

static void pause_between(void) {
    struct timespec time = {.tv_nsec = 10000000};
    nanosleep(&time, NULL);
}

// --- Bus

static int awaited = -1;

static int on_change(sd_bus_message *message, void *context, sd_bus_error *error) {
    (void) error;
    int number = (int) (intptr_t) context;
    if (number != awaited) return 0;
    const char *interface, *key;
    check("sd_bus_message_read", sd_bus_message_read(message, "s", &interface));
    check("sd_bus_message_enter_container", sd_bus_message_enter_container(message, 'a', "{sv}"));
    while (check("sd_bus_message_enter_container", sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
        uint32_t pid;
        const char *state;
        check("sd_bus_message_read", sd_bus_message_read(message, "s", &key));
        if (strcmp(key, "MainPID") == 0) {
            check("sd_bus_message_read", sd_bus_message_read(message, "v", "u", &pid));
            if (pid != pids[number]) awaited = -1;
        } else if (strcmp(key, "ActiveState") == 0) {
            check("sd_bus_message_read", sd_bus_message_read(message, "v", "s", &state));
            if (strcmp(state, "active") != 0) awaited = -1;
        } else {
            check("sd_bus_message_skip", sd_bus_message_skip(message, "v"));
        }
        check("sd_bus_message_exit_container", sd_bus_message_exit_container(message));
    }
    return 0;
}

static void on_bus(int64_t *times) {
    sd_bus *bus;
    check("sd_bus_new", sd_bus_new(&bus));
    check("sd_bus_set_address", sd_bus_set_address(bus, "unix:path=/run/systemd/private"));
    check("sd_bus_start", sd_bus_start(bus));
    for (int number = 0; number < count; number++) {
        char unit[256], *path;
        snprintf(unit, sizeof unit, "miosa-service-%s-%d.service", prefix, number);
        check("sd_bus_path_encode", sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path));
        check(
            "sd_bus_get_property_trivial",
            sd_bus_get_property_trivial(
                bus, NULL, path, "org.freedesktop.systemd1.Service", "MainPID", NULL, 'u', &pids[number]
            )
        );
        check(
            "sd_bus_match_signal",
            sd_bus_match_signal(
                bus, NULL, NULL, path, "org.freedesktop.DBus.Properties", "PropertiesChanged", on_change,
                (void *) (intptr_t) number
            )
        );
        free(path);
    }
    for (int number = 0; number < count; number++) {
        while (check("sd_bus_process", sd_bus_process(bus, NULL)) > 0) {}
        awaited = number;
        int64_t begin = now();
        kill_process(number);
        while (awaited >= 0) {
            if (check("sd_bus_process", sd_bus_process(bus, NULL)) > 0) continue;
            if (check("sd_bus_wait", sd_bus_wait(bus, 5 * 1000000)) == 0) {
                fprintf(stderr, "no signal for 5 s\n");
                exit(1);
            }
        }
        times[number] = now() - begin;
        pause_between();
    }
}

// --- HTTP

// The process that an event's data line tells; 0 for none.
static uint32_t pid_in(const char *line) {
    const char *pid = strstr(line, "\"pid\":");
    return pid ? (uint32_t) strtoul(pid + 6, NULL, 10) : 0;
}

static void note_pid(const char *line) {
    int number = service_number(line, prefix);
    if (number >= 0 && number < count) pids[number] = pid_in(line);
}

static void on_http(const char *address, int64_t *times) {
    static struct lines events;
    open_stream(&events, address, "/v1/events", "text/event-stream");
    read_snapshot(&events, note_pid);
    struct pollfd poll_descriptor = {.fd = events.descriptor, .events = POLLIN};
    for (int number = 0; number < count; number++) {
        bool is_gone = false;
        char *line;
        while (poll(&poll_descriptor, 1, 0) > 0) {
            if (!fill(&events)) die("the stream has ended");
            while ((line = next_line(&events))) {}
        }
        int64_t begin = now();
        kill_process(number);
        while (!is_gone) {
            if (poll(&poll_descriptor, 1, 5000) <= 0 || !fill(&events)) {
                fprintf(stderr, "no event for 5 s\n");
                exit(1);
            }
            while ((line = next_line(&events))) {
                if (service_number(line, prefix) == number && pid_in(line) != pids[number]) is_gone = true;
            }
        }
        times[number] = now() - begin;
        pause_between();
    }
}

int main(int argument_count, char **arguments) {
    bool is_bus = argument_count == 4 && strcmp(arguments[1], "bus") == 0;
    bool is_http = argument_count == 5 && strcmp(arguments[1], "http") == 0;
    if (!is_bus && !is_http) {
        fprintf(stderr, "Usage: deaths bus PREFIX COUNT\n       deaths http ADDRESS PREFIX COUNT\n");
        return 2;
    }
    prefix = arguments[argument_count - 2];
    count = atoi(arguments[argument_count - 1]);
    pids = calloc(count, sizeof *pids);
    int64_t *times = calloc(count, sizeof *times);
    if (is_bus) {
        on_bus(times);
    } else {
        on_http(arguments[2], times);
    }
    printf("{");
    print_times(times, count);
    printf("}\n");
    return 0;
}
