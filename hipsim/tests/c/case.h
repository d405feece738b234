/* What the case programs share: a case prints nothing and exits 0, or explains. */
#ifndef CASE_H
#define CASE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hipsim.h"

hipError_t hipMemset(void *to, int value, size_t size);

#define OK(call) expect((call), hipSuccess, #call, __LINE__)
#define IS(call, code) expect((call), code, #call, __LINE__)
#define TRUE(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) fprintf(stderr, "line %d: %s\n", __LINE__, #condition), exit(1);         \
    } while (0)

static void expect(hipError_t found, hipError_t wanted, const char *call, int line) {
    if (found != wanted) {
        fprintf(stderr, "line %d: %s: %d (%s), not %d\n", line, call, found, hipGetErrorName(found), wanted);
        exit(1);
    }
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static hipModule_t module;

static hipFunction_t kernel(const char *name) {
    hipFunction_t function;
    if (!module) OK(hipModuleLoadData(&module, HIPSIM_MODULE));
    OK(hipModuleGetFunction(&function, module, name));
    return function;
}

static void spin(double ms, hipStream_t stream) {
    uint64_t ns = (uint64_t)(ms * 1e6);
    void *params[] = {&ns};
    OK(hipModuleLaunchKernel(kernel("hipsim_spin"), 1, 1, 1, 64, 1, 1, 0, stream, params, NULL));
}

static void count(uint64_t *counter, uint64_t add, hipStream_t stream) {
    void *params[] = {&counter, &add};
    OK(hipModuleLaunchKernel(kernel("counter"), 1, 1, 1, 64, 1, 1, 0, stream, params, NULL));
    /* The storage is the caller's again. */
    counter = NULL;
    add = 1u << 30;
}

static hipStream_t stream_of(unsigned flags) {
    hipStream_t stream;
    OK(hipStreamCreateWithFlags(&stream, flags));
    return stream;
}

static void *device(size_t size) {
    void *p;
    OK(hipMalloc(&p, size));
    OK(hipMemset(p, 0, size));
    return p;
}

struct test_case {
    const char *name;
    void (*run)(void);
};
#define CASE(name) {#name, name}

/* The body of main: without arguments lists the cases, with one runs it. */
static int run_case(const struct test_case *cases, size_t count, int argc, char **argv) {
    for (size_t i = 0; i < count; i++) {
        if (argc < 2) puts(cases[i].name);
        else if (!strcmp(argv[1], cases[i].name)) return cases[i].run(), 0;
    }
    return argc < 2 ? 0 : (fprintf(stderr, "no case %s\n", argv[1]), 2);
}

#endif
