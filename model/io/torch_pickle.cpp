#include "model/io/torch_pickle.h"

#include <algorithm>
#include <cstring>

#include "kernels/core/text.h"
#include "model/io/file.h"
#include "model/io/torch_tensors.h"
#include "model/io/zip.h"

namespace uvic {
namespace {

using Bytes = std::span<const std::byte>;

constexpr uint64_t kMaxPickle = uint64_t{64} << 20;  // a zip record, unpacked; the pickle of 10,000 tensors takes 2 MB

// The first pickle of a legacy file is the integer 0x1950a86a20f9469cfc6c: PROTO (and FRAME since protocol 4), LONG1 of
// ten bytes, STOP. Wider than any integer that the pickle reader knows, hence compared as bytes.
bool skip_legacy_magic(Bytes& bytes) {
  constexpr std::string_view kMagic("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 13);
  for (const size_t before : {2, 2 + 9}) {
    if (bytes.size() < before + kMagic.size() || bytes[0] != std::byte{0x80}) continue;
    if (std::memcmp(bytes.data() + before, kMagic.data(), kMagic.size()) != 0) continue;
    bytes = bytes.subspan(before + kMagic.size());
    return true;
  }
  return false;
}

// Magic, protocol 1001, system information, the object, the storages' keys; then for each key, in that order, the
// element count and the elements.
const TorchValue* read_legacy(Bytes bytes, TorchTensors& tensors, TorchValues& values) {
  const TorchValue* protocol = read_pickle(bytes, tensors, values);
  UVIC_CHECK(protocol->number() == 1001, "not the legacy format that PyTorch calls protocol 1001");
  const TorchValue* system = read_pickle(bytes, tensors, values);
  const TorchValue* little = system->find("little_endian");
  UVIC_CHECK(little && little->as<bool>() && *little->as<bool>(), "not written by a little-endian machine");
  const TorchValue* root = read_pickle(bytes, tensors, values);

  const TorchValue* list = read_pickle(bytes, tensors, values);
  const auto* keys = list->as<TorchValue::List>();
  UVIC_CHECK(keys, "the list of storages is a ", list->type_name());
  UVIC_CHECK(keys->items.size() == tensors.storages().size(), keys->items.size(), " storages for tensors that use ",
             tensors.storages().size());
  for (const TorchValue* key : keys->items) {
    const auto* name = key->as<std::string>();
    UVIC_CHECK(name, "the key of a storage is a ", key->type_name());
    TorchTensors::Storage* storage = tensors.find(*name);
    UVIC_CHECK(storage && !storage->filled, "storage ", quote(*name),
               storage ? " comes twice" : " belongs to no tensor");
    int64_t numel = 0;
    UVIC_CHECK(bytes.size() >= sizeof numel, "cut short before storage ", quote(*name));
    std::memcpy(&numel, bytes.data(), sizeof numel);
    bytes = bytes.subspan(sizeof numel);
    UVIC_CHECK(numel == storage->numel, "storage ", quote(*name), " has ", numel, " elements, wanted ", storage->numel);
    UVIC_CHECK(bytes.size() >= storage->bytes(), "cut short in storage ", quote(*name));
    storage->data = Buffer({}, storage->bytes());
    storage->filled = true;
    if (storage->bytes() > 0) std::memcpy(storage->data.data(), bytes.data(), storage->bytes());
    bytes = bytes.subspan(storage->bytes());
  }
  UVIC_CHECK(bytes.empty(), bytes.size(), " bytes after the last storage");
  return root;
}

std::string text_of(const Buffer& buffer) { return {static_cast<const char*>(buffer.data()), buffer.size()}; }

// <stem>/data.pkl, and a record <stem>/data/<key> for each storage. Other records (version, ids) say nothing we need.
const TorchValue* read_zip(const MappedFile& file, TorchTensors& tensors, TorchValues& values) {
  constexpr std::string_view kPickle = "/data.pkl";
  const ZipFile zip(file.path());
  std::string stem;
  for (const ZipFile::Entry& e : zip.entries()) {
    if (!e.name.ends_with(kPickle) || e.name.find('/') != e.name.size() - kPickle.size()) continue;
    UVIC_CHECK(stem.empty(), "has two pickles, ", quote(stem + "/data.pkl"), " and ", quote(e.name));
    stem = e.name.substr(0, e.name.size() - kPickle.size());
  }
  UVIC_CHECK(!stem.empty(), "a zip archive without a data.pkl: not a file that torch.save wrote");
  if (zip.find(stem + "/byteorder")) {
    const std::string order = text_of(zip.read(stem + "/byteorder", 16));
    UVIC_CHECK(order == "little", "byte order ", quote(order), "; wanted \"little\"");
  }

  const Buffer pickle =
      zip.read(stem + "/data.pkl", std::min(kMaxPickle, TorchTensors::kMaxGrowth * file.bytes().size()));
  Bytes bytes(static_cast<const std::byte*>(pickle.data()), pickle.size());
  const TorchValue* root = read_pickle(bytes, tensors, values);
  UVIC_CHECK(bytes.empty(), bytes.size(), " bytes after the pickle");
  for (TorchTensors::Storage& storage : tensors.storages()) {
    const std::string name = stem + "/data/" + storage.key;
    const ZipFile::Entry* entry = zip.find(name);
    UVIC_CHECK(entry, "record ", quote(name), " of a tensor is missing");
    // PyTorch itself does not compare them, and would read past the end of a short record.
    UVIC_CHECK(entry->bytes == storage.bytes(), "record ", quote(name), " has ", entry->bytes, " bytes, wanted ",
               storage.numel, " of ", storage.dtype);
    storage.data = zip.read(name, storage.bytes());
    storage.filled = true;
  }
  return root;
}

const char* const kStateDictKeys[] = {"state_dict", "model", "ema"};

}  // namespace

struct TorchFile::Impl {
  explicit Impl(const std::filesystem::path& path) : file(path), tensors(values, file.bytes().size()) {
    in_file(path, [this] { read(); });
  }

  void read() {
    Bytes bytes = file.bytes();
    if (skip_legacy_magic(bytes)) {
      root = read_legacy(bytes, tensors, values);
    } else {
      UVIC_CHECK(bytes.size() >= 2 && std::memcmp(bytes.data(), "PK", 2) == 0, "not a file that torch.save wrote");
      root = read_zip(file, tensors, values);
    }
    check_tree(*root);
    tensors.materialise();
  }

  MappedFile file;
  TorchValues values;
  TorchTensors tensors;
  const TorchValue* root = nullptr;
};

TorchFile::TorchFile(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
TorchFile::~TorchFile() = default;
TorchFile::TorchFile(TorchFile&&) noexcept = default;
TorchFile& TorchFile::operator=(TorchFile&&) noexcept = default;

const std::filesystem::path& TorchFile::path() const { return impl_->file.path(); }
const TorchValue& TorchFile::root() const { return *impl_->root; }

std::vector<NamedTensor> state_dict(const TorchValue& root) {
  const TorchValue* found = &root;
  for (const char* key : kStateDictKeys) {
    const TorchValue* inner = root.find(key);
    if (!inner || !inner->as<TorchValue::Dict>()) continue;
    found = inner;
    break;
  }
  const auto* dict = found->as<TorchValue::Dict>();
  UVIC_CHECK(dict && !dict->items.empty(), "not a state dict: ", dict ? "an empty " : "it holds just one ",
             found->type_name());
  std::vector<NamedTensor> tensors;
  for (const auto& [key, value] : dict->items) {
    const auto* name = key->as<std::string>();
    UVIC_CHECK(name, "not a state dict: a key is of type ", key->type_name());
    const auto* tensor = value->as<Tensor>();
    UVIC_CHECK(tensor, "not a state dict: ", quote(*name), " is a ", value->type_name(), ", not a tensor");
    tensors.push_back({*name, *tensor});
  }
  return tensors;
}

}  // namespace uvic
