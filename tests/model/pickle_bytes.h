#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/model/hostile.h"

namespace uvic::test {

// A pickle assembler: each function returns the opcodes that leave one object on the stack.
inline const std::string kProto = "\x80\x02";

inline std::string str(const std::string& s) { return concat("X", le(static_cast<uint32_t>(s.size())), s); }
inline std::string num(int64_t x) { return concat("\x8a\x08", le(x)); }
inline std::string tuple(const std::vector<std::string>& items) {
  std::string s = "(";
  for (const std::string& i : items) s += i;
  return s + "t";
}
inline std::string global(const std::string& module, const std::string& name) {
  return concat("c", module, "\n", name, "\n");
}
inline std::string call(const std::string& callee, const std::vector<std::string>& args) {
  return callee + tuple(args) + "R";
}
inline std::string ordered_dict() { return global("collections", "OrderedDict") + ")R"; }

inline std::string storage(const std::string& key, int64_t numel, const std::string& type = "FloatStorage",
                           const std::string& view = "") {
  std::vector<std::string> id{str("storage"), global("torch", type), str(key), str("cpu"), num(numel)};
  if (!view.empty()) id.push_back(view);
  return tuple(id) + "Q";
}

inline std::string shape(const std::vector<int64_t>& dims) {
  std::vector<std::string> items;
  for (const int64_t d : dims) items.push_back(num(d));
  return tuple(items);
}

inline std::string tensor(const std::string& from, int64_t offset, const std::vector<int64_t>& size,
                          const std::vector<int64_t>& stride) {
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              {from, num(offset), shape(size), shape(stride), "\x89", ordered_dict()});
}

inline std::string list_of(const std::vector<std::string>& items) {
  std::string s = "](";
  for (const std::string& i : items) s += i;
  return s + "e";
}

// The legacy container: magic, protocol, system information, the object (a whole pickle), storages.
struct StorageData {
  std::string key;
  std::vector<float> data;
};

inline std::string legacy(const std::string& object, const std::vector<StorageData>& storages = {},
                          const std::string& little_endian = "\x88", const std::string& tail = "") {
  std::string file = concat(kProto, "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", kProto, "M\xe9\x03.", kProto,
                            "}", str("little_endian"), little_endian, "s.", object, kProto);
  std::vector<std::string> keys;
  for (const StorageData& s : storages) keys.push_back(str(s.key));
  file += list_of(keys) + ".";
  for (const StorageData& s : storages) {
    file += le(static_cast<int64_t>(s.data.size()));
    for (const float x : s.data) file += le(x);
  }
  return file + tail;
}

}  // namespace uvic::test
