#include "core/platform/file_view.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/platform/file.h"
#include "log_fixture.h"

namespace hermes {
namespace {

using test::Folder;

/// A file of `pages` pages, each filled with its number.
File make_file(const Folder& folder, uint64_t pages) {
  File file;
  std::string name;
  EXPECT_TRUE(File::create_temporary(folder.path() + "/file", 0600, &file, &name).ok());
  for (uint64_t page = 0; page < pages; ++page) {
    const std::vector<char> content(FileView::page_size(), static_cast<char>(page));
    EXPECT_TRUE(file.write_at(page * content.size(), content.data(), content.size()).ok());
  }
  return file;
}

TEST(FileView, shows_the_file_from_the_offset_on) {
  const Folder folder;
  const File file = make_file(folder, 3);
  const uint64_t page = FileView::page_size();
  FileView view;
  ASSERT_TRUE(view.map(file.fd(), page, page + 5, FileView::Stores::kPrivate, FileView::Populate::kNo).ok());
  EXPECT_EQ(view.bytes(), page + 5);
  EXPECT_EQ(view.data()[0], std::byte{1});
  EXPECT_EQ(view.data()[page + 4], std::byte{2});
}

TEST(FileView, keeps_private_stores_out_of_the_file) {
  const Folder folder;
  const File file = make_file(folder, 1);
  FileView view;
  ASSERT_TRUE(view.map(file.fd(), 0, 64, FileView::Stores::kPrivate, FileView::Populate::kYes).ok());
  std::memset(view.data(), 0xff, 64);
  char content[64];
  ASSERT_TRUE(file.read_at(0, content, sizeof content).ok());
  EXPECT_EQ(content[0], 0);
  EXPECT_EQ(view.data()[0], std::byte{0xff});
}

TEST(FileView, lets_stores_reach_the_file) {
  const Folder folder;
  const File file = make_file(folder, 1);
  FileView view;
  ASSERT_TRUE(view.map(file.fd(), 0, 64, FileView::Stores::kReachTheFile, FileView::Populate::kNo).ok());
  std::memset(view.data(), 0x7f, 64);
  char content[64];
  ASSERT_TRUE(file.read_at(0, content, sizeof content).ok());
  EXPECT_EQ(content[63], 0x7f);
  EXPECT_TRUE(view.sync(3, 9, true, true).ok());
}

TEST(FileView, refuses_what_is_not_all_within_the_file) {
  const Folder folder;
  const File file = make_file(folder, 2);
  const uint64_t page = FileView::page_size();
  const struct {
    uint64_t offset;
    uint64_t bytes;
  } kCases[] = {{0, 2 * page + 1}, {page, page + 1}, {2 * page, 1}, {0, 0}, {1, 1}, {~uint64_t{0} / page * page, 1},
                {0, ~uint64_t{0}}};
  for (const auto& one : kCases) {
    FileView view;
    const Status status =
        view.map(file.fd(), one.offset, one.bytes, FileView::Stores::kPrivate, FileView::Populate::kNo);
    EXPECT_EQ(status.code, Code::kInvalidArgument) << one.offset << " " << one.bytes;
    EXPECT_EQ(view.data(), nullptr);
  }
}

TEST(FileView, refuses_a_closed_descriptor_and_what_is_no_file) {
  const Folder folder;
  FileView view;
  EXPECT_EQ(view.map(-1, 0, 1, FileView::Stores::kPrivate, FileView::Populate::kNo).code, Code::kInvalidArgument);
  const int fd = ::open(folder.path().c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(view.map(fd, 0, 1, FileView::Stores::kPrivate, FileView::Populate::kNo).code, Code::kInvalidArgument);
  ::close(fd);
}

TEST(FileView, leaves_zeros_in_its_place_when_released) {
  const Folder folder;
  const File file = make_file(folder, 2);
  FileView view;
  ASSERT_TRUE(
      view.map(file.fd(), 0, 2 * FileView::page_size(), FileView::Stores::kReachTheFile, FileView::Populate::kNo).ok());
  std::byte* const data = view.data();
  ASSERT_TRUE(view.release().ok());
  ASSERT_TRUE(view.release().ok());
  EXPECT_TRUE(view.is_released());
  EXPECT_EQ(data[FileView::page_size()], std::byte{0});
  data[FileView::page_size()] = std::byte{9};
  char kept = 0;
  ASSERT_TRUE(file.read_at(FileView::page_size(), &kept, 1).ok());
  EXPECT_EQ(kept, 1);
}

TEST(FileView, counts_pages_in_more_than_one_piece) {
  const Folder folder;
  const File file = make_file(folder, 1);
  const uint64_t pages = 9001;
  ASSERT_TRUE(file.resize(pages * FileView::page_size()).ok());
  FileView view;
  ASSERT_TRUE(
      view.map(file.fd(), 0, pages * FileView::page_size(), FileView::Stores::kPrivate, FileView::Populate::kNo).ok());
  ASSERT_TRUE(view.advise(0, view.bytes(), 1).ok());
  uint64_t absent = 0;
  uint64_t present = 0;
  ASSERT_TRUE(view.count_resident(0, view.bytes(), &absent, &present).ok());
  EXPECT_EQ(absent + present, pages);
  ASSERT_TRUE(view.count_resident(FileView::page_size() - 1, 2, &absent, &present).ok());
  EXPECT_EQ(absent + present, 2u);
}

}  // namespace
}  // namespace hermes
