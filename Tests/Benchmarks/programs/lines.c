// Writes lines at a steady rate, each with its number and the time when it was written.
//
//     lines RATE COUNT DELAY-SECONDS
//
// The time is CLOCK_MONOTONIC's in nanoseconds: "line=000042 at=37247237190123".
#include "common.h"

int main(int argument_count, char **arguments) {
    if (argument_count != 4) {
        fprintf(stderr, "Usage: lines RATE COUNT DELAY-SECONDS\n");
        return 2;
    }
    double rate = atof(arguments[1]);
    long count = atol(arguments[2]);
    int64_t begin = now() + (int64_t) (atof(arguments[3]) * 1e9);
    for (long number = 0; number < count; number++) {
        int64_t moment = begin + (int64_t) (number * 1e9 / rate);
        // Not for less than a millisecond: what is due by then goes out together, as of a program that buffers.
        if (moment - now() > 1000000) {
            struct timespec until = {.tv_sec = moment / 1000000000, .tv_nsec = moment % 1000000000};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        }
        char line[64];
        int size = snprintf(line, sizeof line, "line=%06ld at=%lld\n", number, (long long) now());
        if (write(STDOUT_FILENO, line, size) != size) return 1;
    }
    return 0;
}
