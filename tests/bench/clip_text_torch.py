"""CLIP's text encoder by HuggingFace's transformers and PyTorch: what `uvic-bench text` is compared with. Without --file its
weights are random, in the sizes of ViT-L/14; --save writes such a model, for uvic-bench.

    python3 tests/bench/clip_text_torch.py text --save clip/
    uvic-bench text --file clip/model.safetensors --batch 16 --compare "python3 tests/bench/clip_text_torch.py"
"""
import argparse
import json
import statistics
import time

import torch
from transformers import CLIPTextConfig, CLIPTextModel, __version__


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["text"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save")
    parser.add_argument("--compile", action="store_true")
    args, _ = parser.parse_known_args()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    config = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12)
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    model = CLIPTextModel(config).eval().to(dtype)
    if args.save:
        return model.save_pretrained(args.save)
    tokens = config.max_position_embeddings
    ids = (torch.arange(args.batch * tokens) * 7919 % config.vocab_size).view(args.batch, tokens)
    if args.compile:
        model = torch.compile(model)
    times = []
    with torch.inference_mode():
        for _ in range(3):
            model(input_ids=ids)
        start = time.perf_counter()
        while len(times) < 2 or time.perf_counter() - start < args.seconds:
            begin = time.perf_counter()
            model(input_ids=ids)
            times.append(time.perf_counter() - begin)
    seconds = statistics.median(times)
    print(json.dumps({"torch": torch.__version__, "transformers": __version__, "what": "text", "batch": args.batch,
                      "dtype": args.dtype, "shape": [tokens, config.hidden_size], "threads": torch.get_num_threads(),
                      "compile": args.compile, "seconds": seconds, "texts_per_s": args.batch / seconds}))


if __name__ == "__main__":
    main()
