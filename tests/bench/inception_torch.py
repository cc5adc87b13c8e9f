"""InceptionV3 features by PyTorch: what uvic-bench features is compared with. The structure is pytorch-fid's (its FID
blocks differ from torchvision's in their pools); weights are random, for time does not depend on them.

    inception_torch.py [--batch 16] [--seconds 10] [--threads 2] [--dtype f32] [--channels-last] [--compile]
"""
import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)), inplace=True)


def average(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def same_max(x):
    return F.max_pool2d(x, 3, 1, 1)


def halve(x):
    return F.max_pool2d(x, 3, 2)


def chain(inputs, *layers):
    """Layers of (outputs, kernel, stride); stride 1 pads so that the size stays."""
    units = []
    for outputs, kernel, stride in layers:
        pair = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        padding = tuple(k // 2 for k in pair) if stride == 1 else 0
        units.append(Conv(inputs, outputs, pair, stride, padding))
        inputs = outputs
    return nn.Sequential(*units)


class Fork(nn.Module):
    def __init__(self, body, *ends):
        super().__init__()
        self.body, self.ends = body, nn.ModuleList(ends)

    def forward(self, x):
        x = self.body(x)
        return torch.cat([end(x) for end in self.ends], 1)


class Mixed(nn.Module):
    def __init__(self, pool, pool_conv, *branches):
        super().__init__()
        self.pool, self.pool_conv, self.branches = pool, pool_conv, nn.ModuleList(branches)

    def forward(self, x):
        pooled = self.pool(x)
        return torch.cat([b(x) for b in self.branches] + [self.pool_conv(pooled)], 1)


def block_a(c, pool):
    return Mixed(average, chain(c, (pool, 1, 1)), chain(c, (64, 1, 1)), chain(c, (48, 1, 1), (64, 5, 1)),
                 chain(c, (64, 1, 1), (96, 3, 1), (96, 3, 1)))


def block_b(c):
    return Mixed(halve, nn.Identity(), chain(c, (384, 3, 2)), chain(c, (64, 1, 1), (96, 3, 1), (96, 3, 2)))


def block_c(c, n):
    row, column = (1, 7), (7, 1)
    return Mixed(average, chain(c, (192, 1, 1)), chain(c, (192, 1, 1)), chain(c, (n, 1, 1), (n, row, 1), (192, column, 1)),
                 chain(c, (n, 1, 1), (n, column, 1), (n, row, 1), (n, column, 1), (192, row, 1)))


def block_d(c):
    return Mixed(halve, nn.Identity(), chain(c, (192, 1, 1), (320, 3, 2)),
                 chain(c, (192, 1, 1), (192, (1, 7), 1), (192, (7, 1), 1), (192, 3, 2)))


def block_e(c, pool):
    def fork(body):
        return Fork(body, chain(384, (384, (1, 3), 1)), chain(384, (384, (3, 1), 1)))

    return Mixed(pool, chain(c, (192, 1, 1)), chain(c, (320, 1, 1)), fork(chain(c, (384, 1, 1))),
                 fork(chain(c, (448, 1, 1), (384, 3, 1))))


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 32, 3, 2), Conv(32, 32, 3), Conv(32, 64, 3, 1, 1), nn.MaxPool2d(3, 2),
                                  Conv(64, 80, 1), Conv(80, 192, 3), nn.MaxPool2d(3, 2))
        self.blocks = nn.Sequential(block_a(192, 32), block_a(256, 64), block_a(288, 64), block_b(288),
                                    block_c(768, 128), block_c(768, 160), block_c(768, 160), block_c(768, 192),
                                    block_d(768), block_e(1280, average), block_e(2048, same_max))

    def forward(self, images):
        """images [B, 3, 32, 32] in [0, 1], as pytorch-fid passes them."""
        x = F.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False)
        return F.adaptive_avg_pool2d(self.blocks(self.stem(2 * x - 1)), 1).flatten(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", default="features")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    args, _ = parser.parse_known_args()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    model = Inception().eval()
    images = torch.rand(args.batch, 3, 32, 32)
    if args.channels_last:
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    if args.compile:
        model = torch.compile(model)
    times = []
    with torch.inference_mode():
        model(images)
        start = time.perf_counter()
        while len(times) < 2 or time.perf_counter() - start < args.seconds:
            begin = time.perf_counter()
            model(images)
            times.append(time.perf_counter() - begin)
    seconds = statistics.median(times)
    print(json.dumps({"name": "torch" + torch.__version__, "what": "features", "batch": args.batch, "dtype": "f32",
                      "seconds": seconds, "images_per_second": args.batch / seconds}))


if __name__ == "__main__":
    main()
