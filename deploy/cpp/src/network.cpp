#include "network.hpp"

#include "engines.hpp"
#include "error.hpp"

namespace rtseg {
namespace {

[[noreturn, maybe_unused]] void built_without(const char* engine, const char* option) {
  throw NotInstalled(std::string("expected a program built with ") + engine +
                     ", got one built without it; build it with " + option);
}

}  // namespace

std::unique_ptr<Network> load_network(const Contract& contract, const Configuration& configuration) {
  check(configuration);
  if (configuration.backend == "openvino_runtime")
    throw NotInstalled("the backend openvino_runtime is not in the C++ program; use onnxruntime");
  if (configuration.backend == "onnxruntime") {
#ifdef RTSEG_ONNXRUNTIME
    if (configuration.precision == kInt8 && contract.int8) contract.int8->result(configuration.backend);
    return load_onnx_network(contract, configuration);
#else
    built_without("ONNX Runtime", "-DONNXRUNTIME=FOLDER");
#endif
  }
#ifdef RTSEG_PADDLE
  return load_paddle_network(contract, configuration);
#else
  built_without("Paddle Inference", "-DPADDLE_LIB=FOLDER");
#endif
}

}  // namespace rtseg
