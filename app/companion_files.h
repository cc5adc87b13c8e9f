#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace uvic {

// A file or folder that a model needs beside itself: its autoencoder, its text tower.
struct CompanionSearch {
  std::string what;                // "autoencoder", for errors
  std::string option;              // "--autoencoder"
  std::filesystem::path given;     // by that option; empty: it was not given
  std::filesystem::path model;     // file or folder that -m named
  std::string recorded;            // path in the model's metadata; empty: none
  std::vector<std::string> names;  // that it may have beside the model, the first that exists wins; "vae/": a folder
};

// given, if it is; else recorded, from the model's folder or, failing that, from the working directory; else the first
// of names in the model's folder, or, where that is a checkpoint (step-*), in the run's. Throws Error naming every
// place that was looked at, and the option.
std::filesystem::path find_companion(const CompanionSearch& search);

// The folders that find_companion looks for names in.
std::vector<std::filesystem::path> companion_folders(const std::filesystem::path& model);

}  // namespace uvic
