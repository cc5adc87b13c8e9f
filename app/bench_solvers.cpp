#include "app/bench_solvers.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/generator.h"
#include "app/loaded_model.h"
#include "kernels/ops/transfer.h"

namespace uvic {
namespace {

struct Solver {
  const char* label;
  SamplerOptions options;
};

const Solver kSolvers[] = {
    {"ddim", {.solver = "ddim"}},
    {"euler-ode", {.solver = "euler-ode"}},
    {"heun", {.solver = "heun"}},
    {"dpm 3 singlestep", {.solver = "dpm", .order = 3, .method = "singlestep"}},
    {"dpm++ 1", {.solver = "dpm++", .order = 1}},
    {"dpm++ 2", {.solver = "dpm++", .order = 2}},
    {"dpm++ 3", {.solver = "dpm++", .order = 3}},
    {"dpm++ 3 singlestep", {.solver = "dpm++", .order = 3, .method = "singlestep"}},
    {"unipc 2", {.solver = "unipc", .order = 2}},
    {"unipc 3", {.solver = "unipc", .order = 3}},
};
constexpr int kSteps[] = {5, 8, 10, 15, 20, 30, 50, 100};

}  // namespace

void bench_solvers(Context& ctx, const SolverBenchRequest& r) {
  const LoadedModel model = load_model(ctx, r.model, DType::f32);
  const UViCConfig& c = model.info.config;
  UVIC_CHECK(c.condition() != Condition::text, r.model.string(),
             ": a text model needs contexts, which are not read here");
  std::vector<uint64_t> seeds;
  std::vector<int32_t> labels;
  for (int i = 0; i < r.images; ++i) {
    seeds.push_back(static_cast<uint64_t>(i));
    if (c.num_classes > 0) labels.push_back(i % c.real_classes());
  }
  const auto images = [&](SamplerOptions options, int steps) {
    options.steps = steps;
    options.prediction = prediction_of(model.info.prediction);
    ctx.arena().reset();
    const Tensor x = ctx.empty(DType::f32, {r.images, c.in_chans, c.img_size, c.img_size});
    Generator(*model.net, schedule_of(model.info.schedule), {.sampler = options})
        .generate(ctx, {.seeds = seeds, .labels = labels}, x);
    const OwnedTensor read = on_host(ctx, x);
    return std::vector<float>(read.tensor.data<float>(), read.tensor.data<float>() + x.numel());
  };
  const std::vector<float> exact = images({.solver = "dpm++", .order = 2}, r.exact_steps);
  for (const Solver& solver : kSolvers) {
    for (const int steps : kSteps) {
      const std::vector<float> got = images(solver.options, steps);
      double square = 0;
      for (size_t i = 0; i < got.size(); ++i) square += std::pow(double{got[i]} - double{exact[i]}, 2);
      const nlohmann::ordered_json record{{"what", "solver"},
                                          {"solver", solver.label},
                                          {"evaluations", steps},
                                          {"distance", std::sqrt(square / static_cast<double>(got.size()))}};
      std::printf("%s\n", record.dump().c_str());
      std::fflush(stdout);
    }
  }
}

}  // namespace uvic
