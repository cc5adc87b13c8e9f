#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/core/memory.h"
#include "model/io/pickle.h"

namespace uvic {

// What PyTorch's pickles may call: the handful of globals that rebuild tensors over storages. While the pickle is read
// only shapes and bounds are checked; the container then fills every storage, and materialise() makes the tensors.
class TorchTensors final : public PickleHost {
 public:
  struct Storage {
    std::string key;
    DType dtype;
    int64_t numel;
    Buffer data;  // filled by the container
    bool filled = false;

    size_t bytes() const { return static_cast<size_t>(numel) * size_of(dtype); }
  };

  TorchTensors(TorchValues& values, uint64_t file_bytes) : values_(values), budget_(kMaxGrowth * file_bytes) {}

  bool allows(const std::string& global) const override;
  TorchValue* call(const std::string& global, const std::vector<const TorchValue*>& args) override;
  TorchValue* persistent(const TorchValue& id) override;

  std::vector<Storage>& storages() { return storages_; }
  Storage* find(const std::string& key);  // null if no tensor uses it

  // Gives every tensor its elements: a view of its storage where that is contiguous, else a contiguous copy.
  void materialise();

  // Storages and copies together may take this many times the file, which PyTorch writes uncompressed. Without a limit
  // a deflated record or a stride of 0 turns a few bytes into any number of them.
  static constexpr uint64_t kMaxGrowth = 8;

 private:
  struct Pending {  // a tensor that waits for its storage
    TorchValue* value;
    size_t storage;
    int64_t offset;
    Shape stride;
  };

  void spend(uint64_t bytes);
  TorchValue* rebuild_tensor(const std::vector<const TorchValue*>& args);

  TorchValues& values_;
  uint64_t budget_;  // bytes that storages and copies may still take
  std::vector<Storage> storages_;
  std::map<std::string, size_t> index_;
  std::vector<Pending> pending_;
  std::vector<OwnedTensor> copies_;
};

}  // namespace uvic
