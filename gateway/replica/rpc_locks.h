/* rpc_locks: makes gRPC's locks cheap. C++, because Abseil is. */
#ifndef XEBEC_REPLICA_RPC_LOCKS_H
#define XEBEC_REPLICA_RPC_LOCKS_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Debian builds Abseil, whose mutexes gRPC takes, with its deadlock detector on: each lock taken under
 * another is entered into one graph of the whole process, under one spinlock. This turns it off; it is about
 * a tenth of the processor time of a call, and more when several threads call at once.
 */
void rpc_locks_relax(void);

#ifdef __cplusplus
}
#endif

#endif
