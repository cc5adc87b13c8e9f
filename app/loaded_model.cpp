#include "app/loaded_model.h"

#include <algorithm>

#include "kernels/core/text.h"
#include "model/checkpoint.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

bool is_number(const std::string& s) {
  return !s.empty() && s.size() < 9 && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

fs::path model_file(const fs::path& path) {
  UVIC_CHECK(fs::exists(path), path.string(), ": no such file or folder");
  if (!fs::is_directory(path)) return path;
  if (fs::exists(path / "model.safetensors")) return path / "model.safetensors";
  std::string why;
  const auto newest = newest_checkpoint(path, [&](const fs::path& folder, const std::string& reason) {
    why += concat("; ", folder.string(), ": ", reason);
  });
  UVIC_CHECK(newest, path.string(), ": neither a model, nor a checkpoint, nor a run with one", why);
  return *newest / "model.safetensors";
}

LoadedModel load_model(Context& ctx, const fs::path& path, DType dtype) {
  LoadedModel model;
  model.path = model_file(path);
  const Weights weights = read_weights(model.path);
  model.info = model_info(weights);
  model.store = std::make_unique<ParamStore>(ctx.device());
  model.net = std::make_unique<UViC>(*model.store, model.info.config);
  model.store->allocate_for_inference(dtype);
  load_weights(ctx, weights, *model.store, Role::working);
  model.store->prepack(ctx);
  return model;
}

Schedule schedule_of(const std::string& name) {
  return Schedule::named(name, name.starts_with("vp") ? LabelKind::t999 : LabelKind::n);
}

Prediction prediction_of(const std::string& name) {
  if (name == "eps") return Prediction::eps;
  if (name == "x0") return Prediction::x0;
  if (name == "v") return Prediction::v;
  throw Error("unknown prediction '" + name + "'", "known are eps, x0 and v");
}

DType dtype_of_name(const std::string& name, Device device) {
  if (name == "auto") return device.kind == DeviceKind::cuda || has_fast_bf16() ? DType::bf16 : DType::f32;
  if (name == "f32") return DType::f32;
  if (name == "bf16") return DType::bf16;
  throw Error("unknown dtype '" + name + "'", "known are auto, f32 and bf16");
}

Device device_of_name(const std::string& name, const World& world) {
  const int gpus = gpu_count();
  if (name == "cpu" || (name == "auto" && gpus == 0)) return {};
  const bool any = name == "auto" || name == "cuda";
  const std::string index = name.starts_with("cuda:") ? name.substr(5) : "";
  if (!any && !is_number(index)) throw Error("unknown device '" + name + "'", "known are auto, cpu, cuda and cuda:N");
  const Device device{DeviceKind::cuda, any ? world.local_rank % std::max(1, gpus) : std::stoi(index)};
  try {
    synchronize(device);
  } catch (const Error& e) {
    throw Error("device '" + name + "' cannot be used: " + e.what(),
                e.hint().empty() ? "--device auto takes what there is" : e.hint());
  }
  return device;
}

int class_of_name(const ModelInfo& info, const std::string& name) {
  const int classes = info.config.real_classes();
  UVIC_CHECK(classes > 0, "--class ", name, ": this model takes no class");
  const auto it = std::find(info.class_names.begin(), info.class_names.end(), name);
  if (it != info.class_names.end()) return static_cast<int>(it - info.class_names.begin());
  if (is_number(name)) {
    const int label = std::stoi(name);
    UVIC_CHECK(label < classes, "--class ", name, ": this model has ", classes, " classes, 0 to ", classes - 1);
    return label;
  }
  throw Error(concat("unknown class '", name, "'"),
              info.class_names.empty()
                  ? concat("this model's classes have no names, only numbers 0 to ", classes - 1)
                  : concat("did you mean '", nearest(name, info.class_names), "'? uvic-info lists all"));
}

}  // namespace uvic
