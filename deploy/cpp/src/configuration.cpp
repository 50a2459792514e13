#include "configuration.hpp"

#include <algorithm>

#include "error.hpp"

namespace rtseg {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// The item of that name. Throws InputError, with all names, if there is none.
template <typename Item>
const Item& find(const std::vector<Item>& items, const std::string& name, const std::string& what) {
  std::vector<std::string> names;
  for (const Item& item : items) {
    if (item.name == name) return item;
    names.push_back(item.name);
  }
  throw InputError("expected " + what + " to be one of " + joined(names) + ", got '" + name + "'");
}

/// Throws InputError unless `name` is one of `names`.
void expect(const std::vector<std::string>& names, const std::string& name, const std::string& what) {
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  throw InputError("expected " + what + " to be one of " + joined(names) + ", got '" + name + "'");
}

}  // namespace

const std::vector<Device>& devices() {
  static const std::vector<Device> devices{{"cpu",
                                            {{"native", {"fp32"}},
                                             {"onednn", {"fp32", "bf16"}},
                                             {"openvino", {"fp32", "fp16", "bf16"}},
                                             {"onnxruntime", {"fp32", "int8"}},
                                             {"openvino_runtime", {"fp32", "bf16", "int8"}}},
                                            "onednn",
                                            {"fp32"}},
                                           {"gpu",
                                            {{"native", {"fp32", "fp16", "bf16"}},
                                             {"tensorrt", {"fp32", "fp16"}},
                                             {"onnxruntime", {"fp32", "tf32", "fp16"}}},
                                            "native",
                                            {"fp32", "tf32", "fp16"}}};
  return devices;
}

const std::vector<std::string>& precisions() {
  static const std::vector<std::string> precisions{"fp32", "tf32", "fp16", "bf16", kInt8};
  return precisions;
}

const std::vector<std::string>& providers() {
  static const std::vector<std::string> providers{"cuda", "tensorrt", "tensorrt_rtx"};
  return providers;
}

void check(const Configuration& configuration) {
  const Device& device = find(devices(), configuration.device, "the device");
  const Backend& backend = find(device.backends, configuration.backend, "the " + device.name + " backend");
  expect(backend.precisions, configuration.precision, "the precision of " + device.name + " " + backend.name);
  if (configuration.provider.empty()) return;
  expect(providers(), configuration.provider, "the provider");
  if (device.name != "gpu" || backend.name != "onnxruntime")
    throw InputError("expected a provider only with --device gpu --backend onnxruntime, got '" +
                     configuration.provider + "' with " + device.name + " " + backend.name + "; leave it out");
}

}  // namespace rtseg
