// The training state as U-ViT's TrainState.save lays it out: step.pth, nnet.pth, nnet_ema.pth, optimizer.pth.

#include "model/checkpoint.h"
#include "model/io/torch_pickle.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

// AdamW's moments; parameters are counted by their position in the state_dict.
void load_moments(Context& ctx, const fs::path& path, ParamStore& store, int64_t step) {
  const TorchFile file(path);
  const TorchValue* state = file.root().find("state");
  UVIC_CHECK(state, path.string(), ": not the state of an optimizer: it has no 'state'");
  for (size_t id = 0; id < store.params().size(); ++id) {
    const ParamStore::Param& p = store.params()[id];
    const TorchValue* moments = state->find(static_cast<int64_t>(id));
    UVIC_CHECK(moments, path.string(), ": no state for parameter ", id, " (", p.name, ")");
    const TorchValue* at = moments->find("step");
    UVIC_CHECK(at && at->number() == static_cast<double>(step), path.string(), ": parameter ", id, " is not at step ",
               step);
    for (const auto& [key, role] : {std::pair{"exp_avg", Role::m}, std::pair{"exp_avg_sq", Role::v}}) {
      const TorchValue* value = moments->find(key);
      const Tensor* t = value ? value->as<Tensor>() : nullptr;
      UVIC_CHECK(t, path.string(), ": no ", key, " for parameter ", id, " (", p.name, ")");
      UVIC_CHECK(t->shape() == p.shape, path.string(), ": ", key, " of ", p.name, " is ", t->shape(),
                 ", this model needs ", p.shape);
      store.set(ctx, role, static_cast<int>(id), *t);
    }
  }
}

}  // namespace

TrainState load_released_checkpoint(Context& ctx, const fs::path& folder, ParamStore& store) {
  const TorchFile step_file(folder / "step.pth");
  const std::optional<double> step = step_file.root().number();
  UVIC_CHECK(step && *step >= 0 && *step < 1e15, step_file.path().string(), ": is not a step count");
  TrainState state;
  state.step = static_cast<int64_t>(*step);
  load_weights(ctx, read_weights(folder / "nnet.pth"), store, Role::master);
  for (const Role role : kEmaRoles)
    if (store.flat(role)) load_weights(ctx, read_weights(folder / "nnet_ema.pth"), store, role);
  load_moments(ctx, folder / "optimizer.pth", store, state.step);
  store.use(ctx, Role::master);
  return state;
}

}  // namespace uvic
