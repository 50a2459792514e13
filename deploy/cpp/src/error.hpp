// The one exception for what the user can put right.
#pragma once

#include <stdexcept>
#include <string>

namespace rtseg {

/// What was given cannot be used. The message is one sentence: what was expected, what came, how to put it right.
/// The program prints it and exits with status 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace rtseg
