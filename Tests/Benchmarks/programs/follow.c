// Follows what `lines` writes, and tells how late it came, what was missing, and what it cost.
//
//     follow COUNT PID ADDRESS PATH       the agent's stream, with PID the agent
//     follow COUNT COMMAND ARGUMENT…      what a command writes
//
// Ends with the line whose number is COUNT - 1, or when nothing has come for 3 s. Prints JSON: how many lines came, the
// times from the writing of a line to its arrival, how late the last one was, and the processor time in seconds that
// the process followed took from the first line to the last.
#include "http.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

static double processor_seconds(pid_t pid) {
    clockid_t clock;
    struct timespec time;
    if ((errno = clock_getcpuclockid(pid, &clock)) != 0 || clock_gettime(clock, &time) < 0) die("clock_getcpuclockid");
    return time.tv_sec + time.tv_nsec / 1e9;
}

static pid_t run(struct lines *lines, char **command) {
    int ends[2];
    if (pipe(ends) < 0) die("pipe");
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execvp(command[0], command);
        die(command[0]);
    }
    close(ends[1]);
    lines->descriptor = ends[0];
    return pid;
}

int main(int argument_count, char **arguments) {
    if (argument_count < 4) {
        fprintf(stderr, "Usage: follow COUNT PID ADDRESS PATH\n       follow COUNT COMMAND ARGUMENT…\n");
        return 2;
    }
    long count = atol(arguments[1]), received = 0, repeated = 0, last = -1;
    static struct lines lines;
    pid_t child = 0, pid = atoi(arguments[2]);
    if (pid > 0) {
        open_stream(&lines, arguments[3], arguments[4], "application/x-ndjson");
    } else {
        pid = child = run(&lines, arguments + 2);
    }
    int64_t *times = calloc(count, sizeof *times);
    int64_t lateness = 0;
    struct pollfd poll_descriptor = {.fd = lines.descriptor, .events = POLLIN};
    double begin = processor_seconds(pid), end = begin;
    while (true) {
        int64_t moment = now();
        char *line;
        while ((line = next_line(&lines))) {
            char *mark = strstr(line, "line=");
            if (!mark) continue;
            char *at = NULL;
            long number = strtol(mark + 5, &at, 10);
            if (strncmp(at, " at=", 4) != 0) continue;
            if (number <= last || received >= count) {
                repeated++;
                continue;
            }
            lateness = moment - strtoll(at + 4, NULL, 10);
            times[received++] = lateness;
            last = number;
        }
        end = processor_seconds(pid);
        // It may take a while until the first line; then it is the end when none has come for 3 s.
        if (last >= count - 1 || poll(&poll_descriptor, 1, received > 0 ? 3000 : 15000) <= 0 || !fill(&lines)) break;
    }
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    printf(
        "{\"repeated\": %ld, \"last_ms\": %.3f, \"cpu_seconds\": %.4f, ", repeated, lateness / 1e6, end - begin
    );
    print_times(times, received);
    printf("}\n");
    return 0;
}
