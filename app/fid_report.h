#pragma once

#include <string>
#include <vector>

#include "app/fid_run.h"

namespace uvic {

// Results of one request for the eye: what was compared and how, then a metric a line, or, of a run, a checkpoint a
// line.
std::string fid_table(const std::vector<FidResult>& results);
// The same as one JSON object a result, values in full.
std::string fid_json(const FidResult& result);

// Throws Error if write_fid_plot will not be able to draw the results of request or to write path: to be asked before
// the work.
void check_fid_plot(const std::filesystem::path& path, const FidRequest& request);

// A run's results over its steps as a PNG, a line for every metric that is a distance. Throws Error if there is but one
// checkpoint or path cannot be written.
void write_fid_plot(const std::filesystem::path& path, const std::vector<FidResult>& results);

}  // namespace uvic
