/* What the programs use of the driver that does nothing. */
#ifndef NULL_H
#define NULL_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef int (*launch_t)(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                        void *stream, void **params, void **extra);

extern volatile uint64_t null_launches;
int cuInit(unsigned flags);
int cuStreamCreate(void **stream, unsigned flags);
int cuCtxSynchronize(void);
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *stream, void **params, void **extra);
int null_straight_launch(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                         void *stream, void **params, void **extra);

static inline int launch_with(launch_t launch, void *stream) {
    return launch(NULL, 1, 1, 1, 1, 1, 1, 0, stream, NULL, NULL);
}
#endif
