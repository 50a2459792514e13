#include "pose_contract.hpp"

#include <set>

#include "node.hpp"
#include "pose.hpp"

namespace rtseg {
namespace {

constexpr std::size_t kMaxKeypoints = 1000;
constexpr int kMaxSide = 4096;
constexpr double kLeastPadding = 0.1, kMostPadding = 10;

template <std::size_t N>
std::array<double, N> read_numbers(const Node& node) {
  std::array<double, N> values{};
  const std::vector<Node> items = node.list(N, "numbers");
  for (std::size_t i = 0; i < N; ++i) values[i] = items[i].number();
  return values;
}

std::vector<int> read_flip_indices(const Node& node, int count) {
  std::vector<int> flips = node.wholes(static_cast<std::size_t>(count), 0, count - 1);
  for (int k = 0; k < count; ++k)
    if (flips[flips[k]] != k) throw node.error("pairs of keypoints that a mirror exchanges");
  return flips;
}

}  // namespace

Pose read_pose(const Node& node) {
  Pose pose;
  const Node sizes = node["input_size"];
  const std::vector<int> sides = sizes.wholes(2, 1, kMaxSide);
  if (sides[0] % kStride != 0 || sides[1] % kStride != 0) throw sizes.error("multiples of " + std::to_string(kStride));
  pose.width = sides[0];
  pose.height = sides[1];
  pose.padding = node["padding"].number({kLeastPadding, kMostPadding, std::nullopt});
  pose.decode = node["decode"].choice(std::vector<std::pair<std::string, Decoding>>{
      {"quarter", Decoding::kQuarter}, {"none", Decoding::kNone}, {"dark", Decoding::kDark}});
  pose.flip_test = node["flip_test"].flag();
  pose.shift = node["shift"].flag();
  for (const Node& name : node["keypoints"].list()) pose.keypoints.push_back(name.text());
  const std::size_t count = pose.keypoints.size();
  if (count == 0 || count > kMaxKeypoints ||
      std::set<std::string>(pose.keypoints.begin(), pose.keypoints.end()).size() != count)
    throw node["keypoints"].error("1 to " + std::to_string(kMaxKeypoints) + " different names");
  const int last = static_cast<int>(count) - 1;
  pose.flip_indices = read_flip_indices(node["flip_indices"], last + 1);
  for (const Node& link : node["links"].list()) {
    const std::vector<int> ends = link.wholes(2, 0, last);
    pose.links.emplace_back(ends[0], ends[1]);
  }
  const Node sigmas = node["sigmas"];
  if (sigmas.is_null()) return pose;
  pose.sigmas.emplace();
  for (const Node& sigma : sigmas.list(count, "numbers"))
    pose.sigmas->push_back(sigma.number({std::nullopt, std::nullopt, 0.0}));
  return pose;
}

GoldenPerson read_golden_person(const Node& node, std::size_t count) {
  GoldenPerson person;
  person.box = read_numbers<4>(node["box"]);
  if (person.box[2] <= person.box[0] || person.box[3] <= person.box[1])
    throw node["box"].error("left, top, right and bottom of a box with an area");
  for (const Node& item : node["keypoints"].list(count, "keypoints"))
    person.keypoints.push_back(read_numbers<3>(item));
  return person;
}

}  // namespace rtseg
