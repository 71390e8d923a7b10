/*
 * busy: what one replica has to do yet, and when it should be done. Pure: time is passed in. The replica is taken to work on
 * its calls one after the other, which for several at once means no more than that they take as long together.
 * What is expected of a call is what it takes the replicas of the version on average; how much longer, or less long, this
 * one takes is learned here: the mean over some 64 calls, each counted as no more than four times, or a quarter. Half of it is
 * forgotten in 10 s without a call, so that who was slow once is asked again.
 */
#ifndef XEBEC_REPLICA_BUSY_H
#define XEBEC_REPLICA_BUSY_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: idle, and like all others. */
struct busy {
    uint32_t calls;
    double excess;        /* how much longer than expected its calls take: 0.5 is half as long again */
    uint64_t since_us;    /* it began with the first of them, or will: when that was sent, or the one before was done */
    uint64_t expected_us; /* of all of them, on average */
};

/* A call goes there, of which so much is expected, as below; 0: nothing is known. */
void busy_sent(struct busy *busy, uint64_t expected_us, uint64_t now_us);
/* One is back, of which so much was expected (0: nothing). Returns how long it kept the replica busy. */
uint64_t busy_back(struct busy *busy, uint64_t expected_us, uint64_t now_us);
/*
 * It came to nothing, or is no measure: so nothing is learned of the replica. Returns the same. goes_on: we gave it up, but the
 * replica may work on it still, for models can't be interrupted; what was expected of it is waited for all the same. Else
 * overload would feed itself: each batch late behind the rest of one that was given up for being late.
 */
uint64_t busy_lost(struct busy *busy, uint64_t expected_us, bool goes_on, uint64_t now_us);
/*
 * When it can begin with another call: now_us when idle. A call that is late is expected to be late for as long
 * again: so it is with pauses, whose end nobody knows.
 */
uint64_t busy_until_us(const struct busy *busy, uint64_t now_us);
/* Until when it works on what was given up; not after now: on nothing of that kind. */
uint64_t busy_given_up_us(const struct busy *busy);
/* When it should be done with another call, of which so much is expected, were it sent now. */
uint64_t busy_done_us(const struct busy *busy, uint64_t expected_us, uint64_t now_us);
/* What its calls take, of what was expected of them: 2 is twice as long. All replicas of a version may become slower at once. */
double busy_slowness(const struct busy *busy);

/* What all replicas of a version can take. */
struct busy_outlook {
    uint32_t ready;
    uint32_t max_rows; /* of one call, at the smallest of them; UINT32_MAX: any */
    uint64_t start_us; /* when the first of them should be able to begin with another call; not after now: one can */
    uint64_t given_up_us; /* of that one: until when it works on what was given up; not after now: on nothing of that kind */
    double slowness;   /* of that one: what its calls take, of what those of all take on average */
};

#endif
