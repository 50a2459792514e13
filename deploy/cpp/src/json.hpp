// JSON that somebody else made, as values: the same files are read and refused as by Python's json module.
#pragma once

#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rtseg {

/// A value of JSON.
struct Json {
  enum class Kind { kNull, kFlag, kNumber, kText, kList, kObject };

  Kind kind = Kind::kNull;
  double number = 0;                                ///< of a number, or 1 for true
  std::string text;                                 ///< in UTF-8
  std::vector<Json> items;                          ///< of a list
  std::vector<std::pair<std::string, Json>> pairs;  ///< of an object

  bool is(Kind other) const { return kind == other; }
  /// The value of a key, the last one if there are several; null if there is none.
  const Json& operator[](std::string_view key) const;
};

/// The text is not JSON.
class NotJson : public std::runtime_error {
 public:
  NotJson() : std::runtime_error("not JSON") {}
};

/// Parse `text`. Of objects only the values of the keys in `keep` are kept, the others are parsed and dropped. Throws
/// NotJson.
Json parse_json(std::string_view text, const std::set<std::string, std::less<>>& keep);

/// A text in quotes, as JSON has it. Bytes that are not UTF-8, which a file name may have, become what Python reads them
/// as.
std::string json_text(const std::string& text);

}  // namespace rtseg
