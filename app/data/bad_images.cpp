#include "app/data/bad_images.h"

#include <utility>

#include "kernels/core/error.h"

namespace uvic {

BadImages::BadImages(std::string path, int64_t size, double max_share)
    : path_(std::move(path)), size_(size), max_share_(max_share) {}

void BadImages::add(int64_t i, const std::string& message) {
  const std::lock_guard lock(mutex_);
  bad_.emplace(i, message);
  check();
}

bool BadImages::contains(int64_t i) const {
  const std::lock_guard lock(mutex_);
  if (!bad_.contains(i)) return false;
  check();  // another thread may have met the last straw, in a later batch
  return true;
}

int64_t BadImages::count() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(bad_.size());
}

std::vector<std::string> BadImages::examples() const {
  const std::lock_guard lock(mutex_);
  return list();
}

void BadImages::check() const {
  if (static_cast<double>(bad_.size()) <= max_share_ * static_cast<double>(size_)) return;
  std::string text;
  for (const std::string& example : list()) text += "\n  " + example;
  fail(path_, ": ", bad_.size(), " of ", size_, " images are broken, more than data.max_bad_share ", max_share_,
       " allows:", text);
}

std::vector<std::string> BadImages::list() const {
  constexpr size_t kExamples = 5;
  std::vector<std::string> examples;
  for (const auto& [i, message] : bad_)
    if (examples.size() < kExamples) examples.push_back(message);
  return examples;
}

}  // namespace uvic
