#include "program.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>

#include "error.hpp"

namespace rtseg {
namespace {

// A program is a protocol buffer (framework.proto in Paddle's source). These three fields lead to the types.
constexpr std::uint64_t kProgramBlocks = 1, kBlockOperators = 4, kOperatorType = 3;

/// The file is truncated, or something else.
struct Damaged {};

std::string_view take(std::string_view& bytes, std::uint64_t count) {
  if (count > bytes.size()) throw Damaged();
  const std::string_view taken = bytes.substr(0, count);
  bytes.remove_prefix(count);
  return taken;
}

/// A number in base 128, lowest digit first; every byte except the last has its top bit set.
std::uint64_t varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<std::uint8_t>(take(bytes, 1)[0]);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  throw Damaged();
}

/// Calls `visit` with the contents of each string or message in the field `number`; skips all other fields.
template <typename Visit>
void each(std::string_view message, std::uint64_t number, Visit visit) {
  while (!message.empty()) {
    const std::uint64_t tag = varint(message);
    switch (tag & 7) {
      case 0:
        varint(message);
        break;
      case 1:
        take(message, 8);
        break;
      case 2: {
        const std::string_view contents = take(message, varint(message));
        if (tag >> 3 == number) visit(contents);
        break;
      }
      case 5:
        take(message, 4);
        break;
      default:
        throw Damaged();
    }
  }
}

}  // namespace

std::vector<std::string> operator_types(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string program{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> types;
  try {
    each(program, kProgramBlocks, [&](std::string_view block) {
      each(block, kBlockOperators, [&](std::string_view op) {
        each(op, kOperatorType, [&](std::string_view type) { types.emplace_back(type); });
      });
    });
  } catch (const Damaged&) {
    types.clear();
  }
  if (types.empty()) throw InputError("'" + path + "' is not a program in pdmodel form; export the model again");
  return types;
}

void require_engine(const std::string& log, const std::string& path) {
  if (log.find("detect a sub-graph with") != std::string::npos) return;
  std::size_t count = 0;
  std::set<std::string> kinds;
  for (const std::string& type : operator_types(path)) {
    if (type == "feed" || type == "fetch") continue;
    ++count;
    kinds.insert(type);
  }
  std::string names;
  for (const std::string& kind : kinds) names += (names.empty() ? "" : ", ") + kind;
  throw InputError("TensorRT was requested, but no engine was built for " +
                   std::filesystem::path(path).filename().string() + ": all " + std::to_string(count) +
                   " operators stayed outside (" + names +
                   "); python -m paddle_rtseg.trt_report lists what it rejects, or use --backend native");
}

}  // namespace rtseg
