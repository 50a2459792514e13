#include "document.hpp"

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
#include <utility>

#include "error.hpp"

namespace rtseg {
namespace {

using Kind = Value::Kind;

constexpr std::size_t kMaxBytes = 1 << 20;
constexpr std::size_t kMaxDepth = 32;  // lists and mappings inside each other
constexpr std::size_t kMaxValues = 50000;
constexpr std::size_t kMaxKey = 1000;   // bytes; the specification says 1024 characters
constexpr std::size_t kMaxPlain = 100;  // characters of a scalar that is not text
constexpr std::size_t kQuoted = 40;     // characters in a message
constexpr int kNoColumn = -2;           // in flow style columns do not count
constexpr std::size_t kNone = std::string::npos;
const std::string kFlow = ",[]{}?";                     // what ends a scalar without quotes in flow style
const std::string kNotFirst = kFlow + ":#&*!|>'\"%@`";  // what such a scalar does not begin with

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

/// Throws InputError if UTF-8 `text` has other than printable characters and ends of lines.
void check_printable(const std::string& path, const std::string& text) {
  std::uint32_t code = 0;
  std::size_t line = 0;
  for (std::size_t i = 0; i < text.size();) {
    i += read_character(text, i, code);
    if (code == '\n') {
      ++line;
    } else if (!is_printable(code)) {
      throw unprintable(path, line, code);
    }
  }
}

void check_utf8(const std::string& path, const std::string& text) {
  std::uint32_t code = 0;
  std::size_t length = 0;
  for (std::size_t i = 0; i < text.size(); i += length) {
    length = read_character(text, i, code);
    if (length == 0)
      throw damaged(path, static_cast<std::size_t>(std::count(text.begin(), text.begin() + i, '\n')), "UTF-8",
                    "other bytes");
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
  check_utf8(path, data);
  std::string text;
  for (std::size_t i = 0; i < data.size(); ++i)
    if (data.compare(i, 2, "\r\n") != 0) text += data[i];
  check_printable(path, text);
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

void append_utf8(std::string& text, std::uint32_t code) {
  const auto add = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  const auto add_rest = [&](int shift) { add(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xC0 | code >> 6), add_rest(0);
  } else if (code < 0x10000) {
    add(0xE0 | code >> 12), add_rest(6), add_rest(0);
  } else {
    add(0xF0 | code >> 18), add_rest(12), add_rest(6), add_rest(0);
  }
}

/// Reads one file from its first character to its last; each failure names the line. The functions are those of Python.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), text_(read_text(path)) {}

  Value document() {
    if (text_.rfind("---\n", 0) == 0) at_ = 4;
    skip_blank();
    Value value;
    if (!ended()) value = block(-1);
    skip_blank();
    if (!ended()) throw error("the end of the file");
    return value;
  }

 private:
  using Keys = std::set<std::string>;

  // --- Characters

  std::size_t line() const {
    return static_cast<std::size_t>(std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n'));
  }

  InputError error(const std::string& expected, const std::string& found) const {
    return damaged(path_, line(), expected, found);
  }

  InputError error(const std::string& expected) const {
    if (ended()) return error(expected, "the end of the file");
    if (text_[at_] == '\n') return error(expected, "the end of the line");
    return error(expected, "'" + first_characters(text_.substr(at_, 4), 1) + "'");
  }

  /// The character at `i`; 0, which the file has not, behind its end.
  char character(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  char peek(std::size_t ahead = 0) const { return character(at_ + ahead); }
  bool ended() const { return at_ == text_.size(); }
  bool starts_with(const char* text) const { return text_.compare(at_, std::strlen(text), text) == 0; }

  static bool is_space_or_end(char c) { return c == ' ' || c == '\n' || c == '\0'; }
  static bool is_quote(char c) { return c == '\'' || c == '"'; }
  static bool contains(const std::string& characters, char c) { return c != '\0' && characters.find(c) != kNone; }

  int column() const {
    const std::size_t before = at_ == 0 ? kNone : text_.rfind('\n', at_ - 1);
    return static_cast<int>(before == kNone ? at_ : at_ - before - 1);
  }

  void skip_spaces() {
    while (peek() == ' ') ++at_;
  }

  /// Skip spaces and a comment; return whether the line or the file ends after them.
  bool skip_rest_of_line() {
    skip_spaces();
    if (peek() == '#' && (at_ == 0 || text_[at_ - 1] == ' ' || text_[at_ - 1] == '\n'))
      at_ = std::min(text_.find('\n', at_), text_.size());
    return ended() || peek() == '\n';
  }

  /// Skip spaces, comments and ends of lines.
  void skip_blank() {
    while (skip_rest_of_line() && !ended()) ++at_;
  }

  /// Whether nothing follows in the line after this one's end, at which the reader is.
  bool next_line_is_blank() const {
    const std::size_t found = text_.find_first_not_of(' ', at_ + 1);
    return found == kNone || text_[found] == '\n';
  }

  // --- Block style

  /// The list, mapping or scalar that begins here, deeper than the column `parent`.
  Value block(int parent) {
    if (is_item()) return block_list();
    return colon(false) == kNone ? inline_value(parent) : block_mapping();
  }

  bool is_item() const { return peek() == '-' && is_space_or_end(peek(1)); }

  Value block_list() {
    Value list = open(Kind::kList);
    const int start = column();
    while (column() == start && is_item()) {
      ++at_;
      list.items.push_back(block_value(start, false));
      skip_blank();
    }
    close_block(start);
    return list;
  }

  Value block_mapping() {
    Value mapping = open(Kind::kMapping);
    Keys keys;
    const int start = column();
    while (column() == start && !ended() && !is_item()) {
      mapping.keys.push_back(key(keys, false));
      mapping.items.push_back(block_value(start, true));
      skip_blank();
    }
    close_block(start);
    return mapping;
  }

  /// What follows the "-" or the colon of a list or a mapping at `start`, in its line or in deeper ones.
  Value block_value(int start, bool in_mapping) {
    if (!skip_rest_of_line()) return in_mapping ? inline_value(start) : block(start);
    skip_blank();
    const int found = ended() ? -1 : column();
    if (found > start || (found == start && in_mapping && is_item())) return block(start);
    return null();
  }

  /// A scalar or a value in flow style, with which its line ends.
  Value inline_value(int parent) {
    Value value = peek() == '[' || peek() == '{' ? flow_value() : read_scalar(parent);
    if (!skip_rest_of_line()) throw error("the end of the line");
    return value;
  }

  // --- Flow style

  Value flow_value() {
    if (peek() == '[') return flow_list();
    return peek() == '{' ? flow_mapping() : read_scalar(kNoColumn);
  }

  Value flow_list() {
    Value list = open(Kind::kList);
    next_in_flow();
    while (peek() != ']') {
      list.items.push_back(flow_value());
      end_item(']');
    }
    close_flow();
    return list;
  }

  Value flow_mapping() {
    Value mapping = open(Kind::kMapping);
    Keys keys;
    next_in_flow();
    while (peek() != '}') {
      mapping.keys.push_back(key(keys, true));
      skip_flow_blank();
      mapping.items.push_back(peek() == ',' || peek() == '}' ? null() : flow_value());
      end_item('}');
    }
    close_flow();
    return mapping;
  }

  /// Go on behind the next character.
  void next_in_flow() {
    ++at_;
    skip_flow_blank();
  }

  void end_item(char end) {
    skip_flow_blank();
    if (peek() == ',') {
      next_in_flow();
    } else if (peek() != end) {
      throw error(std::string("',' or '") + end + "'");
    }
  }

  void skip_flow_blank() {
    skip_blank();
    if (column() == 0) throw error("a line that begins with a space");
  }

  // --- Both styles

  /// Begin a list or a mapping.
  Value open(Kind kind) {
    count();
    if (++depth_ > kMaxDepth)
      throw error("at most " + std::to_string(kMaxDepth) + " lists and mappings inside each other", "more");
    return scalar(kind, {});
  }

  void close_block(int start) {
    --depth_;
    if (column() > start && !ended())
      throw error(std::to_string(start) + " spaces at the beginning of the line", "more");
  }

  void close_flow() {
    --depth_;
    ++at_;
  }

  void count() {
    if (++values_ > kMaxValues) throw error("at most " + std::to_string(kMaxValues) + " values", "more");
  }

  Value null() {
    count();
    return {};
  }

  /// Where the colon after the key is that begins here; kNone if none does.
  std::size_t colon(bool flow) const {
    std::size_t end = is_quote(peek()) ? quoted_end() : begins_plain(flow) ? plain_end(flow) : kNone;
    if (end == kNone) return kNone;
    while (character(end) == ' ') ++end;
    return end > at_ && character(end) == ':' && is_space_or_end(character(end + 1)) ? end : kNone;
  }

  /// A key that is not among `keys`, and its colon.
  std::string key(Keys& keys, bool flow) {
    const std::size_t found = colon(flow);
    if (found == kNone) throw error("a key with a colon");
    if (found - at_ > kMaxKey) throw error("keys of at most " + std::to_string(kMaxKey) + " bytes", "more");
    const bool is_quoted = is_quote(peek());
    const std::string text = is_quoted ? quoted() : plain_line(flow);
    if (!is_quoted && kind_of_plain(text) == Kind::kNull) throw error("keys that are text", "null");
    if (!keys.insert(text).second) throw error("every key once", "'" + first_characters(text, kQuoted) + "' again");
    count();
    at_ = found + 1;
    return text;
  }

  /// A scalar, whose other lines are deeper than the column `parent`; of kNoColumn in flow style.
  Value read_scalar(int parent) {
    count();
    if (is_quote(peek())) return scalar(Kind::kText, quoted());
    const std::string text = plain(parent);
    return scalar(kind_of_plain(text), text);
  }

  /// A scalar without quotes, its lines joined by spaces.
  std::string plain(int parent) {
    const bool flow = parent == kNoColumn;
    std::string text = plain_line(flow);
    while (peek() == '\n' && !next_line_is_blank()) {
      const std::size_t start = at_++;
      skip_spaces();
      if (column() <= std::max(0, parent) || peek() == '#' || (flow && contains(kFlow + ":", peek()))) {
        at_ = start;
        break;
      }
      text += " " + plain_line(flow);
    }
    return text;
  }

  std::string plain_line(bool flow) {
    const std::size_t end = plain_end(flow), start = at_;
    if (!begins_plain(flow) || end == at_) throw error("a value without anchors, aliases and tags");
    at_ = end;
    skip_spaces();
    return text_.substr(start, end - start);
  }

  /// Whether a scalar without quotes may begin with the next characters.
  bool begins_plain(bool flow) const {
    if (!flow && (peek() == ':' || peek() == '?')) return !is_space_or_end(peek(1));
    const bool marks_document = starts_with("---") || starts_with("...");
    return !is_space_or_end(peek()) && !contains(kNotFirst, peek()) && !is_item() && !marks_document;
  }

  /// Where the scalar without quotes ends in this line, without spaces after it.
  std::size_t plain_end(bool flow) const {
    std::size_t end = at_;
    for (; end < text_.size() && text_[end] != '\n'; ++end) {
      const char next = character(end + 1);
      if (flow && contains(kFlow, text_[end])) break;
      if (text_[end] == ':' && (is_space_or_end(next) || (flow && contains(kFlow, next)))) break;
      if (text_[end] == '#' && end > 0 && text_[end - 1] == ' ') break;
    }
    while (end > at_ && text_[end - 1] == ' ') --end;
    return end;
  }

  /// Where the quoted scalar ends in this line; kNone if it ends in another.
  std::size_t quoted_end() const {
    const char quote = peek();
    for (std::size_t end = at_ + 1; end < text_.size() && text_[end] != '\n'; ++end) {
      if (text_[end] == quote && (quote == '"' || character(end + 1) != quote)) return end + 1;
      if (text_[end] == (quote == '"' ? '\\' : quote)) ++end;
    }
    return kNone;
  }

  /// A scalar in quotes, its lines joined by spaces.
  std::string quoted() {
    const char quote = peek();
    ++at_;
    std::string text;
    for (;;) {
      const char c = peek();
      if (ended()) throw error(std::string("a closing ") + quote);
      if (c == ' ' || c == '\n') {
        text += spaces();
      } else if (c == '\\' && quote == '"') {
        add_escape(text);
      } else if (c != quote) {
        text += c;
        ++at_;
      } else if (quote == '\'' && peek(1) == quote) {
        text += quote;
        at_ += 2;
      } else {
        ++at_;
        return text;
      }
    }
  }

  /// The spaces here in a quoted scalar; one if they end the line.
  std::string spaces() {
    const std::size_t start = at_;
    skip_spaces();
    if (peek() != '\n') return text_.substr(start, at_ - start);
    next_line();
    return " ";
  }

  /// Go to the first character of the next line of a quoted scalar.
  void next_line() {
    ++at_;
    if (peek() != ' ') throw error("a line that begins with a space");
    skip_spaces();
    if (ended() || peek() == '\n') throw error("text in each line");
  }

  /// What a backslash and the characters after it stand for.
  void add_escape(std::string& text) {
    const char c = peek(1);
    if (c == '\n') {
      ++at_;
      next_line();
    } else if (contains("\"\\/ _", c)) {
      text += c == '_' ? "\xC2\xA0" : std::string(1, c);
      at_ += 2;
    } else {
      const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
      const std::string number = text_.substr(std::min(at_ + 2, text_.size()), digits);
      if (digits == 0 || number.size() < digits || number.find_first_not_of("0123456789abcdefABCDEF") != kNone)
        throw error("a backslash before one of \" \\ / _ x u U or a space", "another");
      const auto code = static_cast<std::uint32_t>(std::stoul(number, nullptr, 16));
      if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF) || !is_printable(code))
        throw unprintable(path_, line(), code);
      append_utf8(text, code);
      at_ += 2 + digits;
    }
  }

  std::string path_, text_;
  std::size_t at_ = 0, depth_ = 0, values_ = 0;
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
  return Reader(path).document();
}

std::string first_characters(const std::string& text, std::size_t count) {
  std::size_t end = 0;
  std::uint32_t code = 0;
  for (; count > 0 && end < text.size(); --count) end += std::max<std::size_t>(1, read_character(text, end, code));
  return text.substr(0, end);
}

}  // namespace rtseg
