#include "model/io/torch_pickle.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "kernels/core/text.h"
#include "model/io/file.h"
#include "model/io/torch_tensors.h"
#include "model/io/zip.h"

namespace uvic {
namespace {

constexpr uint64_t kMaxPickle = uint64_t{64} << 20;  // the pickle of 10,000 tensors takes 2 MB

bool starts_with(std::span<const std::byte> bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

// <stem>/data.pkl, and a record <stem>/data/<key> for each storage. Other records (version, ids) say nothing we need.
const TorchValue* read_zip(const std::filesystem::path& path, TorchTensors& tensors, TorchValues& values) {
  constexpr std::string_view kPickle = "/data.pkl";
  const ZipFile zip(path);
  std::string stem;
  for (const ZipFile::Entry& e : zip.entries()) {
    if (!e.name.ends_with(kPickle) || e.name.find('/') != e.name.size() - kPickle.size()) continue;
    UVIC_CHECK(stem.empty(), path.string(), ": has two data.pkl, ", quote(stem), " and ", quote(e.name));
    stem = e.name.substr(0, e.name.size() - kPickle.size());
  }
  UVIC_CHECK(!stem.empty(), path.string(), ": a zip archive without a data.pkl: not a file that torch.save wrote");
  return in_file(path, [&] {
    ...
  });
}
