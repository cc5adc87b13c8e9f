#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace uvic {

// The captions of one image.
struct Captions {
  std::string image;  // its name; empty: it is the image of that place
  std::vector<std::string> texts;
};

// A file of captions, in its order. One that ends in .jsonl has an object a line, with "caption", "prompt" or "text" (a
// string) or "captions" (several), and perhaps "image", "file_name" or "name"; or just a string. A .json is an array of
// these, or MS-COCO's captions_train2014.json, of which the images come by rising id. Any other has a caption a line,
// perhaps behind its image's name and a tab. Images named more than once (also as name#1, name#2) are one, with all
// their captions; an empty line is an empty caption. Throws Error naming file and line, and if there are none.
std::vector<Captions> read_captions(const std::filesystem::path& path);

// The texts alone, one a line of the file or more.
std::vector<std::string> read_prompts(const std::filesystem::path& path);

}  // namespace uvic
