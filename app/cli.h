#pragma once

#include <csignal>
#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace uvic {

// What every main does: declares options on a parser (names, defaults shown in --help, -h and --version), parses, runs.
// Returns the exit status: what run returns; 2 after a line on stderr for wrong usage (run may throw CLI::ParseError);
// 1 after "name: error: ..." and its hint for an Error or any other exception.
int run_program(int argc, char** argv, const std::string& name, const std::string& description,
                const std::function<void(CLI::App&)>& declare, const std::function<int()>& run);

// Set by SIGINT and SIGTERM once catch_signals() has been called; a second signal kills as usual.
extern volatile std::sig_atomic_t stop_requested;
void catch_signals();

constexpr int kExitInterrupted = 130;

}  // namespace uvic
