#include "json.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace rtseg {
namespace {

using Kind = Json::Kind;

constexpr int kMaxDepth = 900;  // about where Python's parser stops

class Parser {
 public:
  Parser(std::string_view text, const std::set<std::string, std::less<>>& keep) : text_(text), keep_(keep) {}

  Json document() {
    Json value = this->value(true, 0);
    skip_space();
    if (at_ != text_.size()) throw NotJson();
    return value;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  char next() {
    if (at_ == text_.size()) throw NotJson();
    return text_[at_++];
  }

  void expect(std::string_view word) {
    if (text_.compare(at_, word.size(), word) != 0) throw NotJson();
    at_ += word.size();
  }

  bool take(char wanted) {
    if (peek() != wanted || at_ == text_.size()) return false;
    ++at_;
    return true;
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  Json value(bool kept, int depth) {
    if (depth > kMaxDepth) throw NotJson();
    skip_space();
    Json value;
    switch (peek()) {
      case '{':
        object(value, kept, depth);
        break;
      case '[':
        list(value, kept, depth);
        break;
      case '"':
        value.kind = Kind::kText;
        value.text = string(kept);
        break;
      case 't':
        expect("true");
        value.kind = Kind::kFlag;
        value.number = 1;
        break;
      case 'f':
        expect("false");
        value.kind = Kind::kFlag;
        break;
      case 'n':
        expect("null");
        break;
      default:
        value.kind = Kind::kNumber;
        value.number = number();
    }
    return value;
  }

  void list(Json& value, bool kept, int depth) {
    value.kind = Kind::kList;
    ++at_;
    skip_space();
    if (take(']')) return;
    do {
      Json item = this->value(kept, depth + 1);
      if (kept) value.items.push_back(std::move(item));
      skip_space();
    } while (take(','));
    if (!take(']')) throw NotJson();
  }

  void object(Json& value, bool kept, int depth) {
    value.kind = Kind::kObject;
    ++at_;
    skip_space();
    if (take('}')) return;
    do {
      skip_space();
      if (peek() != '"') throw NotJson();
      std::string key = string(true);
      skip_space();
      if (!take(':')) throw NotJson();
      const bool wanted = kept && keep_.count(key) > 0;
      Json item = this->value(wanted, depth + 1);
      if (wanted) value.pairs.emplace_back(std::move(key), std::move(item));
      skip_space();
    } while (take(','));
    if (!take('}')) throw NotJson();
  }

  std::size_t digits() {
    const std::size_t start = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ - start;
  }

  double number() {
    const std::size_t start = at_;
    take('-');
    if (!take('0') && digits() == 0) throw NotJson();
    // A point or an exponent without digits ends the number, and is refused after it.
    std::size_t end = at_;
    if (take('.') && digits() > 0) end = at_;
    at_ = end;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (digits() > 0) end = at_;
    }
    at_ = end;
    return std::strtod(std::string(text_.substr(start, end - start)).c_str(), nullptr);
  }

  std::string string(bool kept) {
    std::string found;
    ++at_;
    for (char c = next(); c != '"'; c = next()) {
      if (static_cast<unsigned char>(c) < 0x20) throw NotJson();
      if (c == '\\') {
        escape(found);
      } else if (static_cast<unsigned char>(c) < 0x80) {
        found += c;
      } else {
        --at_;
        multibyte(found);
      }
    }
    if (!kept) found.clear();
    return found;
  }

  void escape(std::string& found) {
    const char c = next();
    constexpr std::string_view kNames = "\"\\/bfnrt", kCharacters = "\"\\/\b\f\n\r\t";
    const std::size_t known = kNames.find(c);
    if (known != std::string_view::npos) {
      found += kCharacters[known];
      return;
    }
    if (c != 'u') throw NotJson();
    std::uint32_t code = hexadecimal();
    if (code >= 0xD800 && code <= 0xDBFF && text_.compare(at_, 2, "\\u") == 0) {
      const std::size_t here = at_;
      at_ += 2;
      const std::uint32_t low = hexadecimal();
      if (low >= 0xDC00 && low <= 0xDFFF) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      } else {
        at_ = here;
      }
    }
    if (code >= 0xD800 && code <= 0xDFFF) code = 0xFFFD;  // half of a pair
    append(found, code);
  }

  std::uint32_t hexadecimal() {
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = next();
      const std::string_view digits = "0123456789abcdef";
      const std::size_t digit = digits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c);
      if (digit == std::string_view::npos) throw NotJson();
      code = code << 4 | static_cast<std::uint32_t>(digit);
    }
    return code;
  }

  /// A character of several bytes, checked.
  void multibyte(std::string& found) {
    const auto first = static_cast<unsigned char>(next());
    const int length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4) throw NotJson();
    std::uint32_t code = first & (0xFF >> (length + 1));
    for (int i = 1; i < length; ++i) {
      const auto byte = static_cast<unsigned char>(next());
      if ((byte & 0xC0) != 0x80) throw NotJson();
      code = code << 6 | (byte & 0x3F);
    }
    constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) throw NotJson();
    append(found, code);
  }

  static void append(std::string& found, std::uint32_t code) {
    if (code < 0x80) {
      found += static_cast<char>(code);
      return;
    }
    const int following = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr unsigned kFirst[] = {0, 0xC0, 0xE0, 0xF0};
    found += static_cast<char>(kFirst[following] | code >> (6 * following));
    for (int i = following - 1; i >= 0; --i) found += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
  }

  std::string_view text_;
  const std::set<std::string, std::less<>>& keep_;
  std::size_t at_ = 0;
};

/// The number of bytes of the character of UTF-8 at `at`; 0 if there is none.
std::size_t character_length(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned lead = byte(at);
  const std::size_t length = lead < 0x80 ? 1 : lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xC0U) != 0x80U) return 0;
  const bool too_long = (lead == 0xE0 && byte(at + 1) < 0xA0) || (lead == 0xF0 && byte(at + 1) < 0x90);
  const bool no_character = (lead == 0xED && byte(at + 1) >= 0xA0) || (lead == 0xF4 && byte(at + 1) >= 0x90);
  return too_long || no_character ? 0 : length;
}

}  // namespace

const Json& Json::operator[](std::string_view key) const {
  static const Json null;
  for (auto pair = pairs.rbegin(); pair != pairs.rend(); ++pair)
    if (pair->first == key) return pair->second;
  return null;
}

Json parse_json(std::string_view text, const std::set<std::string, std::less<>>& keep) {
  return Parser(text, keep).document();
}

std::string json_text(const std::string& text) {
  std::string quoted = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = character_length(text, at);
    const auto byte = static_cast<unsigned char>(text[at]);
    std::array<char, 8> code{};
    if (length == 0) {
      std::snprintf(code.data(), code.size(), "\\udc%02x", byte);
    } else if (byte < 0x20 || byte == '"' || byte == '\\') {
      std::snprintf(code.data(), code.size(), "\\u%04x", byte);
    }
    quoted += code[0] != '\0' ? code.data() : text.substr(at, length);
    at += std::max<std::size_t>(length, 1);
  }
  return quoted + "\"";
}

}  // namespace rtseg
