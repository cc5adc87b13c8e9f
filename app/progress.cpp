#include "app/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kernels/core/error.h"

namespace uvic {

std::string format_duration(double seconds) {
  const int64_t s = std::llround(std::clamp(seconds, 0.0, 1e12));
  char text[64];
  const int64_t days = s / 86400, hours = s / 3600 % 24, minutes = s / 60 % 60;
  const auto part = [](int64_t v) { return static_cast<int>(v); };
  if (days > 0)
    std::snprintf(text, sizeof text, "%lldd %02d:%02d:%02d", static_cast<long long>(days), part(hours), part(minutes),
                  part(s % 60));
  else if (hours > 0)
    std::snprintf(text, sizeof text, "%d:%02d:%02d", part(hours), part(minutes), part(s % 60));
  else
    std::snprintf(text, sizeof text, "%d:%02d", part(minutes), part(s % 60));
  return text;
}

Progress::Progress(std::string what, std::string unit, int64_t total, Style style, int64_t done)
    : what_(std::move(what)), unit_(std::move(unit)), total_(total), start_(done), done_(done), style_(style) {
  if (style_ == Style::automatic) style_ = ::isatty(STDERR_FILENO) ? Style::bar : Style::lines;
}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

std::string Progress::text(double seconds) const {
  std::string line = concat(what_, " ", done_, "/", total_, " ", unit_);
  const auto fresh = static_cast<double>(done_ - start_);
  if (fresh > 0 && seconds > 0) {
    char rate[32];
    const double r = fresh / seconds;
    std::snprintf(rate, sizeof rate, r < 100 ? "%.3g" : "%.0f", r);
    line += concat("  ", rate, " ", unit_, "/s");
    if (done_ < total_)
      line += "  " + format_duration(static_cast<double>(total_ - done_) / r) + " left";
    else
      line += "  in " + format_duration(seconds);
  }
  return note_.empty() ? line : line + "  " + note_;
}

void Progress::update(int64_t done, const std::string& note) {
  done_ = done;
  note_ = note;
  if (finished_ || style_ == Style::quiet) return;
  if (style_ == Style::lines && done_ == total_) return;  // finish() says it, once
  const double now = seconds();
  if (now - last_draw_ >= (style_ == Style::bar ? 0.1 : 5.0)) draw(now);
}

void Progress::draw(double now) {
  last_draw_ = now;
  if (style_ == Style::lines) {
    std::fprintf(stderr, "%s\n", text(now).c_str());
    return;
  }
  constexpr int kWidth = 24;
  const double share = total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1;
  const int full = std::clamp(static_cast<int>(share * kWidth), 0, kWidth);
  const std::string bar =
      std::string(static_cast<size_t>(full), '#') + std::string(static_cast<size_t>(kWidth - full), '.');
  std::fprintf(stderr, "\r\033[K[%s] %s", bar.c_str(), text(now).c_str());
  std::fflush(stderr);
  bar_drawn_ = true;
}

void Progress::say(const std::string& line) {
  if (style_ == Style::quiet) return;
  if (bar_drawn_) std::fputs("\r\033[K", stderr);
  std::fprintf(stderr, "%s\n", line.c_str());
  if (bar_drawn_ && !finished_) draw(seconds());
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (style_ == Style::quiet || (style_ == Style::lines && done_ == start_)) return;
  draw(seconds());
  if (bar_drawn_) std::fputc('\n', stderr);
  bar_drawn_ = false;
}

}  // namespace uvic
