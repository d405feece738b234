/* Memory and events that two processes share by handles. */
#include <sys/wait.h>
#include <unistd.h>

#include "hip.h"

/* What hipIpcMemHandle_t and hipIpcEventHandle_t are to a program. */
typedef struct hipIpcHandle {
    char reserved[64];
} hipIpcHandle;
enum { hipEventInterprocess = 4, hipIpcMemLazyEnablePeerAccess = 1 };

hipError_t hipIpcGetMemHandle(hipIpcHandle *handle, void *pointer);
hipError_t hipIpcOpenMemHandle(void **pointer, hipIpcHandle handle, unsigned flags);
hipError_t hipIpcCloseMemHandle(void *pointer);
hipError_t hipIpcGetEventHandle(hipIpcHandle *handle, hipEvent_t event);
hipError_t hipIpcOpenEventHandle(hipEvent_t *event, hipIpcHandle handle);

enum { Rounds = 40 };

/* One end of a pair of pipes; the processes part before either uses the device. */
typedef struct peer {
    int in, out;
    pid_t child;
} peer;

static void tell(peer p, const void *bytes, size_t size) {
    TRUE(write(p.out, bytes, size) == (ssize_t)size);
}

static void hear(peer p, void *bytes, size_t size) {
    for (size_t got = 0; got < size;) {
        ssize_t n = read(p.in, (char *)bytes + got, size - got);
        TRUE(n > 0);
        got += n;
    }
}

static void beat(peer p) {
    tell(p, "", 1);
}

static void await(peer p) {
    char byte;
    hear(p, &byte, 1);
}

/* In the child runs `child`, which does not return. */
static peer split(void (*child)(peer)) {
    int down[2], up[2];
    TRUE(!pipe(down) && !pipe(up));
    pid_t pid = fork();
    TRUE(pid >= 0);
    if (!pid) {
        close(down[1]), close(up[0]);
        child((peer){down[0], up[1], 0});
        _exit(0);
    }
    close(down[0]), close(up[1]);
    return (peer){up[0], down[1], pid};
}

static void joined(peer p) {
    int status;
    TRUE(waitpid(p.child, &status, 0) == p.child);
    say("child: exited %d with %d", WIFEXITED(status), WEXITSTATUS(status));
}

static hipEvent_t shared_event(peer p) {
    hipEvent_t event;
    hipIpcHandle handle;
    OK(hipEventCreateWithFlags(&event, hipEventInterprocess | hipEventDisableTiming));
    OK(hipIpcGetEventHandle(&handle, event));
    tell(p, &handle, sizeof handle);
    return event;
}

static hipEvent_t opened_event(peer p) {
    hipEvent_t event;
    hipIpcHandle handle;
    hear(p, &handle, sizeof handle);
    OK(hipIpcOpenEventHandle(&event, handle));
    return event;
}

static void *opened_memory(peer p) {
    void *pointer;
    hipIpcHandle handle;
    hear(p, &handle, sizeof handle);
    OK(hipIpcOpenMemHandle(&pointer, handle, hipIpcMemLazyEnablePeerAccess));
    return pointer;
}

/* Each process adds in turn, ordered by events alone: neither waits on the host for what the other launched. */
static void other_adds(peer p) {
    uint64_t *counter = opened_memory(p);
    hipEvent_t theirs = opened_event(p), ours = opened_event(p);
    hipStream_t s = stream_of(hipStreamNonBlocking);
    for (int i = 0; i < Rounds; i++) {
        await(p);
        OK(hipStreamWaitEvent(s, theirs, 0));
        for (int k = 0; k < 3; k++) count(counter, 1000, s);
        OK(hipEventRecord(ours, s));
        beat(p);
    }
    OK(hipStreamSynchronize(s));
    OK(hipIpcCloseMemHandle(counter));
    OK(hipEventDestroy(theirs));
    OK(hipEventDestroy(ours));
    exit(5);
}

static void ipc_events_order_two_processes(void) {
    peer p = split(other_adds);
    uint64_t *counter = device(8), seen[Rounds];
    hipIpcHandle handle;
    hipStream_t s = stream_of(0);
    OK(hipIpcGetMemHandle(&handle, counter));
    tell(p, &handle, sizeof handle);
    hipEvent_t ours = shared_event(p), theirs = shared_event(p);
    for (int i = 0; i < Rounds; i++) {
        spin(0.3, s);
        count(counter, 1, s);
        OK(hipEventRecord(ours, s));
        beat(p);
        await(p);
        OK(hipStreamWaitEvent(s, theirs, 0));
        OK(hipMemcpyAsync(&seen[i], counter, 8, hipMemcpyDeviceToHost, s));
    }
    OK(hipStreamSynchronize(s));
    for (int i = 0; i < Rounds; i++) TRUE(seen[i] == (i + 1) * 3001ul);
    say("counted %lu", (unsigned long)seen[Rounds - 1]);
    joined(p);
    OK(hipEventQuery(ours));
    OK(hipEventSynchronize(theirs));
}

/* The other process asks and waits on the host. */
static void other_asks(peer p) {
    uint32_t *words = opened_memory(p);
    hipEvent_t theirs = opened_event(p);
    OK(hipEventQuery(theirs)); /* never recorded */
    beat(p);
    await(p);
    OK(hipEventSynchronize(theirs));
    OK(hipEventQuery(theirs));
    uint32_t copy[1000];
    OK(hipMemcpy(copy, words, sizeof copy, hipMemcpyDeviceToHost));
    for (int i = 0; i < 1000; i++) TRUE(copy[i] == 77);
    OK(hipIpcCloseMemHandle(words));
    exit(6);
}

static void ipc_event_waited_for_on_the_host(void) {
    peer p = split(other_asks);
    char *memory = device(3 * 4096); /* the handle names a place inside the allocation */
    hipIpcHandle handle;
    hipStream_t s = stream_of(hipStreamNonBlocking);
    OK(hipIpcGetMemHandle(&handle, memory + 100));
    tell(p, &handle, sizeof handle);
    hipEvent_t event = shared_event(p);
    await(p);
    spin(5, s);
    fill(memory + 100, 77, 1000, s);
    OK(hipEventRecord(event, s));
    beat(p);
    joined(p);
    OK(hipEventDestroy(event));
    OK(hipFree(memory));
}

/* Work goes on in the memory while it becomes shared. */
static void other_reads(peer p) {
    for (int i = 0; i < 20; i++) {
        uint64_t *counter = opened_memory(p), value;
        await(p);
        OK(hipMemcpy(&value, counter, 8, hipMemcpyDeviceToHost));
        TRUE(value == 100);
        OK(hipIpcCloseMemHandle(counter));
    }
    exit(7);
}

static void ipc_memory_in_use_becomes_shared(void) {
    peer p = split(other_reads);
    hipStream_t s = stream_of(0);
    for (int i = 0; i < 20; i++) {
        uint64_t *counter = device(8);
        hipIpcHandle handle;
        for (int k = 0; k < 50; k++) count(counter, 1, s);
        OK(hipIpcGetMemHandle(&handle, counter));
        tell(p, &handle, sizeof handle);
        for (int k = 0; k < 50; k++) count(counter, 1, s);
        OK(hipStreamSynchronize(s));
        beat(p);
        say("counted %lu", (unsigned long)*counter);
    }
    joined(p);
}

static void ipc_wrong_handles(void) {
    hipIpcHandle handle, nonsense = {{1, 2, 3}};
    hipEvent_t event, plain;
    void *memory = device(100), *opened, *host;
    OK(hipHostMalloc(&host, 100, 0));
    SHOW(hipEventCreateWithFlags(&event, hipEventInterprocess)); /* without hipEventDisableTiming */
    OK(hipEventCreate(&plain));
    SHOW(hipIpcGetEventHandle(&handle, plain));
    SHOW(hipIpcGetMemHandle(&handle, NULL));
    SHOW(hipIpcGetMemHandle(NULL, memory));
    SHOW(hipIpcGetMemHandle(&handle, host));
    SHOW(hipIpcGetMemHandle(&handle, &handle));
    OK(hipIpcGetMemHandle(&handle, memory));
    SHOW(hipIpcOpenMemHandle(&opened, handle, 0));
    SHOW(hipIpcOpenMemHandle(&opened, handle, hipIpcMemLazyEnablePeerAccess)); /* this process's own */
    SHOW(hipIpcOpenEventHandle(&event, nonsense));
    SHOW(hipIpcCloseMemHandle(memory));
    OK(hipFree(memory));
    OK(hipEventCreateWithFlags(&event, hipEventInterprocess | hipEventDisableTiming));
    OK(hipIpcGetEventHandle(&handle, event));
    SHOW(hipIpcOpenEventHandle(&plain, handle));
    OK(hipEventDestroy(event));
}

CASES(CASE(ipc_events_order_two_processes), CASE(ipc_event_waited_for_on_the_host),
      CASE(ipc_memory_in_use_becomes_shared), CASE(ipc_wrong_handles))
