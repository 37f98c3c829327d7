/* Preloaded: counts the calls on files below a folder, and fails one of them. `failing_calls_arm(n, errno, folder)` fails
   the n-th from now on (0: none) and gives back how many there were since the last arming. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char under[4096];
static int target, code, seen;

int failing_calls_arm(int n, int error, const char *folder) {
    int before = seen;
    seen = 0;
    code = error;
    target = n;
    snprintf(under, sizeof under, "%s", folder ? folder : "");
    return before;
}

static int is_below(const char *path) {
    static __thread int busy;
    char real[4096];
    if (!under[0] || !path || busy) return 0;
    if (!strncmp(path, "/proc/self/fd/", 14)) {
        busy = 1;
        ssize_t n = readlink(path, real, sizeof real - 1);
        busy = 0;
        if (n < 0) return 0;
        real[n] = 0;
        path = real;
    }
    return !strncmp(path, under, strlen(under));
}

static int is_open_below(int fd) {
    char link[64];
    if (!under[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return is_below(link);
}

static int fails(int counts) {
    if (!counts) return 0;
    if (++seen != target) return 0;
    errno = code;
    return 1;
}

#define REAL(name) static __typeof__(name) *real; if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

int open(const char *path, int flags, ...) {
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest);
    REAL(open);
    return fails(is_below(path)) ? -1 : real(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest);
    REAL(open64);
    return fails(is_below(path)) ? -1 : real(path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest);
    REAL(openat64);
    return fails(is_below(path)) ? -1 : real(folder, path, flags, mode);
}
ssize_t read(int fd, void *data, size_t size) { REAL(read); return fails(is_open_below(fd)) ? -1 : real(fd, data, size); }
ssize_t pread64(int fd, void *data, size_t size, off64_t at) { REAL(pread64); return fails(is_open_below(fd)) ? -1 : real(fd, data, size, at); }
ssize_t write(int fd, const void *data, size_t size) { REAL(write); return fails(is_open_below(fd)) ? -1 : real(fd, data, size); }
int fsync(int fd) { REAL(fsync); return fails(is_open_below(fd)) ? -1 : real(fd); }
int fstat64(int fd, struct stat64 *status) { REAL(fstat64); return fails(is_open_below(fd)) ? -1 : real(fd, status); }
int stat64(const char *path, struct stat64 *status) { REAL(stat64); return fails(is_below(path)) ? -1 : real(path, status); }
int lstat64(const char *path, struct stat64 *status) { REAL(lstat64); return fails(is_below(path)) ? -1 : real(path, status); }
int fchmod(int fd, mode_t mode) { REAL(fchmod); return fails(is_open_below(fd)) ? -1 : real(fd, mode); }
int rename(const char *from, const char *to) { REAL(rename); return fails(is_below(from)) ? -1 : real(from, to); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); return fails(is_open_below(fd)) ? -1 : real(fd, size); }
