/* redis_voice: counts who is up, and says what is new of all of them. */
#include "support/redis_voice.h"

#include "support/log.h"

void redis_voice_init(struct redis_voice *voice)
{
    *voice = (struct redis_voice){.clients = 0};
    pthread_mutex_init(&voice->lock, NULL);
}

void redis_voice_clear(struct redis_voice *voice)
{
    pthread_mutex_destroy(&voice->lock);
}

void redis_speaker_join(struct redis_speaker *speaker)
{
    pthread_mutex_lock(&speaker->voice->lock);
    speaker->voice->clients++;
    pthread_mutex_unlock(&speaker->voice->lock);
}

void redis_speaker_leave(struct redis_speaker *speaker)
{
    struct redis_voice *voice = speaker->voice;
    pthread_mutex_lock(&voice->lock);
    voice->clients--;
    voice->up -= speaker->is_up;
    pthread_mutex_unlock(&voice->lock);
}

void redis_speaker_up(struct redis_speaker *speaker)
{
    struct redis_voice *voice = speaker->voice;
    pthread_mutex_lock(&voice->lock);
    voice->up += !speaker->is_up;
    speaker->is_up = true;
    bool all = voice->up == voice->clients;
    if (all)
        voice->down_said = false;
    uint32_t clients = voice->clients;
    pthread_mutex_unlock(&voice->lock);
    if (all)
        log_info("redis_up", LOG_TEXT("use", speaker->use), LOG_INT("clients", clients));
}

void redis_speaker_down(struct redis_speaker *speaker, const char *why)
{
    struct redis_voice *voice = speaker->voice;
    pthread_mutex_lock(&voice->lock);
    bool first = !voice->down_said;
    voice->down_said = true;
    voice->up -= speaker->is_up;
    speaker->is_up = false;
    pthread_mutex_unlock(&voice->lock);
    if (first)
        log_warn("redis_down", LOG_TEXT("use", speaker->use), LOG_TEXT("client", speaker->name),
                 LOG_TEXT("why", why));
}
