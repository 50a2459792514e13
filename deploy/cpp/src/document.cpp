#include "document.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <utility>

#include "error.hpp"

namespace rtseg {
namespace {

using Kind = Value::Kind;

constexpr std::size_t kMaxBytes = 1 << 20;
constexpr std::size_t kMaxDepth = 32;  // lists and mappings inside each other
constexpr std::size_t kMaxValues = 50000;
constexpr std::size_t kMaxPlain = 100;  // characters of a scalar that is not text
constexpr std::size_t kQuoted = 40;     // characters in a message

InputError damaged(const std::string& path, std::size_t line, const std::string& expected, const std::string& found) {
  return InputError(path + " is damaged (line " + std::to_string(line + 1) + "): expected " + expected + ", got " +
                    found + "; copy it again or export the model again");
}

/// Length of the character that begins at `text[i]`, whose code point is written to `code`; 0 if it is not UTF-8.
std::size_t read_character(const std::string& text, std::size_t i, std::uint32_t& code) {
  const auto first = static_cast<unsigned char>(text[i]);
  const std::size_t length = first < 0x80 ? 1 : first < 0xC0 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (length == 0 || i + length > text.size() || first > 0xF4) return 0;
  code = length == 1 ? first : first & (0xFF >> (length + 1));
  for (std::size_t k = 1; k < length; ++k) {
    const auto next = static_cast<unsigned char>(text[i + k]);
    if ((next & 0xC0) != 0x80) return 0;
    code = code << 6 | (next & 0x3F);
  }
  static const std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return code < smallest[length] || code > 0x10FFFF || surrogate ? 0 : length;
}

/// Without control characters and those that break lines, change the direction of text or mark the order of bytes.
bool is_printable(std::uint32_t code) {
  const auto within = [&](std::uint32_t low, std::uint32_t high) { return code >= low && code <= high; };
  return within(0x20, 0x7E) || (within(0xA0, 0x10FFFF) && !within(0x2028, 0x202E) && !within(0x2066, 0x2069) &&
                                code != 0xFEFF && !within(0xFFFE, 0xFFFF));
}

InputError unprintable(const std::string& path, std::size_t line, std::uint32_t code) {
  char name[16];
  std::snprintf(name, sizeof name, "U+%04X", static_cast<unsigned>(code));
  return damaged(path, line, "printable characters and no tabs", name);
}

/// Throws InputError if `text` has other than printable characters in UTF-8.
void check_printable(const std::string& path, std::size_t line, const std::string& text) {
  std::uint32_t code = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = read_character(text, i, code);
    if (length == 0) throw damaged(path, line, "UTF-8", "other bytes");
    if (!is_printable(code)) throw unprintable(path, line, code);
    i += length;
  }
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError("cannot read " + path + " (" + std::strerror(errno) + "); check its permissions");
  std::string data(kMaxBytes + 1, '\0');
  file.read(&data[0], static_cast<std::streamsize>(data.size()));
  data.resize(static_cast<std::size_t>(file.gcount()));
  if (data.size() > kMaxBytes)
    throw InputError(path + " has more than " + std::to_string(kMaxBytes) +
                     " bytes, the most that is read; export the model again");
  std::string text;
  for (std::size_t i = 0; i < data.size(); ++i)
    if (data.compare(i, 2, "\r\n") != 0) text += data[i];
  std::istringstream lines(text);
  std::size_t number = 0;
  for (std::string line; std::getline(lines, line); ++number) {
    check_printable(path, number, line);
    if (line.rfind('%', 0) == 0) throw damaged(path, number, "no directives", "'%' at the beginning of a line");
  }
  return text;
}

/// What a scalar without quotes stands for.
Kind kind_of_plain(const std::string& text) {
  static const std::set<std::string> nulls{"", "~", "null", "Null", "NULL"};
  static const std::set<std::string> flags{"true", "True", "TRUE", "false", "False", "FALSE"};
  static const std::regex whole("[-+]?(0|[1-9][0-9]*)", std::regex::optimize);
  static const std::regex number(
      "([-+]?(0|[1-9][0-9]*)\\.[0-9]*|\\.[0-9]+)([eE][-+][0-9]+)?|[-+]?\\.(inf|Inf|INF)|\\.(nan|NaN|NAN)",
      std::regex::optimize);
  if (nulls.count(text) > 0) return Kind::kNull;
  if (flags.count(text) > 0) return Kind::kFlag;
  if (text.size() > kMaxPlain) return Kind::kText;  // std::regex recurses once per character
  if (std::regex_match(text, whole)) return Kind::kWhole;
  return std::regex_match(text, number) ? Kind::kNumber : Kind::kText;
}

Value scalar(Kind kind, std::string text) {
  Value value;
  value.kind = kind;
  value.text = std::move(text);
  return value;
}

/// Builds the value of a document from the parser's events; each failure names the line.
class Builder : public YAML::EventHandler {
 public:
  Builder(const std::string& path, const std::string& text) : path_(path), text_(text) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    check(mark);
    if (++documents_ > 1) throw error("one document", "another");
  }
  void OnDocumentEnd() override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { check(mark); }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { add(mark, {}); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& text) override {
    add(mark, scalar(tag == "?" ? kind_of_plain(text) : Kind::kText, text));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    start(mark, Kind::kList);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    start(mark, Kind::kMapping);
  }
  void OnMapEnd() override { end(); }

  Value root;

 private:
  struct Open {
    Value value;
    std::set<std::string> keys;
  };

  /// Go to the line of `mark`; throws InputError if an anchor, an alias, a tag or block text begins there.
  void check(const YAML::Mark& mark) {
    line_ = static_cast<std::size_t>(std::max(0, mark.line));
    const auto at = static_cast<std::size_t>(std::max(0, mark.pos));
    if (at < text_.size() && std::strchr("&*!|>", text_[at]) != nullptr)
      throw error("a value without anchors, aliases, tags and block text", "'" + text_.substr(at, 1) + "'");
  }

  void count(const YAML::Mark& mark) {
    check(mark);
    if (++values_ > kMaxValues) throw error("at most " + std::to_string(kMaxValues) + " values", "more");
  }

  void start(const YAML::Mark& mark, Kind kind) {
    count(mark);
    if (before_key()) throw error("keys that are text", kind == Kind::kList ? "a list" : "a mapping");
    if (open_.size() == kMaxDepth)
      throw error("at most " + std::to_string(kMaxDepth) + " lists and mappings inside each other", "more");
    open_.push_back({scalar(kind, {}), {}});
  }

  void end() {
    Value value = std::move(open_.back().value);
    open_.pop_back();
    place(std::move(value));
  }

  void add(const YAML::Mark& mark, Value value) {
    count(mark);
    check_printable(path_, line_, value.text);
    if (!before_key()) return place(std::move(value));
    Open& parent = open_.back();
    if (value.kind == Kind::kNull) throw error("keys that are text", "null");
    if (!parent.keys.insert(value.text).second)
      throw error("every key once", "'" + first_characters(value.text, kQuoted) + "' again");
    parent.value.keys.push_back(value.text);
  }

  bool before_key() const {
    if (open_.empty()) return false;
    const Value& parent = open_.back().value;
    return parent.kind == Kind::kMapping && parent.keys.size() == parent.items.size();
  }

  void place(Value value) {
    if (open_.empty()) {
      root = std::move(value);
    } else {
      open_.back().value.items.push_back(std::move(value));
    }
  }

  InputError error(const std::string& expected, const std::string& found) const {
    return damaged(path_, line_, expected, found);
  }

  const std::string &path_, &text_;
  std::vector<Open> open_;  // the lists and mappings that the next value is inside
  std::size_t line_ = 0, values_ = 0, documents_ = 0;
};

}  // namespace

bool Value::flag() const {
  return text[0] == 't' || text[0] == 'T';
}

double Value::number() const {
  const std::size_t dot = text.find('.');
  const char after = dot == std::string::npos ? '\0' : text.c_str()[dot + 1];
  if (after == 'i' || after == 'I') return text[0] == '-' ? -INFINITY : INFINITY;
  if (after == 'n' || after == 'N') return NAN;
  return std::strtod(text.c_str(), nullptr);
}

Value read_document(const std::string& path) {
  const std::string text = read_text(path);
  std::istringstream stream(text + "\n...\n");  // yaml-cpp refuses an open quote here, but not at the end of the file
  Builder builder(path, text);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) continue;
  } catch (const YAML::Exception& e) {
    throw damaged(path, static_cast<std::size_t>(std::max(0, e.mark.line)), "YAML",
                  "an error of its parser (" + quote(e.msg) + ")");
  }
  return std::move(builder.root);
}

std::string first_characters(const std::string& text, std::size_t count) {
  std::size_t end = 0;
  std::uint32_t code = 0;
  for (; count > 0 && end < text.size(); --count) end += std::max<std::size_t>(1, read_character(text, end, code));
  return text.substr(0, end);
}

}  // namespace rtseg
