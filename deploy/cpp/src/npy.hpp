// The subset of NumPy's .npy format that the golden output and the tests need: float32 in C order.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rtseg {

/// An array of float32 in C order (the last axis varies fastest).
struct Array {
  std::vector<int> shape;
  std::vector<float> values;
};

/// Read a .npy file of float32. Throws InputError if it is missing, damaged or of another type.
Array read_npy(const std::string& path);

/// Write `array` as a .npy file. Throws InputError if the file cannot be written.
void write_npy(const std::string& path, const Array& array);

/// The number of values in an array of that shape.
std::size_t volume(const std::vector<int>& shape);

/// "3x512x1024"
std::string shape_text(const std::vector<int>& shape);

}  // namespace rtseg
