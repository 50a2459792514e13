#include "int8_contract.hpp"

#include <cstdio>

#include "error.hpp"
#include "node.hpp"

namespace rtseg {
namespace {

constexpr int kMaxFrames = 100;
constexpr int kLeastBits = 7, kMostBits = 8;
const char* const kBackends[] = {"onnxruntime", "openvino_runtime"};  // that compute in INT8
const Node::Bounds kShare{0.0, 1.0, std::nullopt};

}  // namespace

const Int8Result& Int8::result(const std::string& backend) const {
  const auto found = backends.find(backend);
  if (found != backends.end()) return found->second;
  std::string names;
  for (const auto& [name, result] : backends) names += (names.empty() ? "" : " or ") + name;
  throw NotInstalled("expected INT8 in " + names + ", got " + backend +
                     ", where the export did not measure it or did not keep it; use another backend, or export the "
                     "model again");
}

std::string Int8::cost(const std::string& backend) const {
  char text[64];
  std::snprintf(text, sizeof text, "mIoU %.2f%% instead of %.2f%%", 100 * result(backend).miou, 100 * miou_fp32);
  return text;
}

std::vector<std::string> Int8::files() const {
  std::vector<std::string> names{model};
  for (const GoldenFrame& frame : frames) names.insert(names.end(), {frame.image, frame.mask});
  return names;
}

Int8 read_int8(const Node& node) {
  const std::vector<Node> frames = node["frames"].list();
  const Node backends = node["backends"];
  if (frames.empty() || frames.size() > kMaxFrames)
    throw node["frames"].error("1 to " + std::to_string(kMaxFrames) + " frames");
  Int8 int8;
  for (const std::string name : kBackends)
    if (backends.has(name))
      int8.backends[name] = {backends[name]["miou"].number(kShare), backends[name]["agreement"].number(kShare)};
  if (int8.backends.empty()) throw backends.error("results in onnxruntime or openvino_runtime");
  int8.model = node["model"].file_name({".onnx"});
  int8.weight_bits = node["weight_bits"].whole(kLeastBits, kMostBits);
  int8.images = node["images"].whole();
  int8.miou_fp32 = node["miou_fp32"].number(kShare);
  for (const Node& frame : frames) int8.frames.push_back({frame["image"].file_name(), frame["mask"].file_name()});
  return int8;
}

}  // namespace rtseg
