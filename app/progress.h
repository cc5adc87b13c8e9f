#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace uvic {

// How far a long job is, on stderr: a bar redrawn in place on a terminal, elsewhere a line every few seconds, with the
// rate and the time left. Not thread-safe.
class Progress {
 public:
  enum class Style : uint8_t { automatic, bar, lines, quiet };

  // what: "train", "sample"; unit: what is counted ("step"). done: where a resumed job starts, not part of the rate.
  Progress(std::string what, std::string unit, int64_t total, Style style = Style::automatic, int64_t done = 0);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Cheap: draws at most ten times a second (bar) or every five seconds (lines). note: "loss 0.0312".
  void update(int64_t done, const std::string& note = {});
  // A line of its own that the bar does not overwrite. Shown unless quiet.
  void say(const std::string& line);
  // Draws the last state; later calls do nothing.
  void finish();

  // "train 120/5000 step  3.2 step/s  25:12 left  loss 0.0312", what a line shows after seconds since the start.
  std::string text(double seconds) const;

 private:
  double seconds() const;
  void draw(double seconds);

  std::string what_, unit_, note_;
  int64_t total_, start_, done_;
  Style style_;
  bool finished_ = false;
  bool bar_drawn_ = false;
  double last_draw_ = -1e9;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

std::string format_duration(double seconds);  // "4:05", "1:02:03", "3d 04:00:00"

}  // namespace uvic
