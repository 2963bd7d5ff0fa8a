// The interface of libFuzzer, which has no header of its own.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Parses the command line and calls back with one input after another. Returns the exit status.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *start, size_t count));
