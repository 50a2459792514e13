#include "error.hpp"

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

}  // namespace rtseg
