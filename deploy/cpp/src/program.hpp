// What a pdmodel program consists of, and the check that TensorRT took some of it. Needs no Paddle.
#pragma once

#include <string>
#include <vector>

namespace rtseg {

/// Types of the operators of a pdmodel program, in their order. Throws InputError if the file is no such program.
std::vector<std::string> operator_types(const std::string& path);

/// Throws InputError, with the operators that stayed outside, unless Paddle's log of a predictor's creation tells of a
/// subgraph that TensorRT took. `path` is the pdmodel program.
void require_engine(const std::string& log, const std::string& path);

}  // namespace rtseg
