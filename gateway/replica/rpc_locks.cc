/* rpc_locks: Abseil's switch, within reach of C. */
#include "replica/rpc_locks.h"

#include <absl/synchronization/mutex.h>

void rpc_locks_relax(void)
{
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}
