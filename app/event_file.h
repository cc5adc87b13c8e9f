#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace uvic {

// A TensorBoard event file, as tf.summary writes one: records of a length, its checksum, an Event message and its
// checksum (masked CRC-32C). Every start of a run adds a file of its own to the folder; TensorBoard reads them in the
// order of their names.
class EventFile {
 public:
  using Scalars = std::vector<std::pair<std::string, double>>;  // tag, value: {"train/loss", 0.031}

  // Makes folder/events.out.tfevents.<seconds since 1970>.<number of this start>. Whatever earlier files say of
  // first_step and later steps is void from here on: TensorBoard drops it, so that a resumed run shows no step twice.
  // Throws Error naming the path.
  EventFile(const std::filesystem::path& folder, int64_t first_step);

  // One record each, flushed. Throw Error naming the path if the record cannot be written.
  void scalars(int64_t step, const Scalars& values);
  // png: the bytes of a PNG file of RGB pixels, height x width.
  void image(int64_t step, const std::string& tag, int64_t height, int64_t width, std::span<const uint8_t> png);

  const std::filesystem::path& path() const { return path_; }

 private:
  void record(const std::string& event);

  std::filesystem::path path_;
  std::ofstream out_;
};

// CRC-32C (Castagnoli), as in RFC 3720.
uint32_t crc32c(std::string_view bytes);

}  // namespace uvic
