#include "model/io/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "model/io/file.h"

namespace uvic {

std::string read_maybe_gzip(const std::filesystem::path& path, size_t max_bytes) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  const std::string where = path.string();
  const auto too_large = [&](size_t n) {
    UVIC_CHECK(n <= max_bytes, where, ": more than ", max_bytes, " bytes, which is too large for what it should be");
  };
  if (bytes.size() < 2 || bytes[0] != std::byte{0x1F} || bytes[1] != std::byte{0x8B}) {
    too_large(bytes.size());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  too_large(bytes.size());
  z_stream z{};
  constexpr int kGzip = 15 + 16;  // the largest window, and gzip's header and checksum
  UVIC_CHECK(inflateInit2(&z, kGzip) == Z_OK, where, ": zlib cannot start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&z, inflateEnd);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  for (int status = Z_OK; status != Z_STREAM_END;) {
    constexpr size_t kChunk = size_t{1} << 20;
    const size_t done = out.size();
    out.resize(done + kChunk);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + done);
    z.avail_out = kChunk;
    status = inflate(&z, Z_NO_FLUSH);
    out.resize(done + kChunk - z.avail_out);
    too_large(out.size());
    UVIC_CHECK(status == Z_OK || status == Z_STREAM_END, where,
               ": damaged or cut short: ", z.msg ? z.msg : "the gzip ends too early");
  }
  return out;
}

}  // namespace uvic
