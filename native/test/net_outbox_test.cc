#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>
#include <string>

#include "core/net/outbox.h"

namespace hermes {
namespace {

const std::byte* bytes_of(const std::string& text) { return reinterpret_cast<const std::byte*>(text.data()); }

std::string waiting_text(const Outbox& outbox) {
  std::array<iovec, 512> pieces;
  std::string all;
  const size_t count = outbox.pieces(pieces.data(), pieces.size());
  for (size_t i = 0; i < count; ++i) all.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  return all;
}

TEST(Outbox, hands_out_what_was_copied_and_lent_in_order) {
  const auto lent = std::make_shared<const std::string>("lent ");
  Outbox outbox;
  std::string copied = "copied ";
  outbox.copy(bytes_of(copied), copied.size());
  copied = "gone    ";  // its memory is the caller's again
  outbox.lend(bytes_of(*lent), lent->size(), lent);
  outbox.copy(bytes_of("last"), 4);
  EXPECT_EQ(outbox.waiting(), 16u);
  EXPECT_EQ(waiting_text(outbox), "copied lent last");
}

TEST(Outbox, keeps_what_was_lent_until_it_has_gone_and_no_longer) {
  const auto lent = std::make_shared<const std::string>("0123456789");
  Outbox outbox;
  outbox.lend(bytes_of(*lent), lent->size(), lent);
  outbox.copy(bytes_of("x"), 1);
  outbox.gone(9);
  EXPECT_EQ(lent.use_count(), 2);
  outbox.gone(1);
  EXPECT_EQ(lent.use_count(), 1);
  EXPECT_EQ(waiting_text(outbox), "x");
  outbox.lend(bytes_of(*lent), lent->size(), lent);
  outbox.clear();
  EXPECT_EQ(lent.use_count(), 1);
  EXPECT_TRUE(outbox.is_empty());
}

TEST(Outbox, agrees_with_a_text_whatever_is_written_and_taken) {
  std::mt19937 random(13);
  Outbox outbox;
  std::string model;
  char next = 0;
  for (int step = 0; step < 200'000; ++step) {
    if (random() % 2 == 0 && model.size() < (1u << 20)) {
      const auto piece = std::make_shared<std::string>();
      for (size_t n = random() % (random() % 50 == 0 ? 9000 : 60); n > 0; --n) piece->push_back(++next);
      model += *piece;
      if (random() % 3 == 0) {
        outbox.lend(bytes_of(*piece), piece->size(), piece);
      } else {
        outbox.copy(bytes_of(*piece), piece->size());
      }
    } else {
      const size_t gone = model.empty() ? 0 : random() % std::min<size_t>(model.size() + 1, 4000);
      outbox.gone(gone);
      model.erase(0, gone);
    }
    ASSERT_EQ(outbox.waiting(), model.size());
    if (step % 64 == 0) {
      std::array<iovec, 8> pieces;
      const size_t count = outbox.pieces(pieces.data(), pieces.size());
      size_t at = 0;
      for (size_t i = 0; i < count; ++i) {
        ASSERT_GT(pieces[i].iov_len, 0u);
        ASSERT_EQ(model.compare(at, pieces[i].iov_len, static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len),
                  0);
        at += pieces[i].iov_len;
      }
      ASSERT_EQ(count == 0, model.empty());
    }
  }
}

}  // namespace
}  // namespace hermes
