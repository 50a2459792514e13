// The exception for errors that the user can fix.
#pragma once

#include <stdexcept>
#include <string>

namespace rtseg {

/// Something in the input cannot be used. The message is one sentence: what was expected, what was found, how to fix
/// it. The program prints it and exits with status 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace rtseg
