/* The same cases on the CUDA driver API. */
#include "words.h"

#include "../ipc.c"

/* ipc.c declares these for itself. Both handles are 64 bytes. */
static CUipcHandle said(hipIpcHandle handle) {
    CUipcHandle words;
    memcpy(&words, &handle, sizeof words);
    return words;
}

hipError_t hipIpcGetMemHandle(hipIpcHandle *handle, void *pointer) {
    ready();
    return cuIpcGetMemHandle((CUipcHandle *)handle, P(pointer));
}

hipError_t hipIpcOpenMemHandle(void **pointer, hipIpcHandle handle, unsigned flags) {
    ready();
    return cuIpcOpenMemHandle_v2((CUdeviceptr *)pointer, said(handle), flags);
}

hipError_t hipIpcCloseMemHandle(void *pointer) {
    ready();
    return cuIpcCloseMemHandle(P(pointer));
}

hipError_t hipIpcGetEventHandle(hipIpcHandle *handle, hipEvent_t event) {
    ready();
    return cuIpcGetEventHandle((CUipcHandle *)handle, event);
}

hipError_t hipIpcOpenEventHandle(hipEvent_t *event, hipIpcHandle handle) {
    ready();
    return cuIpcOpenEventHandle(event, said(handle));
}
