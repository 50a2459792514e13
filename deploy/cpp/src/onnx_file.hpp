// What an ONNX file may refer to: nothing. rtseg_inference/onnx_file.py refuses the same files.
#pragma once

#include <string>

namespace rtseg {

/// Throws InputError if an ONNX file has tensors in other files, which may lie anywhere.
void check_self_contained(const std::string& path);

}  // namespace rtseg
