/*
 * resolve: questions, the lookups that answer them, and the threads that look up.
 *
 *   question states:  ASKED ---> ANSWERED (posted to its loop) ---> done()
 *                       |            |
 *                       |            '-- resolve_cancel(): the posted task frees it, without done()
 *                       '-- its time is up: done();  resolve_cancel(): freed
 *
 * The lock guards lookups, who waits for which, and the threads' number. It is never held over getaddrinfo().
 */
#include "support/resolve.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    THREADS_MAX = 16,      /* names that may hang at once before others wait for them */
    PATIENCE_US = 10000000 /* the C library gives a silent server 5 s, then asks the next one */
};

/* Room for a numeric address with brackets, scope and port. */
struct spelling {
    char text[88];
};

/* What a lookup found; immutable, shared by all who asked. */
struct answer {
    _Atomic uint32_t refs;
    struct resolve_answer said;
    char why[128];
    const char *addresses[RESOLVE_ADDRESSES_MAX];
    struct spelling spellings[];
};

/* One getaddrinfo(), waiting for a thread or running on one. */
struct lookup {
    struct lookup *next;
    bool running;
    struct resolve_question *questions;
    const char *port; /* lies behind the host */
    char host[];
};

struct resolver {
    resolver_lookup *look_up;
    uint64_t patience_us;
    pthread_mutex_t lock;
    pthread_cond_t more;
    uint32_t refs; /* the owner's, one a question, one a thread */
    bool closed;
    struct lookup *lookups; /* oldest first */
    uint32_t n_waiting;     /* of them, not running */
    uint32_t n_threads, n_idle;
};

struct resolve_question {
    struct loop_task task;
    struct loop_timer timer;
    struct resolver *resolver;
    struct loop *loop;
    void (*done)(void *owner, const struct resolve_answer *answer); /* NULL: cancelled */
    void *owner;
    enum { ASKED, ANSWERED } state;        /* under the lock, as what follows */
    struct answer *answer;                 /* ANSWERED; NULL: there was no memory for one */
    struct lookup *lookup;                 /* ASKED; NULL: there was no memory for one */
    struct resolve_question *next, **link; /* in lookup->questions */
};

static void resolver_unlock_and_release(struct resolver *resolver);
static bool resolver_staff(struct resolver *resolver);
static void *resolver_work(void *owner);
static struct lookup *lookup_join(struct resolver *resolver, const char *host, const char *port);
static void lookup_drop_unasked(struct resolver *resolver, struct lookup *lookup);
static void lookup_answered(struct resolver *resolver, struct lookup *lookup, struct answer *answer);
static void question_link(struct resolve_question *question, struct lookup *lookup);
static void question_unlink(struct resolve_question *question);
static void question_answered(struct loop_task *task);
static void question_timed_out(struct loop_timer *timer);
static struct answer *answer_new(int failure, const struct addrinfo *found);
static void answer_unref(struct answer *answer);

/* --- the resolver --- */

struct resolver *resolver_new(void)
{
    return resolver_new_with(getaddrinfo, PATIENCE_US);
}

struct resolver *resolver_new_with(resolver_lookup *look_up, uint64_t patience_us)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver)
        return NULL;
    resolver->look_up = look_up;
    resolver->patience_us = patience_us;
    resolver->refs = 1;
    pthread_mutex_init(&resolver->lock, NULL);
    pthread_cond_init(&resolver->more, NULL);
    return resolver;
}

void resolver_free(struct resolver *resolver)
{
    if (!resolver)
        return;
    pthread_mutex_lock(&resolver->lock);
    resolver->closed = true;
    struct lookup *next;
    for (struct lookup *lookup = resolver->lookups; lookup; lookup = next) {
        next = lookup->next;
        for (struct resolve_question *question; (question = lookup->questions);) {
            question_unlink(question);
            loop_timer_cancel(question->loop, &question->timer);
            free(question);
            resolver->refs--;
        }
        lookup_drop_unasked(resolver, lookup);
    }
    pthread_cond_broadcast(&resolver->more);
    resolver_unlock_and_release(resolver);
}

static void resolver_unlock_and_release(struct resolver *resolver)
{
    bool last = --resolver->refs == 0;
    pthread_mutex_unlock(&resolver->lock);
    if (!last)
        return;
    pthread_cond_destroy(&resolver->more);
    pthread_mutex_destroy(&resolver->lock);
    free(resolver);
}

/* --- questions --- */

struct resolve_question *resolve_start(struct resolver *resolver, struct loop *loop, const char *host,
                                       const char *port,
                                       void (*done)(void *owner, const struct resolve_answer *answer),
                                       void *owner)
{
    struct resolve_question *question = malloc(sizeof *question);
    if (!question)
        return NULL;
    *question = (struct resolve_question){.task.run = question_answered,
                                          .timer.fire = question_timed_out,
                                          .resolver = resolver,
                                          .loop = loop,
                                          .done = done,
                                          .owner = owner};
    if (loop_timer_set(loop, &question->timer, loop_now_us() + resolver->patience_us) != GW_OK) {
        free(question);
        return NULL;
    }
    pthread_mutex_lock(&resolver->lock);
    resolver->refs++;
    struct lookup *lookup = lookup_join(resolver, host, port);
    if (lookup)
        question_link(question, lookup);
    bool staffed = lookup && resolver_staff(resolver);
    pthread_mutex_unlock(&resolver->lock);
    if (staffed)
        return question;
    resolve_cancel(question);
    return NULL;
}

void resolve_cancel(struct resolve_question *question)
{
    struct resolver *resolver = question->resolver;
    loop_timer_cancel(question->loop, &question->timer);
    pthread_mutex_lock(&resolver->lock);
    if (question->state == ANSWERED) {
        question->done = NULL; /* the task is on its way, and frees it */
        pthread_mutex_unlock(&resolver->lock);
        return;
    }
    struct lookup *lookup = question->lookup;
    if (lookup) {
        question_unlink(question);
        lookup_drop_unasked(resolver, lookup);
    }
    resolver_unlock_and_release(resolver);
    free(question);
}

static void question_link(struct resolve_question *question, struct lookup *lookup)
{
    question->lookup = lookup;
    question->next = lookup->questions;
    question->link = &lookup->questions;
    if (question->next)
        question->next->link = &question->next;
    lookup->questions = question;
}

static void question_unlink(struct resolve_question *question)
{
    *question->link = question->next;
    if (question->next)
        question->next->link = question->link;
}

static void question_answered(struct loop_task *task)
{
    static const struct resolve_answer no_memory = {.status = GW_E_NO_MEMORY, .why = "out of memory"};
    struct resolve_question *question = container_of(task, struct resolve_question, task);
    loop_timer_cancel(question->loop, &question->timer);
    if (question->done)
        question->done(question->owner, question->answer ? &question->answer->said : &no_memory);
    answer_unref(question->answer);
    pthread_mutex_lock(&question->resolver->lock);
    resolver_unlock_and_release(question->resolver);
    free(question);
}

static void question_timed_out(struct loop_timer *timer)
{
    static const struct resolve_answer silence = {.status = GW_E_DEADLINE,
                                                  .why = "the name servers did not answer in time"};
    struct resolve_question *question = container_of(timer, struct resolve_question, timer);
    pthread_mutex_lock(&question->resolver->lock);
    bool answered = question->state == ANSWERED;
    pthread_mutex_unlock(&question->resolver->lock);
    if (answered)
        return; /* at the last moment */
    void (*done)(void *owner, const struct resolve_answer *answer) = question->done;
    void *owner = question->owner;
    resolve_cancel(question);
    done(owner, &silence);
}

/* --- lookups: under the lock --- */

/* The one that is under way for this name, or a new one. NULL: out of memory. */
static struct lookup *lookup_join(struct resolver *resolver, const char *host, const char *port)
{
    struct lookup **end = &resolver->lookups;
    for (; *end; end = &(*end)->next)
        if (!strcmp((*end)->host, host) && !strcmp((*end)->port, port))
            return *end;
    size_t host_size = strlen(host) + 1, port_size = strlen(port) + 1;
    struct lookup *lookup = malloc(sizeof *lookup + host_size + port_size);
    if (!lookup)
        return NULL;
    *lookup = (struct lookup){.port = lookup->host + host_size};
    memcpy(lookup->host, host, host_size);
    memcpy(lookup->host + host_size, port, port_size);
    resolver->n_waiting++;
    return *end = lookup;
}

static void lookup_unlink(struct resolver *resolver, const struct lookup *lookup)
{
    struct lookup **link = &resolver->lookups;
    while (*link != lookup)
        link = &(*link)->next;
    *link = lookup->next;
}

/* One that runs is its thread's to free. */
static void lookup_drop_unasked(struct resolver *resolver, struct lookup *lookup)
{
    if (lookup->questions || lookup->running)
        return;
    lookup_unlink(resolver, lookup);
    resolver->n_waiting--;
    free(lookup);
}

static void lookup_answered(struct resolver *resolver, struct lookup *lookup, struct answer *answer)
{
    lookup_unlink(resolver, lookup);
    for (struct resolve_question *question; (question = lookup->questions);) {
        question_unlink(question);
        question->state = ANSWERED;
        question->answer = answer;
        if (answer)
            atomic_fetch_add(&answer->refs, 1);
        loop_post(question->loop, &question->task);
    }
    free(lookup);
}

/* --- threads --- */

/* A thread for every lookup that waits, as long as there may be more. False: there is none at all. Under the
 * lock. */
static bool resolver_staff(struct resolver *resolver)
{
    if (resolver->n_waiting > resolver->n_idle && resolver->n_threads < THREADS_MAX) {
        pthread_t thread;
        sigset_t all, before; /* signals are for the thread that expects them */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&thread, NULL, resolver_work, resolver) == 0) {
            pthread_detach(thread);
            pthread_setname_np(thread, "xebec-resolve");
            resolver->n_threads++;
            resolver->refs++;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_cond_signal(&resolver->more);
    return resolver->n_threads > 0;
}

/* Waits for a lookup to run, and takes it. NULL: this thread is not needed any more. Under the lock. */
static struct lookup *resolver_take(struct resolver *resolver)
{
    while (!resolver->n_waiting) {
        if (resolver->closed || resolver->n_idle)
            return NULL; /* one is enough to wait for the next */
        resolver->n_idle++;
        pthread_cond_wait(&resolver->more, &resolver->lock);
        resolver->n_idle--;
    }
    struct lookup *lookup = resolver->lookups;
    while (lookup->running)
        lookup = lookup->next;
    lookup->running = true;
    resolver->n_waiting--;
    return lookup;
}

static struct answer *lookup_run(const struct resolver *resolver, const struct lookup *lookup)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failure = resolver->look_up(lookup->host, lookup->port, &hints, &found);
    struct answer *answer = answer_new(failure, failure ? NULL : found);
    if (!failure)
        freeaddrinfo(found);
    return answer;
}

static void *resolver_work(void *owner)
{
    struct resolver *resolver = owner;
    pthread_mutex_lock(&resolver->lock);
    for (struct lookup *lookup; (lookup = resolver_take(resolver));) {
        pthread_mutex_unlock(&resolver->lock);
        struct answer *answer = lookup_run(resolver, lookup);
        pthread_mutex_lock(&resolver->lock);
        lookup_answered(resolver, lookup, answer);
        answer_unref(answer);
    }
    resolver->n_threads--;
    resolver_unlock_and_release(resolver);
    return NULL;
}

/* --- answers --- */

static enum gw_status status_of(int failure)
{
    switch (failure) {
    case 0:
        return GW_OK;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return GW_E_NOT_FOUND;
    case EAI_MEMORY:
        return GW_E_NO_MEMORY;
    default:
        return GW_E_INTERNAL;
    }
}

static bool spell(struct spelling *spelling, const struct addrinfo *address)
{
    char host[64], port[8];
    if (getnameinfo(address->ai_addr, address->ai_addrlen, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    const char *form = address->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s";
    snprintf(spelling->text, sizeof spelling->text, form, host, port);
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct spelling *)a)->text, ((const struct spelling *)b)->text);
}

/* Writes down what was found, sorted and each once. */
static void answer_spell(struct answer *answer, const struct addrinfo *found)
{
    struct resolve_answer *said = &answer->said;
    size_t n = 0;
    for (const struct addrinfo *address = found; address; address = address->ai_next)
        n += spell(&answer->spellings[n], address);
    qsort(answer->spellings, n, sizeof *answer->spellings, by_text);
    for (size_t i = 0; i < n; i++) {
        if (i && !by_text(&answer->spellings[i - 1], &answer->spellings[i]))
            continue;
        if (said->n_found++ < RESOLVE_ADDRESSES_MAX)
            answer->addresses[said->n_addresses++] = answer->spellings[i].text;
    }
}

static struct answer *answer_new(int failure, const struct addrinfo *found)
{
    size_t n = 0;
    for (const struct addrinfo *address = found; address; address = address->ai_next)
        n++;
    struct answer *answer = malloc(sizeof *answer + n * sizeof *answer->spellings);
    if (!answer)
        return NULL;
    answer->refs = 1;
    answer->said = (struct resolve_answer){
        .status = status_of(failure), .why = answer->why, .addresses = answer->addresses};
    snprintf(answer->why, sizeof answer->why, "%s", failure ? gai_strerror(failure) : "");
    answer_spell(answer, found);
    if (!failure && !answer->said.n_addresses) {
        answer->said.status = GW_E_NOT_FOUND;
        snprintf(answer->why, sizeof answer->why, "the name has no address");
    }
    return answer;
}

static void answer_unref(struct answer *answer)
{
    if (answer && atomic_fetch_sub(&answer->refs, 1) == 1)
        free(answer);
}
