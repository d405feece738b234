/* xsched.h: tell the scheduler which of your program's GPU work matters.
 *
 * Header only, for C (C99) and C++ (C++11), with GCC or Clang on Linux. Nothing is linked: the functions look for xsched's
 * shim in the running program and do nothing where it is not there, so a program with hints runs anywhere. Before glibc 2.34
 * the program is linked with -ldl.
 *
 *     xsched_thread_class(XSCHED_LOW);             this thread's commands are batch work from here on
 *     xsched_stream_class(stream, XSCHED_LOW);     all commands on this stream are, whoever launches them
 *     xsched_burst_begin(); ... xsched_burst_end();  a request, so that latencies are those of requests
 *
 * A hint is a wish. By default the agent lets hints lower a class below the process's own; a rule may let them raise it or
 * turn them off (docs/HINTS.md). xsched_get_status() says what came of it. */
#ifndef XSCHED_H
#define XSCHED_H

#include <dlfcn.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Classes, lowest first. */
enum {
    XSCHED_NONE = -1, /* the process's own */
    XSCHED_LOW = 0,
    XSCHED_NORMAL = 1,
    XSCHED_HIGH = 2,
    XSCHED_REALTIME = 3
};

/* How the calling thread stands. */
struct xsched_status {
    int joined;        /* 1: the shim is there and has an agent */
    int thread_class;  /* of this thread's commands now; XSCHED_NONE while not joined */
    int process_class; /* of the process; XSCHED_NONE while not joined */
    int asked;         /* what this thread asked for; XSCHED_NONE: nothing */
};

typedef int64_t (*xsched_hint_function)(uint32_t what, uint64_t first, uint64_t second);

static inline int64_t xsched_no_shim(uint32_t what, uint64_t first, uint64_t second) {
    (void)what, (void)first, (void)second;
    return 0;
}

/* Looked up once. Threads that meet here find the same. */
static inline xsched_hint_function xsched_hint(void) {
    static void *known;
    void *found = __atomic_load_n(&known, __ATOMIC_ACQUIRE);
    if (!found) {
        /* NULL is RTLD_DEFAULT, which not every libc names without _GNU_SOURCE. */
        found = dlsym((void *)0, "xsched_hint_v1");
        if (!found) found = (void *)xsched_no_shim;
        __atomic_store_n(&known, found, __ATOMIC_RELEASE);
    }
    return (xsched_hint_function)found;
}

/* Whether the shim is in this program. */
static inline int xsched_present(void) {
    return xsched_hint() != xsched_no_shim;
}

/* The calling thread's class; XSCHED_NONE takes it back. Returns the one before, XSCHED_NONE for none. Threads do not inherit
 * it from the thread that creates them. */
static inline int xsched_thread_class(int wanted) {
    int64_t before = xsched_hint()(1, (uint64_t)(int64_t)wanted, 0);
    return xsched_present() && before >= 0 ? (int)before : XSCHED_NONE;
}

/* A stream's class, over that of whoever launches on it; XSCHED_NONE takes it back. The handle is the one that the runtime
 * knows it by. Returns the one before, or XSCHED_NONE. A program has at most 64 such streams; the class ends
 * with the stream. */
static inline int xsched_stream_class(const void *stream, int wanted) {
    int64_t before = xsched_hint()(2, (uint64_t)(uintptr_t)stream, (uint64_t)(int64_t)wanted);
    return xsched_present() && before >= 0 ? (int)before : XSCHED_NONE;
}

/* A request begins in the calling thread. One that is open ends there. */
static inline void xsched_burst_begin(void) {
    xsched_hint()(3, 0, 0);
}

/* It ends, in the same thread. */
static inline void xsched_burst_end(void) {
    xsched_hint()(4, 0, 0);
}

/* How the calling thread stands. */
static inline struct xsched_status xsched_get_status(void) {
    uint64_t raw = (uint64_t)xsched_hint()(5, 0, 0);
    struct xsched_status status;
    status.joined = (int)(raw & 1);
    status.thread_class = (int)(raw >> 8 & 0xff) - 1;
    status.process_class = (int)(raw >> 16 & 0xff) - 1;
    status.asked = (int)(raw >> 24 & 0xff) - 1;
    return status;
}

#ifdef __cplusplus
} /* extern "C" */

namespace xsched {

/* The calling thread has a class until the end of the block. */
class priority {
public:
    explicit priority(int wanted) : before_(xsched_thread_class(wanted)) {}
    ~priority() { xsched_thread_class(before_); }
    priority(const priority &) = delete;
    priority &operator=(const priority &) = delete;

private:
    int before_;
};

/* The block is a request. */
class burst {
public:
    burst() { xsched_burst_begin(); }
    ~burst() { xsched_burst_end(); }
    burst(const burst &) = delete;
    burst &operator=(const burst &) = delete;
};

} // namespace xsched
#endif

#endif
