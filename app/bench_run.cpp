#include "app/bench_run.h"

#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/bench_record.h"
#include "app/cache_folder.h"
#include "app/generator.h"
#include "app/loaded_model.h"
#include "app/made_up.h"
#include "app/matrix_rate.h"
#include "app/train_step.h"
#include "kernels/ops/attention.h"

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

void print(Context& ctx, const Record& record) { print_record(ctx, record.dump()); }

// Those of the networks, and long ones; a GPU is not filled by what takes a CPU long enough.
std::vector<std::array<int64_t, 4>> attention_shapes(const Context& ctx, const BenchRequest& r) {
  if (r.shape.size() == 4) return {{r.shape[0], r.shape[1], r.shape[2], r.shape[3]}};
  if (ctx.device().kind == DeviceKind::cpu) return {{8, 8, 257, 64}, {8, 16, 257, 64}, {2, 8, 1025, 64}};
  return {{64, 16, 257, 64}, {128, 8, 334, 64}, {16, 16, 1025, 64}, {4, 16, 4096, 64}};
}

void bench_attention(Context& ctx, const BenchRequest& r, DType dtype) {
  for (const AttentionKind kind : {AttentionKind::cog, AttentionKind::softmax}) {
    for (const auto& [b, h, l, d] : attention_shapes(ctx, r)) {
      ctx.arena().reset();
      auto scope = ctx.scope("bench");
      const AttentionArgs a{.qkv = made_up_noise(ctx, dtype, {b, l, 3, h, d}, 0), .kind = kind};
      Tensor o = ctx.empty(dtype, {b, l, h, d}), grad = made_up_noise(ctx, dtype, {b, l, h, d}, 1),
             dqkv = ctx.like(a.qkv);
      Tensor stat = ctx.empty(DType::f32, {b, h, l});
      const double flops = 4.0 * static_cast<double>(b * h * l * l * d);
      Record record{{"what", "attention"}, {"kind", name_of(kind)}, {"dtype", name_of(dtype)}, {"shape", {b, h, l, d}}};
      const auto add = [&](const std::string& pass, double seconds, double forwards) {
        record[pass + "_s"] = seconds;
        record[pass + "_tflops"] = forwards * flops / seconds / 1e12;
      };
      const auto forward = [&] { attention_forward(ctx, a, o); };
      const auto both = [&] {
        attention_forward(ctx, a, o, stat);
        attention_backward(ctx, a, o, stat, grad, dqkv);
      };
      add("forward", timed(ctx, r.seconds, 3, forward), 1);
      add("both", timed(ctx, r.seconds, 3, both), 3.5);
      if (ctx.device().kind == DeviceKind::cuda) {
        add("forward_queued", timed_queued(ctx, r.seconds, forward), 1);
        add("both_queued", timed_queued(ctx, r.seconds, both), 3.5);
      }
      print(ctx, record);
    }
  }
}

void bench_train(Context& ctx, const BenchRequest& r, DType dtype) {
  const UViCConfig c = model_named(r);
  TrainedModel model(ctx, c, dtype, 1);
  model.recompute = r.recompute;
  const OptimizerConfig optimizer{.warmup_steps = 0};
  int64_t step = 0;
  std::unique_ptr<PendingStep> before;  // read once the next one was given, as in training
  const auto one = [&] {
    ctx.arena().reset();
    ctx.set_profiling(r.profile && step >= 3);  // before the scope, or it would end without a start
    auto scope = ctx.scope("bench");
    auto next = std::make_unique<PendingStep>(ctx, model, optimizer, ++step, r.batch);
    next->add(made_up_step(ctx, c, r.batch), Prediction::eps, 1);
    next->finish();
    std::swap(before, next);
    UVIC_CHECK(!next || next->read(), "step ", step - 1, ": the loss or its gradient is not finite");
  };
  const double s = timed(ctx, r.seconds, 3, one), flops = 3 * c.forward_flops() * r.batch;
  Record record{{"what", "train"},
                {"model", r.model},
                {"attn", r.attention},
                {"dtype", name_of(dtype)},
                {"batch", r.batch},
                {"step_s", s},
                {"images_per_s", r.batch / s},
                {"tflops", flops / s / 1e12},
                {"arena_gib", static_cast<double>(ctx.arena().peak()) / (1 << 30)}};
  if (ctx.device().kind == DeviceKind::cuda) {
    const double queued = timed_running(ctx, r.seconds, 3, one);
    record["step_queued_s"] = queued, record["step_queued_tflops"] = flops / queued / 1e12;
  }
  print(ctx, record);
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

}  // namespace

std::vector<std::string> bench_models() {
  std::vector<std::string> names;
  for (const BenchModel& m : kModels) names.emplace_back(m.name);
  return names;
}

void run_bench(const BenchRequest& r) {
  Context ctx({.device = device_of_name(r.device),
               .threads = r.threads,
               .isa = isa_named(r.isa),
               .timed_plans = timed_plans()});
  const DType dtype = dtype_of_name(r.dtype, ctx.device());
  if (r.what == "attention") return bench_attention(ctx, r, dtype);
  if (r.what == "train") return bench_train(ctx, r, dtype);
  if (r.what == "sample") return bench_sample(ctx, r, dtype);
  if (r.what == "matrix")
    return print(ctx, {{"what", "matrix"}, {"dtype", name_of(dtype)}, {"tflops", matrix_rate(ctx, dtype) / 1e12}});
  bench_frozen(ctx, r, dtype);
}

}  // namespace uvic
