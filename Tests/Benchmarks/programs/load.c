// Sends one request over and over on a number of keep-alive connections and tells how fast it was answered.
//
//     load ADDRESS CONNECTIONS SECONDS REQUEST-FILE
//
// Each connection sends its next request when it has read the whole last response, which has to be a 200 with a
// Content-Length. Prints JSON: requests a second, and the latencies at the median and at the 99th percentile in µs.
#include "common.h"

#include <sys/epoll.h>

struct connection {
    int descriptor;
    int64_t sent_at;
    // Of the head: what has been read; of the body: what is still to come.
    size_t head_length;
    size_t body_left;
    char head[4096];
};

static char *request;
static size_t request_size;
static uint32_t *latencies;
static size_t latency_count, latency_capacity;
static char buffer[1 << 20];

static void send_request(struct connection *connection) {
    connection->sent_at = now();
    connection->head_length = 0;
    connection->body_left = 0;
    if (send(connection->descriptor, request, request_size, MSG_NOSIGNAL) != (ssize_t) request_size) die("send");
}

// Takes what has been received; true when the response is complete.
static bool take(struct connection *connection, const char *bytes, size_t size) {
    if (connection->body_left == 0) {
        size_t room = sizeof connection->head - 1 - connection->head_length;
        size_t count = size < room ? size : room;
        memcpy(connection->head + connection->head_length, bytes, count);
        connection->head[connection->head_length + count] = 0;
        char *end = strstr(connection->head, "\r\n\r\n");
        if (!end) {
            connection->head_length += count;
            return false;
        }
        if (strncmp(connection->head, "HTTP/1.1 200 ", 13) != 0) {
            fprintf(stderr, "%s\n", connection->head);
            exit(1);
        }
        char *length = strcasestr(connection->head, "\r\nContent-Length: ");
        if (!length || length > end) {
            fprintf(stderr, "no Content-Length\n");
            exit(1);
        }
        size_t head_bytes = end + 4 - connection->head - connection->head_length;
        connection->body_left = strtoull(length + 18, NULL, 10);
        bytes += head_bytes;
        size -= head_bytes;
    }
    if (size > connection->body_left) {
        fprintf(stderr, "more than one response\n");
        exit(1);
    }
    connection->body_left -= size;
    return connection->body_left == 0;
}

static int compare(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *) left, b = *(const uint32_t *) right;
    return (a > b) - (a < b);
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "Usage: load ADDRESS CONNECTIONS SECONDS REQUEST-FILE\n");
        return 2;
    }
    int connection_count = atoi(arguments[2]);
    int64_t duration = (int64_t) (atof(arguments[3]) * 1e9);
    request = read_file(arguments[4], &request_size);
    latency_capacity = 1 << 24;
    latencies = malloc(latency_capacity * sizeof *latencies);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = calloc(connection_count, sizeof *connections);
    for (int index = 0; index < connection_count; index++) {
        connections[index].descriptor = connect_to(arguments[1]);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[index]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[index].descriptor, &event) < 0) die("epoll_ctl");
    }
    // A tenth of the time first to warm up.
    int64_t begin = now() + duration / 10;
    int64_t end = begin + duration;
    for (int index = 0; index < connection_count; index++) send_request(&connections[index]);
    int64_t moment = now();
    while (moment < end) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, 10000);
        if (ready <= 0) {
            fprintf(stderr, "no answer for 10 s\n");
            return 1;
        }
        for (int index = 0; index < ready; index++) {
            struct connection *connection = events[index].data.ptr;
            ssize_t received = recv(connection->descriptor, buffer, sizeof buffer, MSG_DONTWAIT);
            if (received < 0 && errno == EAGAIN) continue;
            if (received <= 0) die("the connection was closed");
            if (!take(connection, buffer, received)) continue;
            moment = now();
            if (moment >= begin && latency_count < latency_capacity)
                latencies[latency_count++] = (uint32_t) (moment - connection->sent_at);
            send_request(connection);
        }
    }
    if (latency_count == 0) {
        fprintf(stderr, "no request was answered\n");
        return 1;
    }
    qsort(latencies, latency_count, sizeof *latencies, compare);
    printf(
        "{\"requests\": %zu, \"per_second\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
        latency_count,
        latency_count / ((moment - begin) / 1e9),
        latencies[latency_count / 2] / 1e3,
        latencies[latency_count * 99 / 100] / 1e3
    );
    return 0;
}
