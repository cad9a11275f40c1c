// Any bytes in the control file, from 0 on (first byte even) or behind its checked header (odd):
// opening says what is wrong or works; recovery never believes a position that can't be.
#include <algorithm>

#include "fuzz/topic.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  hermes::fuzz::Topic& topic = hermes::fuzz::topic();
  std::vector<char> control = topic.control;
  const size_t at = data[0] % 2 == 0 ? 0 : 128;
  std::memcpy(control.data() + at, data + 1, std::min(size - 1, control.size() - at));
  hermes::fuzz::restore(control, topic.segment);
  hermes::fuzz::exercise();
  return 0;
}
