#include "core/metrics/place_scan.h"

#include "core/metrics/folder_change.h"
#include "core/metrics/topic_scan.h"

namespace hermes {

PlaceScan::PlaceScan(std::string root) : root_(std::move(root)) {}
PlaceScan::~PlaceScan() = default;

/// Reads the names of the topics, if they have changed.
void PlaceScan::list() {
  const std::string path = root_ + "/topics";
  FileIdentity now;
  const bool is_there = FileIdentity::of(path, &now).ok();
  if (folder_.fd() < 0 || !is_there || !(now == folder_identity_)) {
    folder_.close();
    topics_.clear();
    change_ = {};
    if (!is_there || !File::open_folder(path, &folder_).ok()) return;
    folder_identity_ = now;
  }
  const FolderChange change = change_of(folder_.fd(), ".");
  if (change.is_same(change_)) return;
  change_ = change;
  std::vector<std::unique_ptr<TopicScan>> known = std::move(topics_);
  topics_.clear();
  size_t at = 0;
  // Both are in order.
  for (std::string& name : names_in(path, "")) {
    while (at < known.size() && known[at]->name() < name) ++at;
    if (at < known.size() && known[at]->name() == name) {
      topics_.push_back(std::move(known[at++]));
    } else {
      topics_.push_back(std::make_unique<TopicScan>(std::move(name), path));
    }
  }
}

Status PlaceScan::look(std::vector<TopicSample>* out) {
  list();
  out->resize(topics_.size());
  size_t count = 0;
  for (size_t i = 0; i < topics_.size(); ++i) {
    if (i + 1 < topics_.size()) topics_[i + 1]->fetch();
    TopicSample& sample = (*out)[count];
    sample.reset(topics_[i]->name());
    // A folder that is no topic now may become one, without a change of the folder that it is in.
    if (topics_[i]->look(folder_.fd(), &sample)) ++count;
  }
  out->resize(count);
  return Status::success();
}

}  // namespace hermes
