// deploy.yaml as lists, mappings and scalars: a bounded part of YAML, fit for files of strangers.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rtseg {

/// A value of a document.
struct Value {
  enum class Kind { kNull, kFlag, kWhole, kNumber, kText, kMapping, kList };

  Kind kind = Kind::kNull;
  std::string text;               ///< of a scalar, as it is written
  std::vector<std::string> keys;  ///< of a mapping; `items` has their values
  std::vector<Value> items;       ///< of a list or a mapping

  /// Of a flag.
  bool flag() const;
  /// Of a number, whole or not.
  double number() const;
};

/// The contents of the YAML file `path`, a regular file. deploy/python/rtseg_inference/document.py, the twin on PyYAML,
/// describes what is read. Throws InputError if the file cannot be read, exceeds a limit, or is anything else.
Value read_document(const std::string& path);

/// The first `count` characters of UTF-8.
std::string first_characters(const std::string& text, std::size_t count);

}  // namespace rtseg
