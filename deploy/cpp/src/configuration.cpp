#include "configuration.hpp"

#include <algorithm>

#include "error.hpp"

namespace rtseg {
namespace {

/// The item of that name. Throws InputError, with all names, if there is none.
template <typename Item>
const Item& find(const std::vector<Item>& items, const std::string& name, const std::string& what) {
  std::string names;
  for (const Item& item : items) {
    if (item.name == name) return item;
    names += (names.empty() ? "" : ", ") + item.name;
  }
  throw InputError("expected " + what + " to be one of " + names + ", got '" + name + "'");
}

}  // namespace

const std::vector<Device>& devices() {
  static const std::vector<Device> devices{
      {"cpu", {{"native", {"fp32"}}, {"onednn", {"fp32", "bf16"}}, {"openvino", {"fp32", "fp16", "bf16"}}}, "onednn"},
      {"gpu", {{"native", {"fp32", "fp16", "bf16"}}, {"tensorrt", {"fp32", "fp16"}}}, "native"}};
  return devices;
}

const std::vector<std::string>& precisions() {
  static const std::vector<std::string> precisions{"fp32", "fp16", "bf16"};
  return precisions;
}

void check(const Configuration& configuration) {
  const Device& device = find(devices(), configuration.device, "the device");
  const Backend& backend = find(device.backends, configuration.backend, "the " + device.name + " backend");
  const auto& allowed = backend.precisions;
  if (std::find(allowed.begin(), allowed.end(), configuration.precision) != allowed.end()) return;
  std::string names;
  for (const std::string& precision : allowed) names += (names.empty() ? "" : ", ") + precision;
  throw InputError("expected the precision of " + device.name + " " + backend.name + " to be one of " + names +
                   ", got '" + configuration.precision + "'");
}

}  // namespace rtseg
