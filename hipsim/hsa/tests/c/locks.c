/* Threads that ask about pointers while others map memory: nobody waits for ever. */
#define _GNU_SOURCE
#include "hsa.h"

#include <pthread.h>

enum { PAGE = 4096, ROUNDS = 20000 };

static int stop;

static void *ask(void *unused) {
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        pointer_info_t info = {.size = sizeof info};
        OK(hsa_amd_pointer_info(&info, &info, NULL, NULL, NULL));
    }
    return unused;
}

int main(void) {
    start();
    pthread_t asking[2];
    for (int i = 0; i < 2; i++) TRUE(!pthread_create(&asking[i], NULL, ask, NULL));
    hsa_vmem_t piece;
    void *at;
    OK(hsa_amd_vmem_address_reserve(&at, PAGE, 0, 0));
    OK(hsa_amd_vmem_handle_create(pool_of(gpus[0], 4), PAGE, 1, 0, &piece));
    for (int i = 0; i < ROUNDS; i++) {
        OK(hsa_amd_vmem_map(at, PAGE, 0, piece, 0));
        OK(hsa_amd_vmem_unmap(at, PAGE));
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) TRUE(!pthread_join(asking[i], NULL));
    puts("done");
    return 0;
}
