#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/model/hostile.h"

namespace uvic::test {

// Raw deflate, as zip stores it.
inline std::string deflated(const std::string& text) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&z, text.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(::deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

// A record of a zip archive made by hand, so that each field may lie.
struct ZipRecord {
  std::string name, data;
  uint16_t method = 0;           // 0 store, 8 deflate; data is stored as it is with any other
  int64_t claimed = -1;          // size in the directory where it is not that of data
  uint32_t damage_checksum = 0;  // added to the right one
};

inline std::string zip_bytes(const std::vector<ZipRecord>& records) {
  std::string file, directory;
  for (const ZipRecord& r : records) {
    const std::string packed = r.method == 8 ? deflated(r.data) : r.data;
    const auto* data = reinterpret_cast<const Bytef*>(r.data.data());
    const auto checksum = static_cast<uint32_t>(::crc32(0, data, static_cast<uInt>(r.data.size())));
    const auto claimed = static_cast<uint32_t>(r.claimed < 0 ? static_cast<int64_t>(r.data.size()) : r.claimed);
    // Version, flags, method, time and date, checksum, both sizes, lengths of name and extra field.
    const std::string common = concat(le(uint16_t{20}), le(uint16_t{0}), le(r.method), le(uint32_t{0x210000}),
                                      le(checksum + r.damage_checksum), le(static_cast<uint32_t>(packed.size())),
                                      le(claimed), le(static_cast<uint16_t>(r.name.size())), le(uint16_t{0}));
    directory += concat("PK\1\2", le(uint16_t{20}), common, std::string(10, '\0'),
                        le(static_cast<uint32_t>(file.size())), r.name);
    file += concat("PK\3\4", common, r.name, packed);
  }
  const std::string count = le(static_cast<uint16_t>(records.size()));
  return concat(file, directory, "PK\5\6", le(uint32_t{0}), count, count, le(static_cast<uint32_t>(directory.size())),
                le(static_cast<uint32_t>(file.size())), le(uint16_t{0}));
}

}  // namespace uvic::test
