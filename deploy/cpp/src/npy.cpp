#include "npy.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "error.hpp"

namespace rtseg {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr std::size_t kMagicSize = 6;
constexpr std::size_t kPrefix = 10;  // magic, version (1.0), length of the header (2 bytes)
constexpr char kStart[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
constexpr char kEnd[] = "), }";
constexpr std::size_t kMaxHeader = 1000;
constexpr std::size_t kMaxAxes = 4;
constexpr std::size_t kMaxDigits = 9;  // of the length of an axis

/// The text between `kStart` and `kEnd` of a header as NumPy writes it, and nothing else than spaces after them.
bool find_shape(const std::string& header, std::string& shape) {
  const std::size_t start = sizeof kStart - 1, end = header.find(')');
  if (header.rfind(kStart, 0) != 0 || end == std::string::npos || header.compare(end, 4, kEnd) != 0) return false;
  shape = header.substr(start, end - start);
  return header.find_first_not_of(" \n", end + 4) == std::string::npos;
}

/// "3, 64, 96" -> the lengths of the axes.
bool read_shape(const std::string& text, std::vector<int>& shape) {
  if (text.find_first_not_of("0123456789, ") != std::string::npos) return false;
  for (std::size_t i = 0; (i = text.find_first_of("0123456789", i)) != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_not_of("0123456789", i), text.size());
    if (end - i > kMaxDigits || shape.size() == kMaxAxes) return false;
    shape.push_back(std::stoi(text.substr(i, end - i)));
    i = end;
  }
  return true;
}

}  // namespace

Array read_npy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  const std::size_t size = std::filesystem::file_size(path, error);
  if (!file || error) throw InputError("cannot read " + path + "; copy the whole folder of the exported model");
  const auto damaged = [&](const std::string& why) {
    return InputError(path + " is not a .npy file of float32 in C order (" + why + "); export the model again");
  };
  std::string prefix(kPrefix, '\0');
  file.read(&prefix[0], kPrefix);
  if (!file || prefix.compare(0, kMagicSize, kMagic) != 0 || prefix[6] != 1 || prefix[7] != 0)
    throw damaged("no NumPy header");
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(prefix[i])); };
  std::string header(std::min(byte(8) | byte(9) << 8, kMaxHeader + 1), '\0'), sizes;
  Array array;
  if (header.size() > kMaxHeader || !file.read(&header[0], static_cast<std::streamsize>(header.size())) ||
      !find_shape(header, sizes) || !read_shape(sizes, array.shape))
    throw damaged("another header");
  const std::size_t bytes = size - kPrefix - header.size();
  std::size_t count = 1;
  for (int n : array.shape) {
    if (n > 0 && count > bytes / static_cast<std::size_t>(n)) throw damaged("cut short");
    count *= static_cast<std::size_t>(n);
  }
  if (count * sizeof(float) != bytes) throw damaged("cut short");
  array.values.resize(count);
  if (!file.read(reinterpret_cast<char*>(array.values.data()), static_cast<std::streamsize>(bytes)))
    throw damaged("cut short");
  return array;
}

void write_npy(const std::string& path, const Array& array) {
  std::string shape;
  for (int n : array.shape) shape += std::to_string(n) + ", ";
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.resize((header.size() + 10 + 1 + 63) / 64 * 64 - 10 - 1, ' ');  // NumPy aligns the data to 64 bytes
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  file.write(kMagic, kMagicSize).put(1).put(0);
  file.put(static_cast<char>(header.size() & 255)).put(static_cast<char>(header.size() >> 8));
  file << header;
  file.write(reinterpret_cast<const char*>(array.values.data()),
             static_cast<std::streamsize>(array.values.size() * sizeof(float)));
  if (!file.flush()) throw InputError("cannot write " + path + "; check the folder");
}

std::size_t volume(const std::vector<int>& shape) {
  std::size_t count = 1;
  for (int n : shape) count *= static_cast<std::size_t>(n);
  return count;
}

std::string shape_text(const std::vector<int>& shape) {
  std::string text;
  for (int n : shape) text += (text.empty() ? "" : "x") + std::to_string(n);
  return text;
}

}  // namespace rtseg
