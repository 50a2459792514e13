#include "pose_boxes.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

#include "error.hpp"
#include "images.hpp"
#include "json.hpp"

namespace rtseg {
namespace {

using Kind = Json::Kind;

constexpr std::int64_t kMaxBytes = 1 << 28;
constexpr double kMaxId = 9007199254740992.0;  // 2^53, up to which every number is exact
constexpr double kMaxNumber = 1e9;
constexpr std::size_t kIdDigits = 15, kNameLength = 60;
const std::set<std::string, std::less<>> kKeys{"annotations", "images", "id",    "file_name",   "width",  "height",
                                               "image_id",    "bbox",   "score", "category_id", "iscrowd"};

/// The file name, where the file states one; otherwise the id.
struct ImageKey {
  std::string name;
  std::int64_t id = 0;
};

struct Box {
  ImageKey image;
  std::optional<std::int64_t> image_id;
  ScoredBox box;
  std::optional<std::int64_t> category;
};

/// What COCO's annotations state of an image.
struct Stated {
  std::int64_t id = 0;
  std::string file_name;
  std::optional<std::pair<std::int64_t, std::int64_t>> size;
};

/// The kind of a value, in words.
std::string shown(const Json& value) {
  switch (value.kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kFlag:
      return "true or false";
    case Kind::kNumber:
      return "a number";
    case Kind::kText:
      return "text";
    case Kind::kList:
      return "a list of " + std::to_string(value.items.size());
    default:
      return "an object";
  }
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

/// The number that is an image's file name.
std::optional<std::int64_t> number_of(const std::string& path) {
  const std::string name = base_name(path);
  const std::size_t dot = name.rfind('.');
  const std::string stem = name.find_first_not_of('.') < dot ? name.substr(0, dot) : name;
  if (stem.empty() || stem.size() > kIdDigits || stem.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return std::stoll(stem);
}

// --- Reading

class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) { read(); }

  const std::string& path() const { return path_; }

  std::vector<Box> boxes;
  std::vector<Stated> images;

 private:
  std::string file() const { return quoted(path_); }

  std::string contents() const {
    struct stat status {};
    if (stat(path_.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
      throw InputError("expected a JSON file of boxes, got " + file() + ", which is no file; check the path");
    if (status.st_size > kMaxBytes)
      throw InputError("expected boxes in at most " + std::to_string(kMaxBytes >> 20) + " MiB, got more in " + file() +
                       "; split the file");
    std::ifstream stream(path_, std::ios::binary);
    if (!stream) throw InputError("cannot read " + file() + " (" + std::strerror(errno) + "); check its permissions");
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  Json content() const {
    try {
      return parse_json(contents(), kKeys);
    } catch (const NotJson&) {
      throw InputError("expected JSON in " + file() + ", got something else, or a damaged file; save it again");
    }
  }

  void read() {
    const Json content = this->content();
    if (content.is(Kind::kList)) return read_boxes(content.items, {});
    const bool object = content.is(Kind::kObject);
    const bool known = object && std::any_of(content.pairs.begin(), content.pairs.end(),
                                             [](const auto& pair) { return pair.first == "annotations"; });
    if (!known)
      throw InputError("expected COCO's annotations or a list of results in " + file() + ", got " + shown(content) +
                       (object ? " without annotations" : "") + "; save the boxes in one of these forms");
    std::map<std::int64_t, std::string> names;
    for (const Json& item : list(content, "images")) {
      images.push_back(stated(item));
      names[images.back().id] = images.back().file_name;
    }
    read_boxes(list(content, "annotations"), names);
  }

  void read_boxes(const std::vector<Json>& items, const std::map<std::int64_t, std::string>& names) {
    for (const Json& item : items) {
      const Json& crowd = item["iscrowd"];
      const bool is_crowd = (crowd.is(Kind::kNumber) || crowd.is(Kind::kFlag)) && crowd.number == 1;
      if (!is_crowd) boxes.push_back(box(item, names));
    }
  }

  const std::vector<Json>& list(const Json& content, const char* key) const {
    const Json& value = content[key];
    if (!value.is(Kind::kList))
      throw InputError("expected a list as " + std::string(key) + " of " + file() + ", got " + shown(value) +
                       "; save it in COCO's form");
    return value.items;
  }

  void check_object(const Json& item) const {
    if (!item.is(Kind::kObject))
      throw InputError("expected objects in the lists of " + file() + ", got " + shown(item) +
                       "; save it in COCO's form");
  }

  Stated stated(const Json& item) const {
    check_object(item);
    Stated image;
    image.id = whole(item, "id");
    const Json& name = item["file_name"];
    if (!name.is(Kind::kText) || name.text.empty())
      throw InputError("expected a file_name of each image in " + file() + ", got " + shown(name) +
                       "; save it in COCO's form");
    image.file_name = name.text;
    const auto width = optional_whole(item, "width"), height = optional_whole(item, "height");
    if (width && height) image.size.emplace(*width, *height);
    return image;
  }

  Box box(const Json& item, const std::map<std::int64_t, std::string>& names) const {
    check_object(item);
    Box found;
    const Json& numbers = item["bbox"];
    const bool four = numbers.is(Kind::kList) && numbers.items.size() == 4;
    if (!four || !std::all_of(numbers.items.begin(), numbers.items.end(), is_number))
      throw InputError("expected 4 numbers as bbox of each box in " + file() + ", got " +
                       (four ? "others" : shown(numbers)) + "; save it in COCO's form");
    const double left = numbers.items[0].number, top = numbers.items[1].number;
    found.box.corners = {left, top, left + numbers.items[2].number, top + numbers.items[3].number};
    const Json& score = item["score"];
    if (!score.is(Kind::kNull) && !is_number(score))
      throw InputError("expected a number as score of each box in " + file() + ", got " + shown(score) +
                       "; correct the file");
    if (!score.is(Kind::kNull)) found.box.score = score.number;
    const Json& name = item["file_name"];
    if (name.is(Kind::kText) && !name.text.empty()) {
      found.image.name = name.text;
      found.image_id = optional_whole(item, "image_id");
    } else {
      found.image.id = whole(item, "image_id");
      found.image_id = found.image.id;
      if (const auto known = names.find(found.image.id); known != names.end()) found.image.name = known->second;
    }
    found.category = optional_whole(item, "category_id");
    return found;
  }

  static bool is_number(const Json& value) {
    return value.is(Kind::kNumber) && std::abs(value.number) <= kMaxNumber;
  }

  std::optional<std::int64_t> optional_whole(const Json& item, const char* key) const {
    if (item[key].is(Kind::kNull)) return std::nullopt;
    return whole(item, key);
  }

  std::int64_t whole(const Json& item, const char* key) const {
    const Json& value = item[key];
    if (!value.is(Kind::kNumber) || !(value.number >= 0 && value.number <= kMaxId) ||
        value.number != std::floor(value.number))
      throw InputError("expected a whole number as " + std::string(key) + " in " + file() + ", got " + shown(value) +
                       "; correct the file");
    return static_cast<std::int64_t>(value.number);
  }

  std::string path_;
};

// --- Matching

/// The places of keys that occur once.
template <typename Key>
std::map<Key, std::size_t> unique(const std::vector<std::optional<Key>>& keys) {
  std::map<Key, int> counts;
  for (const auto& key : keys)
    if (key) ++counts[*key];
  std::map<Key, std::size_t> places;
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (keys[i] && counts[*keys[i]] == 1) places[*keys[i]] = i;
  return places;
}

/// Where in the input an image of the file is.
class Places {
 public:
  explicit Places(const std::vector<std::string>& names) {
    std::vector<std::optional<std::string>> bases;
    std::vector<std::optional<std::int64_t>> numbers;
    for (std::size_t i = 0; i < names.size(); ++i) {
      paths_.emplace(names[i], i);
      bases.emplace_back(base_name(names[i]));
      numbers.push_back(number_of(names[i]));
    }
    bases_ = unique(bases);
    numbers_ = unique(numbers);
  }

  std::optional<std::size_t> find(const ImageKey& image) const {
    if (image.name.empty()) return find(numbers_, image.id);
    if (const auto place = find(paths_, image.name)) return place;
    return find(bases_, base_name(image.name));
  }

 private:
  template <typename Key>
  static std::optional<std::size_t> find(const std::map<Key, std::size_t>& places, const Key& key) {
    const auto found = places.find(key);
    return found == places.end() ? std::nullopt : std::optional(found->second);
  }

  std::map<std::string, std::size_t> paths_, bases_;
  std::map<std::int64_t, std::size_t> numbers_;
};

/// An id for each image: the known one, by place, then the number that is its file name, then one that is free.
std::vector<std::int64_t> image_ids(const std::vector<std::string>& names, std::map<std::size_t, std::int64_t> ids) {
  std::set<std::int64_t> taken;
  for (const auto& [place, id] : ids) taken.insert(id);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto number = number_of(names[i]);
    if (ids.count(i) == 0 && number && taken.insert(*number).second) ids[i] = *number;
  }
  std::vector<std::int64_t> numbers;
  std::int64_t free = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto known = ids.find(i);
    if (known == ids.end())
      do ++free;
      while (taken.count(free) > 0);
    numbers.push_back(known == ids.end() ? free : known->second);
  }
  return numbers;
}

/// The boxes of the category, and the number of others.
std::pair<std::vector<Box>, std::size_t> of_category(const Reader& file, std::optional<std::int64_t> category) {
  std::set<std::int64_t> known;
  for (const Box& box : file.boxes)
    if (box.category) known.insert(*box.category);
  if (!category && known.size() > 1) {
    std::vector<std::string> names;
    for (const std::int64_t id : known) names.push_back(std::to_string(id));
    throw InputError("expected boxes of one category in " + quoted(file.path()) + ", got " + listed(names) +
                     "; choose one with --category");
  }
  std::vector<Box> chosen;
  for (const Box& box : file.boxes)
    if (!category || box.category == category) chosen.push_back(box);
  const std::size_t others = file.boxes.size() - chosen.size();
  return {std::move(chosen), others};
}

/// Counts and names of the images that are not in the input, in the order of the file.
struct Unknown {
  std::size_t boxes = 0;
  std::vector<std::string> names;
  std::set<std::string> seen;

  void add(const ImageKey& image) {
    const std::string name = image.name.empty() ? std::to_string(image.id) : image.name;
    ++boxes;
    if (seen.insert(name).second) names.push_back(quote(name, kNameLength));
  }
};

}  // namespace

std::vector<ImageBoxes> whole_images(const std::vector<std::string>& names) {
  std::vector<ImageBoxes> images(names.size());
  const std::vector<std::int64_t> numbers = image_ids(names, {});
  for (std::size_t i = 0; i < names.size(); ++i) images[i].image_id = numbers[i];
  return images;
}

std::pair<std::vector<ImageBoxes>, std::string> match_boxes(const std::string& path,
                                                            const std::vector<std::string>& names, double least_score,
                                                            std::optional<std::int64_t> category) {
  const Reader file(path);
  const auto [boxes, others] = of_category(file, category);
  const Places places(names);
  std::map<std::size_t, std::int64_t> ids;
  std::vector<ImageBoxes> images(names.size());
  for (ImageBoxes& image : images) image.boxes.emplace();
  for (const Stated& image : file.images) {
    const auto place = places.find({image.file_name, 0});
    if (!place) continue;
    ids.emplace(*place, image.id);
    if (image.size && !images[*place].size) images[*place].size = image.size;
  }
  std::size_t low = 0, used = 0;
  std::set<std::size_t> with_boxes;
  Unknown unknown;
  if (category)
    for (ImageBoxes& image : images) image.category = *category;
  for (const Box& box : boxes) {
    const auto place = places.find(box.image);
    if (!place) {
      unknown.add(box.image);
    } else if (box.box.score < least_score) {
      ++low;
    } else {
      if (box.image_id) ids.emplace(*place, *box.image_id);
      ImageBoxes& image = images[*place];
      if (image.boxes->empty() && box.category) image.category = *box.category;
      image.boxes->push_back(box.box);
      with_boxes.insert(*place);
      ++used;
    }
  }
  const std::vector<std::int64_t> numbers = image_ids(names, ids);
  for (std::size_t i = 0; i < images.size(); ++i) images[i].image_id = numbers[i];

  std::vector<std::string> left_out;
  if (unknown.boxes > 0)
    left_out.push_back(std::to_string(unknown.boxes) + " of images that are not in the input: " +
                       listed(unknown.names));
  if (low > 0) left_out.push_back(std::to_string(low) + " below --box_score");
  if (others > 0) left_out.push_back(std::to_string(others) + " of other categories");
  std::string line = std::to_string(used) + " boxes in " + std::to_string(with_boxes.size()) + " of " +
                     std::to_string(names.size()) + " images";
  for (std::size_t i = 0; i < left_out.size(); ++i) line += (i == 0 ? "; left out: " : "; ") + left_out[i];
  return {std::move(images), line};
}

}  // namespace rtseg
