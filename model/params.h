#pragma once

#include <array>
#include <string>
#include <vector>

#include "kernels/core/context.h"
#include "model/store_parts.h"

namespace uvic {

// How a parameter starts: the released initialisation. (U-ViT asks for a truncated normal but cuts at +-2, a hundred
// standard deviations out, so it is a plain normal; label_emb and the convolutions keep PyTorch's defaults.)
enum class Init : uint8_t { zeros, ones, normal_002, normal_1, uniform_fan_in };

// What a flat copy of all parameters is for. working is what ops read, in the run's dtype; the others are f32. ema is
// the average that is the result of training; a run may keep others.
enum class Role : uint8_t { master, working, grad, m, v, ema, ema1, ema2, ema3 };
constexpr std::array<Role, 4> kEmaRoles{Role::ema, Role::ema1, Role::ema2, Role::ema3};
const char* name_of(Role role);

// Every parameter of a network, in one flat piece of memory a role: one kernel updates all, one write saves all. add()
// is the single list of tensors that loading, saving, initialising and updating walk. Processes that train together may
// divide what only the update needs: m, v, the averages, and master where working is another. Each then has its part.
class ParamStore {
 public:
  struct Param {
    std::string name;  // as in the released state_dict
    Shape shape;
    int64_t offset = 0;  // elements, in every role
    Init init = Init::zeros;
    int64_t fan_in = 0;  // for uniform_fan_in: U(-1, 1) / sqrt(fan_in)
    int inputs = 0;      // of a linear layer's weight: the inputs that lie side by side in its columns; else 0
  };

  explicit ParamStore(Device device) : device_(device) {}
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;

  int add(std::string name, Shape shape, Init init, int64_t fan_in = 0);      // before any allocation
  int add_linear(std::string name, int64_t out, int64_t in, int inputs = 1);  // a weight [out, inputs * in]
  const std::vector<Param>& params() const { return params_; }
  int64_t count() const;                    // learnable numbers
  int64_t size() const { return size_; }    // elements of a flat role: what lies between parameters is counted, too
  int find(const std::string& name) const;  // -1 if there is none

  // Inference: the working role only. Training: every role, with 1 to 4 averages, zero-filled; in f32 working is master
  // itself. parts: of the processes that divide it, or null; must outlive this.
  void allocate_for_inference(DType dtype);
  void allocate_for_training(DType dtype, size_t averages = 1, StoreParts* parts = nullptr);

  // Inference, once the weights are final: keeps those of linear layers in the backend's order as well.
  void prepack(Context& ctx);

  Tensor prepacked(int id) const { return prepacked_.empty() ? Tensor{} : prepacked_[static_cast<size_t>(id)].tensor; }
  Tensor value(int id) const { return view(Role::working, id); }
  Tensor grad(int id) const { return view(Role::grad, id); }  // empty in inference
  Tensor view(Role role, int id) const;                       // not of a divided role
  Tensor flat(Role role) const;  // [size()]; of a divided role own(); empty if not allocated
  bool divided(Role role) const;
  // What this process updates, as long in every role: all of it, or its part, which may reach beyond size().
  Tensor own(Role role) const { return own(role, part_); }
  Tensor own(Role role, FlatPart elements) const;  // of these, which lie in part()
  FlatPart part() const { return part_; }
  DType dtype() const { return dtype_; }

  // A parameter's values for whoever writes them to a file (on the host, in the role's dtype), and from whoever read
  // them (on the host, any dtype). Of a divided role the first process gets and sets all, while others answer; they set
  // what they keep themselves.
  OwnedTensor get(Context& ctx, Role role, int id) const;
  void set(Context& ctx, Role role, int id, Tensor value);

  // Fills master (or working, in inference) with the released initialisation, keyed by (seed, parameter).
  void initialise(Context& ctx, uint64_t seed);
  // Makes the working weights those of role (master or ema). Training only; of a divided store, in all processes.
  void use(Context& ctx, Role role);
  // After an update of own(): the working weights become those of all processes.
  void gather();

 private:
  const OwnedTensor& owned(Role role) const { return roles_[static_cast<size_t>(role)]; }
  OwnedTensor& owned(Role role) { return roles_[static_cast<size_t>(role)]; }
  Tensor padded(Role role) const;  // to whole parts, unless it is divided

  Device device_;
  std::vector<Param> params_;
  int64_t size_ = 0;
  DType dtype_ = DType::f32;
  StoreParts* parts_ = nullptr;
  FlatPart part_;  // this process's, or all
  OwnedTensor roles_[9];
  OwnedTensor aside_;  // own(master) while working, which is master, holds an average
  Tensor working_;
  std::vector<OwnedTensor> prepacked_;  // by parameter, or none at all
};

}  // namespace uvic
