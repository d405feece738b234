/* Every argument, the stack and the return address must reach the runtime as
 * they were. Prints what differs, nothing if all is well. */
#include "hip.h"
#include <errno.h>
#include <stdio.h>

#define CHECK(condition) do { if (!(condition)) { printf("line %d: %s\n", __LINE__, #condition); bad = 1; } } while (0)
#define U(i) (fake_last.integers[i])

static int bad;

__attribute__((noinline)) static int launch(long salt) {
    volatile uint64_t canary[4] = { 1, 2, 3, 4 };
    dim3 grid = { 11, 12, 13 }, block = { 21, 22, 23 };
    int error = hipLaunchKernel((void *)(0x1000 + salt), grid, block, (void **)(0x2000 + salt),
                                0x3000 + salt, NULL);
    CHECK(U(0) == 0x1000 + salt && U(1) == 0x2000 + salt && U(2) == 0x3000 + salt && U(3) == 0);
    CHECK(fake_last.grid.x == 11 && fake_last.grid.y == 12 && fake_last.grid.z == 13);
    CHECK(fake_last.block.x == 21 && fake_last.block.y == 22 && fake_last.block.z == 23);
    /* The runtime was entered by a jump: it returns here. */
    CHECK((char *)fake_last.return_address > (char *)launch &&
          (char *)fake_last.return_address < (char *)launch + 4096);
    /* And its stack is ours: return address and saved rbp below our frame. */
    CHECK((char *)fake_last.frame < (char *)canary && (char *)canary - (char *)fake_last.frame < 4096);
    CHECK(((uintptr_t)fake_last.frame & 15) == 0);
    CHECK(canary[0] == 1 && canary[1] == 2 && canary[2] == 3 && canary[3] == 4);
    return error;
}

__attribute__((noinline)) static int module_launch(void) {
    int error = hipModuleLaunchKernel((void *)0x10, 1, 2, 3, 4, 5, 6, 7, NULL, (void **)0x20, (void **)0x30);
    uint64_t expected[] = { 0x10, 1, 2, 3, 4, 5, 6, 7, 0, 0x20, 0x30 };
    for (int i = 0; i < 11; i++) CHECK(U(i) == expected[i]);
    CHECK((char *)fake_last.return_address > (char *)module_launch &&
          (char *)fake_last.return_address < (char *)module_launch + 4096);
    return error;
}

int main(void) {
    for (long i = 0; i < 100; i++) {
        CHECK(launch(i) == 0);
        CHECK(module_launch() == 0);
    }
    fake_next_error = 98;
    errno = 77;
    CHECK(launch(1) == 98);
    CHECK(errno == 77);
    CHECK(hipGetLastError() == 98);
    fake_next_error = 701;
    CHECK(module_launch() == 701);
    CHECK(hipGetLastError() == 701);
    errno = 77;
    CHECK(hipDeviceSynchronize() == 0);
    CHECK(errno == ENOTTY); /* the runtime's, not ours */
    CHECK(fake_launches == 202);
    return bad;
}
