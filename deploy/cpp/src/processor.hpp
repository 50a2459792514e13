// Which precisions this machine's processor supports; the Python package has the same rules in processor.py.
#pragma once

#include <string>

namespace rtseg {

/// Why oneDNN and OpenVINO cannot compute in `precision` ("bf16", "fp16") on this processor; empty if they can.
std::string processor_obstacle(const std::string& precision);

/// What to know on this processor of an INT8 network with weights of 7 or 8 bits; empty if they suit it. Without VNNI,
/// sums of products of 8-bit integers saturate in 16 bits; with weights of 7 bits they cannot.
std::string int8_warning(int weight_bits);

}  // namespace rtseg
