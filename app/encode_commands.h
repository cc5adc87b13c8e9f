#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace uvic {

// The subcommands of uvic-encode. Each declares its options below app; run() then does it and returns the exit status.
struct EncodeCommand {
  CLI::App* options;
  std::function<int()> run;
};
EncodeCommand pack_command(CLI::App& app);
EncodeCommand images_command(CLI::App& app);
EncodeCommand text_command(CLI::App& app);

}  // namespace uvic
