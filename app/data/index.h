#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace uvic {

// Where one image lies.
struct ImageEntry {
  std::string name;    // path below the root, for messages and sorting
  int32_t label = -1;  // -1: the data set has no classes
  int32_t file = 0;    // in ImageIndex::files
  int64_t offset = 0;  // bytes
  int64_t size = -1;   // bytes; -1: the whole file
};

enum class Coding : uint8_t {
  encoded,  // JPEG, PNG, ...
  cifar,    // 3072 bytes, [3, 32, 32]
};

// The images of a data set in a fixed order (by class, then by name), found without decoding any.
struct ImageIndex {
  Coding coding = Coding::encoded;
  std::vector<std::filesystem::path> files;
  std::vector<ImageEntry> entries;
  std::vector<std::string> class_names;  // by label; empty: no classes
  bool in_tar = false;                   // the files are tar shards
  std::vector<std::string> lost;         // damaged shards that were left out, and why
};

// Each builds an ImageIndex or throws Error naming the path. classes, if not empty, are the folders to use in the order
// of their labels (the others are left out), or, where labels are numbers in the file, their names.

// Images at any depth below root, links followed; the class is the first folder below root. Images directly in root: no
// classes. Names that begin with a dot are skipped.
ImageIndex index_folder(const std::filesystem::path& root, const std::vector<std::string>& classes);

// Uncompressed tar files (ustar, pax, GNU names), of which only what lies below subtree ("cifar10/train") counts.
// Either class folders as above (a single root folder around them is not a class), or WebDataset's key.jpg beside
// key.cls or a key.json with an integer "label"; of several images with one key the one named key.jpg counts, or the
// first. A shard that is damaged or cut is left out and named in `lost`; if such shards hold more than max_bad_share of
// the bytes, Error. Headers of all shards are read, but for those that uvic-encode pack has written an index of.
ImageIndex index_tar(const std::vector<std::filesystem::path>& shards, const std::string& subtree,
                     const std::vector<std::string>& classes, double max_bad_share);

// CIFAR-10's binary version: records of a label byte and [3, 32, 32] bytes. One .bin file, or a folder with
// data_batch_*.bin (test_batch.bin counts only when it is named itself).
ImageIndex index_cifar(const std::filesystem::path& path, const std::vector<std::string>& classes);

// A text file with an image's path a line, relative to the file's folder, optionally a tab and its label.
ImageIndex index_list(const std::filesystem::path& path, const std::vector<std::string>& classes);

// Chooses among them. format: auto, folder, tar, cifar or list. A tar's path may end in ":subtree" and may be a folder
// of .tar files, a pattern (train-*.tar, train-{000..012}.tar) or several, with "::" between them. Throws Error if no
// image is found.
ImageIndex build_index(const std::string& path, const std::string& format, const std::vector<std::string>& classes,
                       double max_bad_share = 0);

// What the others share. Labels from the first folder of each name, class_names, order; strip_root: as in index_tar.
void assign_labels(ImageIndex& index, const std::vector<std::string>& classes, bool strip_root,
                   const std::string& path);
// Labels were numbers in the data; names, if not empty, are those of the classes. Also the order.
void name_numbered_classes(ImageIndex& index, const std::vector<std::string>& names, const std::string& path);
// A label as text; where: what an error begins with.
int32_t parse_label(std::string text, const std::string& where);

}  // namespace uvic
