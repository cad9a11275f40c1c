#pragma once

#include "core/status.h"

namespace hermes {

/// Starts a detached thread that runs `main(argument)`. kLimit if the kernel gives no further one: never an abort, as std::thread would be in
/// a program without exceptions. Its signals stay with the program's own threads.
Status start_thread(const char* name, void (*main)(void*), void* argument);

}  // namespace hermes
