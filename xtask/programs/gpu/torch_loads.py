"""What the workers of `gpu-bench` do on a real GPU: unmodified PyTorch, on its
default stream.

service   ResNet-18, one image, 20 requests a second
decode    40 tokens: each reads 1 GB of weights and is waited for; 10 a second
heavy     ResNet-152, 32 images, 8 a second
resnet50  64 images, without end
matmul    one product that takes 170 ms, without end
filler    small products with pauses: keeps the GPU's clock up
"""

import time

import torch
import torchvision

torch.set_grad_enabled(False)
loaded = {}


class Load:
    def __init__(self, name, per_second, iterate):
        self.name = name
        self.per_second = per_second
        self.iterate = iterate


def load(name):
    if name not in loaded:
        loaded[name] = makers[name](name)
    return loaded[name]


def model(kind):
    torch.manual_seed(1)
    return getattr(torchvision.models, kind)(weights=None).cuda().eval()


def answering(kind, images, per_second):
    """Requests of a service that hands its answer out."""

    def make(name):
        net, input = model(kind), torch.randn(images, 3, 224, 224, device="cuda")

        def iterate():
            net(input).cpu()
            return 1

        return Load(name, per_second, iterate)

    return make


def decode(name):
    """Forty tokens of a small language model: each reads a gigabyte of weights,
    and the host waits for it."""
    torch.manual_seed(1)
    width, blocks = 4096, 4
    layers = [
        torch.nn.Linear(a, b, bias=False, dtype=torch.bfloat16, device="cuda")
        for _ in range(blocks)
        for a, b in ((width, 4 * width), (4 * width, width))
    ]
    state = torch.randn(1, width, dtype=torch.bfloat16, device="cuda")

    def iterate():
        x = state
        for _ in range(40):
            for layer in layers:
                x = layer(x)
            x = torch.nn.functional.normalize(x)
            x[0, 0].item()
        return 1

    return Load(name, 10, iterate)


def resnet50(name):
    net, input = model("resnet50"), torch.randn(64, 3, 224, 224, device="cuda")

    def iterate():
        for _ in range(4):
            net(input)
        torch.cuda.synchronize()
        return 4

    return Load(name, None, iterate)


def matmul(name):
    """As large as takes 170 ms on this GPU when it is alone."""
    size = 8192
    product(size)
    start = time.monotonic()
    product(size)
    size = round(size * (0.170 / (time.monotonic() - start)) ** (1 / 3) / 256) * 256

    def iterate():
        product(size)
        return 1

    return Load(name, None, iterate)


def product(size):
    factors = loaded.setdefault(("factors", size), torch.randn(2, size, size, device="cuda"))
    torch.mm(factors[0], factors[1])
    torch.cuda.synchronize()


def filler(name):
    x = torch.randn(1024, 1024, device="cuda")

    def iterate():
        x @ x
        torch.cuda.synchronize()
        time.sleep(0.0005)
        return 1

    return Load(name, None, iterate)


makers = {
    "service": answering("resnet18", 1, 20),
    "decode": decode,
    "heavy": answering("resnet152", 32, 8),
    "resnet50": resnet50,
    "matmul": matmul,
    "filler": filler,
}

LAUNCHES = (
    "cudaLaunchKernel",
    "cudaLaunchKernelExC",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cudaGraphLaunch",
)


def trace(one, times):
    """Launches in so many requests, by CUPTI."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        for _ in range(times):
            one.iterate()
        torch.cuda.synchronize()
    counts = {event.key: event.count for event in seen.key_averages()}
    return sum(counts.get(name, 0) for name in LAUNCHES)
