#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/core/tensor.h"

namespace uvic {

// A Python object of a PyTorch file. Objects refer to each other by pointers into the TorchValues that own them all; a
// finished tree (check_tree) has no cycle, is at most TorchValues::kMaxDepth high and holds no Global or Storage.
struct TorchValue {
  struct None {};
  struct List {  // or tuple
    std::vector<const TorchValue*> items;
    bool is_tuple = false;
  };
  struct Dict {  // or OrderedDict; keys are strings and integers, each once
    std::vector<std::pair<const TorchValue*, const TorchValue*>> items;
  };
  struct Global {  // "torch FloatStorage": only while reading
    std::string name;
  };
  struct Storage {  // elements [offset, offset + numel) of a storage: only while reading
    size_t index = 0;
    int64_t offset = 0, numel = 0;
  };

  std::variant<None, bool, int64_t, double, std::string, List, Dict, Tensor, Global, Storage> value;

  template <class T>
  const T* as() const {  // null if it is of another type
    return std::get_if<T>(&value);
  }
  std::optional<double> number() const;  // of an integer, a float, or a tensor with one element of any dtype

  // The value under a key; null if absent or if this is no dict.
  const TorchValue* find(std::string_view key) const;
  const TorchValue* find(int64_t key) const;

  const char* type_name() const;  // "dict"
};

// Owns the objects of a file.
class TorchValues {
 public:
  static constexpr size_t kMaxValues = 1 << 20;  // a large model and its optimizer take 50,000; caps memory at 100 MB
  static constexpr int kMaxDepth = 32;

  TorchValue* add(TorchValue value);  // throws at the limit

 private:
  std::deque<TorchValue> values_;  // never moves what it holds
};

// Throws unless everything that root reaches is plain data, as promised above.
void check_tree(const TorchValue& root);

}  // namespace uvic
