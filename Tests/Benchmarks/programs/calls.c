// Changes services through the agent's API and tells how long each change took.
//
//     calls launch|create|stop|delete ADDRESS COUNT IN-FLIGHT PREFIX
//
// The services are PREFIX-0 to PREFIX-COUNT. IN-FLIGHT connections have one change under way each and begin the next
// when that is done. A launch is a create that is done with the first instruction of the service's program (first.c). A
// create is done when the service is running, as an event tells or the answer itself, whichever comes first; a stop or
// delete when it is answered. Prints JSON: the seconds that all took, and the times of each.
#include "first.h"
#include "http.h"

#include <poll.h>

struct connection {
    int descriptor;
    int number;
    int64_t sent_at;
    // Done is a create when the service is running, which may be before its answer or after.
    bool is_answered, is_done;
    char answer[65536];
    size_t length;
};

static const char *verb, *prefix;
static int count, next_number, done_count;
static int64_t *times;

static void send_next(struct connection *connection) {
    char request[2048], body[512];
    connection->number = next_number < count ? next_number++ : -1;
    if (connection->number < 0) return;
    connection->length = 0;
    connection->is_answered = connection->is_done = false;
    body[0] = 0;
    const char *method = strcmp(verb, "delete") == 0 ? "DELETE" : "POST";
    char path[256] = "/v1/services";
    if (strcmp(verb, "launch") == 0) {
        snprintf(
            body, sizeof body, "{\"name\":\"%s-%d\",\"command\":\"%s %s %s-%d\",\"restart\":\"always\"}",
            prefix, connection->number, FIRST_PROGRAM, FIRST_SOCKET, prefix, connection->number
        );
    } else if (strcmp(verb, "create") == 0) {
        snprintf(
            body, sizeof body, "{\"name\":\"%s-%d\",\"command\":\"exec sleep infinity\",\"restart\":\"always\"}",
            prefix, connection->number
        );
    } else {
        const char *end = strcmp(verb, "stop") == 0 ? "/stop" : "";
        snprintf(path, sizeof path, "/v1/services/%s-%d%s", prefix, connection->number, end);
    }
    int size = snprintf(
        request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s",
        method, path, strlen(body), body
    );
    connection->sent_at = now();
    send_all(connection->descriptor, request, size);
}

static void note_done(struct connection *connection, int64_t at) {
    if (!connection->is_done) times[connection->number] = at - connection->sent_at;
    connection->is_done = true;
}

// Goes on to the next change when nothing of this one is awaited any more.
static void finish(struct connection *connection) {
    if (!connection->is_answered || !connection->is_done) return;
    done_count++;
    if (strcmp(verb, "launch") == 0) let_systemd_rest();
    send_next(connection);
}

static void note_number(struct connection *connections, int in_flight, int number, int64_t at) {
    for (int index = 0; index < in_flight; index++)
        if (connections[index].number == number && !connections[index].is_done) {
            note_done(&connections[index], at);
            finish(&connections[index]);
            break;
        }
}

// Takes what has come of an answer.
static void take_answer(struct connection *connection) {
    size_t room = sizeof connection->answer - 1 - connection->length;
    ssize_t received = recv(connection->descriptor, connection->answer + connection->length, room, 0);
    if (received <= 0) die("the connection was closed");
    connection->length += received;
    connection->answer[connection->length] = 0;
    char *end = strstr(connection->answer, "\r\n\r\n");
    char *length = strcasestr(connection->answer, "\r\ncontent-length: ");
    if (!end || !length || end + 4 + atol(length + 18) > connection->answer + connection->length) return;
    if (strncmp(connection->answer, "HTTP/1.1 20", 11) != 0) {
        fprintf(stderr, "%s\n", connection->answer);
        exit(1);
    }
    connection->is_answered = true;
    bool is_answer_enough = strcmp(verb, "create") != 0 && strcmp(verb, "launch") != 0;
    bool is_running = strcmp(verb, "create") == 0 && strstr(end, "\"status\":\"running\"");
    if (is_answer_enough || is_running) note_done(connection, now());
    finish(connection);
}

int main(int argument_count, char **arguments) {
    if (argument_count != 6) {
        fprintf(stderr, "Usage: calls launch|create|stop|delete ADDRESS COUNT IN-FLIGHT PREFIX\n");
        return 2;
    }
    verb = arguments[1];
    prefix = arguments[5];
    count = atoi(arguments[3]);
    int in_flight = atoi(arguments[4]);
    times = calloc(count, sizeof *times);
    struct connection *connections = calloc(in_flight, sizeof *connections);
    struct pollfd *polls = calloc(in_flight + 1, sizeof *polls);
    for (int index = 0; index < in_flight; index++) {
        connections[index].descriptor = connect_to(arguments[2]);
        polls[index] = (struct pollfd) {.fd = connections[index].descriptor, .events = POLLIN};
    }
    static struct lines events;
    polls[in_flight] = (struct pollfd) {.fd = -1, .events = POLLIN};
    if (strcmp(verb, "create") == 0) {
        open_stream(&events, arguments[2], "/v1/events", "text/event-stream");
        read_snapshot(&events, NULL);
        polls[in_flight].fd = events.descriptor;
    }
    bool is_launch = strcmp(verb, "launch") == 0;
    if (is_launch) polls[in_flight].fd = listen_for_firsts();

    int64_t begin = now();
    for (int index = 0; index < in_flight; index++) send_next(&connections[index]);
    while (done_count < count) {
        if (poll(polls, in_flight + 1, 20000) <= 0) {
            fprintf(stderr, "nothing for 20 s, %d of %d done\n", done_count, count);
            return 1;
        }
        for (int index = 0; index < in_flight; index++)
            if (polls[index].revents) take_answer(&connections[index]);
        if (!polls[in_flight].revents) continue;
        struct first first;
        while (is_launch && read_first(polls[in_flight].fd, &first))
            note_number(connections, in_flight, first.number, first.at);
        if (is_launch) continue;
        if (!fill(&events)) die("the stream has ended");
        char *line;
        while ((line = next_line(&events))) {
            int number = service_number(line, prefix);
            if (number < 0 || !strstr(line, "\"status\":\"running\"")) continue;
            note_number(connections, in_flight, number, now());
        }
    }
    printf("{\"seconds\": %.6f, ", (now() - begin) / 1e9);
    print_times(times, count);
    printf("}\n");
    return 0;
}
