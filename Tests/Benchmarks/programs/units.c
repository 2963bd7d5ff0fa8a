// Does to units of systemd what the agent does to services, with the least that it takes.
//
//     units launch|create|stop|delete COUNT IN-FLIGHT PREFIX UNIT-FILE RECORD-FILE RECORD-DIRECTORY
//
// The units are PREFIX-0.service to PREFIX-COUNT.service, each with the text of UNIT-FILE, in which @NAME@ stands for
// PREFIX-N, and with a record of the bytes of RECORD-FILE. To write is to write a file under another name, fsync and
// rename it. Speaks with systemd on its private socket.
//     create: writes record and unit file, StartUnit, done at JobRemoved
//     launch: the same, done with the first instruction of the unit's program (first.c)
//     stop: writes the record, StopUnit, at JobRemoved writes the record again, done
//     delete: writes the record, StopUnit, at JobRemoved removes unit file and record, fsync of both directories, done
// Prints JSON: the seconds that all took, and the times of each.
#include "first.h"

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <sys/epoll.h>

static const char *verb, *prefix;
static const char *unit_directory = "/etc/systemd/system";
static const char *record_directory;
static char *unit_text, *record;
static size_t record_size;
static int count, next_number, done_count;
static int64_t *begins, *times;
static bool *has_job_ended;
static sd_bus *bus;

static int open_directory(const char *path) {
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) die(path);
    return directory;
}

static void write_file(const char *directory_path, const char *name, const char *bytes, size_t size) {
    char temporary[300];
    snprintf(temporary, sizeof temporary, ".%s.tmp", name);
    int directory = open_directory(directory_path);
    int file = openat(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0 || write(file, bytes, size) != (ssize_t) size || fsync(file) < 0) die(name);
    close(file);
    if (renameat(directory, temporary, directory, name) < 0) die("renameat");
    // The kernel's own stamp may be that of the last change, from which systemd would conclude that there was none.
    struct timespec times_now[2];
    clock_gettime(CLOCK_REALTIME, &times_now[0]);
    times_now[1] = times_now[0];
    if (futimens(directory, times_now) < 0) die("futimens");
    close(directory);
}

static void remove_file(const char *directory_path, const char *name) {
    int directory = open_directory(directory_path);
    if (unlinkat(directory, name, 0) < 0) die("unlinkat");
    if (fsync(directory) < 0) die("fsync");
    close(directory);
}

static void unit_name(char *name, int number) {
    snprintf(name, 256, "%s-%d.service", prefix, number);
}

static void write_record(int number) {
    char name[256];
    snprintf(name, sizeof name, "%s-%d.json", prefix, number);
    write_file(record_directory, name, record, record_size);
}

static void write_unit(int number) {
    static const char placeholder[] = "@NAME@";
    char name[200], *text = NULL;
    size_t size;
    snprintf(name, sizeof name, "%s-%d", prefix, number);
    FILE *stream = open_memstream(&text, &size);
    const char *rest = unit_text, *place;
    while ((place = strstr(rest, placeholder))) {
        fwrite(rest, 1, place - rest, stream);
        fputs(name, stream);
        rest = place + strlen(placeholder);
    }
    fputs(rest, stream);
    fclose(stream);
    char file[256];
    unit_name(file, number);
    write_file(unit_directory, file, text, size);
    free(text);
}

static int on_reply(sd_bus_message *reply, void *context, sd_bus_error *error) {
    (void) context, (void) error;
    const sd_bus_error *failure = sd_bus_message_get_error(reply);
    if (failure) {
        fprintf(stderr, "%s: %s\n", verb, failure->message);
        exit(1);
    }
    return 0;
}

static void begin_next(void) {
    if (next_number >= count) return;
    int number = next_number++;
    bool is_create = strcmp(verb, "create") == 0 || strcmp(verb, "launch") == 0;
    begins[number] = now();
    write_record(number);
    if (is_create) write_unit(number);
    char unit[256];
    unit_name(unit, number);
    check(
        "sd_bus_call_method_async",
        sd_bus_call_method_async(
            bus, NULL, NULL, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
            is_create ? "StartUnit" : "StopUnit", on_reply, NULL, "ss", unit, "replace"
        )
    );
}

static void end(int number) {
    if (strcmp(verb, "stop") == 0) {
        write_record(number);
    } else if (strcmp(verb, "delete") == 0) {
        char name[256];
        unit_name(name, number);
        remove_file(unit_directory, name);
        snprintf(name, sizeof name, "%s-%d.json", prefix, number);
        remove_file(record_directory, name);
    }
    if (times[number] == 0) times[number] = now() - begins[number];
    done_count++;
    if (strcmp(verb, "launch") == 0) let_systemd_rest();
    begin_next();
}

static int on_first(sd_event_source *source, int descriptor, uint32_t events, void *context) {
    (void) source, (void) events, (void) context;
    struct first first;
    // The job's end may be known before that or after.
    while (read_first(descriptor, &first)) {
        times[first.number] = first.at - begins[first.number];
        if (has_job_ended[first.number]) end(first.number);
    }
    return 0;
}

static int on_job_removed(sd_bus_message *message, void *context, sd_bus_error *error) {
    (void) context, (void) error;
    uint32_t id;
    const char *job, *unit, *result;
    check("sd_bus_message_read", sd_bus_message_read(message, "uoss", &id, &job, &unit, &result));
    size_t length = strlen(prefix);
    if (strncmp(unit, prefix, length) != 0 || unit[length] != '-') return 0;
    if (strcmp(result, "done") != 0) {
        fprintf(stderr, "%s of %s: %s\n", verb, unit, result);
        exit(1);
    }
    int number = atoi(unit + length + 1);
    has_job_ended[number] = true;
    if (strcmp(verb, "launch") != 0 || times[number] != 0) end(number);
    return 0;
}

int main(int argument_count, char **arguments) {
    if (argument_count != 8) {
        fprintf(
            stderr,
            "Usage: units launch|create|stop|delete COUNT IN-FLIGHT PREFIX UNIT-FILE RECORD-FILE RECORD-DIRECTORY\n"
        );
        return 2;
    }
    verb = arguments[1];
    count = atoi(arguments[2]);
    int in_flight = atoi(arguments[3]);
    prefix = arguments[4];
    size_t unit_size;
    unit_text = read_file(arguments[5], &unit_size);
    record = read_file(arguments[6], &record_size);
    record_directory = arguments[7];
    if (mkdir(record_directory, 0700) < 0 && errno != EEXIST) die(record_directory);
    begins = calloc(count, sizeof *begins);
    times = calloc(count, sizeof *times);
    has_job_ended = calloc(count, sizeof *has_job_ended);

    check("sd_bus_new", sd_bus_new(&bus));
    check("sd_bus_set_address", sd_bus_set_address(bus, "unix:path=/run/systemd/private"));
    check("sd_bus_start", sd_bus_start(bus));
    check(
        "sd_bus_match_signal",
        sd_bus_match_signal(
            bus, NULL, NULL, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "JobRemoved",
            on_job_removed, NULL
        )
    );
    // A call of which the reply shows that the connection stands.
    check(
        "Ping",
        sd_bus_call_method(
            bus, NULL, "/org/freedesktop/systemd1", "org.freedesktop.DBus.Peer", "Ping", NULL, NULL, NULL
        )
    );

    int firsts = strcmp(verb, "launch") == 0 ? listen_for_firsts() : -1;
    int64_t begin = now();
    for (int index = 0; index < in_flight; index++) begin_next();
    sd_event *event;
    check("sd_event_new", sd_event_new(&event));
    check("sd_bus_attach_event", sd_bus_attach_event(bus, event, 0));
    if (strcmp(verb, "launch") == 0)
        check("sd_event_add_io", sd_event_add_io(event, NULL, firsts, EPOLLIN, on_first, NULL));
    while (done_count < count) {
        if (check("sd_event_run", sd_event_run(event, 20 * 1000000)) == 0) {
            fprintf(stderr, "nothing for 20 s, %d of %d done\n", done_count, count);
            return 1;
        }
    }
    printf("{\"seconds\": %.6f, ", (now() - begin) / 1e9);
    print_times(times, count);
    printf("}\n");
    return 0;
}
