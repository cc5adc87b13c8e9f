#pragma once

#include <csignal>
#include <functional>
#include <string>

#include "app/world.h"

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
// For a program that has nothing to save. Where it is one of several processes, the launcher kills what is still there
// a second after the signal, and shows no more of it. So half a second after it the program ends, wherever it is, with
// kExitInterrupted, and the first of them says so; unless it comes to its own end before, and calls ends_by_itself()
// before its last words.
void catch_signals(const std::string& name, const World& world);
void ends_by_itself();

constexpr int kExitInterrupted = 130;

}  // namespace uvic
