#include "processor.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <vector>

namespace rtseg {
namespace {

struct Need {
  std::string name;
  std::vector<std::string> flags;        ///< as /proc/cpuinfo names them
  std::vector<std::string> withheld_by;  ///< values of ONEDNN_MAX_CPU_ISA that keep oneDNN from using them
};

/// The instruction sets of the processor; none where /proc/cpuinfo cannot be read.
std::set<std::string> flags() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

const Need* need_of(const std::string& precision) {
  static const Need bf16{
      "AVX-512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}, {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"}};
  static const Need fp16 = [] {
    Need need = bf16;
    need.name = "AVX-512 FP16";
    need.flags.emplace_back("avx512_fp16");
    for (const char* more : {"AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16"})
      need.withheld_by.emplace_back(more);
    return need;
  }();
  return precision == "bf16" ? &bf16 : precision == "fp16" ? &fp16 : nullptr;
}

}  // namespace

std::string processor_obstacle(const std::string& precision) {
  const Need* need = need_of(precision);
  if (need == nullptr) return "";
  const std::set<std::string> present = flags();
  std::string missing;
  for (const std::string& flag : need->flags)
    if (present.count(flag) == 0) missing += (missing.empty() ? "" : ", ") + flag;
  if (!missing.empty())
    return "expected a processor with " + need->name + " for " + precision + ", got one without " + missing +
           "; use fp32";
  for (const char* name : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"}) {
    const char* value = std::getenv(name);
    const std::string limit = value == nullptr ? "" : value;
    std::string upper = limit;
    std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
    if (std::find(need->withheld_by.begin(), need->withheld_by.end(), upper) != need->withheld_by.end())
      return "expected " + need->name + " to be allowed for " + precision + ", got " + name + "=" + limit +
             "; unset it or use fp32";
  }
  return "";
}

std::string int8_warning(int weight_bits) {
  const std::set<std::string> present = flags();
  bool vnni = false;
  for (const char* name : {"avx512_vnni", "avx_vnni", "amx_int8"}) vnni = vnni || present.count(name) > 0;
  if ((weight_bits == 8) == vnni) return "";
  if (vnni)
    return "the INT8 network has 7-bit weights, for processors without VNNI; on this one, which has it, an export with "
           "--weight_bits 8 is more accurate";
  return "the INT8 network has 8-bit weights, for processors with VNNI, and its products may saturate on this one, "
         "which lacks it; export it with --weight_bits 7 for processors of both kinds";
}

}  // namespace rtseg
