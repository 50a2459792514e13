// Paddle Inference, set up for one device, backend and precision, working around the bugs of each Paddle release.
// Only network.cpp and tensorrt.hpp with tensorrt.cpp include Paddle's headers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "configuration.hpp"
#include "contract.hpp"
#include "preprocess.hpp"

namespace rtseg {

/// The network's output for a batch.
struct NetworkOutput {
  std::vector<int> shape;
  std::variant<std::vector<float>, std::vector<std::int32_t>, std::vector<std::int64_t>> values;
};

/// A loaded network. Not thread-safe.
class Network {
 public:
  /// Throws InputError if this machine or this Paddle cannot run the model in this configuration.
  Network(const Contract& contract, const Configuration& configuration);
  ~Network();
  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;

  /// Run the network on a batch in the layout and type of the contract.
  NetworkOutput run(const Batch& batch);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rtseg
