#include "network.hpp"

#include <malloc.h>
#include <paddle_inference_api.h>
#include <sched.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>
#include <type_traits>

#include "error.hpp"
#include "npy.hpp"
#include "processor.hpp"
#include "tensorrt.hpp"

namespace rtseg {
namespace {

using paddle_infer::Config;
using paddle_infer::PrecisionType;

// oneDNN keeps compiled kernels for so many input shapes; without a limit memory grows with each new size of image.
constexpr int kOneDnnShapes = 10;

PrecisionType precision_type(const std::string& precision) {
  static const std::map<std::string, PrecisionType> types{
      {"fp32", PrecisionType::kFloat32}, {"fp16", PrecisionType::kHalf}, {"bf16", PrecisionType::kBf16}};
  return types.at(precision);
}

void check(const Configuration& configuration) {
  static const std::map<std::string, std::map<std::string, std::vector<std::string>>> known{
      {"cpu", {{"native", {"fp32"}}, {"onednn", {"fp32", "bf16"}}, {"openvino", {"fp32", "fp16", "bf16"}}}},
      {"gpu", {{"native", {"fp32", "fp16", "bf16"}}, {"tensorrt", {"fp32", "fp16"}}}}};
  const auto expect = [](const auto& allowed, const std::string& got, const std::string& what, const auto& name) {
    std::string names;
    for (const auto& item : allowed) {
      if (name(item) == got) return;
      names += (names.empty() ? "" : ", ") + name(item);
    }
    throw InputError("expected " + what + " to be one of " + names + ", got '" + got + "'");
  };
  const auto key = [](const auto& item) { return item.first; };
  const auto itself = [](const std::string& item) { return item; };
  expect(known, configuration.device, "the device", key);
  const auto& backends = known.at(configuration.device);
  expect(backends, configuration.backend, "the " + configuration.device + " backend", key);
  expect(backends.at(configuration.backend), configuration.precision,
         "the precision of " + configuration.device + " " + configuration.backend, itself);
}

/// Calls the first of two settings if Paddle's headers have it, and the second if not: releases differ in names.
template <typename First, typename Second>
void either(Config& config, First first, Second second) {
  if constexpr (std::is_invocable_v<First, Config&>) {
    first(config);
  } else {
    second(config);
  }
}

void set_up_onednn(Config& config, const Contract& contract, const std::string& precision) {
  either(
      config, [](auto& c) -> decltype(c.EnableONEDNN()) { c.EnableONEDNN(); }, [](auto& c) { c.EnableMKLDNN(); });
  either(
      config, [](auto& c) -> decltype(c.SetOnednnCacheCapacity(0)) { c.SetOnednnCacheCapacity(kOneDnnShapes); },
      [](auto& c) { c.SetMkldnnCacheCapacity(kOneDnnShapes); });
  if (precision == "bf16")
    either(
        config, [](auto& c) -> decltype(c.EnableOnednnBfloat16()) { c.EnableOnednnBfloat16(); },
        [](auto& c) { c.EnableMkldnnBfloat16(); });
  // This pass makes Paddle 3.3 fail on each program with an upsampling (Paddle issue 77340); oneDNN's convolutions stay
  // without it. Products of 4-D matrices straight after a convolution are wrong with or without it: that is for
  // Predictor::verify to find.
  const std::string pass = "onednn_placement_pass";
  if (contract.is_json())
    either(
        config, [&](auto& c) -> decltype(c.DeletePass(pass)) { c.DeletePass(pass); },
        [&](auto& c) { c.pass_builder()->DeletePass(pass); });
}

void set_up_openvino(Config& config, const Contract& contract, PrecisionType precision) {
  if (contract.is_json())  // the call would be accepted and change nothing
    throw InputError("OpenVINO inside Paddle needs a model in pdmodel form, got " + contract.model +
                     "; export with Paddle 2.6");
  config.SetOptimCacheDir(std::filesystem::temp_directory_path().string());
  either(
      config, [&](auto& c) -> decltype(c.EnableOpenVINOEngine(precision)) { c.EnableOpenVINOEngine(precision); },
      [](auto&) {
        throw InputError("OpenVINO inside Paddle needs Paddle 3, and this program was built with an older one");
      });
}

void set_up_cpu(Config& config, const Contract& contract, const Configuration& configuration) {
  const std::string obstacle = processor_obstacle(configuration.precision);
  if (!obstacle.empty()) throw InputError(obstacle);
  config.DisableGpu();
  config.SetCpuMathLibraryNumThreads(thread_count(configuration.threads));
  if (configuration.backend == "onednn") {
    set_up_onednn(config, contract, configuration.precision);
  } else if (configuration.backend == "openvino") {
    set_up_openvino(config, contract, precision_type(configuration.precision));
  } else {  // Paddle 3.3 has oneDNN on unless told otherwise
    either(
        config, [](auto& c) -> decltype(c.DisableONEDNN()) { c.DisableONEDNN(); }, [](auto& c) { c.DisableMKLDNN(); });
  }
}

Config base_config(const Contract& contract) {
  Config config(contract.path(contract.model), contract.path(contract.params));
  config.DisableGlogInfo();
  config.EnableMemoryOptim();
  if (contract.is_json()) config.EnableNewExecutor();  // Paddle 3.3 refuses to save memory under its older executor
  return config;
}

std::shared_ptr<paddle_infer::Predictor> create_predictor(const Contract& contract,
                                                          const Configuration& configuration) {
  if (configuration.backend == "tensorrt") return create_tensorrt_predictor(contract, configuration.precision);
  Config config = base_config(contract);
  if (configuration.device == "cpu") {
    set_up_cpu(config, contract, configuration);
  } else {
    enable_gpu(config, precision_type(configuration.precision));
  }
  return paddle_infer::CreatePredictor(config);
}

/// Paddle's errors are pages of C++ frames; the sentence that says what happened begins with the kind of error, such as
/// "(Unimplemented)" or, in programs in json form, "UnimplementedError:".
std::string telling_line(const std::string& text) {
  std::istringstream lines(text);
  std::string first;
  for (std::string line; std::getline(lines, line);) {
    line.erase(0, line.find_first_not_of(" \t"));
    if (line.find("Error: ") != std::string::npos || line.rfind('(', 0) == 0) return line.substr(0, 200);
    if (first.empty()) first = line;
  }
  return first.substr(0, 200);
}

}  // namespace

int thread_count(int threads) {
  if (threads > 0) return threads;
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return CPU_COUNT(&cores);
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void prepare_environment(int threads) {
  const std::string count = std::to_string(thread_count(threads));
  const auto set_default = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 0); };
  set_default("OMP_NUM_THREADS", count);
  set_default("FLAGS_paddle_num_threads", count);
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.find("AuthenticAMD") != std::string::npos) {
      set_default("MKL_DEBUG_CPU_TYPE", "5");
      break;
    }
  }
#ifdef __GLIBC__
  // Freed arrays are used again instead of handed back to the system and taken anew, page by page.
  if (!getenv("MALLOC_MMAP_MAX_") && !getenv("MALLOC_TRIM_THRESHOLD_") && !getenv("MALLOC_TOP_PAD_")) {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, 1 << 26);
  }
#endif
}

struct Network::Implementation {
  std::string input_name;
  std::string description;
  std::shared_ptr<paddle_infer::Predictor> predictor;
};

Network::Network(const Contract& contract, const Configuration& configuration)
    : implementation_(std::make_unique<Implementation>()) {
  check(configuration);
  std::string version = paddle_infer::GetVersion();  // "version: 2.6.2", then lines on the build
  version = version.substr(0, version.find('\n')).substr(version.find(' ') + 1);
  if (contract.is_json() && version.rfind("2.", 0) == 0)
    throw InputError(contract.model + " needs Paddle 3, this is " + version + "; export the model with this Paddle");
  implementation_->input_name = contract.input_name;
  implementation_->description = configuration.text();
  try {
    implementation_->predictor = create_predictor(contract, configuration);
  } catch (const InputError&) {
    throw;
  } catch (const std::exception& e) {
    throw InputError("Paddle cannot load " + contract.model + " as " + configuration.text() + ": " +
                     telling_line(e.what()));
  }
  const auto inputs = implementation_->predictor->GetInputNames();
  if (std::find(inputs.begin(), inputs.end(), contract.input_name) == inputs.end())
    throw InputError(contract.model + " has no input '" + contract.input_name + "'; export the model again");
}

Network::~Network() = default;
Network::Network(Network&&) noexcept = default;
Network& Network::operator=(Network&&) noexcept = default;

Output Network::run(const Batch& batch) {
  paddle_infer::Predictor& predictor = *implementation_->predictor;
  const auto input = predictor.GetInputHandle(implementation_->input_name);
  input->Reshape(batch.shape);
  if (batch.raw.empty()) {
    input->CopyFromCpu(batch.values.data());
  } else {
    input->CopyFromCpu(batch.raw.data());
  }
  try {
    if (!predictor.Run()) throw InputError("Paddle could not run the network on " + shape_text(batch.shape));
  } catch (const InputError&) {
    throw;
  } catch (const std::exception& e) {
    throw InputError("Paddle cannot run the network as " + implementation_->description + " on " +
                     shape_text(batch.shape) + ": " + telling_line(e.what()));
  }
  const auto output = predictor.GetOutputHandle(predictor.GetOutputNames().at(0));
  Output result{output->shape(), {}};
  std::size_t count = 1;
  for (int n : result.shape) count *= static_cast<std::size_t>(n);
  const auto copy = [&](auto values) {
    values.resize(count);
    output->CopyToCpu(values.data());
    result.values = std::move(values);
  };
  switch (output->type()) {
    case paddle_infer::DataType::FLOAT32:
      copy(std::vector<float>());
      break;
    case paddle_infer::DataType::INT32:
      copy(std::vector<std::int32_t>());
      break;
    case paddle_infer::DataType::INT64:
      copy(std::vector<std::int64_t>());
      break;
    default:
      throw InputError("the network's output is neither float32 nor int32 nor int64; export the model again");
  }
  return result;
}

}  // namespace rtseg
