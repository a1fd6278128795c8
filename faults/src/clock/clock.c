/* A clock of day that is off by as many seconds as a file says; preloaded into the process that is to believe it.
 *
 * The clock that only goes forward is left alone. Waits that end at a moment of the clock of day end when this clock shows
 * it, as the kernel has it: set back by an hour, they last an hour longer. (libfaketime does not know C11's cnd_timedwait.) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* How long a change of the clock may go unseen by who waits. */
#define LOOK_NS 20000000

static const volatile int64_t *file;
static int (*real_cnd)(cnd_t *, mtx_t *, const struct timespec *);
static int (*real_pthread)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CLOCK");
    int opened = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (opened >= 0) {
        void *mapped = mmap(NULL, sizeof *file, PROT_READ, MAP_SHARED, opened, 0);
        file = mapped == MAP_FAILED ? NULL : mapped;
        close(opened);
    }
    real_cnd = dlsym(RTLD_NEXT, "cnd_timedwait");
    real_pthread = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real_pthread)
        real_pthread = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
}

static int64_t off(void) { return file ? *file : 0; }

static int64_t nanoseconds(const struct timespec *time) {
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += off();
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *time, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}

/* The true moment up to which to wait: that of the next look, if the clock has not shown `until` by then. */
static int next_look(const struct timespec *until, struct timespec *look) {
    struct timespec shown;
    clock_gettime(CLOCK_REALTIME, &shown);
    int64_t left = nanoseconds(until) - nanoseconds(&shown);
    int is_last = left <= LOOK_NS;
    left = left < 0 ? 0 : is_last ? left : LOOK_NS;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, look);
    int64_t at = nanoseconds(look) + left;
    look->tv_sec = at / 1000000000;
    look->tv_nsec = at % 1000000000;
    return is_last;
}

/* To be woken for nothing is allowed: whoever waits looks at what it waits for, and waits on. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    struct timespec look;
    int is_last = next_look(until, &look);
    int result = real_cnd(condition, mutex, &look);
    return result == thrd_timedout && !is_last ? thrd_success : result;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    struct timespec look;
    int is_last = next_look(until, &look);
    int result = real_pthread(condition, mutex, &look);
    return result != 0 && !is_last ? 0 : result;
}
