// SHA-256 of files (FIPS 180-4), so that a model that was changed or cut short is noticed before it runs.
#pragma once

#include <string>

namespace rtseg {

/// SHA-256 of a file's contents, in lower-case hexadecimal. Throws InputError if the file cannot be read.
std::string sha256(const std::string& path);

}  // namespace rtseg
