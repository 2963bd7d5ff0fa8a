// Starts a server over and over and tells after what time a client that was there before it had its answer.
//
//     starts COUNT ADDRESS PATH PROGRAM ARGUMENT…
//
// Listens on ADDRESS and hands it on as systemd does (sd_listen_fds(3)). Each time is that from fork(2) to the end of
// the first response to GET PATH with status 200; one with another status is followed by the same request again. The
// server is killed each time. Prints JSON.
#include "http.h"

#include <signal.h>
#include <sys/wait.h>

static void become(int listener, char **command) {
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "api", 1);
    // dup2() does nothing, so that the descriptor would be closed, where it is this one already.
    int copy = fcntl(listener, F_DUPFD, 10);
    if (dup2(copy, 3) < 0) die("dup2");
    close(copy);
    // What it logs is not what is looked for here.
    int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    execv(command[0], command);
    _exit(127);
}

// The status of a response, once it has been read whole.
static int read_response(int descriptor) {
    char answer[65536];
    size_t length = 0;
    while (true) {
        ssize_t received = recv(descriptor, answer + length, sizeof answer - 1 - length, 0);
        if (received <= 0) die("no answer");
        length += received;
        answer[length] = 0;
        char *end = strstr(answer, "\r\n\r\n");
        char *size = strcasestr(answer, "\r\ncontent-length: ");
        if (end && size && end + 4 + atol(size + 18) <= answer + length) return atoi(answer + 9);
    }
}

int main(int argument_count, char **arguments) {
    if (argument_count < 5) {
        fprintf(stderr, "Usage: starts COUNT ADDRESS PATH PROGRAM ARGUMENT…\n");
        return 2;
    }
    int count = atoi(arguments[1]);
    int64_t *times = calloc(count, sizeof *times);
    const char *address = arguments[2];
    char request[512];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", arguments[3]);
    for (int index = 0; index < count; index++) {
        int listener = listen_at(address);
        int client = connect_to(address);
        send_all(client, request, size);
        int64_t begin = now();
        pid_t pid = fork();
        if (pid < 0) die("fork");
        if (pid == 0) become(listener, arguments + 4);
        while (read_response(client) != 200) {
            struct timespec time = {.tv_nsec = 1000000};
            nanosleep(&time, NULL);
            send_all(client, request, size);
        }
        times[index] = now() - begin;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(client);
        close(listener);
    }
    printf("{");
    print_times(times, count);
    printf("}\n");
    return 0;
}
