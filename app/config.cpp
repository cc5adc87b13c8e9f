#include "app/config.h"

#include <algorithm>

#include "app/config_value.h"
#include "app/image_io.h"
#include "app/loaded_model.h"
#include "app/yaml_reader.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"
#include "sampler/sampler.h"

namespace uvic {
namespace {

[[noreturn]] void unknown_key(const Setting& setting, const std::vector<Field>& list) {
  std::vector<std::string> sections, names;
  std::string elsewhere;
  for (const Field& field : list) {
    if (sections.empty() || sections.back() != field.section) sections.push_back(field.section);
    if (field.section == setting.section) names.push_back(field.name);
    if (field.name == setting.name) elsewhere = field.section + "." + field.name;
  }
  if (names.empty())
    fail(setting.where, ": unknown section '", setting.section, "'; did you mean '", nearest(setting.section, sections),
         "'?");
  if (setting.name.empty()) fail(setting.where, ": '", setting.section, "' is a section: its keys are ", join(names));
  fail(setting.where, ": unknown key '", setting.key(), "'; did you mean '",
       elsewhere.empty() ? nearest(setting.name, names) : elsewhere, "'?");
}

// The last setting of a key wins: those of the command line come after the file's. The preset is applied before all
// others wherever it stands, since they override it.
RunConfig resolve(std::vector<Setting> settings) {
  RunConfig config;
  const std::vector<Field> list = fields(config);
  for (Setting& setting : settings)
    if (setting.key() == "model") setting.name = "preset";
  std::stable_partition(settings.begin(), settings.end(), [](const Setting& s) { return s.key() == "model.preset"; });
  for (const Setting& setting : settings) {
    const auto field = std::find_if(list.begin(), list.end(), [&](const Field& f) {
      return f.section == setting.section && f.name == setting.name;
    });
    if (field == list.end()) unknown_key(setting, list);
    if (setting.key() == "model.preset" && !setting.is_list) {
      const std::vector<std::string> names = preset_names();
      const std::string& wanted = setting.values[0];
      UVIC_CHECK(std::find(names.begin(), names.end(), wanted) != names.end(), setting.where, ": unknown model '",
                 wanted, "'; did you mean '", nearest(wanted, names), "'?");
    }
    assign(*field, setting);
    if (setting.key() == "model.preset") config.model = preset(config.preset);
  }
  return config;
}

}  // namespace

RunConfig parse_config(const std::string& yaml, const std::string& name, const std::vector<std::string>& sets) {
  std::vector<Setting> settings = read_yaml(yaml, name);
  for (const std::string& set : sets) settings.push_back(read_set(set));
  RunConfig config = resolve(std::move(settings));
  try {
    validate(config);
  } catch (const Error& e) {
    throw Error(name + ": " + e.what(), e.hint());
  }
  return config;
}

RunConfig load_config(const std::filesystem::path& path, const std::vector<std::string>& sets) {
  const std::vector<uint8_t> bytes = read_bytes(path);
  return parse_config(std::string(bytes.begin(), bytes.end()), path.string(), sets);
}

void validate(const RunConfig& c) {
  try {
    validate(c.model);
  } catch (const Error& e) {
    throw Error(std::string("model.") + e.what(), e.hint());
  }
  const int classes = c.model.real_classes();
  const bool text = c.model.condition() == Condition::text, latents = c.data.format == "latents";
  UVIC_CHECK(c.train.label_drop == 0 || c.model.null_class || text, "train.label_drop is ", c.train.label_drop,
             ", which needs model.null_class: true");
  UVIC_CHECK(c.model.in_chans == 3 || latents, "model.in_chans is ", c.model.in_chans,
             ": images have 3 channels; data.format: latents has others");
  UVIC_CHECK(!text || latents, "model.num_clip_token is ", c.model.num_clip_token,
             ": texts come with data.format: latents");
  UVIC_CHECK(c.train.accumulate <= c.train.batch_size, "train.accumulate ", c.train.accumulate,
             " is more than train.batch_size ", c.train.batch_size);
  const std::vector<double>& rates = c.train.ema_rate;
  for (size_t i = 1; i < rates.size(); ++i)
    UVIC_CHECK(std::find(rates.begin(), rates.begin() + static_cast<std::ptrdiff_t>(i), rates[i]) ==
                   rates.begin() + static_cast<std::ptrdiff_t>(i),
               "train.ema_rate has ", rates[i], " twice");
  UVIC_CHECK(c.train.init_score == 0 || c.model.qkv_bias, "train.init_score is ", c.train.init_score,
             ", which needs model.qkv_bias: true");
  UVIC_CHECK(c.sample.cfg_scale == 1 || c.model.null_class || text, "sample.cfg_scale is ", c.sample.cfg_scale,
             ", which needs model.null_class: true");
  UVIC_CHECK(text || (c.sample.prompts.empty() && c.eval.prompts_file.empty()),
             c.sample.prompts.empty() ? "eval.prompts_file" : "sample.prompts",
             " is set, but the model takes no text: model.num_clip_token is 0");
  UVIC_CHECK(c.data.classes.empty() || classes == 0 || static_cast<int>(c.data.classes.size()) == classes,
             "data.classes names ", c.data.classes.size(), " classes, the model has ", classes,
             c.model.null_class ? " beside the null class" : "");
  UVIC_CHECK(c.sample.order <= c.sample.steps, "sample.order ", c.sample.order, " is more than sample.steps ",
             c.sample.steps);
  if ((c.sample.every > 0 && c.sample.count > 0) || c.eval.fid_every > 0) {  // now, not at the first preview
    SamplerOptions preview{.solver = c.sample.sampler, .steps = c.sample.steps, .order = c.sample.order};
    preview.prediction = prediction_of(c.diffusion.prediction);
    try {
      validate(schedule_of(c.diffusion.schedule), preview);
    } catch (const Error& e) {
      throw Error(std::string("sample: ") + e.what(), e.hint());
    }
  }
  if (c.eval.fid_every > 0) {
    UVIC_CHECK(!c.eval.stats.empty(), "eval.fid_every is ", c.eval.fid_every,
               ", which needs eval.stats, a file that `uvic-fid ref` writes");
    UVIC_CHECK(!text || !c.eval.prompts_file.empty(), "eval.fid_every is ", c.eval.fid_every,
               ", which of a text model needs eval.prompts_file");
  }
  for (size_t i = 0; i < c.data.classes.size(); ++i)
    UVIC_CHECK(std::find(c.data.classes.begin(), c.data.classes.begin() + static_cast<std::ptrdiff_t>(i),
                         c.data.classes[i]) == c.data.classes.begin() + static_cast<std::ptrdiff_t>(i),
               "data.classes names '", c.data.classes[i], "' twice");
}

}  // namespace uvic
