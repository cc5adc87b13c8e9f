#include "app/data/tar.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>

#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace {

constexpr int64_t kBlock = 512;
constexpr int64_t kMaxNameBytes = 1 << 20;  // of a pax header or long name: both precede their file and are read whole

struct Header {  // POSIX.1-1988, 512 bytes of text fields
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2],
      user[32], group[32], major[8], minor[8], prefix[155], padding[12];
};
static_assert(sizeof(Header) == kBlock);

template <size_t N>
std::string text(const char (&field)[N]) {
  return {field, strnlen(field, N)};
}

// Octal digits, or, with the top bit set, a big-endian binary number (GNU, for 8 GB and more). -1: neither.
template <size_t N>
int64_t number(const char (&field)[N]) {
  if (static_cast<unsigned char>(field[0]) == 0x80) {
    uint64_t v = 0;
    for (size_t i = 1; i < N; ++i) v = (v >> 55 ? ~uint64_t{0} : v << 8 | static_cast<unsigned char>(field[i]));
    return v >> 62 ? -1 : static_cast<int64_t>(v);
  }
  const std::string all = text(field);
  const size_t first = all.find_first_not_of(' '), last = all.find_last_not_of(' ');
  if (first == std::string::npos) return 0;
  int64_t v = -1;
  const char* end = all.data() + last + 1;
  return std::from_chars(all.data() + first, end, v, 8).ptr == end ? v : -1;
}

bool checksum_ok(const Header& header) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  const size_t at = offsetof(Header, checksum);
  int64_t sum = 8 * ' ';
  for (size_t i = 0; i < kBlock; ++i)
    if (i < at || i >= at + 8) sum += bytes[i];
  return number(header.checksum) == sum;
}

// Records "27 path=a/long/name\n": the length counts the whole record.
void read_pax(const std::string& body, std::map<std::string, std::string>& out) {
  for (size_t at = 0; at < body.size();) {
    size_t length = 0;
    const char* begin = body.data() + at;
    const auto [space, error] = std::from_chars(begin, body.data() + body.size(), length);
    const size_t digits = static_cast<size_t>(space - begin);
    if (error != std::errc{} || length < digits + 3 || length > body.size() - at) return;
    const std::string record = body.substr(at + digits + 1, length - digits - 2);
    if (const size_t equals = record.find('='); equals != std::string::npos)
      out[record.substr(0, equals)] = record.substr(equals + 1);
    at += length;
  }
}

}  // namespace

std::vector<TarEntry> read_tar_index(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  UVIC_CHECK(in, path.string(), ": cannot open");
  const auto end = static_cast<int64_t>(std::filesystem::file_size(path));
  std::vector<TarEntry> entries;
  std::map<std::string, std::string> pax;  // what an extended header says about the next file
  for (int64_t at = 0;;) {
    Header header;
    in.seekg(at);
    UVIC_CHECK(in.read(reinterpret_cast<char*>(&header), kBlock), path.string(),
               ": truncated tar file: it ends at byte ", end, " without an end mark");
    const auto* bytes = reinterpret_cast<const char*>(&header);
    if (std::all_of(bytes, bytes + kBlock, [](char c) { return c == 0; })) break;  // the end mark
    UVIC_CHECK(at > 0 || checksum_ok(header), path.string(), ": not an uncompressed tar file");
    UVIC_CHECK(checksum_ok(header), path.string(), ": damaged tar file: wrong checksum of the header at byte ", at);
    int64_t size = number(header.size);
    const bool file = header.type == '0' || header.type == 0 || header.type == '7';
    if (const auto it = pax.find("size"); file && it != pax.end())
      size =
          std::from_chars(it->second.data(), it->second.data() + it->second.size(), size).ec == std::errc{} ? size : -1;
    UVIC_CHECK(size >= 0 && size <= end - at - kBlock, path.string(), ": truncated tar file: the entry at byte ", at,
               " should have ", size, " bytes");
    if (header.type == 'x' || header.type == 'L') {
      UVIC_CHECK(size <= kMaxNameBytes, path.string(), ": a name of ", size, " bytes at byte ", at);
      std::string body(static_cast<size_t>(size), '\0');
      in.read(body.data(), size);
      if (header.type == 'x')
        read_pax(body, pax);
      else
        pax["path"] = body.substr(0, body.find('\0'));
    } else if (header.type != 'K' && header.type != 'g') {  // neither a long link's name nor defaults for all
      std::string name = text(header.name);
      if (std::memcmp(header.magic, "ustar\0", 6) == 0 && header.prefix[0])
        name = concat(text(header.prefix), "/", name);
      if (const auto it = pax.find("path"); it != pax.end()) name = it->second;
      if (file && !name.ends_with('/')) entries.push_back({name, at + kBlock, size});
      pax.clear();
    }
    at += kBlock + (size + kBlock - 1) / kBlock * kBlock;
  }
  return entries;
}

}  // namespace uvic
