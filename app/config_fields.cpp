// The one list of settings.

#include "app/config.h"
#include "sampler/sampler.h"

namespace uvic {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr Range at_least(double min) { return {min, kInf, false, false}; }
constexpr Range above(double min) { return {min, kInf, true, false}; }
constexpr Range between(double min, double max) { return {min, max, false, false}; }
constexpr Range kBelowOne{0, 1, false, true};  // [0, 1)

struct Adder {
  std::vector<Field>& list;
  const char* section;

  void operator()(const char* name, Field::Value value, const char* help, Range range = {},
                  std::vector<std::string> choices = {}) const {
    list.push_back({section, name, value, help, range, std::move(choices)});
  }
};

void model_fields(std::vector<Field>& list, RunConfig& c) {
  const Adder add{list, "model"};
  UViCConfig& m = c.model;
  add("preset", &c.preset, "the named model to start from; the other keys override it. `model: NAME` is short for it",
      {}, preset_names());
  add("arch", &m.arch, "attention pattern: uvic is cog but for the first and last block, uvit softmax everywhere", {},
      {"uvic", "uvit"});
  add("img_size", &m.img_size, "pixels (or latents) a side; a multiple of patch_size", between(1, 4096));
  add("patch_size", &m.patch_size, "pixels a side of one token", between(1, 64));
  add("in_chans", &m.in_chans, "channels: 3 for RGB, 4 for latents", between(1, 256));
  add("embed_dim", &m.embed_dim, "width; a multiple of num_heads", between(1, 16384));
  add("depth", &m.depth, "blocks but for the middle one; even", between(2, 256));
  add("num_heads", &m.num_heads, "attention heads", between(1, 256));
  add("mlp_ratio", &m.mlp_ratio, "hidden width of the MLP over embed_dim", above(0));
  add("qkv_bias", &m.qkv_bias, "bias of the attention's first product");
  add("qk_scale", &m.qk_scale, "factor on scores; 0: 1 / sqrt(width of a head)", at_least(0));
  add("mlp_time_embed", &m.mlp_time_embed, "two linear layers on the time token");
  add("num_classes", &m.num_classes, "rows of the label table, the null class included; -1: no labels", at_least(-1));
  add("null_class", &m.null_class, "the last class is \"no class\", for classifier-free guidance");
  add("clip_dim", &m.clip_dim, "text models: width of a context token", at_least(0));
  add("num_clip_token", &m.num_clip_token, "text models: number of context tokens", at_least(0));
  add("conv", &m.conv, "final 3x3 convolution");
  add("skip", &m.skip, "long skip connections");
  add("attention", &m.attention, "kind of each of the depth + 1 blocks in order; empty: as arch says", {},
      {"softmax", "cog", "expressive"});
}

void data_fields(std::vector<Field>& list, DataConfig& d) {
  const Adder add{list, "data"};
  add("path", &d.path,
      "folder, .tar (`file.tar:subtree`, `train-{000..012}.tar`, `a.tar::b.tar`), CIFAR-10 .bin files or list of "
      "images");
  add("format", &d.format, "auto looks at the path; latents: of uvic-encode, with texts, or U-ViT's feature files", {},
      {"auto", "folder", "tar", "cifar", "list", "latents"});
  add("classes", &d.classes, "class folders to use in the order of their labels; empty: all of them, sorted");
  add("reading", &d.reading,
      "of .tar files: random reads an image wherever it lies, sequential whole shards from front to back; auto: "
      "sequential if they hold more than 16 GiB",
      {}, {"auto", "random", "sequential"});
  add("shuffle_buffer", &d.shuffle_buffer, "images held and mixed when reading is sequential", between(1, 1 << 24));
  add("exif_orientation", &d.exif_orientation, "turn photos upright as their EXIF says; the reference loaders do not");
  add("random_flip", &d.random_flip,
      "mirror half of the images; of latents: draw one of the two, which else are two samples");
  add("crop", &d.crop,
      "how an image becomes a square: the middle; a random part of 0.8 to 1 of it; coco, celeba: as U-ViT cuts these",
      {}, {"center", "random", "coco", "celeba"});
  add("workers", &d.workers, "decoding threads; 0: half of the processors, at most 8", between(0, 256));
  add("cache_mb", &d.cache_mb, "decoded images are kept in memory if all of them fit in so much", between(0, 1 << 20));
  add("max_bad_share", &d.max_bad_share, "share of broken images that is skipped; more stop the run", between(0, 1));
}

void latents_fields(std::vector<Field>& list, LatentsConfig& l) {
  const Adder add{list, "latents"};
  add("autoencoder", &l.autoencoder, "that decodes samples, a file; the model says so; empty: what made the data");
  add("text_encoder", &l.text_encoder, "of prompts, file or folder; likewise");
  add("scale_factor", &l.scale_factor, "of latents; 0: as their autoencoder says, else 0.18215", at_least(0));
}

void diffusion_fields(std::vector<Field>& list, DiffusionConfig& d) {
  const Adder add{list, "diffusion"};
  add("schedule", &d.schedule,
      "noise: vp, vp-cosine continuous; linear (DDPM), cosine (improved DDPM), sd of 1000 steps; -ztsnr: zero terminal "
      "SNR",
      {}, schedule_names());
  add("prediction", &d.prediction, "what the network predicts", {}, {"eps", "x0", "v"});
  add("loss_weight", &d.loss_weight, "weight of a noise level in the loss", {}, {"none", "min_snr"});
  add("gamma", &d.gamma, "of min_snr: signal-to-noise ratios are cut here", above(0));
  add("time_sampling", &d.time_sampling, "of training times: uniform, or logit_normal, more of the middle of the way",
      {}, {"uniform", "logit_normal"});
}

void train_fields(std::vector<Field>& list, TrainConfig& t) {
  const Adder add{list, "train"};
  add("batch_size", &t.batch_size, "images a step, of all processes together", between(1, 1 << 20));
  add("accumulate", &t.accumulate, "parts that a process takes its images of a step in: the same step, in less memory",
      between(1, 1 << 20));
  add("max_steps", &t.max_steps, "steps of the whole run", between(1, 1e9));
  add("lr", &t.lr, "learning rate after warm-up", Range{0, 1, true, false});
  add("warmup_steps", &t.warmup_steps, "steps over which it rises linearly from 0", between(0, 1e9));
  add("lr_schedule", &t.lr_schedule, "after warm-up: constant, or down to 0 along a cosine at max_steps", {},
      {"constant", "cosine"});
  add("beta1", &t.beta1, "AdamW: decay of the gradient's mean", kBelowOne);
  add("beta2", &t.beta2, "AdamW: decay of its square's mean", kBelowOne);
  add("eps", &t.eps, "AdamW: added to the root", above(0));
  add("weight_decay", &t.weight_decay, "AdamW: decoupled decay", between(0, 1));
  add("grad_clip", &t.grad_clip, "largest norm of the gradient; 0: not clipped", at_least(0));
  add("ema_rate", &t.ema_rate, "decay of the averaged weights, which are the result; of a list, the first's are",
      kBelowOne);
  add("label_drop", &t.label_drop, "share of labels replaced by the null class, of texts by the empty one (p_uncond)",
      kBelowOne);
  add("init_score", &t.init_score,
      "score that attention starts at, by biases of q and k: above 0, cog attention starts as softmax; 0: as released",
      between(0, 16));
  add("seed", &t.seed, "of everything random");
  add("dtype", &t.dtype, "working precision; auto: bf16 where the processor is fast at it", {},
      {"auto", "f32", "bf16"});
  add("save_every", &t.save_every, "steps between checkpoints", between(1, 1e9));
  add("keep_last", &t.keep_last, "newest checkpoints kept; 0: all", between(0, 1 << 20));
  add("keep_every", &t.keep_every, "checkpoints of steps that are a multiple of it are kept, too; 0: none",
      between(0, 1e9));
  add("log_every", &t.log_every, "steps between lines of metrics.jsonl", between(1, 1e9));
  add("threads", &t.threads, "of the network; 0: one per processor", between(0, 4096));
  add("recompute", &t.recompute, "blocks run again in backward instead of keeping activations: less memory, more time");
  add("shard_optimizer", &t.shard_optimizer,
      "of several processes each keeps a part of moments, averages and bf16's master weights: the same run, in less "
      "memory");
}

void sample_fields(std::vector<Field>& list, SampleConfig& s) {
  const Adder add{list, "sample"};
  add("every", &s.every, "steps between preview grids; 0: none", between(0, 1e9));
  add("count", &s.count, "images of a grid", between(1, 4096));
  add("steps", &s.steps, "network evaluations of an image", between(1, 10000));
  add("sampler", &s.sampler, "solver", {}, solver_names());
  add("order", &s.order, "of the dpm family and unipc; 0: the solver's usual one", between(0, 3));
  add("cfg_scale", &s.cfg_scale, "classifier-free guidance; 1: off", between(0, 1000));
  add("seed", &s.seed, "of the first image; the others count up");
  add("prompts", &s.prompts, "of text models: what the images of a grid show, in turn; empty: captions of the data");
}

void eval_fields(std::vector<Field>& list, EvalConfig& e) {
  const Adder add{list, "eval"};
  add("fid_every", &e.fid_every, "steps between FIDs of the EMA weights, sampled as `sample` says; 0: none",
      between(0, 1e9));
  add("prompts_file", &e.prompts_file, "of text models: what the images show, in turn, as uvic-fid takes it");
  add("stats", &e.stats, "statistics to compare with, as `uvic-fid ref` writes them");
  add("num_images", &e.num_images, "images of a FID", between(2, 1e7));
  add("batch", &e.batch, "images made at once", between(1, 4096));
  add("network", &e.network, "Inception's weights; empty: those that uvic-fid finds");
  add("protocol", &e.protocol, "how images come to Inception's size", {}, {"tf1", "pytorch", "clean"});
  add("pool", &e.pool, "of Inception's Mixed_7c", {}, {"max", "average"});
  add("unit_range", &e.unit_range, "scale images to [0, 1], for networks trained so");
}

}  // namespace

std::vector<Field> fields(RunConfig& config) {
  std::vector<Field> list;
  model_fields(list, config);
  data_fields(list, config.data);
  latents_fields(list, config.latents);
  diffusion_fields(list, config.diffusion);
  train_fields(list, config.train);
  sample_fields(list, config.sample);
  eval_fields(list, config.eval);
  return list;
}

}  // namespace uvic
