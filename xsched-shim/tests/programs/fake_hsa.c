/* libhsa-runtime64 as far as the shim looks at it: queues and their priorities. */
#include <stdint.h>
#include <stdlib.h>

struct queue {
    _Alignas(64) int priority; /* 1 is the usual one */
    int sets, destroyed;
    uint32_t size, private_size, group_size;
};

uint32_t hsa_queue_create(uint64_t agent, uint32_t size, uint32_t kind, void *callback, void *data, uint32_t private_size,
                          uint32_t group_size, struct queue **queue) {
    if (agent != 7 || kind != 2 || callback || data) return 0x1001;
    struct queue *made = aligned_alloc(64, 64);
    *made = (struct queue){1, 0, 0, size, private_size, group_size};
    *queue = made;
    return 0;
}

uint32_t hsa_queue_destroy(struct queue *queue) {
    queue->destroyed = 1;
    return 0;
}

uint32_t hsa_amd_queue_set_priority(struct queue *queue, uint32_t priority) {
    queue->priority = (int)priority;
    queue->sets += 1 + 100 * queue->destroyed;
    return 0;
}
