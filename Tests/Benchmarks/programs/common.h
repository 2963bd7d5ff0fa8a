// What the programs of the benchmarks share.
#pragma once

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

// Ends the program when a call has failed in libsystemd's way.
static inline int check(const char *what, int result) {
    if (result < 0) {
        errno = -result;
        die(what);
    }
    return result;
}

static inline int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// The address of "unix:PATH" or of "tcp:PORT" on 127.0.0.1.
static inline socklen_t parse_address(const char *text, struct sockaddr_storage *storage) {
    memset(storage, 0, sizeof *storage);
    if (strncmp(text, "unix:", 5) == 0) {
        struct sockaddr_un *address = (struct sockaddr_un *) storage;
        address->sun_family = AF_UNIX;
        strncpy(address->sun_path, text + 5, sizeof address->sun_path - 1);
        return sizeof *address;
    }
    if (strncmp(text, "tcp:", 4) == 0) {
        struct sockaddr_in *address = (struct sockaddr_in *) storage;
        address->sin_family = AF_INET;
        address->sin_port = htons(atoi(text + 4));
        address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof *address;
    }
    fprintf(stderr, "'%s' is neither unix:PATH nor tcp:PORT\n", text);
    exit(2);
}

static inline void no_delay(int descriptor, const struct sockaddr_storage *address) {
    int on = 1;
    if (address->ss_family == AF_INET && setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        die("setsockopt");
}

static inline int listen_at(const char *text) {
    struct sockaddr_storage address;
    socklen_t length = parse_address(text, &address);
    if (address.ss_family == AF_UNIX) unlink(text + 5);
    int descriptor = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (descriptor < 0) die("socket");
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(descriptor, (struct sockaddr *) &address, length) < 0) die(text);
    if (listen(descriptor, 4096) < 0) die("listen");
    return descriptor;
}

static inline int connect_to(const char *text) {
    struct sockaddr_storage address;
    socklen_t length = parse_address(text, &address);
    int descriptor = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) die("socket");
    if (connect(descriptor, (struct sockaddr *) &address, length) < 0) die(text);
    no_delay(descriptor, &address);
    return descriptor;
}

static inline char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "re");
    if (!file) die(path);
    char *bytes = NULL;
    size_t capacity = 0;
    *size = 0;
    do {
        if (capacity - *size < 65536) bytes = realloc(bytes, capacity += 1 << 20);
        *size += fread(bytes + *size, 1, capacity - *size - 1, file);
    } while (!feof(file) && !ferror(file));
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

static inline int compare_times(const void *left, const void *right) {
    int64_t a = *(const int64_t *) left, b = *(const int64_t *) right;
    return (a > b) - (a < b);
}

// Prints how many times there are and their median and 99th percentile in milliseconds, as members of a JSON object;
// sorts them.
static inline void print_times(int64_t *times, size_t count) {
    qsort(times, count, sizeof *times, compare_times);
    printf("\"count\": %zu", count);
    if (count > 0) {
        printf(", \"p50_ms\": %.4f, \"p99_ms\": %.4f", times[count / 2] / 1e6, times[count * 99 / 100] / 1e6);
    }
}
