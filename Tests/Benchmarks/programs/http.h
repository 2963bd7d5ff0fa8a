// What the clients of the agent share: requests, and responses that are read line by line while they come.
#pragma once

#include "common.h"

#include <ctype.h>

static inline void send_all(int descriptor, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t count = send(descriptor, bytes, size, MSG_NOSIGNAL);
        if (count < 0) die("send");
        bytes += count;
        size -= count;
    }
}

// A source of lines: a file as it is, or the body of a response in chunks.
struct lines {
    int descriptor;
    bool is_chunked;
    // Of the chunk that is being read: what is still to come; 0 while its size line is read.
    size_t chunk_left;
    char size_line[32];
    size_t size_length;
    // The line that is being read.
    char *line;
    size_t length, capacity;
    // What has been read and not been looked at.
    char buffer[65536];
    size_t begin, end;
};

// Reads more, once, when next_line() has nothing left; false at the end.
static inline bool fill(struct lines *lines) {
    if (lines->begin < lines->end) {
        fprintf(stderr, "what has been read has not been looked at\n");
        exit(1);
    }
    ssize_t count = read(lines->descriptor, lines->buffer, sizeof lines->buffer);
    if (count < 0) die("read");
    lines->begin = 0;
    lines->end = count;
    return count > 0;
}

// The next line that is there in whole, without its end; NULL when there is none before the next fill().
static inline char *next_line(struct lines *lines) {
    while (lines->begin < lines->end) {
        if (lines->is_chunked && lines->chunk_left == 0) {
            // "\r\n" of the last chunk, then hexadecimal digits and "\r\n".
            char byte = lines->buffer[lines->begin++];
            if (isxdigit((unsigned char) byte) && lines->size_length < sizeof lines->size_line - 1) {
                lines->size_line[lines->size_length++] = byte;
            } else if (byte == '\n' && lines->size_length > 0) {
                lines->size_line[lines->size_length] = 0;
                lines->chunk_left = strtoull(lines->size_line, NULL, 16);
                lines->size_length = 0;
            }
            continue;
        }
        size_t count = lines->end - lines->begin;
        if (lines->is_chunked && count > lines->chunk_left) count = lines->chunk_left;
        char *bytes = lines->buffer + lines->begin;
        char *newline = memchr(bytes, '\n', count);
        if (newline) count = newline + 1 - bytes;
        if (lines->length + count + 1 > lines->capacity) {
            lines->capacity = (lines->length + count + 1) * 2;
            lines->line = realloc(lines->line, lines->capacity);
        }
        memcpy(lines->line + lines->length, bytes, count);
        lines->length += count;
        lines->begin += count;
        if (lines->is_chunked) lines->chunk_left -= count;
        if (newline) {
            lines->line[lines->length - 1] = 0;
            lines->length = 0;
            return lines->line;
        }
    }
    return NULL;
}

// Asks for a stream and reads the head of the response.
static inline void open_stream(struct lines *lines, const char *address, const char *path, const char *type) {
    memset(lines, 0, sizeof *lines);
    lines->descriptor = connect_to(address);
    char request[4096];
    int size = snprintf(
        request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n", path, type
    );
    send_all(lines->descriptor, request, size);
    bool is_ok = false, is_chunked = false;
    while (true) {
        char *line = next_line(lines);
        if (!line) {
            if (!fill(lines)) die("the stream has ended");
            continue;
        }
        if (strncmp(line, "HTTP/1.1 200 ", 13) == 0) is_ok = true;
        if (strcasestr(line, "transfer-encoding: chunked")) is_chunked = true;
        if (strcmp(line, "\r") == 0) break;
    }
    if (!is_ok || !is_chunked) {
        fprintf(stderr, "%s is no stream\n", path);
        exit(1);
    }
    lines->is_chunked = true;
}

// Reads a stream of events until the snapshot is complete; every line goes to a function.
static inline void read_snapshot(struct lines *lines, void (*take)(const char *line)) {
    bool is_complete = false;
    while (true) {
        char *line = next_line(lines);
        if (!line) {
            if (is_complete) return;
            if (!fill(lines)) die("the stream has ended");
            continue;
        }
        if (take) take(line);
        if (strcmp(line, "event: ready") == 0) is_complete = true;
    }
}

// The number N of the service PREFIX-N that an event's data line is about; -1 when it is about something else.
static inline int service_number(const char *line, const char *prefix) {
    if (strncmp(line, "data: ", 6) != 0) return -1;
    const char *name = strstr(line, "\"name\":\"");
    if (!name) return -1;
    name += 8;
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0 || name[length] != '-') return -1;
    char *end;
    long number = strtol(name + length + 1, &end, 10);
    return *end == '"' ? (int) number : -1;
}
