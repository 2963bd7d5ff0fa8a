// What a service runs whose start is measured: the first thing that it does is to tell the time.
//
//     first SOCKET NAME-NUMBER
//
// Sends the number and CLOCK_MONOTONIC to the datagram socket, and then waits for a signal.
#include "first.h"

int main(int argument_count, char **arguments) {
    struct first first = {.at = now()};
    if (argument_count != 3) return 2;
    first.number = atoi(strrchr(arguments[2], '-') + 1);
    struct sockaddr_storage address;
    socklen_t length = parse_unix_address(arguments[1], &address);
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sendto(descriptor, &first, sizeof first, 0, (struct sockaddr *) &address, length) < 0) die("sendto");
    pause();
}
