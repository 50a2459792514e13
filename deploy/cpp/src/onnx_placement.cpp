#include "onnx_placement.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string_view>

#include "error.hpp"
#include "json.hpp"

namespace rtseg {

std::map<std::string, std::vector<std::string>> placement(const std::string& path) {
  constexpr std::string_view kSuffix = "_kernel_time";
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  Json events;
  try {
    events = parse_json(text, {"args", "cat", "name", "provider"});
  } catch (const NotJson&) {
    throw InputError("expected a profile of ONNX Runtime in " + quoted(path) + ", got something else; run it again");
  }
  std::map<std::string, std::vector<std::string>> where;
  for (const Json& event : events.items) {
    const std::string& provider = event["args"]["provider"].text;
    std::string name = event["name"].text;
    const std::size_t length = name.size() - std::min(name.size(), kSuffix.size());
    if (event["cat"].text != "Node" || provider.empty() || name.substr(length) != kSuffix) continue;
    name.resize(length);
    std::vector<std::string>& names = where[provider];
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return where;
}

}  // namespace rtseg
