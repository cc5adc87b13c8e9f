// The programs on the CPU and on a GPU, where there is one: the same lines for both, and what must agree between them.

#include <csignal>

#include "app/processes.h"
#include "model/checkpoint.h"
#include "tests/app/fid_fixtures.h"
#include "tests/app/latent_fixtures.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"
#include "tests/model/autoencoder_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class ProgramsOn : public ImageFolderTest, public ::testing::WithParamInterface<Device> {
 protected:
  // With --device, as often as a test asks.
  std::vector<std::string> on(Device device, std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--device", device.str(), "-q"});
    return arguments;
  }
  Ended run(const std::string& program, Device device, const std::vector<std::string>& arguments, int processes = 1) {
    const Ended end = run_program(program, on(device, arguments), {.sees_gpus = true, .processes = processes});
    EXPECT_EQ(end.status, 0) << program << " on " << device.str() << ": " << end.err;
    return end;
  }
  std::vector<std::string> training(const std::string& out, int steps) {
    RunConfig c = tiny_run(class_folders(3, 5));
    c.train.max_steps = steps;
    c.train.save_every = 4;
    c.train.log_every = 1;
    write_text(dir_ / "config.yaml", dump_config(c));
    return {"-c", (dir_ / "config.yaml").string(), "-o", (dir_ / out).string()};
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, ProgramsOn, ::testing::ValuesIn(devices()), device_name);

TEST_P(ProgramsOn, TrainingThatIsKilledEndsWithTheSameBits) {
  run("uvic-train", GetParam(), training("whole", 20));
  Program program("uvic-train", on(GetParam(), training("killed", 20)), {.sees_gpus = true});
  ASSERT_TRUE(wait_until(program, dir_ / "killed", [&] { return fs::exists(dir_ / "killed" / "step-00000008"); }));
  program.signal(SIGKILL);
  program.wait();
  run("uvic-train", GetParam(), training("killed", 20));
  expect_same_end(dir_ / "killed", dir_ / "whole", 20);
}

TEST_P(ProgramsOn, ProcessesTrainAsOneDoes) {
  if (std::string(UVIC_MPIEXEC).empty()) GTEST_SKIP() << "built without MPI";
  run("uvic-train", GetParam(), training("one", 8));
  run("uvic-train", GetParam(), training("two", 4), 2);
  run("uvic-train", GetParam(), training("two", 8), 2);  // resumed: the first process reads, the other gets it
  expect_same_losses(dir_ / "two", dir_ / "one");
}

// Each process has a GPU of its own, so that NCCL sums.
TEST_P(ProgramsOn, GpusOfTwoProcessesTrainAsOneDoes) {
  if (std::string(UVIC_MPIEXEC).empty()) GTEST_SKIP() << "built without MPI";
  if (GetParam().kind != DeviceKind::cuda || gpu_count() < 2) GTEST_SKIP() << "skipped: no two GPUs";
  run("uvic-train", GetParam(), training("one", 8));
  std::vector<std::string> arguments = training("two", 8);
  arguments.insert(arguments.end(), {"--device", "cuda", "-q"});
  const Ended end = run_program("uvic-train", arguments, {.sees_gpus = true, .processes = 2});
  ASSERT_EQ(end.status, 0) << end.err;
  expect_same_losses(dir_ / "two", dir_ / "one");
}

TEST_P(ProgramsOn, ImagesAreThoseOfTheCpu) {
  const fs::path model = write_random_model(dir_ / "model.safetensors", tiny_model(), {"cat", "dog", "eel"});
  const auto sample = [&](Device device, const std::string& out) {
    run("uvic-sample", device,
        {"-m", model.string(), "-n", "5", "-b", "2", "--steps", "3", "--cfg-scale", "2", "--dtype", "f32", "-o",
         (dir_ / out).string(), "--save-tensor", (dir_ / (out + ".safetensors")).string()});
  };
  sample({}, "cpu");
  sample(GetParam(), "own");
  const SafetensorsFile cpu(dir_ / "cpu.safetensors"), own(dir_ / "own.safetensors");
  EXPECT_LE(relative_max(values(own.tensor("images")), values(cpu.tensor("images"))), 1e-4);
  for (int i = 0; i < 5; ++i) {
    const std::string name = concat("00000", i, ".png");
    const Image a = read_image(dir_ / "own" / name), b = read_image(dir_ / "cpu" / name);
    ASSERT_EQ(a.rgb.size(), b.rgb.size());
    for (size_t k = 0; k < a.rgb.size(); ++k) ASSERT_NEAR(a.rgb[k], b.rgb[k], 1) << name;
  }
}

// What was fastest is kept from run to run, whatever becomes of the folder; a CPU has nothing to keep.
TEST_P(ProgramsOn, PlansAreKeptAndMayBeLost) {
  const fs::path model = write_random_model(dir_ / "model.safetensors", tiny_model()), plans = dir_ / "deep" / "plans";
  const auto image = [&](const std::string& folder) {
    fs::remove_all(dir_ / "out");
    const Ended end = run_program("uvic-sample",
                                  on(GetParam(), {"-m", model.string(), "-n", "1", "--class", "1", "--steps", "2",
                                                  "--dtype", "f32", "-o", (dir_ / "out").string()}),
                                  {.sees_gpus = true, .plans = folder});
    EXPECT_EQ(end.status, 0) << end.err;
    EXPECT_EQ(end.err, "");
    return read_image(dir_ / "out" / "000000.png").rgb;
  };
  const auto want = image("off");
  const auto expect_like = [&](const std::string& folder) {  // algorithms round differently
    const auto got = image(folder);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1) << folder;
  };
  expect_like(plans.string());
  const bool on_gpu = GetParam().kind == DeviceKind::cuda;
  ASSERT_EQ(fs::exists(plans), on_gpu);
  if (!on_gpu) return;
  ASSERT_EQ(std::distance(fs::directory_iterator(plans), {}), 1);
  const fs::path file = *fs::directory_iterator(plans);
  const auto expect_kept = [&] {
    const std::string kept = read_text(file);
    expect_like(plans.string());
    EXPECT_EQ(read_text(file), kept);
    return kept;
  };
  const std::string half = expect_kept().substr(0, 1000);
  write_text(file, half);
  expect_like(plans.string());
  EXPECT_GT(expect_kept().size(), half.size());
  expect_like("/proc/uvic");
  expect_like(file.string());  // no folder
}

TEST_P(ProgramsOn, FidIsThatOfTheCpu) {
  const NetworkFile network;
  write_golden_sets(dir_);
  const auto fid = [&](Device device) {
    const Ended end = run("uvic-fid", device,
                          {"calc", (dir_ / "sample.npz").string(), (dir_ / "ref.npz").string(), "--network",
                           network.path().string(), "--num", "2", "--num-ref", "2", "--json"});
    return nlohmann::json::parse(end.out, nullptr, false)["metrics"]["fid"].get<double>();
  };
  const double cpu = fid({});
  EXPECT_GT(cpu, 0);
  EXPECT_NEAR(fid(GetParam()), cpu, 1e-3 * cpu);
}

TEST_P(ProgramsOn, LatentsAreThoseOfTheCpu) {
  write_safetensors(dir_ / "ae.safetensors", generated_tiny_b().tensors, {});
  const std::string data = class_folders(2, 2).string();
  const auto latents = [&](Device device, const std::string& out) {
    run("uvic-encode", device,
        {"images", data, "-o", (dir_ / out).string(), "--autoencoder", (dir_ / "ae.safetensors").string(), "--size",
         "16"});
    std::vector<double> all;
    for (const auto& item : fs::directory_iterator(dir_ / out))
      if (item.path().extension() == ".safetensors")
        for (const double x : values(SafetensorsFile(item.path()).tensor("moments"))) all.push_back(x);
    return all;
  };
  const std::vector<double> cpu = latents({}, "cpu");
  ASSERT_FALSE(cpu.empty());
  EXPECT_LE(relative_max(latents(GetParam(), "own"), cpu), 1e-4);
}

TEST_P(ProgramsOn, BenchTimesASampleAndATrainingStep) {
  for (const char* what : {"sample", "train"}) {
    const Ended end = run_program(
        "uvic-bench",
        {what, "--model", "mini4", "--batch", "1", "--steps", "1", "--seconds", "0", "--device", GetParam().str()},
        {.sees_gpus = true});
    ASSERT_EQ(end.status, 0) << end.err;
    const auto record = nlohmann::json::parse(end.out, nullptr, false);
    ASSERT_TRUE(record.is_object()) << end.out;
    EXPECT_GT(record["tflops"], 0);
    EXPECT_EQ(record["isa"].get<std::string>().starts_with("cuda"), GetParam().kind == DeviceKind::cuda);
  }
}

TEST(Devices, WhatCannotBeUsedIsSaidInOneLine) {
  const auto refused = [](const std::string& device, const std::vector<std::string>& parts) {
    const Ended end = run_program("uvic-bench", {"attention", "--device", device}, {.sees_gpus = true});
    EXPECT_TRUE(failed_clearly(end, "uvic-bench", 1, parts));
  };
  refused("cuda:99", {"device 'cuda:99' cannot be used: ", "hint: "});
  refused("cuda:x", {"unknown device 'cuda:x'", "known are auto, cpu, cuda and cuda:N"});
}

}  // namespace
}  // namespace uvic::test
