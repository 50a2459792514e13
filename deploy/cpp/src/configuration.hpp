// What can run a network: devices, the backends of each, and the precisions in which these compute. The Python package
// has the same table in configuration.py.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace rtseg {

/// The backend, or the precision, that is the fastest of those that reproduce the golden output.
constexpr char kAuto[] = "auto";

/// The precision of the ONNX form that the export quantises.
constexpr char kInt8[] = "int8";

/// A backend and the precisions in which it computes.
struct Backend {
  std::string name;
  std::vector<std::string> precisions;
};

/// A device, its backends, the default one, and the precisions among which "auto" chooses.
struct Device {
  std::string name;
  std::vector<Backend> backends;
  std::string default_backend;
  std::vector<std::string> auto_precisions;
};

/// All devices, in the order in which messages name them.
const std::vector<Device>& devices();

/// "fp32", "tf32", "fp16", "bf16", "int8"
const std::vector<std::string>& precisions();

/// What ONNX Runtime may run a network with on a GPU; the first is the default.
const std::vector<std::string>& providers();

/// What runs the network.
struct Configuration {
  std::string device = "cpu";
  std::string backend = "onednn";
  std::string precision = "fp32";
  int threads = 0;       ///< 0: OMP_NUM_THREADS, or every core that the process may use
  std::string provider;  ///< of ONNX Runtime on a GPU, one of providers(); empty: "cuda"
  bool strict = false;   ///< ONNX Runtime on a GPU: it is an error if some operators run on the processor

  std::string text() const {
    return device + " " + backend + " " + precision + (provider.empty() ? "" : " " + provider);
  }
};

/// Throws InputError if there is no such device, backend or provider, it does not compute in this precision, or a
/// provider is given for another backend than ONNX Runtime on a GPU.
void check(const Configuration& configuration);

}  // namespace rtseg
