/* What a killed process leaves of what it shared: nothing that others wait for, and no file. `ipc DEVICE` */
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

typedef struct hipIpcHandle {
    char reserved[64];
} hipIpcHandle;
hipError_t hipIpcGetMemHandle(hipIpcHandle *handle, void *pointer);
hipError_t hipIpcOpenMemHandle(void **pointer, hipIpcHandle handle, unsigned flags);
hipError_t hipIpcCloseMemHandle(void *pointer);
hipError_t hipIpcGetEventHandle(hipIpcHandle *handle, hipEvent_t event);
hipError_t hipIpcOpenEventHandle(hipEvent_t *event, hipIpcHandle handle);

static void share_and_work(int out) {
    hipIpcHandle handles[2];
    hipEvent_t event;
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint32_t *memory = device(5000);
    memory[7] = 42;
    OK(hipEventCreateWithFlags(&event, 4 | hipEventDisableTiming));
    OK(hipIpcGetMemHandle(&handles[0], memory + 7));
    OK(hipIpcGetEventHandle(&handles[1], event));
    spin(3600e3, s);
    OK(hipEventRecord(event, s));
    TRUE(write(out, handles, sizeof handles) == sizeof handles);
    for (;;) pause();
}

static int files_beside(const char *device) {
    char folder[4096];
    const char *name = strrchr(device, '/') + 1;
    int found = 0;
    snprintf(folder, sizeof folder, "%.*s", (int)(name - device), device);
    DIR *dir = opendir(folder);
    TRUE(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        found += !strncmp(entry->d_name, name, strlen(name)) && strstr(entry->d_name, ".ipc-");
    closedir(dir);
    return found;
}

int main(int argc, char **argv) {
    int ends[2];
    TRUE(argc == 2 && !pipe(ends));
    pid_t child = fork();
    if (!child) share_and_work(ends[1]);
    hipIpcHandle handles[2];
    TRUE(read(ends[0], handles, sizeof handles) == sizeof handles);
    uint32_t *memory;
    hipEvent_t event;
    hipStream_t s = stream_of(0);
    OK(hipIpcOpenMemHandle((void **)&memory, handles[0], 1));
    OK(hipIpcOpenEventHandle(&event, handles[1]));
    TRUE(memory[0] == 42);
    TRUE(files_beside(argv[1]) == 2);
    /* An hour of the other's work is before us. */
    IS(hipEventQuery(event), hipErrorNotReady);
    OK(hipStreamWaitEvent(s, event, 0));
    IS(hipStreamQuery(s), hipErrorNotReady);
    kill(child, SIGKILL);
    TRUE(waitpid(child, NULL, 0) == child);
    double begun = now_ms();
    OK(hipStreamSynchronize(s));
    OK(hipEventSynchronize(event));
    OK(hipEventQuery(event));
    TRUE(now_ms() - begun < 5000);
    TRUE(memory[0] == 42); /* who has it mapped keeps it */
    OK(hipIpcCloseMemHandle(memory));
    /* Whoever uses the device takes away what the dead left. */
    for (int i = 0; i < 1000 && files_beside(argv[1]); i++) {
        spin(0.01, s);
        OK(hipStreamSynchronize(s));
        usleep(1000);
    }
    return files_beside(argv[1]);
}
