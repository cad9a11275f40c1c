#include "core/frame/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "core/frame/claim_word.h"

namespace hermes {
namespace {

using Bytes = std::vector<std::byte>;

constexpr DecodeLimits kNetwork{kDefaultMaxPayload, false};
constexpr DecodeLimits kLog{kDefaultMaxPayload, true};

Bytes from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  }
  return bytes;
}

std::string to_hex(const Bytes& bytes) {
  std::string hex;
  for (const auto byte : bytes) {
    hex += "0123456789abcdef"[static_cast<int>(byte) >> 4];
    hex += "0123456789abcdef"[static_cast<int>(byte) & 15];
  }
  return hex;
}

// The definition, one bit at a time. Shares nothing with the code under test.
std::uint32_t carry(std::uint32_t state, const std::byte* bytes, std::size_t length) {
  for (std::size_t i = 0; i < length; ++i) {
    state ^= static_cast<std::uint32_t>(bytes[i]);
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? 0xEDB88320 : 0);
  }
  return state;
}

std::uint32_t expected_crc(const Bytes& frame, std::size_t covered) {
  return ~carry(carry(0xFFFFFFFF, frame.data() + 4, 24), frame.data() + 32, covered);
}

Bytes bytes_of(std::string_view text) {
  Bytes bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

Bytes count_up(std::size_t length) {
  Bytes bytes(length);
  for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

Bytes encoded(const FrameFields& fields, const Bytes& payload) {
  Bytes out(frame_span(fields.payload_len), std::byte{0xAA});
  EXPECT_EQ(encode_frame(out, fields, payload.data()), out.size());
  return out;
}

Bytes data_frame(std::uint64_t sequence, const Bytes& payload) {
  return encoded({FrameType::kData, 0, sequence, 1000 + sequence, static_cast<std::uint32_t>(payload.size())}, payload);
}

FrameStatus decode(const Bytes& bytes, const DecodeLimits& limits = kNetwork) {
  FrameView view;
  return decode_frame(bytes, limits, view);
}

// Puts the right CRC into a frame whose header was changed, so that a test meets the check that it
// is about.
void reseal(Bytes& frame, std::uint32_t covered) {
  const std::uint32_t crc = expected_crc(frame, covered);
  std::memcpy(frame.data() + 28, &crc, sizeof crc);
}

template <typename Number>
void put(Bytes& frame, std::size_t offset, Number number) {
  std::memcpy(frame.data() + offset, &number, sizeof number);
}

// ---- golden vectors: the same frames stand in test/vectors/frames.json for the other languages
// ----

struct Golden {
  const char* hex;
  FrameFields fields;
  Bytes payload;
  std::uint32_t covered;
};

std::vector<Golden> golden_frames() {
  Bytes hole = from_hex("2c01000001000000");
  const Bytes left_over = bytes_of(std::string_view("left-over bytes\0", 16));
  hole.insert(hole.end(), left_over.begin(), left_over.end());
  return {
      {"48524d31010100000000000000000000000000000000000000000000d34597b9", {FrameType::kData, 0, 0, 0, 0}, {}, 0},
      {"48524d310101000001000000000000007b70a45c78a699120d00000032dfee81"
       "68656c6c6f2c206865726d6573000000",
       {FrameType::kData, 0, 1, 1340285400000000123, 13},
       bytes_of("hello, hermes"),
       13},
      {"48524d3101010000ffffffffffff1f000000b0d4acc66c1840000000d2ec05bb"
       "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
       "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
       {FrameType::kData, 0, (std::uint64_t{1} << 53) - 1, 1760000000000000000, 64},
       count_up(64),
       64},
      {"48524d31010101800000000001000000000000000000008008000000cb101054ffffffffffffffff",
       {FrameType::kData, 0x8001, std::uint64_t{1} << 32, std::uint64_t{1} << 63, 8},
       Bytes(8, std::byte{0xFF}),
       8},
      {"48524d31010300004d000000000000000100b0d4acc66c1818000000f8177c1f"
       "2c010000010000006c6566742d6f76657220627974657300",
       {FrameType::kVoid, 0, 77, 1760000000000000001, 24},
       hole,
       8},
      {"48524d31010300004e000000000000000200b0d4acc66c1800000000c833ae2e",
       {FrameType::kVoid, 0, 78, 1760000000000000002, 0},
       {},
       0},
      {"48524d31010200004f000000000000000300b0d4acc66c1810000000aaf9061b"
       "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
       {FrameType::kPadding, 0, 79, 1760000000000000003, 16},
       Bytes(16, std::byte{0xEE}),
       0},
  };
}

TEST(FrameGolden, EncodesToTheRecordedBytes) {
  for (const Golden& golden : golden_frames()) {
    EXPECT_EQ(to_hex(encoded(golden.fields, golden.payload)), golden.hex);
  }
}

TEST(FrameGolden, CarriesTheCrcOfTheDefinition) {
  for (const Golden& golden : golden_frames()) {
    const Bytes frame = from_hex(golden.hex);
    std::uint32_t stored;
    std::memcpy(&stored, frame.data() + 28, sizeof stored);
    EXPECT_EQ(stored, expected_crc(frame, golden.covered)) << golden.hex;
    EXPECT_EQ(frame_crc(frame.data(), golden.covered), stored) << golden.hex;
    EXPECT_EQ(frame_crc(golden.fields, frame.data() + 32), stored) << golden.hex;
  }
}

TEST(FrameGolden, DecodesFromTheRecordedBytesAtAnyAlignment) {
  for (const Golden& golden : golden_frames()) {
    const Bytes frame = from_hex(golden.hex);
    for (std::size_t align = 0; align < 8; ++align) {
      Bytes shifted(align);
      shifted.insert(shifted.end(), frame.begin(), frame.end());
      FrameView view;
      ASSERT_EQ(decode_frame(std::span(shifted).subspan(align), kLog, view), FrameStatus::kOk) << golden.hex;
      EXPECT_EQ(view.type, golden.fields.type);
      EXPECT_EQ(view.flags, golden.fields.flags);
      EXPECT_EQ(view.sequence, golden.fields.sequence);
      EXPECT_EQ(view.timestamp_ns, golden.fields.timestamp_ns);
      EXPECT_EQ(view.span, frame.size());
      EXPECT_TRUE(std::ranges::equal(view.payload, std::span(golden.payload).first(golden.covered)));
    }
  }
}

TEST(FrameGolden, StandsInTheSharedVectorFile) {
  const auto file = std::filesystem::path(__FILE__).parent_path() / "../../test/vectors/frames.json";
  std::ifstream stream(file);
  ASSERT_TRUE(stream) << file;
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  for (const Golden& golden : golden_frames()) {
    EXPECT_NE(text.find('"' + std::string(golden.hex) + '"'), std::string::npos) << golden.hex;
  }
}

// ---- layout ----

TEST(FrameLayout, RoundsSpansUpToEightBytes) {
  EXPECT_EQ(frame_span(0), 32u);
  EXPECT_EQ(frame_span(1), 40u);
  EXPECT_EQ(frame_span(8), 40u);
  EXPECT_EQ(frame_span(9), 48u);
  EXPECT_EQ(frame_span(65536), 65568u);
  EXPECT_EQ(frame_span(std::numeric_limits<std::uint32_t>::max()), 0x100000020u) << "must not wrap at 32 bits";
}

TEST(FrameLayout, CoversPayloadsByType) {
  EXPECT_EQ(crc_payload_bytes(FrameType::kData, 1000), 1000u);
  EXPECT_EQ(crc_payload_bytes(FrameType::kVoid, 1000), 8u);
  EXPECT_EQ(crc_payload_bytes(FrameType::kVoid, 8), 8u);
  EXPECT_EQ(crc_payload_bytes(FrameType::kVoid, 5), 5u);
  EXPECT_EQ(crc_payload_bytes(FrameType::kPadding, 1000), 0u);
}

TEST(FrameLayout, MakesTheCommitWordOutOfTheFirstEightBytes) {
  const Bytes frame = encoded({FrameType::kVoid, 0xBEEF, 1, 2, 0}, {});
  std::uint64_t first;
  std::memcpy(&first, frame.data(), sizeof first);
  EXPECT_EQ(first, commit_word(FrameType::kVoid, 0xBEEF));
  EXPECT_TRUE(is_committed(first));
  EXPECT_FALSE(is_committed(0));
}

// ---- encoding ----

TEST(FrameEncode, RefusesABufferThatIsOneByteShort) {
  const Bytes payload = count_up(9);
  Bytes out(frame_span(9) - 1, std::byte{0xAA});
  EXPECT_EQ(encode_frame(out, {FrameType::kData, 0, 1, 2, 9}, payload.data()), 0u);
  EXPECT_EQ(out, Bytes(out.size(), std::byte{0xAA})) << "nothing may be written";
}

TEST(FrameEncode, WritesNothingBehindTheFrameAndZeroesItsPadding) {
  for (std::uint32_t length = 0; length <= 40; ++length) {
    const Bytes payload(length, std::byte{0x11});
    Bytes out(frame_span(length) + 8, std::byte{0xAA});
    ASSERT_EQ(encode_frame(out, {FrameType::kData, 0, 1, 2, length}, payload.data()), out.size() - 8);
    for (std::size_t i = 32 + length; i < out.size(); ++i) {
      EXPECT_EQ(out[i], i < out.size() - 8 ? std::byte{0} : std::byte{0xAA}) << length << ", byte " << i;
    }
  }
}

TEST(FrameEncode, StampsEverythingButTheFirstWord) {
  const Bytes payload = count_up(50);
  const FrameFields fields{FrameType::kData, 3, 12345678901234, 1760000000000000000, 50};
  const Bytes whole = encoded(fields, payload);
  alignas(8) FrameHeader header;
  std::memset(&header, 0x55, sizeof header);
  const std::uint64_t first = stamp(header, fields, payload.data());
  Bytes bytes(sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
  EXPECT_EQ(bytes[0], std::byte{0x55});
  EXPECT_EQ(bytes[7], std::byte{0x55}) << "the first word is the caller's to publish";
  std::memcpy(bytes.data(), &first, sizeof first);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), whole.begin()));
}

TEST(FrameCrc, AgreesWithTheDefinitionForEveryShortPayload) {
  std::mt19937 random(1);
  for (std::uint32_t length = 0; length <= 600; ++length) {
    Bytes payload(length);
    for (auto& byte : payload) byte = static_cast<std::byte>(random());
    const FrameFields fields{FrameType::kData, static_cast<std::uint16_t>(random()),
                             std::uint64_t{random()} << 32 | random(), std::uint64_t{random()} << 32 | random(),
                             length};
    const Bytes frame = encoded(fields, payload);
    ASSERT_EQ(frame_crc(fields, payload.data()), expected_crc(frame, length)) << length;
    ASSERT_EQ(frame_crc(frame.data(), length), expected_crc(frame, length)) << length;
  }
}

// ---- decoding hostile bytes ----

TEST(FrameDecode, AsksForMoreAtEveryTruncation) {
  const Bytes frame = data_frame(5, count_up(13));
  for (std::size_t length = 0; length < frame.size(); ++length) {
    const Bytes part(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));  // exact: ASan sees overreads
    FrameView view;
    ASSERT_EQ(decode_frame(part, kNetwork, view), FrameStatus::kIncomplete) << length;
    EXPECT_EQ(view.span, length < 32 ? 0 : frame.size());
  }
}

TEST(FrameDecode, LeavesWhatFollowsTheFrameAlone) {
  Bytes bytes = data_frame(5, count_up(13));
  const std::size_t first = bytes.size();
  const Bytes second = data_frame(6, count_up(20));
  bytes.insert(bytes.end(), second.begin(), second.end());
  FrameView view;
  ASSERT_EQ(decode_frame(bytes, kNetwork, view), FrameStatus::kOk);
  EXPECT_EQ(view.sequence, 5u);
  ASSERT_EQ(view.span, first);
  ASSERT_EQ(decode_frame(std::span(bytes).subspan(first), kNetwork, view), FrameStatus::kOk);
  EXPECT_EQ(view.sequence, 6u);
}

TEST(FrameDecode, RefusesEveryFlippedBitOutsideThePadding) {
  const Bytes frame = data_frame(77, count_up(61));
  for (std::size_t bit = 0; bit < 8 * (32 + 61); ++bit) {
    Bytes damaged = frame;
    damaged[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    EXPECT_NE(decode(damaged, kNetwork), FrameStatus::kOk) << "bit " << bit;
    EXPECT_NE(decode(damaged, kLog), FrameStatus::kOk) << "bit " << bit;
  }
}

TEST(FrameDecode, IgnoresThePaddingBytes) {
  Bytes frame = data_frame(77, count_up(61));
  frame.back() = std::byte{0xFF};
  EXPECT_EQ(decode(frame), FrameStatus::kOk);
}

TEST(FrameDecode, NamesWhatIsWrong) {
  const Bytes frame = data_frame(1, count_up(16));
  Bytes bad = frame;
  put(bad, 0, std::uint32_t{0});
  EXPECT_EQ(decode(bad), FrameStatus::kBadMagic) << "nothing here yet";
  put(bad, 0, make_claim_word({3, 1, 48}));
  EXPECT_EQ(decode(bad), FrameStatus::kBadMagic) << "claimed, not committed";

  bad = frame;
  put(bad, 4, std::uint8_t{2});
  reseal(bad, 16);
  EXPECT_EQ(decode(bad), FrameStatus::kUnsupportedVersion);

  for (const int type : {0, 4, 255}) {
    bad = frame;
    put(bad, 5, static_cast<std::uint8_t>(type));
    reseal(bad, 16);
    EXPECT_EQ(decode(bad, kLog), FrameStatus::kBadType) << type;
  }

  bad = frame;
  put(bad, 28, std::uint32_t{0});
  EXPECT_EQ(decode(bad), FrameStatus::kBadCrc);
}

TEST(FrameDecode, RefusesLogTypesFromTheNetwork) {
  const Bytes hole = encoded({FrameType::kVoid, 0, 1, 2, 8}, from_hex("0500000001000000"));
  const Bytes padding = encoded({FrameType::kPadding, 0, 1, 2, 8}, Bytes(8));
  EXPECT_EQ(decode(hole, kNetwork), FrameStatus::kBadType);
  EXPECT_EQ(decode(padding, kNetwork), FrameStatus::kBadType);
  EXPECT_EQ(decode(hole, kLog), FrameStatus::kOk);
  EXPECT_EQ(decode(padding, kLog), FrameStatus::kOk);
}

TEST(FrameDecode, RefusesAPayloadOverTheLimitBeforeItHasArrived) {
  const Bytes payload = count_up(101);
  const Bytes frame = data_frame(1, payload);
  EXPECT_EQ(decode(frame, {101, false}), FrameStatus::kOk);
  EXPECT_EQ(decode(frame, {100, false}), FrameStatus::kTooLarge);
  const Bytes header(frame.begin(), frame.begin() + 32);
  EXPECT_EQ(decode(header, {100, false}), FrameStatus::kTooLarge);
}

TEST(FrameDecode, SurvivesAbsurdLengths) {
  for (const std::uint32_t length : {0x7FFFFFFFu, 0x80000000u, 0xFFFFFFE0u, 0xFFFFFFF8u, 0xFFFFFFFFu}) {
    for (const FrameType type : {FrameType::kData, FrameType::kPadding, FrameType::kVoid}) {
      Bytes bad = data_frame(1, count_up(16));
      put(bad, 5, type);
      put(bad, 24, length);
      EXPECT_EQ(decode(bad, {0xFFFFFFFF, true}), FrameStatus::kIncomplete) << length;
    }
  }
}

TEST(FrameDecode, ReadsWhatAHoleStandsFor) {
  FrameView view;
  Bytes hole = encoded({FrameType::kVoid, 0, 40, 2, 16}, from_hex("05000000020000000102030405060708"));
  ASSERT_EQ(decode_frame(hole, kLog, view), FrameStatus::kOk);
  EXPECT_EQ(view.sequence, 40u);
  EXPECT_EQ(view.count, 5u);
  EXPECT_EQ(view.reason, VoidReason::kDamaged);
  EXPECT_EQ(view.span, 48u);

  hole[45] ^= std::byte{0xFF};
  EXPECT_EQ(decode(hole, kLog), FrameStatus::kOk) << "what lies in the hole is not vouched for";
  hole[33] ^= std::byte{0x01};
  EXPECT_EQ(decode(hole, kLog), FrameStatus::kBadCrc) << "the count is";

  hole = encoded({FrameType::kVoid, 0, 40, 2, 8}, from_hex("0500000063000000"));
  ASSERT_EQ(decode_frame(hole, kLog, view), FrameStatus::kOk);
  EXPECT_EQ(view.reason, VoidReason::kUnknown) << "a reason of a later program";

  hole = encoded({FrameType::kVoid, 0, 41, 2, 0}, {});
  ASSERT_EQ(decode_frame(hole, kLog, view), FrameStatus::kOk);
  EXPECT_EQ(view.count, 1u);
  EXPECT_EQ(view.reason, VoidReason::kUnknown);
}

TEST(FrameDecode, CountsOneSequenceForDataAndNoneForPadding) {
  FrameView view;
  ASSERT_EQ(decode_frame(data_frame(1, count_up(16)), kLog, view), FrameStatus::kOk);
  EXPECT_EQ(view.count, 1u);
  const Bytes padding = encoded({FrameType::kPadding, 0, 1, 2, 8}, Bytes(8));
  ASSERT_EQ(decode_frame(padding, kLog, view), FrameStatus::kOk);
  EXPECT_EQ(view.count, 0u);
  EXPECT_TRUE(view.payload.empty());
}

TEST(FrameDecode, ClearsTheViewWhenItRefuses) {
  FrameView view;
  ASSERT_EQ(decode_frame(data_frame(9, count_up(16)), kLog, view), FrameStatus::kOk);
  ASSERT_EQ(decode_frame(Bytes(64), kLog, view), FrameStatus::kBadMagic);
  EXPECT_EQ(view.sequence, 0u);
  EXPECT_TRUE(view.payload.empty());
  EXPECT_EQ(view.span, 0u);
}

TEST(FrameDecode, AcceptsNoRandomBytes) {
  std::mt19937 random(2);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes(random() % 128);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random());
    if (bytes.size() >= 8) put(bytes, 0, commit_word(static_cast<FrameType>(1 + random() % 3)));
    if (bytes.size() >= 32) put(bytes, 24, static_cast<std::uint32_t>(random() % 128));
    ASSERT_NE(decode(bytes, kLog), FrameStatus::kOk) << to_hex(bytes);
  }
}

TEST(FrameStatus, HasANameForEveryValue) {
  EXPECT_STREQ(to_string(FrameStatus::kOk), "kOk");
  EXPECT_STREQ(to_string(FrameStatus::kBadCrc), "kBadCrc");
  EXPECT_STREQ(to_string(static_cast<FrameStatus>(200)), "unknown");
}

// ---- claim words ----

static_assert(parse_claim_word(make_claim_word({1, 2, 64})) == Claim{1, 2, 64});

TEST(ClaimWord, HasTheDocumentedBits) {
  EXPECT_EQ(make_claim_word({0, 0, 32}), 0x00000010'000000C1u);
  EXPECT_EQ(make_claim_word({1, 0, 32}), 0x00000010'000001C1u);
  EXPECT_EQ(make_claim_word({0, 1, 32}), 0x00000010'000400C1u);
  EXPECT_EQ(make_claim_word({1023, 65535, kMaxClaimSpanBytes}), 0x1FFFFFFF'FFFFFFC1u);
}

TEST(ClaimWord, RoundTripsItsLimits) {
  for (const std::uint32_t participant : {0u, 1u, 512u, kMaxClaimParticipant}) {
    for (const std::uint32_t count : {0u, 1u, 256u, kMaxClaimCount}) {
      for (const std::uint64_t span :
           {std::uint64_t{32} * std::max(count, 1u), kMaxClaimSpanBytes - 8, kMaxClaimSpanBytes}) {
        const Claim claim{participant, count, span};
        ASSERT_TRUE(is_valid(claim));
        const auto parsed = parse_claim_word(make_claim_word(claim));
        ASSERT_TRUE(parsed.has_value());
        EXPECT_EQ(*parsed, claim);
      }
    }
  }
}

TEST(ClaimWord, RefusesWhatDoesNotFit) {
  EXPECT_TRUE(is_valid({0, 1, 32}));
  EXPECT_FALSE(is_valid({kMaxClaimParticipant + 1, 1, 32}));
  EXPECT_FALSE(is_valid({0, kMaxClaimCount + 1, kMaxClaimSpanBytes}));
  EXPECT_FALSE(is_valid({0, 1, 24})) << "no room for a header";
  EXPECT_FALSE(is_valid({0, 1, 36})) << "not a multiple of 8";
  EXPECT_FALSE(is_valid({0, 3, 88})) << "three frames take 96 bytes at least";
  EXPECT_FALSE(is_valid({0, 1, kMaxClaimSpanBytes + 8}));
}

TEST(ClaimWord, IsNeverTakenForACommittedFrameNorTheReverse) {
  EXPECT_NE(kClaimTag, kFrameMagic & 0xFF);
  EXPECT_FALSE(is_committed(make_claim_word({1023, 65535, kMaxClaimSpanBytes})));
  EXPECT_FALSE(parse_claim_word(commit_word(FrameType::kData)).has_value());
  EXPECT_FALSE(parse_claim_word(0).has_value());
}

TEST(ClaimWord, RefusesHostileWords) {
  const std::uint64_t good = make_claim_word({5, 2, 64});
  ASSERT_TRUE(parse_claim_word(good).has_value());
  for (int bit = 61; bit < 64; ++bit) {
    EXPECT_FALSE(parse_claim_word(good | std::uint64_t{1} << bit).has_value()) << "bit " << bit;
  }
  for (int bit = 0; bit < 8; ++bit) {
    EXPECT_FALSE(parse_claim_word(good ^ std::uint64_t{1} << bit).has_value()) << "bit " << bit;
  }
  EXPECT_FALSE(parse_claim_word(kClaimTag).has_value()) << "a span of 0 would never be stepped over";
  EXPECT_FALSE(parse_claim_word(kClaimTag | std::uint64_t{3} << 34).has_value()) << "24 bytes";
}

}  // namespace
}  // namespace hermes
