"""What unmodified PyTorch computes on this GPU, as digests: ten models, a
training step, a CUDA graph, a compiled model. One JSON object.
"""

import hashlib
import json

import torch
import torchvision

MODELS = (
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "densenet121",
    "squeezenet1_1",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
)


def digest(tensor):
    return hashlib.sha256(tensor.detach().float().cpu().numpy().tobytes()).hexdigest()[:16]


def model(name):
    torch.manual_seed(1)
    return getattr(torchvision.models, name)(weights=None).cuda().eval()


def images(count):
    return torch.randn(count, 3, 224, 224, device="cuda", generator=torch.Generator("cuda").manual_seed(2))


def models():
    with torch.no_grad():
        for name in MODELS:
            net, input = model(name), images(4)
            for _ in range(3):
                answer = net(input)
            yield name, digest(answer)


def graph():
    net, input = model("resnet18"), images(1)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.no_grad():
        with torch.cuda.stream(side):
            for _ in range(3):
                net(input)
        torch.cuda.current_stream().wait_stream(side)
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            answer = net(input)
    for _ in range(13):
        recorded.replay()
    torch.cuda.synchronize()
    return digest(answer)


def training():
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
    return digest(torch.cat([parameter.flatten() for parameter in net.parameters()]))


def compiled():
    net, input = model("resnet18"), images(2)
    with torch.no_grad():
        return digest(torch.compile(net)(input))


said = dict(models())
said["training"] = training()
said["graph"] = graph()
try:
    said["compiled"] = compiled()
except Exception as error:
    said["compiled"] = f"cannot be had: {type(error).__name__}"
print(json.dumps(said))
