// SHA-256 (FIPS 180-4), which detects changed or truncated model files before they run.
#pragma once

#include <istream>
#include <string>

namespace rtseg {

/// SHA-256 of the rest of a stream, in lower-case hexadecimal.
std::string sha256(std::istream& stream);

/// SHA-256 of a file's contents. Throws InputError if the file cannot be read.
std::string file_sha256(const std::string& path);

}  // namespace rtseg
