// Where ONNX Runtime ran the operators of a network. rtseg_inference/onnx_gpu_runtime.py reads the same.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace rtseg {

/// The names of the operators that ran, by provider, from the profile that ONNX Runtime wrote to a file. Throws
/// InputError if it is none.
std::map<std::string, std::vector<std::string>> placement(const std::string& path);

}  // namespace rtseg
