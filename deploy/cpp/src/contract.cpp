#include "contract.hpp"

#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "configuration.hpp"
#include "error.hpp"
#include "node.hpp"
#include "npy.hpp"
#include "sha256.hpp"

namespace rtseg {
namespace {

namespace fs = std::filesystem;

constexpr char kFileName[] = "deploy.yaml";
constexpr int kSchema = 1;      // of networks for segmentation
constexpr int kPoseSchema = 2;  // of networks for poses, which programs that know only the first refuse
constexpr int kFree = -1;             // a dimension without an upper bound
constexpr int kMaxClasses = 1 << 16;  // class ids have 8 or 16 bits
constexpr int kMaxBatch = 1024;       // that a graph needs, or is optimised for
constexpr int kMaxStep = 1 << 16;
constexpr int kMaxWorkspaceMb = 1 << 20;

const Node::Bounds kAboveZero{std::nullopt, std::nullopt, 0.0}, kZeroOrMore{0.0, std::nullopt, std::nullopt};

const std::vector<std::pair<std::string, OutputOp>> kOutputOps{{"argmax", OutputOp::kArgmax},
                                                               {"softmax", OutputOp::kSoftmax},
                                                               {"none", OutputOp::kNone},
                                                               {"logits", OutputOp::kLogits}};
const std::vector<std::pair<std::string, OutputOp>> kPoseOps{{"heatmaps", OutputOp::kHeatmaps}};
const std::vector<std::pair<std::string, Rule>> kRules{{"exact", Rule::kExact},
                                                       {"fit", Rule::kFit},
                                                       {"long", Rule::kLong},
                                                       {"short", Rule::kShort},
                                                       {"limit", Rule::kLimit}};
const std::vector<std::pair<std::string, Interpolation>> kInterpolations{{"nearest", Interpolation::kNearest},
                                                                         {"linear", Interpolation::kLinear},
                                                                         {"cubic", Interpolation::kCubic},
                                                                         {"area", Interpolation::kArea}};

/// Refuse what is not a regular file in `folder`: pipes and devices never end, links may lead anywhere.
void check_own(const std::string& folder, const std::string& name) {
  std::error_code error;
  const fs::path path = fs::path(folder) / name;
  if (!fs::exists(fs::symlink_status(path, error)))
    throw InputError((fs::path(folder) / kFileName).string() + " names " + name +
                     ", which does not exist; copy the whole folder of the exported model");
  const fs::path relative = fs::canonical(path, error).lexically_relative(fs::canonical(folder, error));
  if (!fs::is_regular_file(path, error) || relative.empty() || *relative.begin() == "..")
    throw InputError("expected " + path.string() +
                     " to be a regular file in this folder; copy the files themselves into it");
}

ShapeRange read_shape(const Node& node, const std::string& layout, bool bounded) {
  ShapeRange shape{node["min"].wholes(4), node["opt"].wholes(4), node["max"].wholes(4, bounded ? 1 : kFree)};
  bool ordered = true;
  for (std::size_t i = 0; i < 4; ++i) {
    const int high = shape.max[i];
    ordered = ordered && shape.min[i] <= shape.opt[i] && high != 0 && (high == kFree || shape.opt[i] <= high);
  }
  const std::size_t channels = layout.find('C');
  if (!ordered || shape.min[channels] != 3 || shape.max[channels] != 3)
    throw node.error(layout + " shapes of 3 channels with min <= opt <= max");
  if (shape.opt[0] > kMaxBatch)
    throw node["opt"].list()[0].error("a batch of at most " + std::to_string(kMaxBatch));
  return shape;
}

Input read_input(const Node& node) {
  Input input;
  input.layout = node["layout"].choice({"NCHW", "NHWC"});
  input.name = node["name"].text();
  input.dtype = node["dtype"].choice({"float32", "uint8"});
  input.color = node["color"].choice({"RGB", "BGR"});
  input.shape = read_shape(node["shape"], input.layout, false);
  return input;
}

Resize read_resize(const Node& node) {
  Resize resize;
  resize.rule = node["rule"].choice(kRules);
  if (resize.rule == Rule::kExact || resize.rule == Rule::kFit) {
    resize.height = node["height"].whole();
    resize.width = node["width"].whole();
  } else if (resize.rule != Rule::kLimit) {
    resize.size = node["size"].whole();
  }
  if ((resize.rule == Rule::kShort || resize.rule == Rule::kLimit) && node.has("max"))
    resize.max = node["max"].number(kAboveZero);
  if (resize.rule == Rule::kLimit && node.has("min")) resize.min = node["min"].number(kAboveZero);
  if (node.has("divisor")) resize.divisor = node["divisor"].whole();
  if (node.has("interpolation")) resize.interpolation = node["interpolation"].choice(kInterpolations);
  return resize;
}

std::array<double, 3> read_channels(const Node& node, const Node::Bounds& bounds) {
  std::array<double, 3> values{};
  const std::vector<Node> items = node.list(3, "numbers");
  for (std::size_t i = 0; i < 3; ++i) values[i] = items[i].number(bounds);
  return values;
}

Preprocessing read_preprocessing(const Node& node) {
  Preprocessing preprocess;
  preprocess.in_graph = node["in_graph"].flag();
  if (const Node resize = node["resize"]; !resize.is_null()) preprocess.resize = read_resize(resize);
  if (const Node pad = node["pad"]; !pad.is_null())
    preprocess.pad = Pad{pad["height"].whole(), pad["width"].whole(), pad["value"].number()};
  preprocess.scale = node["scale"].number(kAboveZero);
  preprocess.mean = read_channels(node["mean"], {});
  preprocess.std = read_channels(node["std"], kAboveZero);
  return preprocess;
}

Output read_output(const Node& node, bool of_pose) {
  return {node["op"].choice(of_pose ? kPoseOps : kOutputOps), node["dtype"].choice({"float32", "int32", "int64"}),
          node["num_classes"].whole(1, kMaxClasses)};
}

std::vector<std::array<unsigned char, 3>> read_palette(const Node& node) {
  std::vector<std::array<unsigned char, 3>> palette;
  for (const Node& item : node.list()) {
    const std::vector<int> color = item.wholes(3, 0, 255);
    palette.push_back({static_cast<unsigned char>(color[0]), static_cast<unsigned char>(color[1]),
                       static_cast<unsigned char>(color[2])});
  }
  return palette;
}

Golden read_golden(const Node& node, const Output& output, const std::optional<Pose>& pose) {
  const Node stored = node["output"];
  if ((output.op != OutputOp::kArgmax) == stored.is_null())
    throw stored.error("null with argmax and a file name otherwise");
  Golden golden;
  golden.image = node["image"].file_name();
  if (!pose) golden.mask = node["mask"].file_name();
  if (!stored.is_null()) golden.output = stored.file_name();
  golden.step = node["step"].whole(1, kMaxStep);
  for (const std::string& precision : precisions()) {
    if (precision == kInt8 || (precision == "tf32" && !node["tolerance"].has(precision))) continue;
    const Node tolerance = node["tolerance"][precision];
    golden.tolerance[precision] = {tolerance["rms_error"].number(kZeroOrMore),
                                   tolerance["agreement"].number({0.0, 1.0, std::nullopt}), std::nullopt};
    if (pose) golden.tolerance[precision].pixels = tolerance["pixels"].number(kZeroOrMore);
  }
  if (pose) golden.person = read_golden_person(node, pose->keypoints.size());
  return golden;
}

std::vector<std::string> read_texts(const Node& node) {
  std::vector<std::string> texts;
  for (const Node& item : node.list()) texts.push_back(item.text());
  return texts;
}

TensorRT read_tensorrt(const Node& node, const std::string& layout) {
  return {read_shape(node["shape"], layout, true), node["workspace_mb"].whole(1, kMaxWorkspaceMb), node["min_subgraph_size"].whole(),
          read_texts(node["fp32_ops"])};
}

/// The pose section belongs to the network's input and output.
void check_pose(const Contract& contract, const Pose& pose, const Node& root) {
  const std::size_t count = pose.keypoints.size();
  if (contract.output.num_classes != static_cast<int>(count))
    throw root["output"]["num_classes"].error(std::to_string(count) + ", the number of keypoints");
  if (contract.preprocess.resize || contract.preprocess.pad)
    throw root["preprocess"].error("without resize and pad, which are not for poses");
  const ShapeRange& shape = contract.input.shape;
  const std::size_t first = contract.input.layout.find('H');
  for (const std::vector<int>* bound : {&shape.min, &shape.opt, &shape.max})
    if ((*bound)[first] != pose.height || (*bound)[first + 1] != pose.width)
      throw root["pose"]["input_size"].error("the size that input.shape states");
}

/// What several keys have to agree on.
void check(const Contract& contract, const Node& root, const std::string& path) {
  const Input& input = contract.input;
  const bool raw = input.dtype == "uint8" && input.layout == "NHWC" && input.color == "BGR";
  if (!raw && !(input.dtype == "float32" && input.layout == "NCHW"))
    throw InputError(path + ": expected rtseg.input to be float32 NCHW or uint8 NHWC BGR, got " + input.dtype + " " +
                     input.layout + " " + input.color + "; export the model again");
  if (contract.preprocess.in_graph != raw)
    throw root["preprocess"]["in_graph"].error(std::string(raw ? "true" : "false") + " with " + input.dtype + " input");
  if ((contract.output.dtype == "float32") == (contract.output.op == OutputOp::kArgmax))
    throw root["output"]["dtype"].error("int32 or int64 with argmax and float32 otherwise");
  const std::size_t classes = contract.output.num_classes, names = contract.classes.size();
  if (contract.pose) {
    check_pose(contract, *contract.pose, root);
  } else if (names != classes || contract.palette.size() != classes) {
    throw InputError(path + " has " + std::to_string(classes) + " classes, " + std::to_string(names) + " names and " +
                     std::to_string(contract.palette.size()) +
                     " colours, expected as many of each; export the model again");
  }
  std::vector<std::string> files{contract.model, contract.params};
  for (const std::optional<std::string>& name : {contract.onnx, contract.onnx_fp16})
    if (name) files.push_back(*name);
  if (contract.int8)
    for (const std::string& name : contract.int8->files()) files.push_back(name);
  for (const std::string& name : files)
    if (contract.sha256.count(name) == 0)
      throw InputError(path + " gives no SHA-256 of " + name + "; export the model again");
}

/// Names of the files that it names, in alphabetical order.
std::set<std::string> files_of(const Contract& contract) {
  std::set<std::string> names{contract.golden.image};
  if (contract.golden.mask) names.insert(*contract.golden.mask);
  if (contract.golden.output) names.insert(*contract.golden.output);
  for (const auto& [name, sum] : contract.sha256) names.insert(name);
  return names;
}

void check_files(const Contract& contract) {
  for (const std::string& name : files_of(contract)) {
    check_own(contract.folder, name);
    const std::string file = contract.path(name), found = file_sha256(file);
    const auto sum = contract.sha256.find(name);  // of the golden files, older exports wrote none
    if (sum != contract.sha256.end() && found != sum->second)
      throw InputError(file + " has SHA-256 " + found.substr(0, 12) + "..., " + kFileName + " expects " +
                       sum->second.substr(0, 12) + "...; the file was changed or cut short: copy the whole folder again");
  }
}

}  // namespace

bool ShapeRange::contains(const std::vector<int>& shape) const {
  if (shape.size() != min.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (shape[i] < min[i] || (max[i] != kFree && shape[i] > max[i])) return false;
  return true;
}

std::string ShapeRange::text() const {
  if (min == max) return shape_text(min);
  std::string largest;
  for (int n : max) largest += (largest.empty() ? "" : "x") + (n == kFree ? "any" : std::to_string(n));
  return shape_text(min) + " to " + largest;
}

const Tolerance& Golden::tolerance_of(const std::string& precision) const {
  return tolerance.at(tolerance.count(precision) > 0 ? precision : "fp16");
}

std::string Contract::path(const std::string& name) const {
  return (fs::path(folder) / name).string();
}

std::string Contract::onnx_name(const std::string& precision) const {
  const auto required = [&](const std::optional<std::string>& name, const char* form, const char* flag) {
    if (name) return *name;
    throw NotInstalled(folder + " has no " + form + " of the model; export it with " + flag);
  };
  if (precision == "fp16") return required(onnx_fp16, "half-precision ONNX form", "--precision fp16");
  if (precision == kInt8)
    return required(int8 ? std::optional(int8->model) : std::nullopt, "INT8 form", "--precision int8");
  return required(onnx, "ONNX form", "--format onnx");
}

bool Contract::is_json() const {
  return fs::path(model).extension() == ".json";
}

Contract read_contract(const std::string& folder) {
  const std::string path = (fs::path(folder) / kFileName).string();
  std::error_code error;
  if (!fs::is_regular_file(path, error))
    throw InputError("expected the folder of an exported model with a " + std::string(kFileName) + ", got '" + folder +
                     "'; export one");
  check_own(folder, kFileName);
  const Value document = read_document(path);
  const Node top(path, "", document);
  if (top.find("Deploy") != nullptr && top.find("rtseg") == nullptr)
    throw InputError(path +
                     " has no key 'rtseg': it was written by PaddleSeg's own tools/export.py; export the model again "
                     "with python -m paddleseg.export --config CONFIG --model_path WEIGHTS");
  const Node root = top["rtseg"];
  const int schema = root["schema"].whole(0);
  if (schema != kSchema && schema != kPoseSchema)
    throw InputError(path + " has schema " + std::to_string(schema) + ", this program reads " +
                     std::to_string(kSchema) + " and " + std::to_string(kPoseSchema) +
                     "; use matching versions of the two");
  const bool of_pose = schema == kPoseSchema;
  if (of_pose) root["task"].choice(std::vector<std::string>{"pose"});

  Contract contract;
  contract.folder = folder;
  contract.output = read_output(root["output"], of_pose);
  if (of_pose) contract.pose = read_pose(root["pose"]);
  contract.model = root["model"].file_name({".json", ".pdmodel"});
  contract.params = root["params"].file_name();
  contract.sha256 = root["sha256"].checksums();
  contract.paddle_version = root["paddle_version"].text();
  contract.network = root["network"].text();
  contract.input = read_input(root["input"]);
  contract.preprocess = read_preprocessing(root["preprocess"]);
  if (!of_pose) {
    contract.classes = read_texts(root["classes"]);
    contract.palette = read_palette(root["palette"]);
  }
  contract.golden = read_golden(root["golden"], contract.output, contract.pose);
  contract.tensorrt = read_tensorrt(root["tensorrt"], contract.input.layout);
  if (root.has("onnx")) contract.onnx = root["onnx"].file_name({".onnx"});
  if (root.has("onnx_fp16")) contract.onnx_fp16 = root["onnx_fp16"].file_name({".onnx"});
  if (root.has("int8") && !of_pose) contract.int8 = read_int8(root["int8"]);
  check(contract, root, path);
  check_files(contract);
  return contract;
}

}  // namespace rtseg
