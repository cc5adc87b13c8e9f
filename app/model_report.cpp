#include "app/model_report.h"

#include <nlohmann/json.hpp>

#include "model/config_json.h"
#include "model/uvic.h"

namespace uvic {
namespace {

std::string text_of(const nlohmann::ordered_json& v) {
  return v.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

template <class... Values>
std::string formatted(const char* format, const Values&... values) {
  char text[512];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

}  // namespace

std::string describe_model(const Weights& weights, bool tensors, bool as_json) {
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
  if (info.scale_factor > 0) j["scale_factor"] = info.scale_factor;
  if (!info.autoencoder.empty()) j["autoencoder"] = info.autoencoder;
  if (!info.text_encoder.empty()) j["text_encoder"] = info.text_encoder;
  if (tensors) {
    for (const auto& [name, t] : weights.tensors)
      j["tensors"].push_back({{"name", name}, {"dtype", name_of(t.dtype())}, {"shape", t.shape().str()}});
  }
  if (as_json) return text_of(j);
  std::string out;
  for (const auto& [key, value] : j.items())
    if (key != "tensors")
      out += formatted("%-16s ", key.c_str()) + (value.is_string() ? value.get<std::string>() : text_of(value)) + "\n";
  for (const auto& [name, t] : weights.tensors)
    if (tensors) out += formatted("  %-40s %-5s %s\n", name.c_str(), name_of(t.dtype()), t.shape().str().c_str());
  return out;
}

}  // namespace uvic
