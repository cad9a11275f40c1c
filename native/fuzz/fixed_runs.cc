// Runs that are the same on every machine and at every time, for npm test: the kept inputs, then a fixed number of inputs that follow from them and a
// fixed seed. What libFuzzer makes of a seed depends on what it sees of threads, addresses and clocks, so a sound commit could fail by luck.
//
//   <target> --fixed-runs=N [--at-most-seconds=S] [--artifact-prefix=PATH] FOLDER
//
// Without --fixed-runs the target is libFuzzer's. An input that fails is written to PATHfixed, and `<target> PATHfixed` runs it alone.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kSeed = 20;
constexpr size_t kMaxBytes = 8192;
constexpr unsigned kSecondsPerInput = 240;  // only ends a hang

/// SplitMix64: the same numbers with every standard library.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }
  /// 0 to `limit` - 1; 0 if that is 0.
  size_t below(size_t limit) { return limit == 0 ? 0 : next() % limit; }

 private:
  uint64_t state_;
};

// For the signal handler.
const uint8_t* running = nullptr;
size_t running_bytes = 0;
char artifact[4096];

/// The input that was at work, for who looks into it. Only calls that a signal handler may make.
void write_artifact(int number) {
  const int file = ::open(artifact, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const bool written =
      file >= 0 && ::write(file, running, running_bytes) == static_cast<ssize_t>(running_bytes) && ::close(file) == 0;
  const char* const said =
      written ? "the input that failed is kept in " : "the input that failed could not be kept in ";
  (void)!::write(STDERR_FILENO, said, std::strlen(said));
  (void)!::write(STDERR_FILENO, artifact, std::strlen(artifact));
  (void)!::write(STDERR_FILENO, "\n", 1);
  ::signal(number, SIG_DFL);
  ::raise(number);
}

std::vector<Bytes> read_inputs(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path());
  std::sort(names.begin(), names.end());
  std::vector<Bytes> inputs;
  for (const std::string& name : names) {
    std::ifstream file(name, std::ios::binary);
    inputs.push_back({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
  }
  return inputs;
}

/// One of the kept inputs with some of it changed.
Bytes change(const std::vector<Bytes>& kept, Random& random) {
  constexpr uint8_t kTelling[] = {0x00, 0x01, 0x02, 0x7F, 0x80, 0xFE, 0xFF};
  Bytes input = kept[random.below(kept.size())];
  for (size_t changes = 1 + random.below(8); changes > 0; --changes) {
    const Bytes& other = kept[random.below(kept.size())];
    const size_t at = random.below(input.size());
    const auto here = input.begin() + static_cast<std::ptrdiff_t>(at);
    const size_t left = input.size() - at;
    const size_t kind = input.empty() ? 4 : random.below(7);
    if (kind == 0) input[at] ^= static_cast<uint8_t>(1 << random.below(8));
    if (kind == 1) input[at] = static_cast<uint8_t>(random.next());
    if (kind == 2) input[at] = kTelling[random.below(std::size(kTelling))];
    if (kind == 3) input.erase(here, here + static_cast<std::ptrdiff_t>(1 + random.below(std::min<size_t>(left, 16))));
    if (kind == 4) {
      Bytes more(1 + random.below(16));
      for (uint8_t& byte : more) byte = static_cast<uint8_t>(random.next());
      input.insert(input.empty() ? input.begin() : here, more.begin(), more.end());
    }
    // A piece of another input over this one, at the place that it had there; or that one's end behind this one's beginning.
    if (kind == 5 && at < other.size())
      std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(at),
                  1 + random.below(std::min(left, other.size() - at) - 1), here);
    if (kind == 6 && at < other.size()) {
      input.resize(at);
      input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(at), other.end());
    }
  }
  input.resize(std::min(input.size(), kMaxBytes));
  return input;
}

void run(const Bytes& input) {
  running = input.data();
  running_bytes = input.size();
  ::alarm(kSecondsPerInput);
  // An allocation of just this size: the sanitizer sees its end.
  const auto copy = std::make_unique<uint8_t[]>(input.size());
  std::copy(input.begin(), input.end(), copy.get());
  (void)LLVMFuzzerTestOneInput(copy.get(), input.size());
  ::alarm(0);
}

/// The value of the option `name`, or `fallback`.
std::string option(int argc, char** argv, const std::string& name, const std::string& fallback) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind(name + "=", 0) == 0) return argument.substr(name.size() + 1);
  }
  return fallback;
}

}  // namespace

/// libFuzzer calls this before it looks at its arguments.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const uint64_t runs = std::strtoull(option(*argc, *argv, "--fixed-runs", "0").c_str(), nullptr, 10);
  if (runs == 0) return 0;
  const auto seconds = std::chrono::seconds(std::atoi(option(*argc, *argv, "--at-most-seconds", "3600").c_str()));
  std::snprintf(artifact, sizeof artifact, "%sfixed", option(*argc, *argv, "--artifact-prefix", "").c_str());
  for (const int number : {SIGABRT, SIGALRM}) ::signal(number, write_artifact);

  const std::vector<Bytes> kept = read_inputs((*argv)[*argc - 1]);
  if (kept.empty()) {
    std::fprintf(stderr, "no inputs are kept in %s\n", (*argv)[*argc - 1]);
    std::exit(1);
  }
  for (const Bytes& input : kept) run(input);
  Random random(kSeed);
  const auto begin = std::chrono::steady_clock::now();
  uint64_t done = 0;
  for (; done < runs && std::chrono::steady_clock::now() - begin < seconds; ++done) run(change(kept, random));
  std::printf("%zu kept inputs and %llu of %llu runs with seed %llu%s\n", kept.size(),
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(kSeed), done < runs ? "; the time was over" : "");
  std::exit(0);
}
