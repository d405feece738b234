"""Triton: its compiler, its driver's look-ups in the runtime, its launcher. Without PyTorch, which it asks for the device
and the stream: a stand-in says device 0 and the null stream."""
import ctypes
import sys
import time
import types

sys.path.pop(0)  # this folder has files of the libraries' names


def runtime():
    """The one that is there."""
    try:
        return ctypes.CDLL("libamdhip64.so.7")
    except OSError:
        return ctypes.CDLL("libamdhip64.so.6")


hip = runtime()
torch = types.ModuleType("torch")
torch.version = types.SimpleNamespace(hip="7.2")
torch.cuda = types.SimpleNamespace(
    is_available=lambda: True,
    current_device=lambda: 0,
    set_device=lambda device: None,
    get_device_capability=lambda device=0: (9, 0),
    current_stream=lambda device=0: types.SimpleNamespace(cuda_stream=0),
)
torch.Tensor = type("Tensor", (), {})
sys.modules["torch"] = torch

import triton
import triton.language as tl


class Memory(torch.Tensor):
    """What Triton takes for a tensor."""

    dtype = "float32"

    def __init__(self, count):
        pointer = ctypes.c_void_p()
        assert hip.hipMalloc(ctypes.byref(pointer), ctypes.c_size_t(count * 4)) == 0
        self.pointer = pointer.value

    def data_ptr(self):
        return self.pointer


# `from __future__` is no use here: Triton reads the function's source.
@triton.jit
def add(x, y, to, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    tl.store(to + at, tl.load(x + at, mask=inside) + tl.load(y + at, mask=inside), mask=inside)


x, y, to = (Memory(4096) for _ in range(3))
for _ in range(20):
    add[(4,)](x, y, to, 4096, BLOCK=1024)
assert hip.hipDeviceSynchronize() == 0
print("done")
time.sleep(0.3)  # callers are named while their process lives
