// Values of a YAML document, read as the types that are expected, with messages that name file and key.
#pragma once

#include <climits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "document.hpp"
#include "error.hpp"

namespace rtseg {

/// A value of a document, which has to outlive it; each failure is an InputError that names its file and its key in full.
class Node {
 public:
  Node(std::string file, std::string key, const Value& value)
      : file_(std::move(file)), key_(std::move(key)), value_(&value) {}

  InputError error(const std::string& expected) const;

  /// The value of a key, which may be null.
  Node operator[](const std::string& name) const;
  /// The value of a key; null if there is no such key.
  const Value* find(const std::string& name) const;
  bool is_null() const;
  /// Whether there is such a key with another value than null.
  bool has(const std::string& name) const;
  /// SHA-256 by file name.
  std::map<std::string, std::string> checksums() const;
  std::vector<Node> list() const;
  std::vector<Node> list(std::size_t count, const std::string& what) const;

  std::string text() const;
  /// The name of a file in the contract's folder, with one of `suffixes` if any are given.
  std::string file_name(const std::vector<std::string>& suffixes = {}) const;
  std::string choice(const std::vector<std::string>& words) const;
  template <typename Word>
  Word choice(const std::vector<std::pair<std::string, Word>>& words) const {
    std::vector<std::string> names;
    for (const auto& [name, word] : words) names.push_back(name);
    const std::string name = choice(names);
    for (const auto& [known, word] : words)
      if (known == name) return word;
    throw error("another word");
  }
  bool flag() const;
  int whole(int least = 1, int most = INT_MAX) const;
  std::vector<int> wholes(std::size_t count, int least = 1, int most = INT_MAX) const;

  /// Bounds of a number.
  struct Bounds {
    std::optional<double> least, most, above;
  };
  double number(const Bounds& bounds) const;
  double number() const { return number(Bounds{}); }

 private:
  std::string file_, key_;
  const Value* value_;
};

}  // namespace rtseg
