// The libc headers of the launcher. No code.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// open(2) and fcntl(2) are variadic, which Swift does not call: the same functions with the arguments that are used.
int miosa_open(const char *path, int flags) __asm__("open");
int miosa_fcntl(int descriptor, int command, int argument) __asm__("fcntl");
// pipe2(2), which glibc declares for its own dialect of C alone.
int miosa_pipe2(int *descriptors, int flags) __asm__("pipe2");
// signal(2), with SIG_IGN and SIG_DFL as the numbers that they are.
long miosa_signal(int signal, long handler) __asm__("signal");
// splice(2), which glibc declares for its own dialect of C alone; without offsets.
long miosa_splice(int in, const void *, int out, const void *, unsigned long size, unsigned flags) __asm__("splice");
