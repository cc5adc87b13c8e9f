#pragma once

#include <string>
#include <vector>

#include "model/model_file.h"
#include "model/params.h"

namespace uvic {

struct ClipTextSizes {
  int64_t vocabulary = 0, tokens = 0, width = 0, layers = 0, hidden = 0;
};

// Where each parameter of a CLIP text tower lies in a file, in either of the two published layouts: HuggingFace's, with
// q, k and v apart, and OpenAI's, with the three in one. weights must outlive it.
class ClipTextNames {
 public:
  // Finds the layout, its prefix and the sizes. Throws Error naming the file if there is no text tower in it, or what
  // is missing, misshapen or unknown.
  explicit ClipTextNames(const Weights& weights);

  const ClipTextSizes& sizes() const { return sizes_; }
  // Fills store's working role; its parameters are named as TextEncoder names them. Throws Error for a number that is
  // not finite.
  void load(Context& ctx, ParamStore& store) const;

 private:
  struct Piece {         // a tensor of the file
    std::string source;  // its name there
    Shape shape;
    std::string target;  // the parameter that it is part of
    int64_t part = 0;    // which one, if there are several of a size
  };
  void find_layout();
  void find_sizes();
  void list_pieces();
  void check() const;
  Tensor need(const std::string& name, int rank) const;

  const Weights& weights_;
  bool openai_ = false;
  std::string prefix_, layer_;  // of all names, and of a layer's before its number
  ClipTextSizes sizes_;
  std::vector<Piece> pieces_;
};

}  // namespace uvic
