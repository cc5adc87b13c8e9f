#include "model/checkpoint.h"

#include <fcntl.h>
#include <stdio.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/io/file.h"
#include "model/io/safetensors.h"

namespace uvic {
namespace fs = std::filesystem;
using nlohmann::json;
namespace {

constexpr const char* kTemporary = ".tmp-";

std::vector<Role> state_roles(size_t averages) {
  std::vector<Role> roles{Role::master, Role::m, Role::v};
  for (size_t k = 0; k < averages; ++k) roles.insert(roles.begin() + 1 + static_cast<std::ptrdiff_t>(k), kEmaRoles[k]);
  return roles;
}

size_t averages_of(const ParamStore& store) {
  return static_cast<size_t>(
      std::count_if(kEmaRoles.begin(), kEmaRoles.end(), [&](Role role) { return !store.flat(role).empty(); }));
}

std::string state_name(Role role, const std::string& parameter) { return concat(name_of(role), "/", parameter); }

struct FileSum {
  uint64_t bytes = 0;
  uint32_t crc32 = 0;
};

// Of state.json's content without its own "crc32"; what is not UTF-8 (a path, a class name) is replaced in the file
// too.
uint32_t sum_json(const json& state) {
  const std::string text = state.dump(-1, ' ', false, json::error_handler_t::replace);
  return static_cast<uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
}

FileSum sum_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  UVIC_CHECK(in, path.string(), ": ", std::strerror(errno));
  FileSum sum;
  std::vector<char> chunk(size_t{1} << 20);
  uLong crc = ::crc32(0, nullptr, 0);
  while (in.read(chunk.data(), static_cast<std::streamsize>(chunk.size())), in.gcount() > 0) {
    crc = ::crc32(crc, reinterpret_cast<const Bytef*>(chunk.data()), static_cast<uInt>(in.gcount()));
    sum.bytes += static_cast<uint64_t>(in.gcount());
  }
  UVIC_CHECK(in.eof(), path.string(), ": ", std::strerror(errno));
  sum.crc32 = static_cast<uint32_t>(crc);
  return sum;
}

// Makes `to` be the folder `from`, in one step even where `to` exists (then `from` becomes what `to` was, and goes).
void rename_folder(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return;
  const bool exchanged = ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0;
  UVIC_CHECK(exchanged, "cannot rename ", from.string(), " to ", to.string(), ": ", std::strerror(errno));
  fs::remove_all(from);
}

json read_state(const fs::path& folder) {
  const fs::path path = folder / "state.json";
  std::ifstream in(path);
  UVIC_CHECK(in, path.string(), ": ", std::strerror(errno));
  json state = json::parse(in, nullptr, false);
  UVIC_CHECK(state.is_object() && state["format"].is_number_integer() && state["files"].is_object() &&
                 state["step"].is_number_integer(),
             path.string(), ": not the state of a training run");
  const bool summed = state["format"] != 1 || state.contains("crc32");  // format 1 had no checksum of its own
  const json sum = summed ? state["crc32"] : json();
  state.erase("crc32");
  UVIC_CHECK(!summed || sum == sum_json(state), path.string(), ": damaged: its checksum is wrong");
  return state;
}

void write_folder(Context& ctx, const fs::path& folder, const ParamStore& store, const ModelInfo& info,
                  const TrainState& state) {
  fs::create_directory(folder);
  const size_t averages = averages_of(store);
  UVIC_CHECK(state.ema_rates.empty() || state.ema_rates.size() == averages, state.ema_rates.size(), " rates for ",
             averages, " averages");
  std::vector<std::string> files{"model.safetensors", "state.safetensors"};
  save_model(ctx, folder / files[0], store, Role::ema, DType::f32, info);
  for (size_t k = 1; k < state.ema_rates.size(); ++k) {
    files.push_back(concat("model-ema-", json(state.ema_rates[k]).dump(), ".safetensors"));
    save_model(ctx, folder / files.back(), store, kEmaRoles[k], DType::f32, info);
  }
  const std::vector<Role> roles = state_roles(averages);
  const std::vector<ParamStore::Param>& params = store.params();
  std::vector<NamedTensor> tensors;
  for (const Role role : roles)
    for (const auto& p : params) tensors.push_back({state_name(role, p.name), Tensor(nullptr, DType::f32, p.shape)});
  write_safetensors(folder / "state.safetensors", tensors, {{"format", "uvic-state"}}, [&](size_t i) {
    return store.get(ctx, roles[i / params.size()], static_cast<int>(i % params.size()));
  });
  json out{{"format", 2},
           {"step", state.step},
           {"seed", state.seed},
           {"samples", state.samples},
           {"world_size", state.world_size},
           {"loss_sum", state.loss_sum},
           {"loss_steps", state.loss_steps},
           {"ema_rates", state.ema_rates},
           {"level_loss_sum", state.level_loss_sum},
           {"level_loss_samples", state.level_loss_samples},
           {"config", info.train_config},
           {"files", json::object()}};
  for (const std::string& name : files) {
    const FileSum sum = sum_file(folder / name);
    out["files"][name] = {{"bytes", sum.bytes}, {"crc32", sum.crc32}};
  }
  out["crc32"] = sum_json(out);
  const std::string text = out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  AtomicFile file(folder / "state.json");
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace

fs::path save_checkpoint(Context& ctx, const fs::path& run, const ParamStore& store, const ModelInfo& info,
                         const TrainState& state) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(state.step));
  const fs::path temporary = run / (kTemporary + std::string(name)), folder = run / name;
  try {
    fs::remove_all(temporary);
    write_folder(ctx, temporary, store, info, state);
    rename_folder(temporary, folder);
    sync_folder(run);
  } catch (const std::exception& e) {  // a filesystem_error, or ours
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw Error(concat("checkpoint ", folder.string(), " could not be saved: ", e.what()),
                "earlier checkpoints are untouched; free some space or choose another folder with -o");
  }
  return folder;
}

TrainState load_checkpoint(Context& ctx, const fs::path& folder, ParamStore& store,
                           const std::vector<double>& ema_rates) {
  verify_checkpoint(folder);
  const json state = read_state(folder);
  const std::vector<double> saved_rates = state.value("ema_rates", std::vector<double>{});
  const size_t saved = std::max<size_t>(1, saved_rates.size());
  const auto source = [&](Role role) {  // what role is called in the file
    const auto k = static_cast<size_t>(std::find(kEmaRoles.begin(), kEmaRoles.end(), role) - kEmaRoles.begin());
    if (k == kEmaRoles.size()) return role;
    if (k >= ema_rates.size()) return kEmaRoles[k < saved ? k : 0];
    const auto at = std::find(saved_rates.begin(), saved_rates.end(), ema_rates[k]);
    return kEmaRoles[at == saved_rates.end() ? 0 : static_cast<size_t>(at - saved_rates.begin())];
  };
  const SafetensorsFile file(folder / "state.safetensors");
  const size_t wanted = state_roles(saved).size() * store.params().size();
  UVIC_CHECK(file.names().size() == wanted, file.path().string(), " holds ", file.names().size(),
             " tensors, this model needs ", wanted);
  for (const Role role : state_roles(averages_of(store))) {
    for (size_t id = 0; id < store.params().size(); ++id) {
      const ParamStore::Param& p = store.params()[id];
      const std::string name = state_name(source(role), p.name);
      const Tensor value = file.tensor(name);
      UVIC_CHECK(value.shape() == p.shape, file.path().string(), ": ", name, " is ", value.shape(),
                 ", this model needs ", p.shape);
      store.set(ctx, role, static_cast<int>(id), value);
    }
  }
  store.use(ctx, Role::master);
  return {.step = state["step"],
          .seed = state.value("seed", uint64_t{0}),
          .samples = state.value("samples", int64_t{0}),
          .world_size = state.value("world_size", 1),
          .loss_sum = state.value("loss_sum", 0.0),
          .loss_steps = state.value("loss_steps", int64_t{0}),
          .ema_rates = saved_rates,
          .level_loss_sum = state.value("level_loss_sum", std::array<double, 4>{}),
          .level_loss_samples = state.value("level_loss_samples", std::array<double, 4>{})};
}

std::optional<int64_t> checkpoint_step(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with("step-") || name.size() < 13 || name.size() > 20) return {};
  if (!std::all_of(name.begin() + 5, name.end(), [](char c) { return c >= '0' && c <= '9'; })) return {};
  return std::stoll(name.substr(5));
}

void verify_checkpoint(const fs::path& folder) {
  const json state = read_state(folder);
  for (const auto& [name, want] : state["files"].items()) {
    const fs::path path = folder / name;
    const FileSum got = sum_file(path);
    const uint64_t bytes = want.value("bytes", uint64_t{0});
    UVIC_CHECK(got.bytes == bytes, path.string(), ": ", got.bytes, " bytes where ", bytes, " were written");
    UVIC_CHECK(got.crc32 == want.value("crc32", uint32_t{0}), path.string(), ": checksum differs from state.json's");
  }
}

std::vector<fs::path> list_checkpoints(const fs::path& run) {
  std::vector<fs::path> found;
  if (!fs::is_directory(run)) return found;
  for (const auto& entry : fs::directory_iterator(run))
    if (entry.is_directory() && checkpoint_step(entry.path())) found.push_back(entry.path());
  std::sort(found.begin(), found.end(),
            [](const fs::path& a, const fs::path& b) { return *checkpoint_step(a) > *checkpoint_step(b); });
  return found;
}

std::optional<fs::path> newest_checkpoint(const fs::path& run,
                                          const std::function<void(const fs::path&, const std::string&)>& refused) {
  for (const fs::path& folder : list_checkpoints(run)) {
    try {
      verify_checkpoint(folder);
      return folder;
    } catch (const std::exception& e) {
      refused(folder, e.what());
    }
  }
  return {};
}

void prune_checkpoints(const fs::path& run, int keep_last, int64_t keep_every, int64_t step) {
  std::vector<fs::path> doomed;
  for (const auto& entry : fs::directory_iterator(run))
    if (entry.path().filename().string().starts_with(kTemporary)) doomed.push_back(entry.path());
  std::vector<fs::path> checkpoints = list_checkpoints(run);
  std::erase_if(checkpoints, [&](const fs::path& folder) { return *checkpoint_step(folder) > step; });
  std::error_code ignored;  // what cannot be removed does no harm
  if (keep_last > 0) {
    for (size_t i = static_cast<size_t>(keep_last); i < checkpoints.size(); ++i) {
      if (keep_every > 0 && *checkpoint_step(checkpoints[i]) % keep_every == 0) continue;
      // Renamed before it is emptied: a kill in between must not leave half a folder under a checkpoint's name.
      const fs::path renamed = run / (kTemporary + std::string("old-") + checkpoints[i].filename().string());
      fs::rename(checkpoints[i], renamed, ignored);
      if (!ignored) doomed.push_back(renamed);
    }
  }
  for (const fs::path& path : doomed) fs::remove_all(path, ignored);
}

}  // namespace uvic
