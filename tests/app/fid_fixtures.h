#pragma once

// What tests of uvic-fid share: a network of the right size, the golden images, and sets of images as files.

#include <functional>

#include "app/fid_run.h"
#include "model/io/npz.h"
#include "tests/app/image_fixtures.h"
#include "tests/model/inception_fixtures.h"

namespace uvic::test {

// A file with a generated network, as long as the object lives. full: with the last layer, that logits need. edit is
// called with every tensor before it is written.
class NetworkFile {
 public:
  explicit NetworkFile(bool full = true, const std::function<void(const std::string& name, Tensor)>& edit = {}) {
    const Weights weights = generated_inception();
    for (const auto& [name, tensor] : weights.tensors)
      if (edit) edit(name, tensor);
    std::vector<NamedTensor> tensors;
    for (const auto& [name, tensor] : weights.tensors)
      if (tensor.dtype() == DType::f32 && (full || !name.starts_with("fc."))) tensors.push_back({name, tensor});
    write_safetensors(path_, tensors, {});
  }
  ~NetworkFile() { std::filesystem::remove(path_); }
  NetworkFile(const NetworkFile&) = delete;
  NetworkFile& operator=(const NetworkFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / concat("uvic-inception-", ::getpid(), ".safetensors");
};

// [N, 3, h, w] u8 as the images [N, h, w, 3] that .npz batches hold.
inline OwnedTensor interleaved(Tensor t) {
  const int64_t n = t.dim(0), plane = t.dim(2) * t.dim(3);
  OwnedTensor out({}, DType::u8, {n, t.dim(2), t.dim(3), 3});
  for (int64_t i = 0; i < n; ++i)
    for (int64_t p = 0; p < plane; ++p)
      for (int64_t c = 0; c < 3; ++c)
        out.tensor.data<uint8_t>()[(i * plane + p) * 3 + c] = t.data<uint8_t>()[(i * 3 + c) * plane + p];
  return out;
}

inline Image image_of(Tensor batch, int64_t i) {
  const Tensor row = batch.rows(i, i + 1);
  const uint8_t* rgb = row.data<uint8_t>();
  return {static_cast<int>(batch.dim(1)), static_cast<int>(batch.dim(2)), {rgb, rgb + row.numel()}};
}

// The golden sets as .npz batches, ref.npz and sample.npz.
inline void write_golden_sets(const std::filesystem::path& dir) {
  const SafetensorsFile file(reference_dir("eval") / "inception" / "end_to_end.safetensors");
  for (const char* set : {"ref", "sample"})
    write_npz(dir / (std::string(set) + ".npz"), {{"arr_0", interleaved(file.tensor(set)).tensor}});
}

inline FidRequest fid_request(const std::filesystem::path& a, const std::filesystem::path& b,
                              const std::filesystem::path& network, std::vector<std::string> metrics = {"fid"}) {
  FidRequest r;
  r.a = a.string();
  r.b = b.string();
  r.metrics = std::move(metrics);
  r.features.network = network;
  r.features.progress = Progress::Style::quiet;
  r.kid = {.subsets = 4, .subset_size = 10};
  r.sample.progress = Progress::Style::quiet;
  return r;
}

inline std::map<std::string, double> values_of(const FidResult& result) {
  return {result.values.begin(), result.values.end()};
}

inline std::map<std::string, double> compare(const FidRequest& request) {
  Processes alone{World{}};
  return values_of(compare_sets(request, alone).results.at(0));
}

}  // namespace uvic::test
