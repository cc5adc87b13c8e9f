// uvic-info: what is in a file of weights.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/cli.h"
#include "app/loaded_model.h"
#include "model/config_json.h"

int main(int argc, char** argv) {
  using namespace uvic;
  std::filesystem::path path;
  bool as_json = false, tensors = false;
  const auto declare = [&](CLI::App& app) {
    app.add_option("file", path, "Model file, .pth, checkpoint folder or run folder")->required();
    app.add_flag("--tensors", tensors, "List every tensor");
    app.add_flag("--json", as_json, "Print one object on stdout");
  };
  const auto run = [&] {
    const Weights weights = read_weights(model_file(path));
    const ModelInfo info = model_info(weights);
    const UViCConfig& c = info.config;
    ParamStore store({});
    const UViC net(store, c);
    nlohmann::ordered_json j{{"file", weights.path.string()},
                             {"config", nlohmann::ordered_json::parse(config_to_json(c))},
                             {"config_inferred", !has_model_info(weights)},
                             {"parameters", store.count()},
                             {"tokens", c.tokens()},
                             {"forward_gflops", c.forward_flops() / 1e9},
                             {"schedule", info.schedule},
                             {"prediction", info.prediction},
                             {"step", info.step},
                             {"class_names", info.class_names}};
    if (tensors) {
      for (const auto& [name, t] : weights.tensors)
        j["tensors"].push_back({{"name", name}, {"dtype", name_of(t.dtype())}, {"shape", t.shape().str()}});
    }
    const auto text = [](const nlohmann::ordered_json& v) {
      return v.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    if (as_json) return std::printf("%s\n", text(j).c_str()), 0;
    for (const auto& [key, value] : j.items()) {
      if (key == "tensors") continue;
      std::printf("%-16s %s\n", key.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : text(value).c_str());
    }
    for (const auto& [name, t] : weights.tensors)
      if (tensors) std::printf("  %-40s %-5s %s\n", name.c_str(), name_of(t.dtype()), t.shape().str().c_str());
    return 0;
  };
  return run_program(argc, argv, "uvic-info", "Shows what a file of weights holds.", declare, run);
}
