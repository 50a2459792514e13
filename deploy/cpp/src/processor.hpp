// Which precisions this machine's processor supports; the Python package has the same rules in processor.py.
#pragma once

#include <string>

namespace rtseg {

/// Why oneDNN and OpenVINO cannot compute in `precision` ("bf16", "fp16") on this processor; empty if they can.
std::string processor_obstacle(const std::string& precision);

}  // namespace rtseg
