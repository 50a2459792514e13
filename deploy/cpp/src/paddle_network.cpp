// Paddle Inference, set up for one device, backend and precision, working around the bugs of each Paddle release.
#include <paddle_inference_api.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engines.hpp"
#include "environment.hpp"
#include "error.hpp"
#include "files.hpp"
#include "npy.hpp"
#include "processor.hpp"
#include "tensorrt.hpp"

namespace rtseg {
namespace {

using paddle_infer::Config;
using paddle_infer::PrecisionType;

// oneDNN keeps compiled kernels for this many input shapes; without a limit, memory grows with each new image size.
constexpr int kOneDnnShapes = 10;

PrecisionType precision_type(const std::string& precision) {
  static const std::map<std::string, PrecisionType> types{
      {"fp32", PrecisionType::kFloat32}, {"fp16", PrecisionType::kHalf}, {"bf16", PrecisionType::kBf16}};
  return types.at(precision);
}

/// Calls the first of two settings if Paddle's headers have it, and the second otherwise: releases differ in names.
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
  // With this pass Paddle 3.3 fails on every program with an upsampling (Paddle issue 77340); oneDNN's convolutions are
  // used without it too. Products of 4-D matrices straight after a convolution are wrong either way; Predictor::verify
  // finds those.
  const std::string pass = "onednn_placement_pass";
  if (contract.is_json())
    either(
        config, [&](auto& c) -> decltype(c.DeletePass(pass)) { c.DeletePass(pass); },
        [&](auto& c) { c.pass_builder()->DeletePass(pass); });
}

std::string paddle_version() {
  const std::string text = paddle_infer::GetVersion();  // "version: 2.6.2", then lines on the build
  const std::string line = text.substr(0, text.find('\n'));
  return line.substr(line.find(' ') + 1);
}

void set_up_openvino(Config& config, const Contract& contract, PrecisionType precision) {
  const InputError refused("OpenVINO inside Paddle needs Paddle 3 and a model in pdmodel form, got " + contract.model +
                           " with Paddle " + paddle_version() + "; export it with --format pdmodel");
  if (contract.is_json()) throw refused;  // the call would be accepted and have no effect
  config.SetOptimCacheDir(cache_root());
  either(
      config, [&](auto& c) -> decltype(c.EnableOpenVINOEngine(precision)) { c.EnableOpenVINOEngine(precision); },
      [&](auto&) { throw refused; });
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

class PaddleNetwork : public Network {
 public:
  PaddleNetwork(const Contract& contract, const Configuration& configuration);
  NetworkOutput run(const Batch& batch) override;

 private:
  std::string input_name_, description_;
  std::shared_ptr<paddle_infer::Predictor> predictor_;
};

PaddleNetwork::PaddleNetwork(const Contract& contract, const Configuration& configuration)
    : input_name_(contract.input.name), description_(configuration.text()) {
  const std::string version = paddle_version();
  if (contract.is_json() && version.rfind("2.", 0) == 0)
    throw InputError(contract.model + " needs Paddle 3, this is " + version + "; export it with --format pdmodel");
  try {
    predictor_ = create_predictor(contract, configuration);
  } catch (const InputError&) {
    throw;
  } catch (const std::exception& e) {
    throw InputError("Paddle cannot load " + contract.model + " as " + description_ + ": " + first_line(e.what()));
  }
  const auto inputs = predictor_->GetInputNames();
  if (std::find(inputs.begin(), inputs.end(), input_name_) == inputs.end())
    throw InputError(contract.model + " has no input '" + input_name_ + "'; export the model again");
}

NetworkOutput PaddleNetwork::run(const Batch& batch) {
  const auto input = predictor_->GetInputHandle(input_name_);
  input->Reshape(batch.shape);
  if (batch.raw.empty()) {
    input->CopyFromCpu(batch.values.data());
  } else {
    input->CopyFromCpu(batch.raw.data());
  }
  try {
    if (!predictor_->Run()) throw InputError("Paddle could not run the network on " + shape_text(batch.shape));
  } catch (const InputError&) {
    throw;
  } catch (const std::exception& e) {
    throw InputError("Paddle cannot run the network as " + description_ + " on " + shape_text(batch.shape) + ": " +
                     first_line(e.what()));
  }
  const auto output = predictor_->GetOutputHandle(predictor_->GetOutputNames().at(0));
  NetworkOutput result{output->shape(), {}};
  const std::size_t count = volume(result.shape);
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

}  // namespace

std::unique_ptr<Network> load_paddle_network(const Contract& contract, const Configuration& configuration) {
  return std::make_unique<PaddleNetwork>(contract, configuration);
}

}  // namespace rtseg
