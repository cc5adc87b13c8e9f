#!/usr/bin/env python3
"""Draws what measure.sh measured: breakdown.png and growth.png; prints its tables as Markdown.

    python3 plot.py OUT [WHERE]     OUT: measure.sh's folder; WHERE: of the pictures, default this script's own folder
Needs matplotlib, which brings Pillow.
"""
import glob, json, os, re, statistics, sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

# Where a scope's own time (without the scopes inside it) belongs: the first that fits.
PARTS = [("attention", r"/(cog|softmax|expressive)(/|$)"), ("qkv and proj", r"/attn(/|$)"), ("MLP", r"/mlp(/|$)"),
         ("long skips", r"/skip_linear"), ("optimizer", r"/update"), ("embedding and head", r"/(embed|head)(/|$)"),
         ("layer norms, residual", r"(blocks\.\d+|mid_block)(/|$)|layernorm"), ("other", r"")]
COLORS = dict(zip([name for name, _ in PARTS],
                  ["#d1495b", "#00798c", "#30638e", "#66a182", "#edae49", "#8d96a3", "#b5838d", "#dddddd"]))


def records(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def part_of(scope):
    return next(name for name, pattern in PARTS if re.search(pattern, scope))


def own_seconds(scopes):
    """Of each scope without those directly inside it."""
    own = dict(scopes)
    for scope, seconds in scopes.items():
        parent = scope.rpartition("/")[0]
        if parent in own:
            own[parent] -= seconds
    return own


def profile(path, rows):
    """rows: (label, root scopes, calls by). Gives for each row its seconds by part, for one call."""
    found = [r for r in records(path) if r["what"] == "scope"]
    calls = {r["scope"]: r["calls"] for r in found}
    own = own_seconds({r["scope"]: r["seconds"] for r in found})
    out = []
    for label, belongs, counted in rows:
        parts = dict.fromkeys(COLORS, 0.0)
        for scope, seconds in own.items():
            if belongs(scope):
                parts[part_of(scope)] += seconds / calls[counted]
        out.append((label, parts))
    return out


def save(figure, path):
    """In 48 colours, a third of the bytes."""
    figure.savefig(path, bbox_inches="tight")
    Image.open(path).convert("RGB").quantize(48).save(path, optimize=True)


def draw_breakdown(out, where):
    def below(*roots):
        return lambda scope: any(scope == r or scope.startswith(r + "/") for r in roots)
    forward, backward = below("bench/train/uvic"), below("bench/train/uvic.backward")
    rows = profile(f"{out}/profile_train.jsonl", [
        ("training: forward", forward, "bench"), ("backward", backward, "bench"),
        ("the rest", lambda s: not forward(s) and not backward(s), "bench")])
    rows += profile(f"{out}/profile_sample.jsonl", [("sampling: a step", below("generate"), "generate/dpm++/denoise/uvic")])
    longest = 1e3 * max(sum(parts.values()) for _, parts in rows)
    figure, axes = plt.subplots(figsize=(8.6, 2.4), dpi=100)
    for y, (label, parts) in enumerate(rows):
        left, total = 0.0, 1e3 * sum(parts.values())
        for name, seconds in parts.items():
            width = 1e3 * seconds
            axes.barh(y, width, left=left, color=COLORS[name], edgecolor="white", linewidth=0.5,
                      label=name if y == 0 else None)
            if width > 0.025 * longest:
                axes.text(left + width / 2, y, f"{width:.0f}", ha="center", va="center", fontsize=8, color="white")
            left += width
        axes.text(left + 0.01 * longest, y, f"{total:.0f} ms", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.set_xlim(0, 1.1 * longest)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncol=4, fontsize=8, loc="upper center", bbox_to_anchor=(0.45, 1.33), frameon=False)
    save(figure, f"{where}/breakdown.png")


def kernel_cases(out):
    """name without "/real_time" -> (seconds, the case); medians if it was repeated."""
    with open(f"{out}/kernels.json") as file:
        cases = [c for c in json.load(file)["benchmarks"] if c.get("run_type") == "iteration" and "real_time" in c]
    unit = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}
    times = {}
    for c in cases:
        times.setdefault(c["run_name"].replace("/real_time", ""), []).append(c)
    return {name: (statistics.median(c["real_time"] * unit[c["time_unit"]] for c in found), found[0])
            for name, found in times.items()}


def draw_growth(out, where):
    figure, (lengths, batches, widths) = plt.subplots(1, 3, figsize=(10.5, 3.3), dpi=95)
    cases = kernel_cases(out)
    for kind, color in (("cog", "#d1495b"), ("softmax", "#30638e")):
        for run, style in (("forward", "-o"), ("both", "--s")):
            points = sorted((int(m[1]), t) for name, (t, _) in cases.items()
                            if (m := re.match(rf"attention/{run}/{kind}/tokens(\d+)/", name)))
            name = kind + (", forward" if run == "forward" else ", forward and backward")
            lengths.plot([l for l, _ in points], [1e3 * s for _, s in points], style, color=color, ms=3, lw=1, label=name)
            if run == "forward" and kind == "cog":
                l, s = points[-1]
                lengths.plot([l / 8, l], [1e3 * s / 64 / 1.8, 1e3 * s / 1.8], ":", color="gray", lw=1, label="proportional to $L^2$")
    lengths.set(title="attention, 8 heads of 64, one image", xlabel="tokens", ylabel="ms", xscale="log", yscale="log")

    def runs(pattern):
        return [records(path)[0] for path in glob.glob(f"{out}/{pattern}.jsonl")]
    for what, color in (("train", "#00798c"), ("sample", "#edae49")):
        points = sorted((r["batch"], 1e3 / r["images_per_s"] / r.get("steps", 1)) for r in runs(f"batch_{what}_*"))
        label = "training step" if what == "train" else "network evaluation"
        batches.plot([b for b, _ in points], [ms for _, ms in points], "-o", color=color, ms=3, lw=1, label=label)
        # Operations of an image from the rate and the time it comes with.
        points = sorted((1e3 * r["tflops"] / r["images_per_s"] / r.get("steps", 1),
                         1e3 / r["images_per_s"] / r.get("steps", 1), r["model"]) for r in runs(f"width_{what}_*"))
        widths.plot([g for g, _, _ in points], [ms for _, ms, _ in points], "-o", color=color, ms=3, lw=1, label=label)
        for g, ms, model in points:
            widths.annotate(model, (g, ms), textcoords="offset points", fontsize=7, color=color,
                            xytext=(-6, 6) if what == "sample" else (4, -8))
    batches.set(title="S/2, by batch", xlabel="images in a batch", ylabel="ms an image", xscale="log")
    batches.set_ylim(bottom=0)
    batches.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    batches.minorticks_off()
    widths.set(title="networks, batch 4", xlabel="GFLOP an image", ylabel="ms an image", xscale="log", yscale="log")
    for axes in (lengths, batches, widths):
        axes.title.set_size(10)
        axes.grid(alpha=0.25, lw=0.5)
        axes.legend(fontsize=7, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    save(figure, f"{where}/growth.png")


def print_ops(out):
    """The ops at S/2's shapes in bf16 (f32 where there is nothing else), with the best instruction set."""
    best = {}  # op -> its case: bf16 before f32, AMX before AVX-512 before AVX2
    for name, (seconds, case) in kernel_cases(out).items():
        if m := re.match(r"(.+)/S2/(bf16|f32)/(\w+)$", name):
            rank = (m[2] == "bf16", ["avx2", "avx512", "amx"].index(m[3]))
            best[m[1]] = max(best.get(m[1], ((False, -1),)), (rank, seconds, case), key=lambda entry: entry[0])
    print("\n| op | shape | time | rate | share of the peak |\n|---|---|---|---|---|")
    for op, (_, seconds, case) in best.items():
        time = f"{1e6 * seconds:.2g} us" if seconds < 1e-5 else \
            f"{1e6 * seconds:.0f} us" if seconds < 1e-3 else f"{1e3 * seconds:.2f} ms"
        rate = f"{case['bytes'] / 1e9:.1f} GB/s" if "bytes" in case else \
            f"{case['FLOP'] / 1e12:.2f} TFLOP/s" if case["FLOP"] > 1e11 else f"{case['FLOP'] / 1e9:.0f} GFLOP/s"
        share = "under 1 %" if case["share_%"] < 1 else f"{case['share_%']:.0f} %"
        print(f"| {op.replace('/', ' ')} | {case['label']} | {time} | {rate} | {share} |")


def main():
    out = sys.argv[1]
    where = sys.argv[2] if len(sys.argv) > 2 else os.path.dirname(os.path.abspath(__file__))
    for table in sorted(glob.glob(f"{out}/*.md")):
        with open(table) as lines:
            print(f"\n{os.path.basename(table)}\n" + lines.read().strip())
    draw_breakdown(out, where)
    draw_growth(out, where)
    print_ops(out)


if __name__ == "__main__":
    main()
