"""Programs for a real GPU: unmodified PyTorch on its default stream.

    torch_programs.py semantics        what models compute, as digests
    torch_programs.py service SECONDS  ResNet-18, batch 1, 20 requests a second
    torch_programs.py decode SECONDS   40 waits per request, ten requests a second
    torch_programs.py batch SECONDS    ResNet-50, batch 64, without end
    torch_programs.py launches COUNT   small matrix products

Each prints one JSON object; times are in ms.
"""

import hashlib
import json
import sys
import time

import torch
import torchvision


def digest(tensor):
    return hashlib.sha256(tensor.detach().float().cpu().numpy().tobytes()).hexdigest()[:16]


def model(name):
    torch.manual_seed(1)
    return getattr(torchvision.models, name)(weights=None).cuda().eval()


def semantics():
    said = {}
    with torch.no_grad():
        for name in ("resnet18", "resnet50", "mobilenet_v3_small", "vit_b_16"):
            net = model(name)
            torch.manual_seed(2)
            images = torch.randn(4, 3, 224, 224, device="cuda")
            for _ in range(3):
                answer = net(images)
            said[name] = digest(answer)
        net = model("resnet18")
        images = torch.randn(1, 3, 224, 224, device="cuda", generator=torch.Generator("cuda").manual_seed(3))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                net(images)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = net(images)
        for _ in range(13):
            graph.replay()
        torch.cuda.synchronize()
        said["graph"] = digest(answer)
    torch.manual_seed(4)
    net = torch.nn.Sequential(torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10)).cuda()
    steps = torch.optim.SGD(net.parameters(), lr=0.1)
    inputs = torch.randn(64, 512, device="cuda")
    targets = torch.randint(0, 10, (64,), device="cuda")
    for _ in range(20):
        steps.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(inputs), targets)
        loss.backward()
        steps.step()
    said["train"] = loss.item()
    return said


def quantiles(latencies):
    latencies.sort()
    count = len(latencies)
    return {"p50": latencies[count // 2], "p99": latencies[int(count * 0.99)], "requests": count}


def service(seconds):
    net = model("resnet18")
    images = torch.randn(1, 3, 224, 224, device="cuda")
    latencies = []
    with torch.no_grad():
        for _ in range(20):
            net(images).cpu()
        due = time.monotonic()
        end = due + seconds
        while due < end:
            time.sleep(max(0, due - time.monotonic()))
            start = time.monotonic()
            net(images).cpu()
            latencies.append((time.monotonic() - start) * 1e3)
            due = max(due + 1 / 20, time.monotonic())
    return quantiles(latencies)


def decode(seconds):
    state = torch.randn(1, 2048, device="cuda")
    layers = [torch.randn(2048, 2048, device="cuda") / 45 for _ in range(4)]
    latencies = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        x = state
        for _ in range(40):
            for layer in layers:
                x = x @ layer
            x[0, 0].item()
        latencies.append((time.monotonic() - start) * 1e3)
        time.sleep(0.1)
    return quantiles(latencies)


def batch(seconds):
    net = model("resnet50")
    images = torch.randn(64, 3, 224, 224, device="cuda")
    done = 0
    with torch.no_grad():
        for _ in range(5):
            net(images)
        torch.cuda.synchronize()
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            net(images)
            done += 1
            if done % 4 == 0:
                torch.cuda.synchronize()
        torch.cuda.synchronize()
    return {"iterations_per_s": done / (time.monotonic() - start)}


def launches(count):
    x = torch.randn(256, 256, device="cuda")
    for _ in range(10):
        x @ x
    torch.cuda.synchronize()
    start = time.monotonic()
    for _ in range(int(count)):
        x @ x
    torch.cuda.synchronize()
    return {"us_per_launch": (time.monotonic() - start) / count * 1e6}


programs = {"service": service, "decode": decode, "batch": batch, "launches": launches}
if sys.argv[1] == "semantics":
    print(json.dumps(semantics()))
else:
    print(json.dumps(programs[sys.argv[1]](float(sys.argv[2]))))
