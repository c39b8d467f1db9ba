/* A disk that fails: put before the C library with LD_PRELOAD, it counts the calls that change
 * what lies under one folder, names each in a log, and fails those it was armed for, or ends the
 * process there where the error is 0.
 *
 * Built and loaded by failing_disk.py. SQLite and Python both write through these functions.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t length; /* 0: not armed, nothing is counted */
static long first, last; /* calls that fail, counted from 1; a full disk's last is LONG_MAX */
static int code, halved, diary = -1;
static long calls, injected;
static __thread char place[PATH_MAX];

void failing_disk_arm(const char *under, long from, long to, int error, int half, int log) {
    strncpy(folder, under, sizeof folder - 1);
    first = from, last = to, code = error, halved = half, diary = log;
    calls = injected = 0;
    length = strlen(folder);
}

void failing_disk_disarm(void) { length = 0; }
long failing_disk_calls(void) { return calls; }
long failing_disk_injected(void) { return injected; }

static int inside(const char *path) {
    return length && path && !strncmp(path, folder, length) &&
           (path[length] == '/' || !path[length]);
}

static int inside_of(int descriptor) {
    char link[32];
    if (!length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t n = readlink(link, place, sizeof place - 1);
    if (n < 0) return 0;
    place[n] = 0;
    return inside(place);
}

/* 0: let it through; 1: fail it with errno set; 2: write one half of it. */
static int fails(const char *call, const char *path) {
    long now = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (diary >= 0) dprintf(diary, "%s %s\n", call, path + length);
    if (now < first || now > last) return 0;
    if (!code) kill(getpid(), SIGKILL);
    if (code == ENOSPC && !strcmp(call, "unlink")) return 0; /* makes room */
    __atomic_add_fetch(&injected, 1, __ATOMIC_SEQ_CST);
    if (halved && now == first && !strcmp(call, "write")) return 2;
    errno = code;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define WRITES(name, parameters, whole, half)                                                   \
    ssize_t name parameters {                                                                   \
        __typeof__(&name) real = REAL(name);                                                    \
        int how = inside_of(fd) ? fails("write", place) : 0;                                    \
        if (how == 1) return -1;                                                                \
        return how == 2 && size > 1 ? real half : real whole;                                   \
    }

WRITES(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, size / 2))
WRITES(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at),
       (fd, data, size / 2, at))
WRITES(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at),
       (fd, data, size / 2, at))
WRITES(writev, (int fd, const struct iovec *parts, int size), (fd, parts, size),
       (fd, parts, size / 2))
WRITES(copy_file_range,
       (int source, off64_t *from, int fd, off64_t *to, size_t size, unsigned flags),
       (source, from, fd, to, size, flags), (source, from, fd, to, size / 2, flags))

ssize_t sendfile(int fd, int source, off_t *from, size_t size);
ssize_t sendfile64(int fd, int source, off64_t *from, size_t size);
WRITES(sendfile, (int fd, int source, off_t *from, size_t size), (fd, source, from, size),
       (fd, source, from, size / 2))
WRITES(sendfile64, (int fd, int source, off64_t *from, size_t size), (fd, source, from, size),
       (fd, source, from, size / 2))

#define ON_DESCRIPTOR(name, parameters, arguments, call)                                        \
    int name parameters {                                                                       \
        __typeof__(&name) real = REAL(name);                                                    \
        if (inside_of(fd) && fails(call, place)) return -1;                                     \
        return real arguments;                                                                  \
    }

ON_DESCRIPTOR(fsync, (int fd), (fd), "sync")
ON_DESCRIPTOR(fdatasync, (int fd), (fd), "sync")
ON_DESCRIPTOR(ftruncate, (int fd, off_t size), (fd, size), "truncate")
ON_DESCRIPTOR(ftruncate64, (int fd, off64_t size), (fd, size), "truncate")

#define ON_PATH(name, parameters, arguments, path, call)                                        \
    int name parameters {                                                                       \
        __typeof__(&name) real = REAL(name);                                                    \
        if (inside(path) && fails(call, path)) return -1;                                       \
        return real arguments;                                                                  \
    }

ON_PATH(rename, (const char *from, const char *to), (from, to), to, "rename")
ON_PATH(renameat, (int one, const char *from, int other, const char *to),
        (one, from, other, to), to, "rename")
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), path, "mkdir")
ON_PATH(unlink, (const char *path), (path), path, "unlink")

#define OPENS(name, parameters, arguments)                                                      \
    int name parameters {                                                                       \
        __typeof__(&name) real = REAL(name);                                                    \
        mode_t mode = 0;                                                                        \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                    \
            va_list rest;                                                                       \
            va_start(rest, flags);                                                              \
            mode = va_arg(rest, mode_t);                                                        \
            va_end(rest);                                                                       \
        }                                                                                       \
        int writing = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;                       \
        if (writing && inside(path) && fails("open", path)) return -1;                          \
        return real arguments;                                                                  \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPENS(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))
