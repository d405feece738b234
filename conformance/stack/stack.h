/* What the programs of the stack tier share: memory, a stream, and an end that says what went wrong.
 *
 * Libraries are declared here and in the programs only as far as they are used, so that no headers are needed. Kernels of
 * libraries take time and leave memory as it is: what the programs print are statuses, never results. */
#ifndef STACK_H
#define STACK_H

#include "../cases/transcript.h"
#include "hipsim.h"

static void *zeros(size_t bytes) {
    void *p;
    OK(hipMalloc(&p, bytes));
    OK(hipMemset(p, 0, bytes));
    return p;
}

static hipStream_t own_stream(void) {
    hipStream_t s;
    OK(hipStreamCreate(&s));
    return s;
}

/* Callers are named while their process lives. */
static int done(void) {
    say("done");
    sleep_ms(300);
    return 0;
}

#endif
