// Paddle Inference, set up for one device, backend and precision, with the traps of each Paddle release avoided.
// The only part that sees Paddle's headers is network.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "contract.hpp"
#include "preprocess.hpp"

namespace rtseg {

/// What runs the network.
struct Configuration {
  std::string device = "cpu";      ///< "cpu" or "gpu"
  std::string backend = "onednn";  ///< on the CPU "native", "onednn" or "openvino"; on the GPU "native" or "tensorrt"
  std::string precision = "fp32";  ///< "fp32", "fp16" or "bf16", as far as the backend computes in it
  int threads = 0;                 ///< 0: every core that the process may use

  std::string text() const { return device + " " + backend + " " + precision; }
};

/// The network's output for a batch.
struct Output {
  std::vector<int> shape;
  std::variant<std::vector<float>, std::vector<std::int32_t>, std::vector<std::int64_t>> values;
};

/// Set the threads and, on AMD processors, the fast path of Paddle's matrix products: the MKL inside Paddle takes a
/// slow one on processors that are not Intel's unless MKL_DEBUG_CPU_TYPE is 5. What the user has set stays. Has an
/// effect only before the first Network.
void prepare_environment(int threads);

/// `threads`, or every core that the process may use if it is 0.
int thread_count(int threads);

/// A loaded network. Not for use by several threads at once.
class Network {
 public:
  /// Throws InputError if this machine or this Paddle cannot run the model in this configuration.
  Network(const Contract& contract, const Configuration& configuration);
  ~Network();
  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;

  /// Run the network on a batch in the layout and type of the contract.
  Output run(const Batch& batch);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rtseg
