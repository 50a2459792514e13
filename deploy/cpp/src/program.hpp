// The operators of a pdmodel program, and the check that TensorRT took some of them. Needs no Paddle.
#pragma once

#include <string>
#include <vector>

namespace rtseg {

/// The types of a pdmodel program's operators, in order. Throws InputError if the file is not such a program.
std::vector<std::string> operator_types(const std::string& path);

/// Throws InputError, naming the operators that stayed outside, unless Paddle's log of a predictor's creation mentions
/// a subgraph that TensorRT took. `path` is the pdmodel program.
void require_engine(const std::string& log, const std::string& path);

}  // namespace rtseg
