// Answers every request with the same bytes: the least that a server of HTTP can do.
//
//     answer epoll|sd-event RESPONSE-FILE ADDRESS…
//
// On epoll it is the limit for any server, on sd-event the limit for one whose loop that is. It takes the end of a
// header section for the end of a request.
#include "common.h"

#include <sys/epoll.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

struct connection {
    int descriptor;
    size_t left;
    sd_event_source *source;
};

static char *response;
static size_t response_size;
static int poll_descriptor;
static sd_event *loop;

static void close_connection(struct connection *connection) {
    sd_event_source_disable_unref(connection->source);
    close(connection->descriptor);
    free(connection);
}

static int on_ready(sd_event_source *source, int descriptor, uint32_t events, void *context);

static void wait_for(struct connection *connection, uint32_t events) {
    if (loop) {
        check("sd_event_source_set_io_events", sd_event_source_set_io_events(connection->source, events));
    } else {
        struct epoll_event event = {.events = events, .data.ptr = connection};
        if (epoll_ctl(poll_descriptor, EPOLL_CTL_MOD, connection->descriptor, &event) < 0) die("epoll_ctl");
    }
}

// Sends what is left; false when the connection is gone.
static bool send_rest(struct connection *connection) {
    bool was_waiting = connection->left < response_size;
    while (connection->left > 0) {
        ssize_t count = send(
            connection->descriptor, response + response_size - connection->left, connection->left, MSG_NOSIGNAL
        );
        if (count < 0 && errno == EAGAIN) {
            if (!was_waiting) wait_for(connection, EPOLLOUT);
            return true;
        }
        if (count < 0) return false;
        connection->left -= count;
    }
    if (was_waiting) wait_for(connection, EPOLLIN);
    return true;
}

static void serve(struct connection *connection, uint32_t events) {
    static char buffer[16384];
    if (events & EPOLLOUT) {
        if (!send_rest(connection)) close_connection(connection);
        return;
    }
    ssize_t count = recv(connection->descriptor, buffer, sizeof buffer, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return close_connection(connection);
    if (!memmem(buffer, count, "\r\n\r\n", 4)) return;
    connection->left = response_size;
    if (!send_rest(connection)) close_connection(connection);
}

static int on_ready(sd_event_source *source, int descriptor, uint32_t events, void *context) {
    (void) source, (void) descriptor;
    serve(context, events);
    return 0;
}

static void accept_one(int listener) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int descriptor = accept4(listener, (struct sockaddr *) &address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0) return;
    no_delay(descriptor, &address);
    struct connection *connection = calloc(1, sizeof *connection);
    connection->descriptor = descriptor;
    if (loop) {
        check(
            "sd_event_add_io",
            sd_event_add_io(loop, &connection->source, descriptor, EPOLLIN, on_ready, connection)
        );
    } else {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(poll_descriptor, EPOLL_CTL_ADD, descriptor, &event) < 0) die("epoll_ctl");
    }
}

static int on_connection(sd_event_source *source, int listener, uint32_t events, void *context) {
    (void) source, (void) events, (void) context;
    accept_one(listener);
    return 0;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "Usage: answer epoll|sd-event RESPONSE-FILE ADDRESS…\n");
        return 2;
    }
    response = read_file(arguments[2], &response_size);
    int listeners[16];
    int listener_count = 0;
    // Whoever starts it may have made the socket, as systemd does.
    if (check("sd_listen_fds", sd_listen_fds(1)) == 1) listeners[listener_count++] = SD_LISTEN_FDS_START;
    for (int index = 3; index < count && listener_count < 16; index++)
        listeners[listener_count++] = listen_at(arguments[index]);

    if (strcmp(arguments[1], "sd-event") == 0) {
        check("sd_event_default", sd_event_default(&loop));
        for (int index = 0; index < listener_count; index++)
            check("sd_event_add_io", sd_event_add_io(loop, NULL, listeners[index], EPOLLIN, on_connection, NULL));
        return check("sd_event_loop", sd_event_loop(loop));
    }

    poll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    for (int index = 0; index < listener_count; index++) {
        // A listener is told from a connection by its being odd.
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t) listeners[index] << 1 | 1};
        if (epoll_ctl(poll_descriptor, EPOLL_CTL_ADD, listeners[index], &event) < 0) die("epoll_ctl");
    }
    while (true) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll_descriptor, events, 64, -1);
        for (int index = 0; index < ready; index++) {
            if (events[index].data.u64 & 1) {
                accept_one((int) (events[index].data.u64 >> 1));
            } else {
                serve(events[index].data.ptr, events[index].events);
            }
        }
    }
}
