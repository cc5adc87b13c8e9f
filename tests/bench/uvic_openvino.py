#!/usr/bin/env python3
"""OpenVINO peer of uvic-bench sample: the network of uvic_torch.py converted to OpenVINO, in a loop like a solver's.

    python3 uvic_openvino.py sample --model S2 --batch 8 --steps 20
    uvic-bench sample --compare "python3 tests/bench/uvic_openvino.py"
Prints one JSON record of the same form as uvic_torch.py's.  Needs torch and openvino.
"""
import argparse, json, warnings
import numpy
import openvino
import torch
from uvic_torch import ATTENTION, MODELS, UViC, conditions, forward_flops, timed


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=["sample"])
    ap.add_argument("--dtype", default="bf16", choices=["f32", "bf16"])
    ap.add_argument("--model", default="S2", choices=sorted(MODELS))
    ap.add_argument("--attn", default="cog", choices=sorted(set(ATTENTION) - {"flex"}))
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--threads", type=int, default=0)
    ap.add_argument("--seconds", type=float, default=10, help="time spent on the figure")
    args = ap.parse_args()

    torch.manual_seed(1)
    model = UViC(args.model, args.attn).eval()
    x = torch.randn(args.batch, model.chans, model.size, model.size)
    t = torch.full((args.batch,), 999.0)
    kw = conditions(model, args.batch, "cpu", torch.float32)
    warnings.simplefilter("ignore")  # of tracing, about shapes that are fixed here on purpose
    with torch.no_grad():
        converted = openvino.convert_model(model, example_input={"x": x, "t": t, **kw})
    # Static shapes: what is known is not looked up at every call.
    converted.reshape({port: list(value.shape) for port, value in zip(converted.inputs, [x, t, *kw.values()])})
    # f32 weights and inputs; the plugin computes in the precision asked for, as PyTorch's autocast does.
    net = openvino.Core().compile_model(converted, "CPU", {
        "INFERENCE_PRECISION_HINT": args.dtype, "INFERENCE_NUM_THREADS": args.threads, "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY"})
    request = net.create_infer_request()
    given = [value.numpy() for value in kw.values()]

    def evaluate(z, time):
        return request.infer([z, numpy.full((args.batch,), time, numpy.float32), *given], share_inputs=True)[0]

    # It must be the same network: bf16 agrees to two digits.
    with torch.no_grad():
        expected = model(x, t, **kw).numpy()
    error = float(numpy.abs(evaluate(x.numpy(), 999.0) - expected).max() / numpy.abs(expected).max())
    assert error < 0.1, f"OpenVINO's result is off by {error:.3f}"

    def sample():
        z = x.numpy()
        for i in range(args.steps):
            z = z - 0.01 * evaluate(z, 999.0 * (1 - i / args.steps))
        return z
    s = timed(sample, "cpu", args.seconds, least=2)
    print(json.dumps({
        "openvino": openvino.__version__.split("-")[0], "threads": args.threads or torch.get_num_threads(),
        "what": "sample", "model": args.model, "attn": args.attn, "dtype": args.dtype, "batch": args.batch,
        "steps": args.steps, "seconds": s, "images_per_s": args.batch / s,
        "tflops": forward_flops(args.model) * args.batch * args.steps / s / 1e12,
        "precision": str(net.get_property("INFERENCE_PRECISION_HINT")), "error": error}), flush=True)


if __name__ == "__main__":
    main()
