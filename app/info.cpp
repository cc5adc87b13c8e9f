// uvic-info: what is in a file of weights or a folder of latents, and how a training run does.

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/cli.h"
#include "app/data_report.h"
#include "app/image_io.h"
#include "app/loaded_model.h"
#include "app/model_report.h"
#include "app/run_state.h"

int main(int argc, char** argv) {
  using namespace uvic;
  std::filesystem::path path, plot;
  bool as_json = false, tensors = false, check = false;
  const auto declare = [&](CLI::App& app) {
    app.add_option("file", path, "Model file, .pth, checkpoint folder, run folder, or folder of latents and texts")
        ->required();
    app.add_option("--plot", plot, "Of a run folder: draw its loss against the step, as a PNG");
    app.add_flag("--tensors", tensors, "List every tensor");
    app.add_flag("--check", check, "Of latents and texts: read all of them and compare their checksums");
    app.add_flag("--json", as_json, "Print one object on stdout");
  };
  const auto run = [&] {
    std::string report;
    const bool of_run = is_run(path), of_data = is_encoded_data(path);
    UVIC_CHECK(of_data || !check, path.string(), ": no folder of latents or texts, which --check reads");
    UVIC_CHECK(of_run || plot.empty(), path.string(), ": not a run folder: --plot needs its metrics.jsonl");
    if (of_data) {
      std::fputs(describe_data(path, as_json).c_str(), stdout);
      if (check) check_data(path);
      return 0;
    }
    if (of_run) {
      const RunState state = read_run(path);
      const LogFields fields = describe(state);
      for (const auto& field : fields) {
        const std::string name = field.first + std::string(field.first.size() < 16 ? 16 - field.first.size() : 0, ' ');
        report += name + to_text({field}).substr(field.first.size()) + "\n";
      }
      if (as_json) report = "{\"run\":" + to_json(fields);
      if (!plot.empty()) {
        Image image = draw_plot(loss_plot(state));
        write_png(plot, image.tensor());
      }
      if (!state.best.whole && !state.last.whole)  // no model yet
        return std::printf("%s%s", report.c_str(), as_json ? "}\n" : ""), 0;
    }
    const std::string model = describe_model(read_weights(model_file(path)), tensors, as_json);
    if (of_run && as_json)
      report += "," + model.substr(1);
    else
      report += concat(of_run ? "\n" : "", model);
    if (as_json) report += "\n";
    std::fputs(report.c_str(), stdout);
    return 0;
  };
  return run_program(argc, argv, "uvic-info",
                     "Shows what a file of weights or a folder of latents holds, or how a training run does.", declare,
                     run);
}
