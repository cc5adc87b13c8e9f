// uvic-encode: data sets into the forms that training reads.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <vector>

#include "app/cli.h"
#include "app/encode_commands.h"

int main(int argc, char** argv) {
  using namespace uvic;
  std::vector<EncodeCommand> commands;
  const auto declare = [&](CLI::App& app) {
    app.require_subcommand(1);
    commands = {pack_command(app), images_command(app), text_command(app)};
  };
  const auto run = [&] {
    catch_signals("uvic-encode", world_from_environment());
    const auto given = [](const EncodeCommand& command) { return command.options->parsed(); };
    return std::find_if(commands.begin(), commands.end(), given)->run();
  };
  return run_program(argc, argv, "uvic-encode", "Turns data sets into the forms that training reads.", declare, run);
}
