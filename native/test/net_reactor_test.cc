#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "core/net/reactor.h"

#if defined(__linux__)

namespace hermes {
namespace {

/// A client that waits for what it asks for.
class Client {
 public:
  explicit Client(uint16_t port) : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(descriptor_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  }
  ~Client() { close(); }
  bool connected() const { return connected_; }
  void send(const std::string& text) const {
    ASSERT_EQ(::send(descriptor_, text.data(), text.size(), 0), ssize_t(text.size()));
  }
  /// Up to `bytes`, or to the end of what the other side says.
  std::string read(size_t bytes) const {
    std::string all(bytes, 0);
    size_t got = 0;
    while (got < bytes) {
      const ssize_t part = ::recv(descriptor_, all.data() + got, bytes - got, 0);
      if (part <= 0) break;
      got += static_cast<size_t>(part);
    }
    all.resize(got);
    return all;
  }
  void end() const { (void)::shutdown(descriptor_, SHUT_WR); }
  void reset() {
    const linger now = {1, 0};
    (void)::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  void close() {
    if (descriptor_ >= 0) (void)::close(descriptor_);
    descriptor_ = -1;
  }

 private:
  int descriptor_;
  bool connected_ = false;
};

/// A reactor that listens, and how a test has it work.
struct Served {
  Reactor reactor;

  Served() {
    EXPECT_TRUE(reactor.open().ok());
    EXPECT_TRUE(reactor.listen("127.0.0.1", 0).ok());
  }
  /// Sleeps until there is an event, as an event loop does, for five seconds at most.
  std::vector<Poller::Event> wait() {
    pollfd asked = {reactor.descriptor(), POLLIN, 0};
    if (::poll(&asked, 1, 5000) <= 0) return {};
    std::array<Poller::Event, 16> events;
    return {events.begin(), events.begin() + static_cast<std::ptrdiff_t>(reactor.look(events, 1))};
  }
  uint32_t accept() {
    for (;;) {
      uint32_t key = 0;
      const TransferResult result = reactor.accept(&key);
      if (result.outcome == Transfer::kDone) return key;
      if (wait().empty()) return 0;
    }
  }
  std::string receive(uint32_t key, TransferResult* last) {
    std::array<std::byte, 4096> buffer;
    for (;;) {
      *last = reactor.find(key)->receive(buffer.data(), buffer.size());
      if (last->outcome != Transfer::kLater) break;
      if (wait().empty()) break;
    }
    return {reinterpret_cast<const char*>(buffer.data()), last->bytes};
  }
};

TransferResult say(Connection& connection, const std::string& text, bool hold = false) {
  return connection.write(reinterpret_cast<const std::byte*>(text.data()), text.size(), hold);
}

TEST(Reactor, tells_of_connections_and_of_what_they_say) {
  Served served;
  EXPECT_GT(served.reactor.port(), 0);
  const Client client(served.reactor.port());
  ASSERT_TRUE(client.connected());
  const auto events = served.wait();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].key, Reactor::kListener);
  const uint32_t key = served.accept();
  ASSERT_NE(key, Reactor::kListener);
  Connection& connection = *served.reactor.find(key);
  EXPECT_EQ(connection.socket().peer(), "127.0.0.1");
  client.send("hello");
  // Nobody has asked for it yet.
  std::array<Poller::Event, 4> none;
  EXPECT_EQ(served.reactor.look(none, 100), 0u);
  TransferResult result;
  ASSERT_TRUE(connection.resume().ok());
  EXPECT_EQ(served.receive(key, &result), "hello");
  EXPECT_EQ(connection.received(), 5u);
  EXPECT_EQ(say(connection, "who ", true).bytes, 0u);
  EXPECT_EQ(connection.waiting(), 4u);
  EXPECT_EQ(say(connection, "are ", true).bytes, 0u);
  EXPECT_EQ(say(connection, "you?").bytes, 12u);
  EXPECT_EQ(connection.waiting(), 0u);
  EXPECT_EQ(client.read(12), "who are you?");
}

TEST(Reactor, stops_reading_while_it_is_paused) {
  Served served;
  const Client client(served.reactor.port());
  const uint32_t key = served.accept();
  Connection& connection = *served.reactor.find(key);
  ASSERT_TRUE(connection.resume().ok());
  connection.pause();
  client.send("x");
  std::array<Poller::Event, 4> none;
  std::array<std::byte, 16> buffer;
  EXPECT_EQ(served.reactor.look(none, 1000), 0u);
  EXPECT_EQ(connection.receive(buffer.data(), buffer.size()).outcome, Transfer::kLater);
  ASSERT_TRUE(connection.resume().ok());
  TransferResult result;
  EXPECT_EQ(served.receive(key, &result), "x");
}

TEST(Reactor, keeps_what_the_kernel_has_no_room_for_and_tells_when_it_has) {
  Served served;
  const Client client(served.reactor.port());
  const uint32_t key = served.accept();
  Connection& connection = *served.reactor.find(key);
  const auto text = std::make_shared<std::string>();
  for (int n = 0; text->size() < (32u << 20); ++n) *text += std::to_string(n) + ' ';
  const TransferResult begun =
      connection.write(reinterpret_cast<const std::byte*>(text->data()), text->size(), false, text);
  EXPECT_EQ(begun.outcome, Transfer::kLater);
  EXPECT_GT(connection.waiting(), 0u);
  EXPECT_EQ(connection.waiting() + connection.sent(), text->size());
  EXPECT_GT(text.use_count(), 1);
  (void)connection.end();
  std::string got;
  std::thread reading([&] { got = client.read(text->size() + 1); });
  while (connection.waiting() > 0) {
    const auto events = served.wait();
    ASSERT_EQ(events.size(), 1u);
    ASSERT_EQ(events[0].what, Poller::kWritable);
    (void)connection.flush();
  }
  reading.join();
  EXPECT_EQ(got, *text);
  EXPECT_EQ(text.use_count(), 1);
  EXPECT_FALSE(connection.is_over());
  client.end();
  TransferResult result;
  ASSERT_TRUE(connection.resume().ok());
  (void)served.receive(key, &result);
  EXPECT_EQ(result.outcome, Transfer::kEnded);
  EXPECT_TRUE(connection.is_over());
}

TEST(Reactor, a_connection_that_was_reset_fails_once_it_is_read_or_written_and_says_no_more) {
  Served served;
  for (const bool reads : {true, false}) {
    Client client(served.reactor.port());
    const uint32_t key = served.accept();
    Connection& connection = *served.reactor.find(key);
    ASSERT_TRUE(connection.resume().ok());
    client.reset();
    ASSERT_EQ(served.wait().size(), 1u);
    std::array<std::byte, 16> buffer;
    const TransferResult result = reads ? connection.receive(buffer.data(), buffer.size()) : say(connection, "x");
    EXPECT_EQ(result.outcome, Transfer::kFailed);
    EXPECT_NE(result.error, 0);
    EXPECT_EQ(say(connection, "y").outcome, Transfer::kFailed);
    std::array<Poller::Event, 4> none;
    EXPECT_EQ(served.reactor.look(none, 100), 0u);
    served.reactor.remove(key);
    EXPECT_EQ(served.reactor.find(key), nullptr);
  }
}

TEST(Reactor, gives_keys_out_again_and_never_those_in_use) {
  Served served;
  const Client one(served.reactor.port());
  const uint32_t first = served.accept();
  const Client two(served.reactor.port());
  const uint32_t second = served.accept();
  EXPECT_NE(first, second);
  served.reactor.remove(first);
  served.reactor.remove(first);
  const Client three(served.reactor.port());
  EXPECT_EQ(served.accept(), first);
  const Client four(served.reactor.port());
  const uint32_t fourth = served.accept();
  EXPECT_NE(fourth, first);
  EXPECT_NE(fourth, second);
}

TEST(Reactor, without_a_descriptor_turns_connections_away_and_goes_on_once_there_is_one) {
  // In a process of its own: its limit of descriptors is changed.
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Reactor reactor;
    if (!reactor.open().ok() || !reactor.listen("127.0.0.1", 0).ok()) ::_exit(10);
    Client client(reactor.port());
    Client next(reactor.port());
    if (!client.connected() || !next.connected()) ::_exit(11);
    rlimit before;
    (void)::getrlimit(RLIMIT_NOFILE, &before);
    rlimit none = {0, before.rlim_max};
    (void)::setrlimit(RLIMIT_NOFILE, &none);
    uint32_t key = 0;
    TransferResult result = reactor.accept(&key);
    // (the limit is below every descriptor: not even the spare one can be had again)
    if (result.error != EMFILE) ::_exit(12);
    (void)::setrlimit(RLIMIT_NOFILE, &before);
    for (int tries = 0; tries < 1000; ++tries) {
      result = reactor.accept(&key);
      if (result.outcome == Transfer::kDone) ::_exit(0);
      (void)::usleep(1000);
    }
    ::_exit(13);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(Reactor, accepts_nothing_while_that_is_paused_and_nothing_after_it_was_stopped) {
  Served served;
  served.reactor.pause_listening();
  const Client client(served.reactor.port());
  std::array<Poller::Event, 4> none;
  EXPECT_EQ(served.reactor.look(none, 1000), 0u);
  EXPECT_TRUE(served.reactor.resume_listening());
  EXPECT_NE(served.accept(), 0u);
  const uint16_t port = served.reactor.port();
  served.reactor.stop();
  EXPECT_EQ(served.reactor.port(), 0);
  uint32_t key = 0;
  EXPECT_EQ(served.reactor.accept(&key).outcome, Transfer::kLater);
  EXPECT_FALSE(Client(port).connected());
}

TEST(Reactor, says_why_it_can_not_listen) {
  Served served;
  Reactor other;
  ASSERT_TRUE(other.open().ok());
  const Status taken = other.listen("127.0.0.1", served.reactor.port());
  EXPECT_EQ(taken.sys_errno, EADDRINUSE);
  EXPECT_EQ(other.listen("no address", 0).code, Code::kInvalidArgument);
}

TEST(ReactorThreads, one_for_each_thread_serves_echoes_side_by_side) {
  constexpr int kThreads = 4;
  constexpr int kEchoes = 500;
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      Served served;
      const Client client(served.reactor.port());
      const uint32_t key = served.accept();
      Connection& connection = *served.reactor.find(key);
      if (!connection.resume().ok()) return;
      for (int n = 0; n < kEchoes; ++n) {
        TransferResult result;
        client.send("ping");
        std::string heard;
        while (heard.size() < 4) heard += served.receive(key, &result);
        (void)say(connection, heard);
        if (client.read(4) != "ping") return;
      }
      ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good.load(), kThreads);
}

}  // namespace
}  // namespace hermes

#endif
