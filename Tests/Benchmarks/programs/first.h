// The first instructions of services: what first.c tells, and those who wait for it.
#pragma once

#include "common.h"

#include <sys/stat.h>

// The path of the socket, and the program as it is inside the machine.
#define FIRST_SOCKET "/run/bench-first.sock"
#define FIRST_PROGRAM "/opt/bench/first"

// Between two launches, so that each meets a systemd that has done with the one before.
static inline void let_systemd_rest(void) {
    struct timespec time = {.tv_nsec = 50 * 1000000};
    nanosleep(&time, NULL);
}

struct first {
    int number;
    int64_t at;
};

static inline socklen_t parse_unix_address(const char *path, struct sockaddr_storage *storage) {
    char text[100];
    snprintf(text, sizeof text, "unix:%s", path);
    return parse_address(text, storage);
}

// A socket that services of any account can send to.
static inline int listen_for_firsts(void) {
    struct sockaddr_storage address;
    socklen_t length = parse_unix_address(FIRST_SOCKET, &address);
    unlink(FIRST_SOCKET);
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *) &address, length) < 0) die(FIRST_SOCKET);
    if (chmod(FIRST_SOCKET, 0666) < 0) die("chmod");
    return descriptor;
}

// False when none is there.
static inline bool read_first(int descriptor, struct first *first) {
    ssize_t size = recv(descriptor, first, sizeof *first, 0);
    if (size < 0 && errno == EAGAIN) return false;
    if (size != sizeof *first) die("recv");
    return true;
}
