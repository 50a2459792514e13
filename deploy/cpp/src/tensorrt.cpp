#include "tensorrt.hpp"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <vector>

#include "environment.hpp"
#include "error.hpp"
#include "files.hpp"
#include "npy.hpp"
#include "program.hpp"
#include "sha256.hpp"

namespace rtseg {
namespace {

namespace fs = std::filesystem;
using paddle_infer::Config;

constexpr int kGpuMemoryMb = 256;  // initial pool; Paddle grows it as needed

/// Captures stderr, and with it Paddle's log, while it exists.
class CaughtLog {
 public:
  CaughtLog() : file_(std::tmpfile()), saved_(dup(STDERR_FILENO)) {
    std::fflush(stderr);
    if (file_ != nullptr) dup2(fileno(file_), STDERR_FILENO);
  }
  ~CaughtLog() {
    end();
    if (file_ != nullptr) std::fclose(file_);
  }
  CaughtLog(const CaughtLog&) = delete;
  CaughtLog& operator=(const CaughtLog&) = delete;

  /// Stop, and return what was captured.
  std::string text() {
    end();
    std::string text;
    if (file_ == nullptr) return text;
    std::rewind(file_);
    for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) text += static_cast<char>(c);
    return text;
  }

 private:
  void end() {
    if (saved_ < 0) return;
    std::fflush(stderr);
    dup2(saved_, STDERR_FILENO);
    close(saved_);
    saved_ = -1;
  }

  std::FILE* file_;
  int saved_;
};

std::string version_text(const std::tuple<int, int, int>& version) {
  return std::to_string(std::get<0>(version)) + "." + std::to_string(std::get<1>(version)) + "." +
         std::to_string(std::get<2>(version));
}

/// The folder for the engines of this model, machine, precision and range of shapes.
fs::path cache_folder(const Contract& contract, const std::string& precision) {
  const TensorRT& tensorrt = contract.tensorrt;
  std::stringstream key;
  key << "C++\n"
      << contract.sha256.at(contract.model) << '\n'
      << contract.sha256.at(contract.params) << '\n'
      << precision << '\n'
      << tensorrt.shape.text() << '\n'
      << tensorrt.workspace_mb << '\n'
      << tensorrt.min_subgraph_size << '\n';
  for (int n : tensorrt.shape.opt) key << n << ' ';
  for (const std::string& op : tensorrt.fp32_ops) key << op << ' ';
  key << '\n'
      << gpu_models() << '\n'
      << version_text(paddle_infer::GetTrtRuntimeVersion()) << paddle_infer::GetVersion();
  return fs::path(cache_root()) / sha256(key).substr(0, 32);
}

Config gpu_config(const Contract& contract) {
  Config config(contract.path(contract.model), contract.path(contract.params));
  enable_gpu(config, paddle_infer::PrecisionType::kFloat32);
  return config;
}

/// Run the smallest, the most common and the largest shape and record the shapes of all intermediate tensors.
void collect_shapes(const Contract& contract, const fs::path& file) {
  const fs::path partial = file.string() + ".partial";
  {
    Config config = gpu_config(contract);
    config.CollectShapeRangeInfo(partial.string());
    const auto predictor = paddle_infer::CreatePredictor(config);
    const auto input = predictor->GetInputHandle(contract.input.name);
    for (const auto& shape : {contract.tensorrt.shape.min, contract.tensorrt.shape.opt, contract.tensorrt.shape.max}) {
      const std::size_t count = volume(shape);
      input->Reshape(shape);
      if (contract.raw_input()) {
        input->CopyFromCpu(std::vector<std::uint8_t>(count).data());
      } else {
        input->CopyFromCpu(std::vector<float>(count).data());
      }
      predictor->Run();
    }
  }  // the predictor's destructor writes the file
  fs::rename(partial, file);
}

}  // namespace

void enable_gpu(Config& config, paddle_infer::PrecisionType precision) {
  config.EnableUseGpu(kGpuMemoryMb, 0, precision);
  if (!config.use_gpu())
    throw InputError("a GPU was requested, but this Paddle is built without CUDA; use its GPU package");
}

std::shared_ptr<paddle_infer::Predictor> create_tensorrt_predictor(const Contract& contract,
                                                                   const std::string& precision) {
  const std::tuple<int, int, int> none(0, 0, 0);
  if (paddle_infer::GetTrtCompileVersion() == none || paddle_infer::GetTrtRuntimeVersion() == none)
    throw InputError(
        "TensorRT was requested, but this Paddle is built without it or cannot load its library; use a Paddle "
        "Inference "
        "package with TensorRT, or --backend native");
  if (contract.is_json())  // the request would be silently ignored
    throw InputError("TensorRT in C++ needs a model in pdmodel form, got " + contract.model +
                     "; export it as pdmodel with Paddle 2.6 or 3.0");
  const fs::path folder = cache_folder(contract, precision);
  make_folder(folder.string());
  const fs::path shapes = folder / "shapes.pbtxt";
  if (!fs::exists(shapes)) collect_shapes(contract, shapes);

  Config config = gpu_config(contract);
  config.SetOptimCacheDir(folder.string());
  const bool half = precision == "fp16";
  config.EnableTensorRtEngine(static_cast<std::int64_t>(contract.tensorrt.workspace_mb) << 20,
                              contract.tensorrt.shape.max[0], contract.tensorrt.min_subgraph_size,
                              half ? paddle_infer::PrecisionType::kHalf : paddle_infer::PrecisionType::kFloat32, true,
                              false);  // keep engines
  // Shapes outside the range are refused earlier; building an engine for them would take minutes.
  config.EnableTunedTensorRtDynamicShape(shapes.string(), false);
  if (half && !contract.tensorrt.fp32_ops.empty()) config.Exp_DisableTensorRtOPs(contract.tensorrt.fp32_ops);

  CaughtLog log;
  auto predictor = paddle_infer::CreatePredictor(config);
  require_engine(log.text(), contract.path(contract.model));
  return predictor;
}

}  // namespace rtseg
