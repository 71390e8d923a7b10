/*
 * redis_voice: with how many clients of one server, on as many loops, speak as one: redis_down is logged when the first of
 * them is without it, redis_up when all have it, at the start too. Any thread.
 */
#ifndef XEBEC_SUPPORT_REDIS_VOICE_H
#define XEBEC_SUPPORT_REDIS_VOICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct redis_voice {
    pthread_mutex_t lock;
    uint32_t clients, up;
    bool down_said;
};
void redis_voice_init(struct redis_voice *voice);
void redis_voice_clear(struct redis_voice *voice); /* its clients are gone */

/* One client, as its voice counts it. */
struct redis_speaker {
    struct redis_voice *voice;
    const char *use, *name; /* for the log */
    bool is_up;             /* the voice's lock */
};
void redis_speaker_join(struct redis_speaker *speaker); /* down, which is not worth a line yet */
void redis_speaker_leave(struct redis_speaker *speaker);
void redis_speaker_up(struct redis_speaker *speaker);
void redis_speaker_down(struct redis_speaker *speaker, const char *why);

#endif
