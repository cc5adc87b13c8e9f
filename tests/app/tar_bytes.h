#pragma once

// A tar writer: just what the reader must understand.

#include <algorithm>
#include <cstdio>
#include <string>

namespace uvic::test {

inline std::string tar_header(const std::string& name, size_t size, char type) {
  std::string h(512, '\0');
  h.replace(0, std::min<size_t>(name.size(), 100), name, 0, 100);
  char field[16];
  std::snprintf(field, sizeof field, "%011zo", size);
  h.replace(124, 11, field);
  h[156] = type;
  h.replace(257, 8, std::string("ustar\0", 6) + "00");
  h.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : h) sum += static_cast<unsigned char>(c);
  std::snprintf(field, sizeof field, "%06o", sum);
  h.replace(148, 7, std::string(field, 7));
  return h;
}
inline std::string tar_entry(const std::string& name, const std::string& body, char type = '0') {
  return tar_header(name, body.size(), type) + body + std::string((512 - body.size() % 512) % 512, '\0');
}
inline const std::string kTarEnd(1024, '\0');

}  // namespace uvic::test
