// uvic-convert: weights from one form into another.

#include <CLI/CLI.hpp>

#include "app/cli.h"
#include "app/loaded_model.h"
#include "kernels/core/text.h"
#include "model/model_file.h"

int main(int argc, char** argv) {
  using namespace uvic;
  std::filesystem::path in, out;
  std::string dtype = "f32", arch, schedule, prediction;
  std::vector<std::string> classes;
  int heads = 0;
  bool quiet = false;
  const auto declare = [&](CLI::App& app) {
    app.add_option("in", in, "Weights: .safetensors, or PyTorch's .pth (zip or legacy), or a checkpoint or run folder")
        ->required();
    app.add_option("out", out, "The .safetensors file to write")->required();
    app.add_option("--dtype", dtype, "Of the weights written: f32 or bf16")->check(CLI::IsMember({"f32", "bf16"}));
    app.add_option("--arch", arch, "uvit or uvic, where the file does not say")->check(CLI::IsMember({"uvit", "uvic"}));
    app.add_option("--num-heads", heads, "Where the file does not say and heads are not 64 wide");
    app.add_option("--schedule", schedule, "Noise schedule of the training: " + join(schedule_names()));
    app.add_option("--prediction", prediction, "What the network gives: eps, x0 or v");
    app.add_option("--class-names", classes, "Comma-separated class names, by label")->delimiter(',');
    app.add_flag("-q,--quiet", quiet, "Say nothing");
  };
  const auto run = [&] {
    Context ctx;
    const std::filesystem::path source = model_file(in);
    const Weights weights = read_weights(source);
    ModelInfo info = model_info(weights);
    if (!arch.empty()) info.config.arch = arch, info.config.attention.clear();
    if (heads > 0) info.config.num_heads = heads;
    if (!schedule.empty()) schedule_of(schedule), info.schedule = schedule;
    if (!prediction.empty()) prediction_of(prediction), info.prediction = prediction;
    if (!classes.empty()) info.class_names = classes;
    UVIC_CHECK(info.class_names.empty() || static_cast<int>(info.class_names.size()) == info.config.real_classes(),
               "--class-names gives ", info.class_names.size(), " names, the model has ", info.config.real_classes(),
               " classes");
    ParamStore store(ctx.device());
    const UViC net(store, info.config);
    store.allocate_for_inference(DType::f32);
    load_weights(ctx, weights, store, Role::working);
    save_model(ctx, out, store, Role::working, dtype_of_name(dtype), info);
    if (!quiet)
      std::fprintf(stderr, "uvic-convert: %s -> %s: %.2f M parameters as %s, %s, %d heads\n", source.c_str(),
                   out.c_str(), static_cast<double>(store.count()) / 1e6, dtype.c_str(), info.config.arch.c_str(),
                   info.config.num_heads);
    return 0;
  };
  return run_program(argc, argv, "uvic-convert", "Converts weights into a uvic model file.", declare, run);
}
