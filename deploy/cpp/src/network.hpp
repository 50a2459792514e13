// A network loaded into one of the engines, whose headers only the files of that engine include.
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
  Network() = default;
  virtual ~Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// Run the network on a batch in the layout and type of the contract. Throws InputError if the engine fails.
  virtual NetworkOutput run(const Batch& batch) = 0;

  /// The operators that run on the processor although a GPU was asked for, as far as the engine tells.
  virtual std::vector<std::string> on_processor() const { return {}; }
};

/// Load the network into the engine that `configuration` names. Throws NotInstalled if the program is built without
/// that engine, or the folder lacks the form of the model that it runs; InputError if this machine or the engine cannot
/// run the model in this configuration.
std::unique_ptr<Network> load_network(const Contract& contract, const Configuration& configuration);

}  // namespace rtseg
