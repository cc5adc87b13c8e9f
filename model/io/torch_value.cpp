#include "model/io/torch_value.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "kernels/core/text.h"
#include "model/io/convert.h"

namespace uvic {
namespace {

template <class Key, class Wanted>
const TorchValue* find_key(const TorchValue& v, Wanted wanted) {
  const auto* dict = v.as<TorchValue::Dict>();
  if (!dict) return nullptr;
  for (const auto& item : dict->items)
    if (const Key* key = std::get_if<Key>(&item.first->value); key && *key == wanted) return item.second;
  return nullptr;
}

// Heights are remembered, so that a list of two lists of the same two lists of ... is walked in linear time; a cycle
// has no height and runs into the limit.
class TreeCheck {
 public:
  int height(const TorchValue& v, int depth = 0) {
    UVIC_CHECK(depth < TorchValues::kMaxDepth, "objects nested more than ", TorchValues::kMaxDepth, " deep");
    if (const auto known = heights_.find(&v); known != heights_.end()) {
      UVIC_CHECK(depth + known->second <= TorchValues::kMaxDepth, "objects nested more than ", TorchValues::kMaxDepth,
                 " deep");
      return known->second;
    }
    int below = 0;
    if (const auto* global = v.as<TorchValue::Global>()) fail("holds the global ", quote(global->name), " as a value");
    if (v.as<TorchValue::Storage>()) fail("holds a storage outside a tensor");
    if (const auto* list = v.as<TorchValue::List>())
      for (const TorchValue* item : list->items) below = std::max(below, height(*item, depth + 1));
    if (const auto* dict = v.as<TorchValue::Dict>()) {
      check_keys(*dict);
      for (const auto& item : dict->items) below = std::max(below, height(*item.second, depth + 1));
    }
    return heights_[&v] = below + 1;
  }

 private:
  static void check_keys(const TorchValue::Dict& dict) {
    std::set<std::string_view> words;
    std::set<int64_t> numbers;
    for (const auto& item : dict.items) {
      if (const auto* word = item.first->as<std::string>()) {
        UVIC_CHECK(words.insert(*word).second, "key ", quote(*word), " occurs twice in a dict");
      } else if (const auto* number = item.first->as<int64_t>()) {
        UVIC_CHECK(numbers.insert(*number).second, "key ", *number, " occurs twice in a dict");
      } else {
        fail("a dict has a ", item.first->type_name(), " as a key; wanted strings or integers");
      }
    }
  }

  std::unordered_map<const TorchValue*, int> heights_;
};

}  // namespace

std::optional<double> TorchValue::number() const {
  if (const auto* i = as<int64_t>()) return static_cast<double>(*i);
  if (const auto* d = as<double>()) return *d;
  const auto* t = as<Tensor>();
  if (!t || t->numel() != 1) return std::nullopt;
  double x = 0;
  convert(*t, Tensor(&x, DType::f64, t->shape()));
  return x;
}

const TorchValue* TorchValue::find(std::string_view key) const { return find_key<std::string>(*this, key); }
const TorchValue* TorchValue::find(int64_t key) const { return find_key<int64_t>(*this, key); }

const char* TorchValue::type_name() const {
  constexpr const char* kNames[] = {"None", "bool", "int",    "float",  "str",
                                    "list", "dict", "tensor", "global", "storage"};
  static_assert(std::size(kNames) == std::variant_size_v<decltype(value)>);
  const auto* list = as<List>();
  return list && list->is_tuple ? "tuple" : kNames[value.index()];
}

TorchValue* TorchValues::add(TorchValue value) {
  UVIC_CHECK(values_.size() < kMaxValues, "more than ", kMaxValues, " objects");
  return &values_.emplace_back(std::move(value));
}

void check_tree(const TorchValue& root) { TreeCheck().height(root); }

}  // namespace uvic
