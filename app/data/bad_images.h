#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace uvic {

// The broken images of a data set that were met so far, with the reason for each. Thread-safe.
class BadImages {
 public:
  // path: the data set's, for messages; size: how many images it has.
  BadImages(std::string path, int64_t size, double max_share);

  // Both throw Error with the count and the names if more than max_share of the images are known to be broken.
  void add(int64_t i, const std::string& message);
  bool contains(int64_t i) const;

  int64_t count() const;
  std::vector<std::string> examples() const;  // the first few

 private:
  void check() const;
  std::vector<std::string> list() const;

  const std::string path_;
  const int64_t size_;
  const double max_share_;
  mutable std::mutex mutex_;
  std::map<int64_t, std::string> bad_;  // by image, so that the list does not depend on which thread met it first
};

}  // namespace uvic
