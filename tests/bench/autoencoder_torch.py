"""Stable Diffusion's KL-f8 autoencoder by PyTorch: what `uvic-bench encode` and `uvic-bench decode` are compared with. Weights
are random, for time does not depend on them.

    uvic-bench decode --file autoencoder_kl.pth --batch 1 --compare "python3 tests/bench/autoencoder_torch.py --channels-last"
"""
import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


def norm(channels):
    return nn.GroupNorm(32, channels, 1e-6)


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.norm2, self.conv2 = norm(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        n = self.norm(x)
        q, k, v = (conv(n).flatten(2).transpose(1, 2).unsqueeze(1) for conv in (self.q, self.k, self.v))
        o = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2)
        return x + self.proj(o.reshape(x.shape))


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2, 0)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


def middle():
    return [Block(512, 512), Attention(512), Block(512, 512)]


def decoder():
    layers, channels = [nn.Conv2d(4, 4, 1), nn.Conv2d(4, 512, 3, 1, 1), *middle()], 512
    for level, width in enumerate((512, 512, 256, 128)):
        for _ in range(3):
            layers.append(Block(channels, width))
            channels = width
        if level < 3:
            layers.append(Up(channels))
    return nn.Sequential(*layers, norm(channels), nn.SiLU(), nn.Conv2d(channels, 3, 3, 1, 1))


def encoder():
    layers, channels = [nn.Conv2d(3, 128, 3, 1, 1)], 128
    for level, width in enumerate((128, 256, 512, 512)):
        for _ in range(2):
            layers.append(Block(channels, width))
            channels = width
        if level < 3:
            layers.append(Down(channels))
    return nn.Sequential(*layers, *middle(), norm(512), nn.SiLU(), nn.Conv2d(512, 8, 3, 1, 1), nn.Conv2d(8, 8, 1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["encode", "decode"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    args, _ = parser.parse_known_args()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    model = (encoder() if args.what == "encode" else decoder()).eval().to(dtype).to(memory_format=layout)
    shape = (3, args.size, args.size) if args.what == "encode" else (4, args.size // 8, args.size // 8)
    x = torch.randn(args.batch, *shape).to(dtype).to(memory_format=layout)
    if args.compile:
        model = torch.compile(model)
    times = []
    with torch.inference_mode():
        model(x)
        start = time.perf_counter()
        while len(times) < 2 or time.perf_counter() - start < args.seconds:
            begin = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - begin)
    seconds = statistics.median(times)
    print(json.dumps({"torch": torch.__version__, "what": args.what, "batch": args.batch, "dtype": args.dtype,
                      "shape": [3, args.size, args.size], "threads": torch.get_num_threads(), "compile": args.compile,
                      "channels_last": args.channels_last, "seconds": seconds, "images_per_s": args.batch / seconds}))


if __name__ == "__main__":
    main()
