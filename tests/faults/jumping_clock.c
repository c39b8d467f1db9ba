/* A wall clock that jumps: put before the C library with LD_PRELOAD, it adds the seconds that stand
 * in a mapped file to CLOCK_REALTIME. Every process that inherits it sees the same jump at once.
 *
 * A kernel whose clock jumps would move deadlines on that clock, too: what is given as an absolute
 * time comes from this clock, so the shift is taken off again.
 *
 * Built and loaded by test_jumping_clock.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ON_MONOTONIC 2 /* glibc's mark in a condition variable that has another clock */

static volatile const long *seconds;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("JUMPING_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *place = MAP_FAILED;
    if (file >= 0)
        place = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0), close(file);
    if (place != MAP_FAILED)
        seconds = place;
}

static long shift(void) { return seconds ? *seconds : 0; }

static int shifted(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

static struct timespec real(const struct timespec *deadline) {
    return (struct timespec){deadline->tv_sec - shift(), deadline->tv_nsec};
}

static void *next(const char *name) {
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2"); /* of conditions; there is an older one */
    return found ? found : dlsym(RTLD_NEXT, name);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && shifted(clock))
        now->tv_sec += shift();
    return (int)result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec found;
    int result = clock_gettime(CLOCK_REALTIME, &found);
    *now = (struct timeval){found.tv_sec, found.tv_nsec / 1000};
    return result;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now)
        *now = found.tv_sec;
    return found.tv_sec;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted,
                    struct timespec *left) {
    struct timespec deadline = *wanted;
    if ((flags & TIMER_ABSTIME) && shifted(clock))
        deadline = real(wanted);
    return syscall(SYS_clock_nanosleep, clock, flags, &deadline, left) == 0 ? 0 : errno;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    static int (*wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!wait)
        wait = next("pthread_cond_timedwait");
    struct timespec until = *deadline;
    if (!(condition->__data.__wrefs & ON_MONOTONIC))
        until = real(deadline);
    return wait(condition, mutex, &until);
}

int pthread_cond_clockwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           clockid_t clock, const struct timespec *restrict deadline) {
    static int (*wait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    if (!wait)
        wait = next("pthread_cond_clockwait");
    struct timespec until = shifted(clock) ? real(deadline) : *deadline;
    return wait(condition, mutex, clock, &until);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    static int (*wait)(sem_t *, const struct timespec *);
    if (!wait)
        wait = next("sem_timedwait");
    struct timespec until = real(deadline);
    return wait(semaphore, &until);
}
