"""What the workers of `gpu-bench` do in a rehearsal: kernels of the simulated
driver, by its own interface. The names of the kernels say how long they take
(`HIPSIM_KERNELS`).
"""

import ctypes
import time

PTX = b"""
.version 7.0
.target sm_70
.address_size 64
.visible .entry short_kernel() { ret; }
.visible .entry batch_kernel() { ret; }
.visible .entry long_kernel() { ret; }
\0"""

cuda = ctypes.CDLL("libcuda.so.1")


def check(status):
    if status != 0:
        raise RuntimeError(f"the driver answered {status}")


check(cuda.cuInit(0))
device, context, module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
check(cuda.cuDeviceGet(ctypes.byref(device), 0))
check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
check(cuda.cuCtxSetCurrent(context))
check(cuda.cuModuleLoadData(ctypes.byref(module), PTX))


def function(name):
    found = ctypes.c_void_p()
    check(cuda.cuModuleGetFunction(ctypes.byref(found), module, name))
    return found


SHORT, BATCH, LONG = (function(name) for name in (b"short_kernel", b"batch_kernel", b"long_kernel"))
is_current = False


def launch(kernel, times):
    global is_current
    if not is_current:
        check(cuda.cuCtxSetCurrent(context))
        is_current = True
    none = ctypes.c_void_p(0)
    for _ in range(times):
        check(cuda.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, none, none, none))
    check(cuda.cuCtxSynchronize())


class Load:
    def __init__(self, name, per_second, kernel, launches, waits, pause=0.0):
        self.name = name
        self.per_second = per_second
        self.kernel = kernel
        self.launches = launches
        self.waits = waits
        self.pause = pause

    def iterate(self):
        for _ in range(self.waits):
            launch(self.kernel, self.launches)
        time.sleep(self.pause)
        return 1


LOADS = {
    "service": (20, SHORT, 20, 1),
    "decode": (10, SHORT, 4, 40),
    "heavy": (8, SHORT, 150, 1),
    "resnet50": (None, BATCH, 20, 1),
    "matmul": (None, LONG, 1, 1),
    "filler": (None, SHORT, 1, 1, 0.0005),
}


def load(name):
    return Load(name, *LOADS[name])


def trace(one, times):
    for _ in range(times):
        one.iterate()
    return times * one.launches * one.waits
