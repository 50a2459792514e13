#include "node.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace rtseg {
namespace {

using Kind = Value::Kind;

constexpr double kMaxNumber = 1e300;    // infinity and integers that no double can hold are above it
constexpr std::size_t kMaxName = 100;   // bytes of a file's name
constexpr std::size_t kQuoted = 40;     // characters in a message
constexpr std::size_t kSumDigits = 64;  // of a SHA-256

/// "0.5", as in a message
std::string plain(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

/// A value in a message, in one short piece whatever it is.
std::string shown(const Value& value) {
  switch (value.kind) {
    case Kind::kNull:
      return "null";
    case Kind::kMapping:
      return "a mapping";
    case Kind::kList:
      return "a list of " + std::to_string(value.items.size());
    case Kind::kText:
      return "'" + first_characters(value.text, kQuoted) + "'";
    case Kind::kFlag:
      return value.flag() ? "true" : "false";
    default:
      break;
  }
  const double number = value.number();
  if (std::isnan(number)) return "NaN";
  if (std::abs(number) >= kMaxNumber) return "a number beyond 1e300";
  return std::abs(number) < 1e18 ? value.text : plain(number);
}

Value text_value(const std::string& text) {
  Value value;
  value.kind = Kind::kText;
  value.text = text;
  return value;
}

}  // namespace

InputError Node::error(const std::string& expected) const {
  return InputError(file_ + ": expected " + key_ + " to be " + expected + ", got " + shown(*value_) +
                    "; export the model again");
}

const Value* Node::find(const std::string& name) const {
  if (value_->kind != Kind::kMapping) {
    if (!key_.empty()) throw error("a mapping");
    return nullptr;
  }
  const auto found = std::find(value_->keys.begin(), value_->keys.end(), name);
  return found == value_->keys.end() ? nullptr : &value_->items[found - value_->keys.begin()];
}

Node Node::operator[](const std::string& name) const {
  const std::string key = key_.empty() ? name : key_ + "." + name;
  const Value* found = find(name);
  if (found == nullptr)
    throw InputError(file_ + " has no key '" + key + "'; it is cut short or too old: export the model again");
  return {file_, key, *found};
}

bool Node::is_null() const {
  return value_->kind == Kind::kNull;
}

bool Node::has(const std::string& name) const {
  const Value* found = find(name);
  return found != nullptr && found->kind != Kind::kNull;
}

std::map<std::string, std::string> Node::checksums() const {
  if (value_->kind != Kind::kMapping) throw error("a mapping of names");
  std::map<std::string, std::string> sums;
  for (std::size_t i = 0; i < value_->keys.size(); ++i) {
    const Value key = text_value(value_->keys[i]);
    const std::string name = Node(file_, "a key of " + key_, key).file_name();
    const Node sum(file_, key_ + "." + first_characters(name, kQuoted), value_->items[i]);
    const std::string text = sum.text();
    if (text.size() != kSumDigits || text.find_first_not_of("0123456789abcdef") != std::string::npos)
      throw sum.error("64 hexadecimal digits");
    sums[name] = text;
  }
  return sums;
}

std::vector<Node> Node::list() const {
  if (value_->kind != Kind::kList) throw error("a list");
  std::vector<Node> items;
  for (std::size_t i = 0; i < value_->items.size(); ++i)
    items.emplace_back(file_, key_ + "[" + std::to_string(i) + "]", value_->items[i]);
  return items;
}

std::vector<Node> Node::list(std::size_t count, const std::string& what) const {
  if (value_->kind != Kind::kList || value_->items.size() != count) throw error(std::to_string(count) + " " + what);
  return list();
}

std::string Node::text() const {
  if (value_->kind != Kind::kText || value_->text.empty()) throw error("text");
  return value_->text;
}

std::string Node::file_name(const std::vector<std::string>& suffixes) const {
  const std::string name = text();
  if (name == "." || name == ".." || name.find_first_of("/\\") != std::string::npos || name.size() > kMaxName)
    throw error("a file name without a folder, of at most " + std::to_string(kMaxName) + " bytes");
  std::string expected;
  for (const std::string& suffix : suffixes) {
    if (name.size() >= suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0)
      return name;
    expected += (expected.empty() ? "" : " or ") + suffix;
  }
  if (!suffixes.empty()) throw error("a file name that ends in " + expected);
  return name;
}

std::string Node::choice(const std::vector<std::string>& words) const {
  if (value_->kind == Kind::kText && std::find(words.begin(), words.end(), value_->text) != words.end())
    return value_->text;
  std::string names;
  for (const std::string& word : words) names += (names.empty() ? "" : ", ") + word;
  throw error("one of " + names);
}

bool Node::flag() const {
  if (value_->kind != Kind::kFlag) throw error("true or false");
  return value_->flag();
}

int Node::whole(int least, int most) const {
  const double value = value_->kind == Kind::kWhole ? value_->number() : NAN;
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
  const bool is_number = value_->kind == Kind::kWhole || value_->kind == Kind::kNumber;
  const double value = is_number ? value_->number() : NAN;
  const bool good = std::abs(value) < kMaxNumber && !(bounds.least && value < *bounds.least) &&
                    !(bounds.most && value > *bounds.most) && !(bounds.above && value <= *bounds.above);
  if (good) return value;
  if (bounds.most) throw error("a number from " + plain(*bounds.least) + " to " + plain(*bounds.most));
  if (bounds.above) throw error("a number above " + plain(*bounds.above));
  throw error(bounds.least ? "a number of " + plain(*bounds.least) + " or more" : "a number");
}

}  // namespace rtseg
