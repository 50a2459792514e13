// The engines, each with a file of its own; those that the program is built without are missing at link time.
#pragma once

#include <memory>

#include "network.hpp"

namespace rtseg {

/// Paddle Inference: every backend except onnxruntime. See load_network.
std::unique_ptr<Network> load_paddle_network(const Contract& contract, const Configuration& configuration);

/// ONNX Runtime, from the ONNX form: the backend onnxruntime. See load_network.
std::unique_ptr<Network> load_onnx_network(const Contract& contract, const Configuration& configuration);

}  // namespace rtseg
