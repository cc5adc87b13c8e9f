#include "kernels/cuda/plan_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

namespace uvic::cuda {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "uvic plans 1";

uint64_t checksum(const std::string& text) {  // FNV-1a
  uint64_t h = 14695981039346656037u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

// A folder that no other process writes to, for as long as this lives; unless one of them takes too long.
class Lock {
 public:
  explicit Lock(const fs::path& folder) : folder_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    for (int i = 0; i < 200 && folder_ >= 0 && flock(folder_, LOCK_EX | LOCK_NB) != 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ~Lock() {
    if (folder_ >= 0) close(folder_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int folder_;
};

std::string header(const std::string& maker) { return std::string(kFormat) + '\n' + maker + '\n'; }

}  // namespace

PlanCache::PlanCache(fs::path file, std::string maker) : file_(std::move(file)), maker_(std::move(maker)) {
  plans_ = read();
}

const PlanCache::Algorithm* PlanCache::find(const Problem& problem) const {
  const auto found = plans_.find(problem);
  return found == plans_.end() ? nullptr : &found->second;
}

// A line is the numbers of a problem and of its algorithm; the last one is the checksum of all before it.
PlanCache::Plans PlanCache::read() const {
  std::ostringstream all;
  all << std::ifstream(file_, std::ios::binary).rdbuf();
  std::string text = all.str();
  const size_t last = text.size() < 2 ? std::string::npos : text.rfind('\n', text.size() - 2);
  if (last == std::string::npos) return {};
  const std::string sum = text.substr(last + 1);
  text.resize(last + 1);
  if (sum != std::to_string(checksum(text)) + '\n' || !text.starts_with(header(maker_))) return {};
  std::istringstream lines(text.substr(header(maker_).size()));
  Plans plans;
  Problem problem;
  Algorithm algorithm;
  for (;;) {
    for (int64_t& x : problem) lines >> x;
    for (uint64_t& x : algorithm) lines >> x;
    if (!lines) return plans;
    plans[problem] = algorithm;
  }
}

void PlanCache::add(const Problem& problem, const Algorithm& algorithm) {
  const bool replaces = plans_.contains(problem);  // what was of no use
  plans_[problem] = algorithm;
  if (file_.empty()) return;
  std::error_code ignored;
  fs::create_directories(file_.parent_path(), ignored);
  const Lock lock(file_.parent_path());
  Plans all = read();
  if (replaces) all.erase(problem);
  all.merge(plans_);
  plans_ = std::move(all);
  std::ostringstream text;
  text << header(maker_);
  for (const auto& [key, value] : plans_) {
    for (const int64_t x : key) text << x << ' ';
    for (const uint64_t x : value) text << x << ' ';
    text << '\n';
  }
  fs::path temporary = file_;
  temporary += '.' + std::to_string(getpid());
  std::ofstream out(temporary, std::ios::binary);
  out << text.str() << checksum(text.str()) << '\n';
  out.close();
  if (out) fs::rename(temporary, file_, ignored);
  if (!out || ignored) fs::remove(temporary, ignored);
}

}  // namespace uvic::cuda
