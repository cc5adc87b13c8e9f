#include "app/sample_run.h"

#include <chrono>

#include "app/image_maker.h"
#include "app/sample_outputs.h"

namespace uvic {
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
namespace {

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// One call of sample_images.
class SampleRun {
 public:
  explicit SampleRun(const SampleRequest& request);
  SampleOutcome go();

 private:
  std::vector<size_t> mine() const;  // the images of this process
  void make_batch(std::span<const size_t> images);

  const SampleRequest& r_;
  Clock::time_point start_ = Clock::now();
  ImageMaker maker_;
  SampleOutputs outputs_;
  SampleOutcome outcome_;
  Progress progress_;
};

SampleRun::SampleRun(const SampleRequest& request)
    : r_(request),
      maker_(r_, SampleOutputs::shows(r_)),
      outputs_(r_, maker_.model().info.config, maker_.side()),
      progress_("sample", "image", static_cast<int64_t>(mine().size()), r_.progress) {
  outcome_.load_seconds = since(start_);
}

std::vector<size_t> SampleRun::mine() const {
  std::vector<size_t> images;
  const auto step = static_cast<size_t>(r_.world.size);
  for (size_t i = static_cast<size_t>(r_.world.rank); i < r_.seeds.size(); i += step) images.push_back(i);
  return images;
}

void SampleRun::make_batch(std::span<const size_t> images) {
  Context& ctx = maker_.ctx();
  const Tensor x = maker_.make(images, [&](int, Tensor state) {
    const auto scope = ctx.scope("show");
    if (outputs_.shows_states()) outputs_.show(ctx, images, maker_.decode(state));
  });
  outputs_.take(ctx, images, x, SampleOutputs::shows(r_) ? maker_.decode(x) : Tensor{},
                [this](size_t image) { return maker_.parameters(image); });
}

SampleOutcome SampleRun::go() {
  const Clock::time_point start = Clock::now();
  std::vector<size_t> todo;
  for (const size_t i : mine()) {
    if (outputs_.has_already(i, maker_.parameters(i))) {
      ++outcome_.kept;
    } else {
      todo.push_back(i);
    }
  }
  const size_t batch = static_cast<size_t>(r_.batch);
  for (size_t i = 0; i < todo.size() && !outcome_.interrupted; i += batch) {
    make_batch(std::span(todo).subspan(i, std::min(batch, todo.size() - i)));
    outcome_.made += static_cast<int64_t>(std::min(batch, todo.size() - i));
    progress_.update(outcome_.kept + outcome_.made);
    outcome_.interrupted = r_.stop && *r_.stop && i + batch < todo.size();
  }
  progress_.finish();
  if (!outcome_.interrupted) outputs_.write();
  outcome_.seconds = since(start);
  return outcome_;
}

}  // namespace

SampleOutcome sample_images(const SampleRequest& request) {
  UVIC_CHECK(!request.seeds.empty(), "no images asked for: -n must be at least 1");
  UVIC_CHECK(request.batch > 0, "-b must be at least 1, got ", request.batch);
  return SampleRun(request).go();
}

std::vector<uint64_t> parse_seeds(const std::string& text) {
  std::vector<uint64_t> seeds;
  const auto number = [&](const std::string& s) {
    UVIC_CHECK(!s.empty() && s.size() < 19 && s.find_first_not_of("0123456789") == std::string::npos, "--seeds ", text,
               ": '", s, "' is not a number; write lists and ranges as 0-99,200");
    return static_cast<uint64_t>(std::stoull(s));
  };
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const size_t dash = item.find('-');
    const uint64_t first = number(item.substr(0, dash));
    const uint64_t last = dash == std::string::npos ? first : number(item.substr(dash + 1));
    UVIC_CHECK(first <= last, "--seeds ", text, ": the range ", item, " runs backwards");
    UVIC_CHECK(last - first < 100'000'000, "--seeds ", text, ": the range ", item, " is too long");
    for (uint64_t s = first; s <= last; ++s) seeds.push_back(s);
    begin = end + 1;
  }
  return seeds;
}

}  // namespace uvic
