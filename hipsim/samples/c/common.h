/* What the sample programs share: error checks, options, a stop flag, time. */
#ifndef COMMON_H
#define COMMON_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef CUDA
#include "cuda.h"
#else
#include "hipsim.h"
#endif

#define CHECK(call)                                                                                \
    do {                                                                                           \
        hipError_t check_error = (call);                                                           \
        if (check_error != hipSuccess) {                                                           \
            fprintf(stderr, "%s:%d: %s: %s (%d)\n", __FILE__, __LINE__, #call,                     \
                    hipGetErrorName(check_error), check_error);                                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static volatile sig_atomic_t stopped;

static void on_stop(int signal) {
    (void)signal;
    stopped = 1;
}

/* SIGTERM and SIGINT ask the program to finish and report. */
static void stop_on_signals(void) {
    struct sigaction action = {.sa_handler = on_stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* "1.5", "20ms", "300us", "2s" in seconds; bare numbers are seconds. */
static double parse_duration(const char *text) {
    char *unit;
    double value = strtod(text, &unit);
    double factor = !strcmp(unit, "") || !strcmp(unit, "s") ? 1
                    : !strcmp(unit, "ms")                   ? 1e-3
                    : !strcmp(unit, "us")                   ? 1e-6
                    : !strcmp(unit, "ns")                   ? 1e-9
                                                            : -1;
    if (unit == text || factor < 0 || value < 0) {
        fprintf(stderr, "not a duration: %s (such as 20ms, 300us, 2s)\n", text);
        exit(2);
    }
    return value * factor;
}

/* The value after an option, or its default. */
static const char *option(int argc, char **argv, const char *name, const char *otherwise) {
    for (int i = 1; i + 1 < argc; i++)
        if (!strcmp(argv[i], name)) return argv[i + 1];
    return otherwise;
}

/* Refuses what the program does not know; every option takes a value. */
static void check_options(int argc, char **argv, const char *const *known) {
    for (int i = 1; i < argc; i += 2) {
        const char *const *name = known;
        while (*name && strcmp(*name, argv[i])) name++;
        if (!*name || i + 1 == argc) {
            fprintf(stderr, "usage: %s", argv[0]);
            for (name = known; *name; name++) fprintf(stderr, " [%s VALUE]", *name);
            fprintf(stderr, "\n");
            exit(2);
        }
    }
}

static void sleep_until(double when) {
    struct timespec time = {.tv_sec = (time_t)when, .tv_nsec = (long)((when - (double)(time_t)when) * 1e9)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

#endif
