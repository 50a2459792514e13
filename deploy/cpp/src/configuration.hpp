// What can run a network: devices, the backends of each, and the precisions in which these compute. The Python package
// has the same table in configuration.py.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace rtseg {

/// A backend and the precisions in which it computes.
struct Backend {
  std::string name;
  std::vector<std::string> precisions;
};

/// A device, its backends, and the default one.
struct Device {
  std::string name;
  std::vector<Backend> backends;
  std::string default_backend;
};

/// All devices, in the order in which messages name them.
const std::vector<Device>& devices();

/// "fp32", "fp16", "bf16"
const std::vector<std::string>& precisions();

/// What runs the network.
struct Configuration {
  std::string device = "cpu";
  std::string backend = "onednn";
  std::string precision = "fp32";
  int threads = 0;  ///< 0: OMP_NUM_THREADS, or every core that the process may use

  std::string text() const { return device + " " + backend + " " + precision; }
};

/// Throws InputError if there is no such device or backend, or it does not compute in this precision.
void check(const Configuration& configuration);

}  // namespace rtseg
