#include "environment.hpp"

#include <malloc.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "error.hpp"

namespace rtseg {
namespace {

namespace fs = std::filesystem;

constexpr long kMostThreads = 1024;

void set_default(const char* name, const std::string& value) {
  setenv(name, value.c_str(), 0);
}

bool has_variable_like(const char* prefix) {
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (std::strncmp(*variable, prefix, std::strlen(prefix)) == 0) return true;
  return false;
}

bool is_amd() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.find("AuthenticAMD") != std::string::npos) return true;
  return false;
}

}  // namespace

int usable_cores(const std::string& cgroup) {
  cpu_set_t mask;
  int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) cores = CPU_COUNT(&mask);
  std::ifstream file(cgroup);
  long long quota = 0, period = 0;
  if (file >> quota >> period && period > 0)  // "max" instead of a quota is no number
    cores = static_cast<int>(std::clamp(quota / period, 1LL, static_cast<long long>(cores)));
  return cores;
}

int thread_count(int threads) {
  if (threads > 0) return threads;
  const char* const set = std::getenv("OMP_NUM_THREADS");
  if (set == nullptr) return usable_cores();
  char* end = nullptr;
  const long number = std::strtol(set, &end, 10);
  const bool whole =
      (*set == '+' || std::isdigit(static_cast<unsigned char>(*set)) != 0) && (*end == '\0' || *end == ',');
  if (!whole || number < 1 || number > kMostThreads)
    throw InputError("expected OMP_NUM_THREADS from 1 to " + std::to_string(kMostThreads) + ", got '" + quote(set) +
                     "'; correct it, or unset it");
  return static_cast<int>(number);
}

std::string gpu_models() {
  std::ostringstream text;
  const fs::path driver("/proc/driver/nvidia/gpus");
  if (fs::is_directory(driver))
    for (const auto& gpu : fs::directory_iterator(driver)) {
      std::ifstream information(gpu.path() / "information");
      for (std::string line; std::getline(information, line);)
        if (line.rfind("Model:", 0) == 0) text << line << '\n';
    }
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  text << (visible == nullptr ? "all" : visible);
  return text.str();
}

void prepare_environment(int threads) {
  set_default("OMP_NUM_THREADS", std::to_string(thread_count(threads)));
  set_default("FLAGS_paddle_num_threads", std::getenv("OMP_NUM_THREADS"));
  if (is_amd()) set_default("MKL_DEBUG_CPU_TYPE", "5");
#ifdef __GLIBC__
  // Freed memory is reused instead of returned to the system and requested again, page by page.
  if (!has_variable_like("MALLOC_")) {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, 1 << 26);
  }
#endif
}

}  // namespace rtseg
