#include "onnx_file.hpp"

#include <fstream>
#include <iterator>
#include <string_view>

#include "error.hpp"

namespace rtseg {
namespace {

// A tensor names the file of its data under the key "location": field 1 of an entry, of 8 bytes, both numbers in base 128
// with as many leading zeros as a reader accepts. Only an input or output named "location" looks the same.
constexpr std::string_view kKey = "location";
constexpr unsigned char kField = 0x0a, kLength = 0x08, kMore = 0x80;

/// Remove a number in base 128 from the end; whether it is `value`, which takes one digit.
bool take_number(std::string_view& data, unsigned char value) {
  const auto last = [&] { return data.empty() ? 0xFFU : static_cast<unsigned char>(data.back()); };
  bool longer = false;
  if (last() == 0) {
    data.remove_suffix(1);
    while (last() == kMore) data.remove_suffix(1);
    longer = true;
  }
  if (last() != (longer ? value | kMore : value)) return false;
  data.remove_suffix(1);
  return true;
}

}  // namespace

void check_self_contained(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string data{std::istreambuf_iterator<char>(file), {}};
  for (std::size_t at = data.find(kKey); at != std::string::npos; at = data.find(kKey, at + 1)) {
    std::string_view before(data.data(), at);
    if (take_number(before, kLength) && take_number(before, kField))
      throw InputError("expected " + path + " to hold all tensors itself, got one that names another file; export the " +
                       "model again");
  }
}

}  // namespace rtseg
