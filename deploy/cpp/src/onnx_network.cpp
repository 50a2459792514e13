// ONNX Runtime, from the ONNX form: on the CPU, or on an NVIDIA GPU with CUDA or TensorRT. Not run on a GPU yet.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "engines.hpp"
#include "environment.hpp"
#include "error.hpp"
#include "files.hpp"
#include "npy.hpp"
#include "onnx_file.hpp"
#include "onnx_placement.hpp"
#include "sha256.hpp"

namespace rtseg {
namespace {

using Settings = std::map<std::string, std::string>;

/// ONNX Runtime's names of the providers.
const std::map<std::string, std::string> kProviderNames{{"cuda", "CUDAExecutionProvider"},
                                                        {"tensorrt", "TensorrtExecutionProvider"}};

std::string library_version() {
  return OrtGetApiBase()->GetVersionString();
}

/// Throws InputError if the library is older than the headers: its functions would be missing.
void require_library() {
  if (OrtGetApiBase()->GetApi(ORT_API_VERSION) == nullptr)
    throw InputError("expected ONNX Runtime 1." + std::to_string(ORT_API_VERSION) +
                     " or later, which the program is built for, got " + library_version() +
                     "; build it with the headers of that version");
}

InputError unusable(const std::string& provider, const std::string& reason) {
  return InputError("a GPU was requested, but ONNX Runtime cannot use " + provider + " (" + reason +
                    "); install ONNX Runtime for GPUs with the CUDA, cuDNN and TensorRT libraries that it names, or "
                    "use --device cpu");
}

void require_provider(const std::string& provider, const std::string& name) {
  const std::vector<std::string> present = Ort::GetAvailableProviders();
  if (std::find(present.begin(), present.end(), name) == present.end())
    throw unusable(provider, "this ONNX Runtime, " + library_version() + ", is built without " + name);
}

/// Settings of the CUDA provider; onnx_providers.py has the same, and why.
Settings cuda_settings(const Configuration& configuration) {
  return {{"device_id", "0"},
          {"use_tf32", configuration.precision == "tf32" ? "1" : "0"},
          {"cudnn_conv_algo_search", "HEURISTIC"},
          {"arena_extend_strategy", "kSameAsRequested"}};
}

/// The folder for the engines of this model, machine, precision, range of shapes and release of ONNX Runtime.
std::string engine_folder(const Contract& contract, const Configuration& configuration) {
  const TensorRT& tensorrt = contract.tensorrt;
  std::stringstream key;
  key << "C++\n"
      << contract.sha256.at(contract.onnx_name(configuration.precision)) << '\n'
      << configuration.text() << '\n'
      << tensorrt.shape.text() << ' ' << shape_text(tensorrt.shape.opt) << '\n'
      << tensorrt.workspace_mb << ' ' << tensorrt.min_subgraph_size << '\n';
  for (const std::string& op : tensorrt.fp32_ops) key << op << ' ';
  key << '\n' << gpu_models() << '\n' << library_version();
  const std::string folder = cache_root() + "/onnxruntime-" + sha256(key).substr(0, 32);
  make_folder(folder);
  return folder;
}

/// Settings of the TensorRT provider; onnx_providers.py has the same.
Settings tensorrt_settings(const Contract& contract, const Configuration& configuration) {
  const TensorRT& tensorrt = contract.tensorrt;
  const bool half = configuration.precision == "fp16";
  const auto& keep = tensorrt.fp32_ops;
  const bool keep_norms = half && std::find(keep.begin(), keep.end(), "layer_norm") != keep.end();
  const std::string folder = engine_folder(contract, configuration);
  const auto shape = [&](const std::vector<int>& sizes) { return contract.input.name + ":" + shape_text(sizes); };
  return {{"device_id", "0"},
          {"trt_fp16_enable", half ? "1" : "0"},
          {"trt_max_workspace_size", std::to_string(static_cast<std::int64_t>(tensorrt.workspace_mb) << 20)},
          {"trt_min_subgraph_size", std::to_string(tensorrt.min_subgraph_size)},
          {"trt_layer_norm_fp32_fallback", keep_norms ? "1" : "0"},
          {"trt_engine_cache_enable", "1"},
          {"trt_engine_cache_path", folder},
          {"trt_timing_cache_enable", "1"},
          {"trt_timing_cache_path", folder},
          {"trt_profile_min_shapes", shape(tensorrt.shape.min)},
          {"trt_profile_opt_shapes", shape(tensorrt.shape.opt)},
          {"trt_profile_max_shapes", shape(tensorrt.shape.max)}};
}

/// The settings as ONNX Runtime's functions take them.
struct Pairs {
  explicit Pairs(const Settings& settings) {
    for (const auto& [name, value] : settings) {
      names.push_back(name.c_str());
      values.push_back(value.c_str());
    }
  }
  std::vector<const char*> names, values;
};

void add_cuda(Ort::SessionOptions& options, const Settings& settings) {
  const OrtApi& api = Ort::GetApi();
  OrtCUDAProviderOptionsV2* created = nullptr;
  Ort::ThrowOnError(api.CreateCUDAProviderOptions(&created));
  const std::unique_ptr<OrtCUDAProviderOptionsV2, decltype(api.ReleaseCUDAProviderOptions)> provider(
      created, api.ReleaseCUDAProviderOptions);
  const Pairs pairs(settings);
  Ort::ThrowOnError(
      api.UpdateCUDAProviderOptions(provider.get(), pairs.names.data(), pairs.values.data(), pairs.names.size()));
  options.AppendExecutionProvider_CUDA_V2(*provider);
}

void add_tensorrt(Ort::SessionOptions& options, const Settings& settings) {
  const OrtApi& api = Ort::GetApi();
  OrtTensorRTProviderOptionsV2* created = nullptr;
  Ort::ThrowOnError(api.CreateTensorRTProviderOptions(&created));
  const std::unique_ptr<OrtTensorRTProviderOptionsV2, decltype(api.ReleaseTensorRTProviderOptions)> provider(
      created, api.ReleaseTensorRTProviderOptions);
  const Pairs pairs(settings);
  Ort::ThrowOnError(
      api.UpdateTensorRTProviderOptions(provider.get(), pairs.names.data(), pairs.values.data(), pairs.names.size()));
  options.AppendExecutionProvider_TensorRT_V2(*provider);
}

std::string provider_of(const Configuration& configuration) {
  return configuration.provider.empty() ? providers()[0] : configuration.provider;
}

void set_up_gpu(Ort::SessionOptions& options, const Contract& contract, const Configuration& configuration) {
  const std::string provider = provider_of(configuration);
  if (provider == "tensorrt_rtx")
    throw InputError("the provider tensorrt_rtx is not in the C++ program; use Python, or --provider cuda or tensorrt");
  require_provider(provider, kProviderNames.at("cuda"));
  require_provider(provider, kProviderNames.at(provider));
  try {
    if (provider == "tensorrt") add_tensorrt(options, tensorrt_settings(contract, configuration));
    add_cuda(options, cuda_settings(configuration));  // runs what TensorRT leaves
  } catch (const Ort::Exception& e) {                           // a library is missing, or of another major version
    throw unusable(provider, first_line(e.what()));
  }
}

/// A temporary folder, removed in the end.
class TemporaryFolder {
 public:
  /// Throws InputError if the system's cannot be written.
  TemporaryFolder() {
    std::error_code error;
    path_ = (std::filesystem::temp_directory_path(error) / "rtseg-XXXXXX").string();
    if (error || mkdtemp(path_.data()) == nullptr)
      throw InputError("expected a folder for temporary files that can be written, got none; let TMPDIR name one");
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A black batch of the smallest shape that the network takes.
Batch smallest_batch(const Contract& contract) {
  Batch batch{contract.input.shape.min, {}, {}};
  if (contract.raw_input())
    batch.raw.resize(volume(batch.shape));
  else
    batch.values.resize(volume(batch.shape));
  return batch;
}

/// A copy of a text that ONNX Runtime allocated, which is freed.
std::string taken(char* text) {
  std::string copy(text);
  Ort::ThrowOnError(Ort::GetApi().AllocatorFree(Ort::AllocatorWithDefaultOptions(), text));
  return copy;
}

class OnnxNetwork : public Network {
 public:
  OnnxNetwork(const Contract& contract, const Configuration& configuration);
  NetworkOutput run(const Batch& batch) override;
  std::vector<std::string> on_processor() const override { return on_processor_; }

 private:
  Ort::Session create(const std::string& path, const Ort::SessionOptions& options);
  void check_names();
  void inspect(const Batch& batch);
  std::string failed(const std::string& what, const std::exception& error) const;

  std::string model_, input_name_, output_name_;
  Configuration configuration_;
  std::vector<std::string> on_processor_;
  Ort::Env environment_;
  Ort::Session session_{nullptr};
};

OnnxNetwork::OnnxNetwork(const Contract& contract, const Configuration& configuration)
    : model_(contract.onnx_name(configuration.precision)),
      input_name_(contract.input.name),
      configuration_(configuration),
      environment_(ORT_LOGGING_LEVEL_ERROR, "rtseg") {
  const bool gpu = configuration.device == "gpu";
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(thread_count(configuration.threads));
  if (gpu) set_up_gpu(options, contract, configuration);
  check_self_contained(contract.path(model_));
  std::optional<TemporaryFolder> profile;
  if (gpu) options.EnableProfiling((profile.emplace().path() + "/profile").c_str());
  session_ = create(contract.path(model_), options);
  check_names();
  if (gpu) inspect(smallest_batch(contract));
}

Ort::Session OnnxNetwork::create(const std::string& path, const Ort::SessionOptions& options) {
  try {
    return Ort::Session(environment_, path.c_str(), options);
  } catch (const Ort::Exception& e) {
    throw InputError(failed("load " + model_, e));
  }
}

/// Learn the output's name, and throw InputError if the input has another than the contract's.
void OnnxNetwork::check_names() {
  Ort::AllocatorWithDefaultOptions allocator;
  char* name = nullptr;
  Ort::ThrowOnError(Ort::GetApi().SessionGetInputName(session_, 0, allocator, &name));
  if (taken(name) != input_name_)
    throw InputError(model_ + " has no input '" + input_name_ + "'; export the model again");
  Ort::ThrowOnError(Ort::GetApi().SessionGetOutputName(session_, 0, allocator, &name));
  output_name_ = taken(name);
}

/// Run once and see in the profile which operators run where.
void OnnxNetwork::inspect(const Batch& batch) {
  run(batch);
  Ort::AllocatorWithDefaultOptions allocator;
  char* profile = nullptr;
  Ort::ThrowOnError(Ort::GetApi().SessionEndProfiling(session_, allocator, &profile));
  const std::map<std::string, std::vector<std::string>> where = placement(taken(profile));
  const std::string provider = provider_of(configuration_);
  if (where.count(kProviderNames.at(provider)) == 0)
    throw unusable(provider, "none of the network's operators runs in " + kProviderNames.at(provider));
  const auto found = where.find("CPUExecutionProvider");
  if (found != where.end()) on_processor_ = found->second;
  if (configuration_.strict && !on_processor_.empty())
    throw InputError("expected every operator of " + model_ + " to run on the GPU, got " + listed(on_processor_) +
                     " on the processor; leave out --strict to run it like that");
}

std::string OnnxNetwork::failed(const std::string& what, const std::exception& error) const {
  return "ONNX Runtime cannot " + what + " as " + configuration_.text() + ": " + first_line(error.what());
}

/// The batch as ONNX Runtime's tensor, which refers to its memory.
Ort::Value tensor(const Batch& batch) {
  const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const std::vector<std::int64_t> shape(batch.shape.begin(), batch.shape.end());
  // ONNX Runtime takes inputs as memory that could be written, and does not write it.
  const auto create = [&](const auto& values) {
    using Value = typename std::decay_t<decltype(values)>::value_type;
    return Ort::Value::CreateTensor<Value>(memory, const_cast<Value*>(values.data()), values.size(), shape.data(),
                                           shape.size());
  };
  return batch.raw.empty() ? create(batch.values) : create(batch.raw);
}

template <typename Value>
std::vector<Value> values_of(Ort::Value& output, std::size_t count) {
  const Value* const from = output.GetTensorMutableData<Value>();
  return {from, from + count};
}

NetworkOutput OnnxNetwork::run(const Batch& batch) {
  const Ort::Value input = tensor(batch);
  const char* const input_name = input_name_.c_str();
  const char* const output_name = output_name_.c_str();
  std::vector<Ort::Value> outputs;
  try {
    outputs = session_.Run(Ort::RunOptions{nullptr}, &input_name, &input, 1, &output_name, 1);
  } catch (const Ort::Exception& e) {
    throw InputError(failed("run " + model_ + " on " + shape_text(batch.shape), e));
  }
  Ort::Value& output = outputs.front();
  const auto information = output.GetTensorTypeAndShapeInfo();
  const std::vector<std::int64_t> sizes = information.GetShape();
  NetworkOutput result{std::vector<int>(sizes.begin(), sizes.end()), {}};
  const std::size_t count = volume(result.shape);
  switch (information.GetElementType()) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
      result.values = values_of<float>(output, count);
      break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
      result.values = values_of<std::int32_t>(output, count);
      break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      result.values = values_of<std::int64_t>(output, count);
      break;
    default:
      throw InputError("the network's output is neither float32 nor int32 nor int64; export the model again");
  }
  return result;
}

}  // namespace

std::unique_ptr<Network> load_onnx_network(const Contract& contract, const Configuration& configuration) {
  require_library();
  return std::make_unique<OnnxNetwork>(contract, configuration);
}

}  // namespace rtseg
