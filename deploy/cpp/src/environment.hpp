// Threads, memory and the fast path of Paddle's matrix products; the Python package has the same in environment.py.
#pragma once

#include <string>

namespace rtseg {

/// Cores that this process may use: the affinity mask, or a container's CPU quota if that is smaller. `cgroup` is the
/// file with the quota.
int usable_cores(const std::string& cgroup = "/sys/fs/cgroup/cpu.max");

/// `threads`, or if that is 0, OMP_NUM_THREADS (of numbers for nested levels, the first), or every core that the process
/// may use. Throws InputError if the variable is no such number.
int thread_count(int threads);

/// The models of the GPUs according to the driver, and which of them are visible.
std::string gpu_models();

/// Set the number of threads; on AMD processors the fast path of Paddle's matrix products, because the MKL inside
/// Paddle takes a slow one on processors from other vendors than Intel unless MKL_DEBUG_CPU_TYPE is 5; and keep freed
/// memory. Variables that the user has set take precedence. Has an effect only before the first Network.
void prepare_environment(int threads);

}  // namespace rtseg
