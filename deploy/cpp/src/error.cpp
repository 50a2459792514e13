#include "error.hpp"

#include <algorithm>
#include <sstream>

namespace rtseg {

std::string first_line(const std::string& text) {
  std::istringstream lines(text);
  std::string first;
  for (std::string line; std::getline(lines, line);) {
    line.erase(0, line.find_first_not_of(" \t"));
    if (line.find("Error: ") != std::string::npos || line.rfind('(', 0) == 0) return line.substr(0, 200);
    if (first.empty()) first = line;
  }
  return first.substr(0, 200);
}

std::string quote(const std::string& text, std::size_t most) {
  std::string line = text.substr(0, most);
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return text.size() <= most ? line : line + "...";
}

std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text = std::to_string(names.size()) + " (";
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i == 0 ? "" : ", ") + quote(names[i]);
  return text + (names.size() > kShown ? ", ...)" : ")");
}

std::string quoted(const std::string& path) { return "'" + quote(path, path.size()) + "'"; }

}  // namespace rtseg
