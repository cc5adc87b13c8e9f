#pragma once

#include <functional>
#include <string>
#include <vector>

namespace uvic {

struct Ended {
  int status = 0;       // the exit status; 128 + the signal that ended it, as a shell says it
  double peak_gib = 0;  // the most memory that it, or a program that it started, has had
};

// Runs the program argv[0], a path, to its end, and calls on_line for every line of its stdout as it comes. stdin,
// stderr and the environment are this program's. A program that cannot be started ends with 127, as in a shell.
Ended run_process(const std::vector<std::string>& argv, const std::function<void(const std::string&)>& on_line);

}  // namespace uvic
