#include "contract.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "error.hpp"
#include "npy.hpp"
#include "sha256.hpp"

namespace rtseg {
namespace {

namespace fs = std::filesystem;

constexpr char kFileName[] = "deploy.yaml";
constexpr int kSchema = 1;

/// "argmax, softmax, none"
std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// Reads keys such as "rtseg.input.name" and says which one is missing or of the wrong kind.
class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {
    try {
      document_ = YAML::LoadFile(path_);
    } catch (const YAML::ParserException& e) {
      throw InputError(path_ + " is damaged (line " + std::to_string(e.mark.line + 1) +
                       "); copy it again or export the model again");
    }
  }

  YAML::Node node(const std::string& key) const {
    YAML::Node node = document_;
    std::istringstream parts(key);
    for (std::string part; std::getline(parts, part, '.');) {
      if (!node.IsMap() || !node[part].IsDefined())
        throw InputError(path_ + " has no key '" + key + "'; it is cut short or too old: export the model again");
      node.reset(node[part]);  // an assignment would change the document
    }
    return node;
  }

  template <typename T>
  T get(const std::string& key) const {
    return as<T>(node(key), key);
  }

  std::string one_of(const std::string& key, const std::vector<std::string>& allowed) const {
    const auto value = get<std::string>(key);
    if (std::find(allowed.begin(), allowed.end(), value) == allowed.end())
      throw InputError(path_ + ": expected " + key + " to be one of " + join(allowed) + ", got '" + value + "'");
    return value;
  }

  template <typename T>
  std::vector<T> numbers(const std::string& key, std::size_t count) const {
    const YAML::Node list = node(key);
    if (!list.IsSequence() || list.size() != count)
      throw InputError(path_ + ": expected " + key + " to be " + std::to_string(count) + " numbers, got " +
                       YAML::Dump(list) + "; export the model again");
    std::vector<T> values;
    for (const YAML::Node& item : list) values.push_back(as<T>(item, key));
    return values;
  }

  template <typename T>
  T get_or(const std::string& parent, const std::string& name, const T& otherwise) const {
    const YAML::Node value = node(parent)[name];
    return value.IsDefined() && !value.IsNull() ? as<T>(value, parent + "." + name) : otherwise;
  }

 private:
  template <typename T>
  T as(const YAML::Node& node, const std::string& key) const {
    try {
      return node.as<T>();
    } catch (const YAML::BadConversion&) {
      throw InputError(path_ + ": expected another kind of value for " + key + ", got " + YAML::Dump(node) +
                       "; export the model again");
    }
  }

  std::string path_;
  YAML::Node document_;
};

ShapeRange read_shape(const Reader& read, const std::string& key) {
  return {read.numbers<int>(key + ".min", 4), read.numbers<int>(key + ".opt", 4), read.numbers<int>(key + ".max", 4)};
}

std::optional<ResizeRule> read_resize(const Reader& read) {
  const std::string key = "rtseg.preprocess.resize";
  if (read.node(key).IsNull()) return std::nullopt;
  ResizeRule resize;
  resize.rule = read.one_of(key + ".rule", {"exact", "fit", "long", "short", "limit"});
  if (resize.rule == "exact" || resize.rule == "fit") {
    resize.height = read.get<int>(key + ".height");
    resize.width = read.get<int>(key + ".width");
  } else if (resize.rule == "long" || resize.rule == "short") {
    resize.size = read.get<int>(key + ".size");
  }
  resize.min = read.get_or(key, "min", 0.0);
  resize.max = read.get_or(key, "max", 0.0);
  resize.divisor = read.get_or(key, "divisor", 0);
  if (!read.get_or<std::string>(key, "interpolation", "").empty())
    resize.interpolation = read.one_of(key + ".interpolation", {"nearest", "linear", "cubic", "area"});
  return resize;
}

std::optional<PadRule> read_pad(const Reader& read) {
  const std::string key = "rtseg.preprocess.pad";
  if (read.node(key).IsNull()) return std::nullopt;
  return PadRule{read.get<int>(key + ".height"), read.get<int>(key + ".width"), read.get<double>(key + ".value")};
}

Golden read_golden(const Reader& read) {
  Golden golden;
  golden.image = read.get<std::string>("rtseg.golden.image");
  golden.mask = read.get<std::string>("rtseg.golden.mask");
  if (!read.node("rtseg.golden.output").IsNull()) golden.output = read.get<std::string>("rtseg.golden.output");
  golden.step = read.get<int>("rtseg.golden.step");
  for (const auto& item : read.node("rtseg.golden.tolerance")) {
    const auto precision = item.first.as<std::string>();
    const std::string key = "rtseg.golden.tolerance." + precision;
    golden.tolerance[precision] = {read.get<double>(key + ".rms_error"), read.get<double>(key + ".agreement")};
  }
  return golden;
}

void check_files(const Contract& contract, const std::string& path) {
  for (const auto& [name, expected] : contract.sha256) {
    const std::string file = contract.path(name);
    if (!fs::is_regular_file(file))
      throw InputError(path + " names " + name + ", which is not there; copy the whole folder of the exported model");
    const std::string found = file_sha256(file);
    if (found != expected)
      throw InputError(file + " has SHA-256 " + found.substr(0, 12) + "..., " + kFileName + " expects " +
                       expected.substr(0, 12) + "...; the file was changed or cut short: copy the whole folder again");
  }
  for (const std::string& name : {contract.model, contract.params})
    if (contract.sha256.count(name) == 0)
      throw InputError(path + " gives no SHA-256 of " + name + "; export the model again");
}

}  // namespace

bool ShapeRange::contains(const std::vector<int>& shape) const {
  if (shape.size() != min.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (shape[i] < min[i] || (max[i] != -1 && shape[i] > max[i])) return false;
  return true;
}

std::string ShapeRange::text() const {
  if (min == max) return shape_text(min);
  std::string largest;
  for (int n : max) largest += (largest.empty() ? "" : "x") + (n == -1 ? "any" : std::to_string(n));
  return shape_text(min) + " to " + largest;
}

std::string Contract::path(const std::string& name) const {
  return (fs::path(folder) / name).string();
}

bool Contract::is_json() const {
  return fs::path(model).extension() == ".json";
}

Contract read_contract(const std::string& folder) {
  const std::string path = (fs::path(folder) / kFileName).string();
  if (!fs::is_regular_file(path))
    throw InputError("expected the folder of an exported model with a " + std::string(kFileName) + ", got '" + folder +
                     "'; export one");
  const Reader read(path);
  if (const int schema = read.get<int>("rtseg.schema"); schema != kSchema)
    throw InputError(path + " has schema " + std::to_string(schema) + ", this program reads " +
                     std::to_string(kSchema) + "; use matching versions of the two");

  Contract contract;
  contract.folder = folder;
  contract.model = read.get<std::string>("rtseg.model");
  contract.params = read.get<std::string>("rtseg.params");
  contract.sha256 = read.get<std::map<std::string, std::string>>("rtseg.sha256");
  contract.paddle_version = read.get<std::string>("rtseg.paddle_version");
  contract.input_name = read.get<std::string>("rtseg.input.name");
  contract.input_dtype = read.one_of("rtseg.input.dtype", {"float32", "uint8"});
  contract.input_layout = read.one_of("rtseg.input.layout", {"NCHW", "NHWC"});
  contract.color = read.one_of("rtseg.input.color", {"RGB", "BGR"});
  contract.shape = read_shape(read, "rtseg.input.shape");
  contract.resize = read_resize(read);
  contract.pad = read_pad(read);
  contract.scale = read.get<double>("rtseg.preprocess.scale");
  const auto mean = read.numbers<double>("rtseg.preprocess.mean", 3);
  const auto std = read.numbers<double>("rtseg.preprocess.std", 3);
  std::copy(mean.begin(), mean.end(), contract.mean.begin());
  std::copy(std.begin(), std.end(), contract.std.begin());
  contract.output_op = read.one_of("rtseg.output.op", {"argmax", "softmax", "none", "logits"});
  contract.output_dtype = read.one_of("rtseg.output.dtype", {"float32", "int32", "int64"});
  contract.num_classes = read.get<int>("rtseg.output.num_classes");
  for (const auto& color : read.get<std::vector<std::array<int, 3>>>("rtseg.palette"))
    contract.palette.push_back({static_cast<unsigned char>(color[0]), static_cast<unsigned char>(color[1]),
                                static_cast<unsigned char>(color[2])});
  contract.golden = read_golden(read);
  contract.tensorrt = {read_shape(read, "rtseg.tensorrt.shape"), read.get<int>("rtseg.tensorrt.workspace_mb"),
                       read.get<int>("rtseg.tensorrt.min_subgraph_size"),
                       read.get<std::vector<std::string>>("rtseg.tensorrt.fp32_ops")};
  const std::size_t names = read.node("rtseg.classes").size(), classes = static_cast<std::size_t>(contract.num_classes);
  if (names != classes || contract.palette.size() != classes)
    throw InputError(path + " has " + std::to_string(classes) + " classes, " + std::to_string(names) + " names and " +
                     std::to_string(contract.palette.size()) +
                     " colours, expected as many of each; export the model again");
  check_files(contract, path);
  return contract;
}

}  // namespace rtseg
