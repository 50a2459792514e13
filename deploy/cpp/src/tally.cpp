#include "tally.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "error.hpp"

namespace rtseg {
namespace {

constexpr std::size_t kNameLength = 500;

/// Linear interpolation between the two nearest values, as NumPy's percentile does.
double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double position = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(position);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (position - static_cast<double>(low)) * (values[high] - values[low]);
}

void report(const std::vector<Timings>& timings) {
  std::printf("ms per image     p50      p90      p99\n");
  const std::pair<const char*, double Timings::*> parts[] = {
      {"pre", &Timings::pre}, {"run", &Timings::run}, {"post", &Timings::post}};
  for (const auto& [name, part] : parts) {
    std::vector<double> values;
    for (const Timings& t : timings) values.push_back(t.*part);
    std::printf("%-12s%9.2f%9.2f%9.2f\n", name, percentile(values, 0.5), percentile(values, 0.9),
                percentile(values, 0.99));
  }
}

}  // namespace

void Tally::skip(const std::vector<Failure>& failures) {
  for (const Failure& failure : failures)
    std::fprintf(stderr, "skipped %s: %s\n", quote(failure.name, kNameLength).c_str(), failure.reason.c_str());
  failed_ += failures.size();
}

void Tally::add(const Timings& timings, std::size_t count) {
  const auto images = static_cast<double>(count);
  timings_.push_back({timings.pre / images, timings.run / images, timings.post / images});
}

void Tally::add(const Outcome& outcome) {
  written_ += outcome.written;
  skip(outcome.failures);
}

int Tally::finish(const std::string& folder, double seconds, const std::string& not_taken,
                  const std::string& of_video) const {
  std::printf("%zu written to %s, %zu failed, %.1f images/s\n", written_, quote(folder, kNameLength).c_str(), failed_,
              static_cast<double>(written_) / seconds);
  for (const std::string& line : {not_taken, of_video})
    if (!line.empty()) std::printf("%s\n", line.c_str());
  if (!timings_.empty()) report(timings_);
  return failed_ == 0 ? kAllWritten : kSomeFailed;
}

}  // namespace rtseg
