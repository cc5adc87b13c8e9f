#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/io/safetensors.h"
#include "model/io/torch_value.h"

namespace uvic {

// A file that torch.save wrote: state dicts, optimizer states, plain numbers; zip archives and the older legacy format.
// It is read, never executed: a pickle that mentions anything but an OrderedDict and the tensors of eight dtypes is
// refused, as is every size, offset or record that does not fit. Whatever is wrong throws an Error that starts with the
// path; memory is bounded by a small multiple of the file.
class TorchFile {
 public:
  explicit TorchFile(const std::filesystem::path& path);
  ~TorchFile();
  TorchFile(TorchFile&&) noexcept;
  TorchFile& operator=(TorchFile&&) noexcept;

  const std::filesystem::path& path() const;

  // Tensors are contiguous, in the file's dtype, on the host, valid while this object lives. Those that shared a
  // storage in PyTorch may share memory here: only read them.
  const TorchValue& root() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The tensors of a state dict, in its order: root itself, or what it holds under "state_dict", "model" or "ema" (the
// first that is there). Throws Error, without a path, if there is no dict of tensors, or something else in it.
std::vector<NamedTensor> state_dict(const TorchValue& root);

}  // namespace uvic
