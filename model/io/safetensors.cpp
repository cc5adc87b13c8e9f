#include "model/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "kernels/core/text.h"
#include "model/io/file.h"
#include "model/io/safetensors_header.h"

namespace uvic {

static_assert(std::endian::native == std::endian::little, "safetensors data is used in place, and it is little-endian");

struct SafetensorsFile::Impl {
  explicit Impl(const std::filesystem::path& path) : file(path) {
    in_file(path, [this] { read(); });
  }

  void read();

  MappedFile file;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> names;
  std::unordered_map<std::string, Tensor> tensors;
  std::vector<OwnedTensor> aligned;  // copies of tensors that the file does not align
};

void SafetensorsFile::Impl::read() {
  const std::span<const std::byte> bytes = file.bytes();
  uint64_t header_bytes = 0;
  UVIC_CHECK(bytes.size() >= sizeof header_bytes, "not a safetensors file: ", bytes.size(), " bytes");
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  const size_t rest = bytes.size() - sizeof header_bytes;
  UVIC_CHECK(header_bytes <= SafetensorsHeader::kMaxBytes && header_bytes <= rest,
             "not a safetensors file, or cut short: a header of ", header_bytes, " bytes in a file of ", bytes.size());
  const auto* header = reinterpret_cast<const char*>(bytes.data()) + sizeof header_bytes;
  const auto* data = reinterpret_cast<const std::byte*>(header) + header_bytes;

  SafetensorsHeader parsed = parse_safetensors_header({header, header_bytes}, rest - header_bytes);
  metadata = std::move(parsed.metadata);
  for (const SafetensorsHeader::Entry& e : parsed.entries) {
    Tensor t(const_cast<std::byte*>(data + e.begin), e.dtype, e.shape);
    if (reinterpret_cast<uintptr_t>(t.raw()) % size_of(e.dtype) != 0 && t.numel() > 0) {
      aligned.emplace_back(Device{}, e.dtype, e.shape);
      std::memcpy(aligned.back().tensor.raw(), t.raw(), t.bytes());
      t = aligned.back().tensor;
    }
    names.push_back(e.name);
    tensors.emplace(e.name, t);
  }
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

const std::filesystem::path& SafetensorsFile::path() const { return impl_->file.path(); }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const { return impl_->metadata; }
const std::vector<std::string>& SafetensorsFile::names() const { return impl_->names; }
bool SafetensorsFile::contains(const std::string& name) const { return impl_->tensors.contains(name); }

Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto found = impl_->tensors.find(name);
  if (found != impl_->tensors.end()) return found->second;
  const std::string near = nearest(name, impl_->names);
  fail(path().string(), ": no tensor ", quote(name), near.empty() ? "" : "; the nearest name is " + quote(near));
}

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<OwnedTensor(size_t)>& fetch) {
  std::vector<const NamedTensor*> order;
  std::set<std::string> names{SafetensorsHeader::kMetadata};
  for (const NamedTensor& t : tensors) {
    UVIC_CHECK(names.insert(t.name).second, path.string(), ": two tensors would be named ", quote(t.name));
    UVIC_CHECK(fetch || t.tensor || t.tensor.numel() == 0, path.string(), ": tensor ", quote(t.name), " has no data");
    order.push_back(&t);
  }
  std::stable_sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return size_of(a->tensor.dtype()) > size_of(b->tensor.dtype());
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[SafetensorsHeader::kMetadata] = metadata;
  uint64_t offset = 0;
  for (const NamedTensor* t : order) {
    const Tensor& x = t->tensor;
    header[t->name] = {{"dtype", safetensors_name(x.dtype())},
                       {"shape", std::vector<int64_t>(x.shape().begin(), x.shape().end())},
                       {"data_offsets", {offset, offset + x.bytes()}}};
    offset += x.bytes();
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& e) {  // a name or metadata that is not UTF-8
    fail(path.string(), ": ", e.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data starts aligned
  UVIC_CHECK(text.size() <= SafetensorsHeader::kMaxBytes, path.string(), ": a header of ", text.size(), " bytes");

  AtomicFile file(path);
  const uint64_t header_bytes = text.size();
  file.write(&header_bytes, sizeof header_bytes);
  file.write(text.data(), text.size());
  for (const NamedTensor* t : order) {
    const OwnedTensor fetched = fetch ? fetch(static_cast<size_t>(t - tensors.data())) : OwnedTensor();
    file.write(fetch ? fetched.tensor.raw() : t->tensor.raw(), t->tensor.bytes());
  }
  file.commit();
}

}  // namespace uvic
