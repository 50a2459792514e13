#include "node.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <regex>

namespace rtseg {
namespace {

constexpr double kMaxNumber = 1e300;  // infinity and integers that no double can hold are above it

enum class Kind { kNull, kFlag, kWhole, kNumber, kDate, kDateTime, kText, kMapping, kList };

/// The type of a plain scalar in PyYAML, which follows YAML 1.1.
Kind kind_of_plain(const std::string& text) {
  if (text.size() > 1000) {  // std::regex recurses once per character
    const bool digits = std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
    return digits ? Kind::kWhole : Kind::kText;
  }
  static const std::vector<std::pair<std::regex, Kind>> kinds = [] {
    const auto pattern = [](const char* text) { return std::regex(text, std::regex::optimize); };
    return std::vector<std::pair<std::regex, Kind>>{
        {pattern("(~|null|Null|NULL)?"), Kind::kNull},
        {pattern("yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"), Kind::kFlag},
        {pattern("[-+]?(0|[1-9][0-9_]*|0[0-7_]+|0b[01_]+|0x[0-9a-fA-F_]+)"), Kind::kWhole},
        {pattern(
             "([-+]?[0-9][0-9_]*\\.[0-9_]*|\\.[0-9][0-9_]*)([eE][-+][0-9]+)?|[-+]?\\.(inf|Inf|INF)|\\.(nan|NaN|NAN)"),
         Kind::kNumber},
        {pattern("[0-9]{4}-[0-9]{2}-[0-9]{2}"), Kind::kDate},
        {pattern("[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*"), Kind::kDateTime}};
  }();
  for (const auto& [pattern, kind] : kinds)
    if (std::regex_match(text, pattern)) return kind;
  return Kind::kText;
}

Kind kind_of(const YAML::Node& value) {
  if (value.IsMap()) return Kind::kMapping;
  if (value.IsSequence()) return Kind::kList;
  if (!value.IsScalar()) return Kind::kNull;
  return value.Tag() == "!" || value.Tag() == "tag:yaml.org,2002:str" ? Kind::kText : kind_of_plain(value.Scalar());
}

/// A whole number or a number; integers in other bases included.
double value_of(const YAML::Node& value, Kind kind) {
  std::string text = value.Scalar();
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  if (kind == Kind::kWhole) {
    const std::size_t start = text[0] == '-' || text[0] == '+' ? 1 : 0;
    if (text.compare(start, 2, "0b") == 0)
      return (text[0] == '-' ? -1.0 : 1.0) * static_cast<double>(std::strtoll(text.c_str() + start + 2, nullptr, 2));
    if (text.compare(start, 2, "0x") != 0 && text[start] == '0')
      return static_cast<double>(std::strtoll(text.c_str(), nullptr, 8));
  } else if (const auto dot = text.find('.'); dot != std::string::npos && dot + 1 < text.size()) {
    const char after = text[dot + 1];
    if (after == 'i' || after == 'I') return text[0] == '-' ? -INFINITY : INFINITY;
    if (after == 'n' || after == 'N') return NAN;
  }
  return std::strtod(text.c_str(), nullptr);
}

/// "0.5", as in a message
std::string plain(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

/// A value in a message, in one short piece whatever it is.
std::string shown(const YAML::Node& value) {
  const Kind kind = kind_of(value);
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kMapping:
      return "a mapping";
    case Kind::kList:
      return "a list of " + std::to_string(value.size());
    case Kind::kText:
      return "'" + value.Scalar().substr(0, 40) + "'";
    case Kind::kDate:
      return "a date";
    case Kind::kDateTime:
      return "a datetime";
    case Kind::kFlag:
      return value.as<bool>() ? "true" : "false";
    default:
      break;
  }
  const double number = value_of(value, kind);
  if (std::isnan(number)) return "NaN";
  if (std::abs(number) >= kMaxNumber) return "a number beyond 1e300";
  return std::abs(number) < 1e18 ? value.Scalar() : plain(number);
}

}  // namespace

InputError Node::error(const std::string& expected) const {
  return InputError(file_ + ": expected " + key_ + " to be " + expected + ", got " + shown(value_) +
                    "; export the model again");
}

std::optional<YAML::Node> Node::find(const std::string& name) const {
  if (!value_.IsMap()) {
    if (!key_.empty()) throw error("a mapping");
    return std::nullopt;
  }
  std::optional<YAML::Node> found;
  for (const auto& item : value_)  // of two equal keys the last one counts
    if (item.first.IsScalar() && item.first.Scalar() == name) found.emplace(item.second);
  return found;
}

Node Node::operator[](const std::string& name) const {
  const std::string key = key_.empty() ? name : key_ + "." + name;
  const std::optional<YAML::Node> found = find(name);
  if (!found) throw InputError(file_ + " has no key '" + key + "'; it is cut short or too old: export the model again");
  return {file_, key, *found};
}

bool Node::is_null() const {
  return kind_of(value_) == Kind::kNull;
}

bool Node::has(const std::string& name) const {
  const std::optional<YAML::Node> found = find(name);
  return found && kind_of(*found) != Kind::kNull;
}

std::vector<std::pair<std::string, Node>> Node::items() const {
  if (!value_.IsMap()) throw error("a mapping of names");
  std::vector<std::pair<std::string, Node>> items;
  for (const auto& item : value_) {
    if (kind_of(item.first) != Kind::kText) throw error("a mapping of names");
    items.emplace_back(item.first.Scalar(), Node(file_, key_ + "." + item.first.Scalar(), item.second));
  }
  return items;
}

Node Node::item(std::size_t index) const {
  return {file_, key_ + "[" + std::to_string(index) + "]", value_[index]};
}

std::vector<Node> Node::list() const {
  if (!value_.IsSequence()) throw error("a list");
  std::vector<Node> items;
  for (std::size_t i = 0; i < value_.size(); ++i) items.push_back(item(i));
  return items;
}

std::vector<Node> Node::list(std::size_t count, const std::string& what) const {
  if (!value_.IsSequence() || value_.size() != count) throw error(std::to_string(count) + " " + what);
  return list();
}

std::string Node::text() const {
  if (kind_of(value_) != Kind::kText || value_.Scalar().empty()) throw error("text");
  return value_.Scalar();
}

std::string Node::choice(const std::vector<std::string>& words) const {
  if (kind_of(value_) == Kind::kText && std::find(words.begin(), words.end(), value_.Scalar()) != words.end())
    return value_.Scalar();
  std::string names;
  for (const std::string& word : words) names += (names.empty() ? "" : ", ") + word;
  throw error("one of " + names);
}

bool Node::flag() const {
  if (kind_of(value_) != Kind::kFlag) throw error("true or false");
  return value_.as<bool>();
}

int Node::whole(int least, int most) const {
  const Kind kind = kind_of(value_);
  const double value = kind == Kind::kWhole ? value_of(value_, kind) : NAN;
  if (value >= least && value <= most) return static_cast<int>(value);
  if (most < INT_MAX || value > most)
    throw error("a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  throw error("a whole number of " + std::to_string(least) + " or more");
}

std::vector<int> Node::wholes(std::size_t count, int least, int most) const {
  std::vector<int> values;
  for (const Node& item : list(count, "whole numbers")) values.push_back(item.whole(least, most));
  return values;
}

double Node::number(const Bounds& bounds) const {
  const Kind kind = kind_of(value_);
  const double value = kind == Kind::kWhole || kind == Kind::kNumber ? value_of(value_, kind) : NAN;
  const bool good = std::abs(value) < kMaxNumber && !(bounds.least && value < *bounds.least) &&
                    !(bounds.most && value > *bounds.most) && !(bounds.above && value <= *bounds.above);
  if (good) return value;
  if (bounds.most) throw error("a number from " + plain(*bounds.least) + " to " + plain(*bounds.most));
  if (bounds.above) throw error("a number above " + plain(*bounds.above));
  throw error(bounds.least ? "a number of " + plain(*bounds.least) + " or more" : "a number");
}

}  // namespace rtseg
