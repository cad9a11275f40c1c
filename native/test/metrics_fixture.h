#pragma once

// What the tests of the metrics file share.

#include "core/metrics/metrics_file.h"
#include "log_fixture.h"

namespace hermes::test {

/// A place with a folder for each topic.
class MetricsPlace {
 public:
  explicit MetricsPlace(const std::string& parent = quick_place()) : folder_(parent) {}
  const std::string& path() const { return folder_.path(); }
  std::string topic(const std::string& name) const {
    const std::string path = folder_.path() + "/topics/" + name;
    std::filesystem::create_directories(path);
    return path;
  }
  std::string file() const { return folder_.path() + "/metrics"; }

 private:
  Folder folder_;
};

inline std::shared_ptr<MetricsFile> open_metrics(const MetricsPlace& place) {
  std::shared_ptr<MetricsFile> metrics;
  const Status status = MetricsFile::open(place.path(), 0600, &metrics);
  EXPECT_TRUE(status.ok()) << status.context;
  return metrics;
}

inline std::shared_ptr<MetricsCell> publisher_cell(MetricsFile& metrics, const std::string& topic) {
  std::shared_ptr<MetricsCell> cell;
  const Status status = metrics.take_narrow(topic, 60'000, &cell);
  EXPECT_TRUE(status.ok()) << status.context;
  return cell;
}

inline std::shared_ptr<MetricsCell> subscriber_cell(MetricsFile& metrics, const std::string& topic) {
  std::shared_ptr<MetricsCell> cell;
  const Status status = metrics.take_wide(WideKind::kSubscriber, topic, 60'000, &cell);
  EXPECT_TRUE(status.ok()) << status.context;
  return cell;
}

inline MetricsReport read_metrics(MetricsFile& metrics) {
  MetricsReport report;
  const Status status = metrics.read(&report);
  EXPECT_TRUE(status.ok()) << status.context;
  return report;
}

/// Of a topic, or of `other` ("").
inline SeriesReport series_of(const MetricsReport& report, const std::string& topic) {
  for (const SeriesReport& series : report.series) {
    if (!series.is_broker && series.name == topic) return series;
  }
  return {};
}

inline uint64_t messages_of(MetricsFile& metrics, const std::string& topic) {
  return series_of(read_metrics(metrics), topic).publishers[kPubMessages];
}

/// What a scan of the whole log says that was published.
struct Truth {
  uint64_t messages = 0;
  uint64_t bytes = 0;
};
inline Truth truth_of(const std::string& folder) {
  Truth truth;
  for (const Message& m : read_all(open_log(folder), nullptr, true)) {
    ++truth.messages;
    truth.bytes += frame_span(static_cast<uint32_t>(m.payload.size()));
  }
  return truth;
}

}  // namespace hermes::test
