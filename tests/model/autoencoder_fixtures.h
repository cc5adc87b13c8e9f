#pragma once

// Autoencoders whose parameters follow from their names, as files, and golden data of them.

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/autoencoder.h"
#include "model/io/safetensors.h"
#include "tests/golden_model.h"
#include "tests/model/generated.h"

namespace uvic::test {

inline std::filesystem::path autoencoder_dir() { return reference_dir("eval") / "autoencoder"; }

// The rule of each kind of tensor in an AutoencoderKL; every operation rounds once.
inline std::vector<float> generated_autoencoder(const std::string& prefix, const std::string& name,
                                                const Shape& shape) {
  std::vector<float> v = generated(prefix + name, shape);
  const auto scale = static_cast<float>(
      std::sqrt(3.0 * static_cast<double>(shape[0]) / static_cast<double>(std::max<int64_t>(shape.numel(), 1))));
  const bool norm = name.find("norm") != std::string::npos && name.ends_with("weight");
  for (float& x : v) x = shape.rank() == 4 ? x * scale : norm ? 1.0f + 0.1f * x : 0.1f * x;
  return v;
}

// Tensors to be written to a file.
struct TensorFile {
  std::vector<NamedTensor> tensors;
  std::vector<OwnedTensor> memory;

  void add(const std::string& name, const Shape& shape, const std::vector<float>& v) {
    memory.emplace_back(Device{}, DType::f32, shape);
    std::copy(v.begin(), v.end(), memory.back().tensor.data<float>());
    tensors.push_back({name, memory.back().tensor});
  }
  NamedTensor& entry(const std::string& name) {
    return *std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.name == name; });
  }
};

// A .safetensors file, without an fsync, which for the full-size network would take as long as all tests together.
inline std::filesystem::path write_unsynced(const TensorFile& file, const std::filesystem::path& path) {
  nlohmann::json header;
  size_t at = 0;
  for (const NamedTensor& t : file.tensors) {
    header[t.name] = {{"dtype", "F32"}, {"shape", t.tensor.shape()}, {"data_offsets", {at, at + t.tensor.bytes()}}};
    at += t.tensor.bytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length) << text;
  for (const NamedTensor& t : file.tensors)
    out.write(static_cast<const char*>(t.tensor.raw()), static_cast<std::streamsize>(t.tensor.bytes()));
  return path;
}

inline Shape shape_of(const nlohmann::json& dims) {
  const std::vector<int64_t> d = dims;
  return Shape(d.begin(), d.end());
}

// tiny_b of config.json: three levels, two blocks, attention inside of levels.
inline TensorFile generated_tiny_b() {
  const nlohmann::json config = nlohmann::json::parse(std::ifstream(autoencoder_dir() / "config.json"));
  TensorFile file;
  for (const auto& t : config["tiny_b"]["names"])
    file.add(t["name"], shape_of(t["shape"]), generated_autoencoder("tiny_b/", t["name"], shape_of(t["shape"])));
  return file;
}

// The full-size network, by LDM's names.
inline nlohmann::json kl_f8_names() {
  return nlohmann::json::parse(std::ifstream(autoencoder_dir() / "kl_f8_names.json"))["tensors"];
}
// Every count of channels from 32 on is divided by `narrow`.
inline TensorFile generated_kl_f8(int64_t narrow = 1) {
  TensorFile file;
  for (const auto& t : kl_f8_names()) {
    Shape shape;
    for (const int64_t dim : shape_of(t["shape"])) shape.push_back(dim >= 32 ? dim / narrow : dim);
    file.add(t["ldm"], shape, generated_autoencoder("kl_f8/", t["ldm"], shape));
  }
  return file;
}
// The same tensors under the names, and with the shapes, of "ldm", "diffusers" or "diffusers_old".
inline std::vector<NamedTensor> in_layout(const TensorFile& file, const std::string& layout) {
  std::vector<NamedTensor> tensors = file.tensors;
  const nlohmann::json names = kl_f8_names();
  for (size_t i = 0; i < tensors.size() && layout != "ldm"; ++i) {
    const auto& t = names[i];
    const bool flat = shape_of(t["shape"]) != shape_of(t["diffusers_shape"]);
    tensors[i] = {
        t.contains(layout) ? t[layout] : t["diffusers"],
        flat ? tensors[i].tensor.view({tensors[i].tensor.dim(0), tensors[i].tensor.dim(1)}) : tensors[i].tensor};
  }
  return tensors;
}

constexpr double kNetworkTolerance = 1e-4;  // of some thirty layers, relative to the largest output

class AutoencoderTest : public ::testing::Test {
 protected:
  AutoencoderTest() { std::filesystem::create_directories(folder); }
  ~AutoencoderTest() override { std::filesystem::remove_all(folder); }

  std::filesystem::path write(const TensorFile& file, const std::string& name = "autoencoder.safetensors") const {
    return write_unsynced(file, folder / name);
  }
  std::vector<double> encode(Autoencoder& ae, Tensor images) {
    const int64_t f = ae.factor();
    const OwnedTensor moments(host(), DType::f32,
                              {images.dim(0), 2 * ae.latent_channels(), images.dim(2) / f, images.dim(3) / f});
    ae.encode(ctx, images, moments.tensor);
    return values(moments.tensor);
  }
  std::vector<double> decode(Autoencoder& ae, Tensor z) {
    const int64_t f = ae.factor();
    const OwnedTensor images(host(), DType::f32, {z.dim(0), 3, z.dim(2) * f, z.dim(3) * f});
    ae.decode(ctx, z, images.tensor);
    return values(images.tensor);
  }
  // The golden image and latent of a case; latents there are multiplied by the scale factor.
  void expect_golden(Autoencoder& ae, const SafetensorsFile& golden, const std::string& name) {
    SCOPED_TRACE(golden.path().string() + " " + name);
    const OwnedTensor image = copy(golden, name + ".image", DType::f32);
    EXPECT_CLOSE_MAX(encode(ae, image.tensor), values(golden.tensor(name + ".moments")), kNetworkTolerance);
    for (const auto& [suffix, scale] : {std::pair("", 0.18215), std::pair("_scale_0.23010", 0.23010)}) {
      if (!golden.contains(name + ".decoded" + suffix)) continue;
      std::vector<double> z = values(golden.tensor(name + ".latent"));
      for (double& v : z) v /= scale;
      const OwnedTensor latent = tensor_of(DType::f32, golden.tensor(name + ".latent").shape(), z);
      EXPECT_CLOSE_MAX(decode(ae, latent.tensor), values(golden.tensor(name + ".decoded" + suffix)), kNetworkTolerance);
    }
  }

  const std::filesystem::path folder = std::filesystem::temp_directory_path() / concat("uvic-autoencoder-", ::getpid());
  Context ctx{{.device = {}, .threads = 2}};
};

class AutoencoderOn : public AutoencoderTest, public ::testing::WithParamInterface<Device> {
 protected:
  AutoencoderOn() { ctx = Context({.device = GetParam(), .threads = 2}); }
};

}  // namespace uvic::test
