#include "app/bench_run.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "app/generator.h"
#include "app/inception_input.h"
#include "app/loaded_model.h"
#include "app/made_up.h"
#include "app/train_step.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"
#include "model/autoencoder.h"
#include "model/inception.h"

namespace uvic {
namespace {

using Record = nlohmann::ordered_json;

struct BenchModel {
  const char* name;
  const char* preset;
  int img_size, in_chans, num_classes, context;
};
constexpr BenchModel kModels[] = {
    {"mini", "U-ViC-mini/2", 32, 3, 11, 0}, {"mini4", "U-ViC-mini/4", 32, 3, 11, 0},
    {"S2", "U-ViC-S/2", 32, 3, -1, 0},      {"S4", "U-ViC-S/4", 64, 3, -1, 0},
    {"M4", "U-ViC-M/4", 64, 3, 1000, 0},    {"L4", "U-ViC-L/4", 64, 3, 1000, 0},
    {"L2", "U-ViC-L/2", 32, 4, 1001, 0},    {"H2", "U-ViC-H/2", 32, 4, 1001, 0},
    {"T2", "U-ViC-S/2", 32, 4, -1, 77},
};

UViCConfig model_named(const BenchRequest& r) {
  for (const BenchModel& m : kModels) {
    if (r.model != m.name) continue;
    UViCConfig c = preset(m.preset);
    c.img_size = m.img_size;
    c.in_chans = m.in_chans;
    c.num_classes = m.num_classes;
    if (m.context > 0) c.clip_dim = 768, c.num_clip_token = m.context;
    const AttentionKind inner = r.attention == "cog"       ? AttentionKind::cog
                                : r.attention == "softmax" ? AttentionKind::softmax
                                                           : AttentionKind::expressive;
    c.attention.assign(static_cast<size_t>(c.blocks()), inner);
    c.attention.front() = c.attention.back() = AttentionKind::softmax;
    return c;
  }
  throw Error("unknown model '" + r.model + "'");
}

Isa isa_named(const std::string& name) {
  if (name == "auto") return best_isa();
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx})
    if (name == name_of(isa)) return isa;
  throw Error("unknown instruction set '" + name + "'", "known are auto, avx2, avx512 and amx");
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Median seconds of f and all it gave ctx to do, after three calls that warm up, over at least `least` calls and
// `seconds`.
double timed(Context& ctx, double seconds, size_t least, const std::function<void()>& f) {
  const auto complete = [&] {
    f();
    synchronize(ctx.device());
  };
  for (int i = 0; i < 3; ++i) complete();
  std::vector<double> times;
  for (const double start = now(); times.size() < least || now() - start < seconds;) {
    const double t = now();
    complete();
    times.push_back(now() - t);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

void print(Context& ctx, Record record) {
  Record out{{"uvic", UVIC_VERSION}, {"threads", ctx.threads()}, {"isa", name_of(ctx.isa())}};
  if (ctx.device().kind == DeviceKind::cuda) out["isa"] = ctx.device().str();
  out.update(record);
  std::printf("%s\n", out.dump().c_str());
  std::fflush(stdout);
}

void bench_attention(Context& ctx, const BenchRequest& r, DType dtype) {
  const int64_t shapes[][4] = {{8, 8, 257, 64}, {8, 16, 257, 64}, {2, 8, 1025, 64}};
  for (const AttentionKind kind : {AttentionKind::cog, AttentionKind::softmax}) {
    for (const auto& [b, h, l, d] : shapes) {
      ctx.arena().reset();
      auto scope = ctx.scope("bench");
      const AttentionArgs a{.qkv = made_up_noise(ctx, dtype, {b, l, 3, h, d}, 0), .kind = kind};
      Tensor o = ctx.empty(dtype, {b, l, h, d}), grad = made_up_noise(ctx, dtype, {b, l, h, d}, 1),
             dqkv = ctx.like(a.qkv);
      Tensor stat = ctx.empty(DType::f32, {b, h, l});
      const double forward = timed(ctx, r.seconds, 3, [&] { attention_forward(ctx, a, o); });
      const double both = timed(ctx, r.seconds, 3, [&] {
        attention_forward(ctx, a, o, stat);
        attention_backward(ctx, a, o, stat, grad, dqkv);
      });
      const double flops = 4.0 * static_cast<double>(b * h * l * l * d);
      print(ctx, {{"what", "attention"},
                  {"kind", name_of(kind)},
                  {"dtype", name_of(dtype)},
                  {"shape", {b, h, l, d}},
                  {"forward_s", forward},
                  {"forward_tflops", flops / forward / 1e12},
                  {"both_s", both},
                  {"both_tflops", 3.5 * flops / both / 1e12}});
    }
  }
}

void print_profile(Context& ctx) {
  for (const auto& [scope, timing] : ctx.timings())
    print(ctx, {{"what", "scope"}, {"scope", scope}, {"calls", timing.calls}, {"seconds", timing.seconds}});
}

void bench_train(Context& ctx, const BenchRequest& r, DType dtype) {
  const UViCConfig c = model_named(r);
  TrainedModel model(ctx, c, dtype, 1);
  model.recompute = r.recompute;
  const OptimizerConfig optimizer{.warmup_steps = 0};
  int64_t step = 0;
  const auto one = [&] {
    ctx.arena().reset();
    ctx.set_profiling(r.profile && step >= 3);  // before the scope, or it would end without a start
    auto scope = ctx.scope("bench");
    train_step(ctx, model, made_up_step(ctx, c, r.batch), Prediction::eps, optimizer, ++step);
  };
  const double s = timed(ctx, r.seconds, 3, one);
  print(ctx, {{"what", "train"},
              {"model", r.model},
              {"attn", r.attention},
              {"dtype", name_of(dtype)},
              {"batch", r.batch},
              {"step_s", s},
              {"images_per_s", r.batch / s},
              {"tflops", 3 * c.forward_flops() * r.batch / s / 1e12},
              {"arena_gib", static_cast<double>(ctx.arena().peak()) / (1 << 30)}});
  print_profile(ctx);
}

// The network calls of a multistep solver, one a step; the solver's own arithmetic is included.
void bench_sample(Context& ctx, const BenchRequest& r, DType dtype) {
  const UViCConfig c = model_named(r);
  ParamStore store(ctx.device());
  const UViC net(store, c);
  store.allocate_for_inference(dtype);
  store.initialise(ctx, 1);
  store.prepack(ctx);
  GeneratorOptions options;
  options.sampler.steps = r.steps;
  const Generator generator(net, schedule_of("vp"), options);
  std::vector<uint64_t> seeds(static_cast<size_t>(r.batch));
  std::vector<int32_t> labels(seeds.size());
  for (size_t i = 0; i < seeds.size(); ++i) seeds[i] = i, labels[i] = 0;
  int calls = 0;
  const double s = timed(ctx, r.seconds, 2, [&] {
    ctx.arena().reset();
    ctx.set_profiling(r.profile && ++calls > 3);
    Tensor images = ctx.empty(DType::f32, {r.batch, c.in_chans, c.img_size, c.img_size});
    generator.generate(ctx, {.seeds = seeds, .labels = labels, .context = made_up_conditions(ctx, c, r.batch).context},
                       images);
  });
  print(ctx, {{"what", "sample"},
              {"model", r.model},
              {"attn", r.attention},
              {"dtype", name_of(dtype)},
              {"batch", r.batch},
              {"steps", r.steps},
              {"seconds", s},
              {"images_per_s", r.batch / s},
              {"tflops", c.forward_flops() * r.batch * r.steps / s / 1e12},
              {"arena_gib", static_cast<double>(ctx.arena().peak()) / (1 << 30)}});
  print_profile(ctx);
}

void bench_features(Context& ctx, const BenchRequest& r) {
  constexpr double kMultiplications = 5.711e9;  // of the network's convolutions, an image
  const Inception network(ctx, read_weights(r.file));
  Image image{32, 32, std::vector<uint8_t>(32 * 32 * 3)};
  for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<uint8_t>(i * 2654435761u >> 24);
  int calls = 0;
  const double s = timed(ctx, r.seconds, 2, [&] {
    ctx.arena().reset();
    ctx.set_profiling(r.profile && ++calls > 3);
    const Tensor x = ctx.empty(DType::f32, {r.batch, 3, Inception::kSide, Inception::kSide});
    const OwnedTensor host = host_for(ctx, x);
    for (int64_t n = 0; n < r.batch; ++n)
      inception_input(image, Protocol::pytorch, false, host.tensor.rows(n, n + 1).view({3, x.dim(2), x.dim(3)}));
    upload(ctx, host.tensor, x);
    network.forward(ctx, x, {.pool3 = ctx.empty(DType::f32, {r.batch, Inception::kFeatures})});
  });
  print(ctx, {{"what", "features"},
              {"dtype", "f32"},
              {"batch", r.batch},
              {"seconds", s},
              {"images_per_s", r.batch / s},
              {"tflops", 2 * kMultiplications * r.batch / s / 1e12},
              {"arena_gib", static_cast<double>(ctx.arena().peak()) / (1 << 30)}});
  print_profile(ctx);
}

void bench_autoencoder(Context& ctx, const BenchRequest& r, DType dtype) {
  const auto autoencoder = Autoencoder::load(r.file, {.dtype = dtype});
  const int64_t B = r.batch, C = autoencoder->latent_channels(), h = r.size / autoencoder->factor();
  const bool encodes = r.what == "encode";
  int calls = 0;
  const double s = timed(ctx, r.seconds, 2, [&] {
    ctx.arena().reset();
    ctx.set_profiling(r.profile && ++calls > 3);
    const Tensor images = made_up_noise(ctx, DType::f32, {B, 3, r.size, r.size}, 0);
    const Tensor latents = made_up_noise(ctx, DType::f32, {B, encodes ? 2 * C : C, h, h}, 1);
    encodes ? autoencoder->encode(ctx, images, latents) : autoencoder->decode(ctx, latents, images);
  });
  print(ctx, {{"what", r.what},
              {"dtype", name_of(dtype)},
              {"batch", r.batch},
              {"shape", {3, r.size, r.size}},
              {"seconds", s},
              {"images_per_s", r.batch / s},
              {"arena_gib", static_cast<double>(ctx.arena().peak()) / (1 << 30)}});
  print_profile(ctx);
}

}  // namespace

std::vector<std::string> bench_models() {
  std::vector<std::string> names;
  for (const BenchModel& m : kModels) names.emplace_back(m.name);
  return names;
}

void run_bench(const BenchRequest& r) {
  Context ctx({.device = device_of_name(r.device), .threads = r.threads, .isa = isa_named(r.isa)});
  if (r.what == "features") return bench_features(ctx, r);
  const DType dtype = dtype_of_name(r.dtype, ctx.device());
  if (r.what == "attention") return bench_attention(ctx, r, dtype);
  if (r.what == "train") return bench_train(ctx, r, dtype);
  if (r.what == "encode" || r.what == "decode") return bench_autoencoder(ctx, r, dtype);
  bench_sample(ctx, r, dtype);
}

}  // namespace uvic
