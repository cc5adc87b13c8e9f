#include "app/sample_options.h"

#include <CLI/CLI.hpp>

namespace uvic {

void declare_sampling_options(CLI::App& app, SampleRequest& r) {
  SamplerOptions& s = r.generator.sampler;
  app.add_option("--class", r.classes, "Class name or number; 'all' in turn; 'random' by seed; A,B to interpolate");
  app.add_option("-p,--prompt", r.prompts, "Text models: what to show; given more than once, images take turns")
      ->allow_extra_args(false);
  app.add_option("--prompts-file", r.prompts_file, "Prompts, one a line, or .jsonl with \"prompt\" or \"caption\"");
  app.add_option("--negative-prompt", r.negative_prompt, "Guide away from this text instead of the empty one");
  app.add_option("--text-encoder", r.text_encoder,
                 "CLIP's weights, file or folder; else beside the model, or as its metadata says");
  app.add_option("--tokenizer", r.tokenizer, "Its vocabulary; else beside it, or CLIP's own");
  app.add_option("--context", r.context, "Text models: .safetensors with 'context' [N, T, D] and 'null' [T, D]");
  Guidance& g = r.generator.guidance;
  app.add_option("--cfg-scale", g.scale, "Classifier-free guidance: uncond + scale (cond - uncond)");
  app.add_option("--cfg-rescale", g.rescale, "Share of guidance's gain in contrast that is taken back; 0: none");
  app.add_option_function<std::vector<double>>(
         "--cfg-interval", [&g](const std::vector<double>& ends) { g.sigma_min = ends[0], g.sigma_max = ends[1]; },
         "Guide only at noise levels sigma / alpha between two, as 0.3 5")
      ->expected(2);
  app.add_option("--negative-class", r.negative_class, "Guide away from this class instead of no class");
  app.add_option("--negative-context", r.negative_context, "Text models: guide away from this file's one 'context'");
  app.add_option("--guide-model", r.guide_model, "Autoguidance: guide away from what this weaker model makes");
  app.add_option("--sampler", s.solver, "Solver")->check(CLI::IsMember(solver_names()));
  app.add_option("--steps", s.steps, "Network evaluations per image")->check(CLI::PositiveNumber);
  app.add_option("--order", s.order, "dpm++, dpm, unipc, sde-dpm++: 1, 2 or 3; 0 chooses")->check(CLI::Range(0, 3));
  app.add_option("--method", s.method, "dpm++, dpm: multistep, singlestep, singlestep-fixed or fast");
  app.add_option("--spacing", s.spacing,
                 "Time steps: auto, time, logsnr, quadratic, karras, leading, linspace or trailing");
  app.add_option("--eta", s.eta, "ddim: 0 deterministic, 1 as noisy as ddpm");
  app.add_option("--churn", s.churn.amount, "heun: EDM's S_churn, fresh noise on the way; 0: none");
  app.add_option("--churn-min", s.churn.sigma_min, "heun: S_min, the lowest sigma to churn at");
  app.add_option("--churn-max", s.churn.sigma_max, "heun: S_max, the highest");
  app.add_option("--churn-noise", s.churn.noise, "heun: S_noise, scale of that noise");
  app.add_option("--variance", s.variance, "ddpm: small (of the posterior) or large (beta)");
  app.add_option("--final-sigma", s.final_sigma, "Noise that the last step aims at: auto, zero or min");
  app.add_option("--steps-offset", s.steps_offset, "Spacing leading: added to every training step");
  app.add_flag("--bh1", s.bh1, "unipc: B(h) = h instead of exp(h) - 1");
  app.add_flag("--taylor", s.taylor, "dpm++, dpm, sde-dpm++: Taylor form of order 2 (diffusers: heun)");
  app.add_flag("--denoise", s.denoise, "dpm++, dpm: one evaluation more, whose image is the result");
  app.add_flag("--clip", s.x0.clip, "Clamp x0 predictions to [-1, 1]");
  app.add_option("--dynamic-threshold", s.x0.threshold_ratio, "Bound x0 predictions by this quantile; 0: off");
  LatentOptions& l = r.latents;
  app.add_option("--autoencoder", l.autoencoder,
                 "Models on latents: file or folder that decodes them; else the one the model names or has beside it");
  app.add_option("--scale-factor", l.scale_factor, "Models on latents: what theirs are divided by; 0: as they say")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--tile", l.tile, "Models on latents: rows of pixels decoded at a time; 0: as many as stay in cache")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--device", r.device, "auto, cpu, cuda or cuda:N");
  app.add_option("--dtype", r.dtype, "auto, f32 or bf16");
  app.add_option("--threads", r.threads, "CPU threads; 0: one per core")->check(CLI::NonNegativeNumber);
}

}  // namespace uvic
