// The exceptions for errors that the user can fix.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace rtseg {

/// Something in the input cannot be used. The message is one sentence: what was expected, what was found, how to fix
/// it. The program prints it and exits with status 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A backend's engine, or the form of the model that it runs, is not there: nothing was tried.
class NotInstalled : public InputError {
 public:
  using InputError::InputError;
};

/// The line of an engine's error that says what happened, out of pages of C++ frames. It begins with the kind of error,
/// such as "(Unimplemented)" or, for json programs, "UnimplementedError:".
std::string first_line(const std::string& text);

/// Text from outside for a message: on one line, printable, and of at most `most` bytes and "...".
std::string quote(const std::string& text, std::size_t most = 100);

/// The count and the first few of the names.
std::string listed(const std::vector<std::string>& names);

/// A path for use in a message: in quotes and on one line.
std::string quoted(const std::string& path);

}  // namespace rtseg
