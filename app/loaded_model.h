#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "app/world.h"
#include "model/model_file.h"
#include "model/uvic.h"
#include "sampler/denoiser.h"
#include "sampler/schedule.h"

namespace uvic {

// A network ready to run: parameters in dtype, and what its file says about it.
struct LoadedModel {
  std::filesystem::path path;  // the file the weights came from
  ModelInfo info;
  std::unique_ptr<ParamStore> store;
  std::unique_ptr<UViC> net;
};

// The file of weights that path means: a file itself, a checkpoint folder's, or that of a run folder's newest whole
// checkpoint. Throws Error naming what is missing or wrong.
std::filesystem::path model_file(const std::filesystem::path& path);

// Reads the weights at model_file(path) into a network for inference.
LoadedModel load_model(Context& ctx, const std::filesystem::path& path, DType dtype);

// The schedule and the kind of output that info names; continuous models get labels 999 t, discrete ones n = 1..1000.
Schedule schedule_of(const std::string& name);
Prediction prediction_of(const std::string& name);

// "auto": bf16 where device multiplies it fast, else f32. Throws Error for an unknown name.
DType dtype_of_name(const std::string& name, Device device = {});
// "cpu", "cuda:1"; "cuda": a GPU; "auto": one if there is any, else the CPU. Processes on one machine take its GPUs in
// turn. Throws Error for an unknown name or a device this program cannot use.
Device device_of_name(const std::string& name, const World& world = {});

// The label of "cat" or "3". Throws Error with the nearest names.
int class_of_name(const ModelInfo& info, const std::string& name);

}  // namespace uvic
