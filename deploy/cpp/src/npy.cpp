#include "npy.hpp"

#include <cstdint>
#include <fstream>
#include <iterator>
#include <regex>

#include "error.hpp"

namespace rtseg {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr std::size_t kMagicSize = 6;

}  // namespace

Array read_npy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError("cannot read " + path + "; copy the whole folder of the exported model");
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto damaged = [&](const std::string& why) {
    return InputError(path + " is not a .npy file of float32 in C order (" + why + "); export the model again");
  };
  // magic, version (2 bytes), header length (2 bytes in version 1, 4 in version 2), header: a Python dictionary
  if (bytes.size() < 12 || bytes.compare(0, kMagicSize, kMagic, kMagicSize) != 0) throw damaged("no NumPy header");
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])); };
  const bool first_version = byte(6) == 1;
  const std::size_t header = first_version ? 10 : 12;
  std::size_t length = byte(8) | byte(9) << 8;
  if (!first_version) length |= byte(10) << 16 | byte(11) << 24;
  if (bytes.size() < header + length) throw damaged("cut short");
  const std::string text = bytes.substr(header, length);

  static const std::regex pattern(R"('descr': '<f4', 'fortran_order': False, 'shape': \(([0-9, ]*)\))");
  std::smatch match;
  if (!std::regex_search(text, match, pattern)) throw damaged("its header is " + text);
  Array array;
  const std::string sizes = match[1];
  static const std::regex number("[0-9]+");
  for (std::sregex_iterator i(sizes.begin(), sizes.end(), number), end; i != end; ++i)
    array.shape.push_back(std::stoi(i->str()));
  const std::size_t count = volume(array.shape);
  if (bytes.size() - header - length != count * sizeof(float)) throw damaged("cut short");
  const char* data = bytes.data() + header + length;
  array.values.resize(count);
  std::copy(data, data + count * sizeof(float), reinterpret_cast<char*>(array.values.data()));
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
