// Two processes, one ring in shared memory. The producer is killed half-way; the consumer reads
// what was published, is told of the death, and a second producer goes on.

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "core/ring/idle.h"
#include "core/ring/ring_file.h"
#include "core/ring/spsc_byte_ring.h"

namespace {

constexpr hermes::RingShape kShape = {hermes::RingKind::kSpscBytes, 0, 65536};

// Opens the ring at `path` and takes a role. `file` must outlive the ring.
bool join(const std::string& path, hermes::RingRole role, hermes::RingFile* file,
          hermes::SpscByteRing* ring) {
  hermes::Status status = file->open(path, kShape);
  if (status.ok()) status = file->attach(role);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.context.c_str());
    return false;
  }
  if (hermes::SpscByteRing::attach(file->memory(), file->bytes(), ring) !=
      hermes::RingStatus::kOk) {
    return false;
  }
  ring->adopt(role);
  return true;
}

// Sends numbered lines for ever, or `count` of them and then closes.
int produce(const std::string& path, uint64_t count) {
  hermes::RingFile file;
  hermes::SpscByteRing ring;
  if (!join(path, hermes::RingRole::kProducer, &file, &ring)) return 1;
  for (uint64_t i = 0; count == 0 || i < count; ++i) {
    const std::string line = "line " + std::to_string(i);
    if (ring.push(line.data(), static_cast<uint32_t>(line.size()), 0, hermes::YieldIdle()) !=
        hermes::RingOp::kOk) {
      return 1;
    }
  }
  return 0;  // closing the file closes the role
}

// Reads until the producer is gone. Returns how it went: kClosed or kDead.
hermes::RingOp consume(hermes::RingFile& file, hermes::SpscByteRing& ring, pid_t victim,
                       uint64_t* lines) {
  for (;;) {
    size_t done = 0;
    const hermes::RingOp op = ring.poll([](const hermes::SpscByteRing::Frame&) {}, 256, &done);
    *lines += done;
    if (op == hermes::RingOp::kEmpty) {
      (void)file.probe();  // asks the kernel whether the producer lives
    } else if (op != hermes::RingOp::kOk) {
      return op;
    }
    if (victim != 0 && *lines > 10'000) {
      kill(victim, SIGKILL);
      waitpid(victim, nullptr, 0);
      victim = 0;
    }
  }
}

}  // namespace

int main() {
  char folder[] = "/dev/shm/hermes-example-XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  const std::string path = std::string(folder) + "/lines";

  int result = 1;
  {
    const pid_t first = fork();
    if (first == 0) _exit(produce(path, 0));
    hermes::RingFile file;
    hermes::SpscByteRing ring;
    // A consumer that comes early makes the ring itself. Until a producer is there, the ring is
    // simply empty.
    if (join(path, hermes::RingRole::kConsumer, &file, &ring)) {
      uint64_t lines = 0;
      const hermes::RingOp verdict = consume(file, ring, first, &lines);
      std::printf("the first producer %s after %llu lines\n",
                  verdict == hermes::RingOp::kDead ? "died" : "ended",
                  static_cast<unsigned long long>(lines));

      const pid_t second = fork();
      if (second == 0) _exit(produce(path, 5'000));
      uint64_t more = 0;
      while (ring.role_state(hermes::RingRole::kProducer) == hermes::ParticipantState::kDead) {
        usleep(1000);  // not there yet
      }
      const hermes::RingOp end = consume(file, ring, 0, &more);
      int status = 1;
      waitpid(second, &status, 0);
      std::printf("the second sent %llu and %s\n", static_cast<unsigned long long>(more),
                  end == hermes::RingOp::kClosed ? "ended" : "died");
      if (verdict == hermes::RingOp::kDead && end == hermes::RingOp::kClosed && more == 5'000 &&
          status == 0) {
        result = 0;
      }
    }
  }
  unlink(path.c_str());
  rmdir(folder);
  return result;
}
