/* What every case program has: a transcript on standard output, and a table of cases.
 *
 * `program` lists its cases, `program NAME` runs one. A transcript holds what may not differ between runs (values, order,
 * error codes), never addresses, times or thread ids. */
#ifndef TRANSCRIPT_H
#define TRANSCRIPT_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One line of the transcript, written at once: processes share the file. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

/* The call and the name of its result. */
#define SHOW(call) say("%s = %s", #call, hipGetErrorName(call))
/* A step that must succeed. */
#define OK(call) must_succeed((call), #call, __LINE__)
/* A condition that holds in every run. */
#define TRUE(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) say("line %d: not true: %s", __LINE__, #condition), exit(1);             \
    } while (0)

static void must_succeed(int error, const char *call, int line) {
    if (error) {
        say("line %d: %s: error %d", line, call, error);
        exit(1);
    }
}

/* FNV-1a, for results that are too long to print. */
static unsigned long checksum(const void *data, size_t size) {
    const unsigned char *bytes = (const unsigned char *)data;
    unsigned long hash = 0xcbf29ce484222325ul;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3ul;
    return hash;
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void sleep_ms(double ms) {
    struct timespec t = {(time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000};
    while (nanosleep(&t, &t)) continue;
}

struct test_case {
    const char *name;
    void (*run)(void);
};

#define CASE(name) {#name, name}
#define CASES(...)                                                                                 \
    int main(int argc, char **argv) {                                                              \
        const struct test_case cases[] = {__VA_ARGS__};                                            \
        return run_case(cases, sizeof cases / sizeof *cases, argc, argv);                          \
    }

static int run_case(const struct test_case *cases, size_t count, int argc, char **argv) {
    for (size_t i = 0; i < count; i++) {
        if (argc < 2) puts(cases[i].name);
        else if (!strcmp(argv[1], cases[i].name)) return cases[i].run(), 0;
    }
    return argc < 2 ? 0 : (fprintf(stderr, "no case %s\n", argv[1]), 2);
}

#endif
