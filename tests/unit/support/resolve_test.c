/* resolve: the real C library where it needs no network, and lookups that lie or hang. */
#include "support/resolve.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "turn.h"

#define SOON_MS    5000
#define PATIENT_US 3600000000

static struct loop *loop;
static struct resolver *resolver;

/* --- a lookup that does as it is told: static, for lookups know no owner --- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* locked: lookups of "slow" hang */
static _Atomic unsigned lookups;

static int look_up_numbers(const char *const *hosts, const char *port, struct addrinfo **found)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    for (struct addrinfo **end = found; *hosts; hosts++) {
        if (getaddrinfo(*hosts, port, &hints, end) != 0)
            abort();
        while (*end)
            end = &(*end)->ai_next;
    }
    return 0;
}

static int look_up_many(const char *port, struct addrinfo **found)
{
    char spelled[300][16];
    const char *hosts[601];
    for (int i = 0; i < 600; i++) {
        snprintf(spelled[i % 300], sizeof spelled[0], "10.0.%d.%d", (i % 300) / 100, (i % 300) % 100);
        hosts[i] = spelled[i % 300]; /* each of them twice */
    }
    hosts[600] = NULL;
    return look_up_numbers(hosts, port, found);
}

static int scripted(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
    (void)hints;
    lookups++;
    if (!strcmp(host, "slow")) {
        pthread_mutex_lock(&gate);
        pthread_mutex_unlock(&gate);
    }
    if (!strcmp(host, "many"))
        return look_up_many(port, found);
    if (!strcmp(host, "none"))
        return EAI_NONAME;
    if (!strcmp(host, "empty"))
        return EAI_NODATA;
    if (!strcmp(host, "broken"))
        return EAI_AGAIN;
    if (!strcmp(host, "starved"))
        return EAI_MEMORY;
    return look_up_numbers((const char *const[]){"10.0.0.9", "fd00::1", "10.0.0.2", "10.0.0.9", NULL}, port,
                           found);
}

/* --- questions --- */

struct hearing {
    struct resolve_question *question;
    unsigned times;
    enum gw_status status;
    char why[128], addresses[512]; /* with a space after each */
    uint32_t n_addresses, n_found;
};

static void heard(void *owner, const struct resolve_answer *answer)
{
    struct hearing *hearing = owner;
    hearing->times++;
    hearing->status = answer->status;
    hearing->n_addresses = answer->n_addresses;
    hearing->n_found = answer->n_found;
    snprintf(hearing->why, sizeof hearing->why, "%s", answer->why);
    for (uint32_t i = 0; i < answer->n_addresses && i < 8; i++) {
        strcat(hearing->addresses, answer->addresses[i]);
        strcat(hearing->addresses, " ");
    }
}

static void ask(struct hearing *hearing, const char *host, const char *port)
{
    *hearing = (struct hearing){0};
    hearing->question = resolve_start(resolver, loop, host, port, heard, hearing);
    cr_assert_not_null(hearing->question);
    cr_assert_eq(hearing->times, 0, "done ran inside resolve_start()");
}

static bool is_heard(void *hearing)
{
    return ((struct hearing *)hearing)->times > 0;
}

static void expect(struct hearing *hearing, enum gw_status status, const char *addresses)
{
    cr_assert(turn_until(loop, is_heard, hearing, SOON_MS));
    cr_assert_eq(hearing->status, status, "%d %s", hearing->status, hearing->why);
    cr_assert_str_eq(hearing->addresses, addresses);
    cr_assert_eq(hearing->times, 1);
    cr_assert_eq(hearing->why[0] == '\0', status == GW_OK, "%s", hearing->why);
}

static void open_scripted(uint64_t patience_us)
{
    loop = loop_new();
    resolver = resolver_new_with(scripted, patience_us);
    cr_assert(loop && resolver);
}

static void close_all(void)
{
    resolver_free(resolver);
    loop_free(loop);
}

Test(resolve, asks_the_c_library)
{
    struct hearing four, six, local;
    loop = loop_new();
    resolver = resolver_new();
    ask(&four, "127.0.0.1", "9000");
    ask(&six, "::1", "9001");
    ask(&local, "localhost", "9002"); /* of /etc/hosts */
    expect(&four, GW_OK, "127.0.0.1:9000 ");
    expect(&six, GW_OK, "[::1]:9001 ");
    cr_assert(turn_until(loop, is_heard, &local, SOON_MS));
    cr_assert(strstr(local.addresses, "127.0.0.1:9002 "), "%s", local.addresses);
    close_all();
}

Test(resolve, addresses_are_sorted_and_each_comes_once)
{
    struct hearing one;
    open_scripted(PATIENT_US);
    ask(&one, "some", "80");
    expect(&one, GW_OK, "10.0.0.2:80 10.0.0.9:80 [fd00::1]:80 ");
    cr_assert_eq(one.n_found, 3);
    close_all();
}

Test(resolve, there_are_256_addresses_at_most)
{
    struct hearing one;
    open_scripted(PATIENT_US);
    ask(&one, "many", "80");
    cr_assert(turn_until(loop, is_heard, &one, SOON_MS));
    cr_assert_eq(one.n_addresses, RESOLVE_ADDRESSES_MAX);
    cr_assert_eq(one.n_found, 300);
    close_all();
}

Test(resolve, no_such_name_is_not_the_same_as_no_answer)
{
    struct hearing none, empty, broken, starved;
    open_scripted(PATIENT_US);
    ask(&none, "none", "80");
    ask(&empty, "empty", "80");
    ask(&broken, "broken", "80");
    ask(&starved, "starved", "80");
    expect(&none, GW_E_NOT_FOUND, "");
    expect(&empty, GW_E_NOT_FOUND, "");
    expect(&broken, GW_E_INTERNAL, "");
    expect(&starved, GW_E_NO_MEMORY, "");
    close_all();
}

/* --- what hangs --- */

Test(resolve, a_name_that_hangs_ends_in_time_and_holds_nobody_else)
{
    struct hearing slow, other;
    open_scripted(50000);
    pthread_mutex_lock(&gate);
    ask(&slow, "slow", "80");
    ask(&other, "other", "80");
    expect(&other, GW_OK, "10.0.0.2:80 10.0.0.9:80 [fd00::1]:80 ");
    expect(&slow, GW_E_DEADLINE, "");
    ask(&slow, "slow", "80"); /* joins the lookup that still hangs */
    expect(&slow, GW_E_DEADLINE, "");
    cr_assert_eq(lookups, 2);
    ask(&slow, "slow", "80");
    pthread_mutex_unlock(&gate);
    expect(&slow, GW_OK, "10.0.0.2:80 10.0.0.9:80 [fd00::1]:80 ");
    cr_assert_eq(lookups, 2);
    close_all();
}

Test(resolve, what_many_ask_at_once_is_looked_up_once)
{
    struct hearing asks[8];
    open_scripted(PATIENT_US);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 8; i++)
        ask(&asks[i], "slow", i == 7 ? "81" : "80");
    resolve_cancel(asks[3].question);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < 7; i++)
        if (i != 3)
            expect(&asks[i], GW_OK, "10.0.0.2:80 10.0.0.9:80 [fd00::1]:80 ");
    expect(&asks[7], GW_OK, "10.0.0.2:81 10.0.0.9:81 [fd00::1]:81 ");
    cr_assert_eq(asks[3].times, 0);
    cr_assert_eq(lookups, 2);
    close_all();
}

static bool has_looked_up(void *unused)
{
    (void)unused;
    return lookups > 0;
}

Test(resolve, a_cancelled_question_is_not_answered_wherever_the_answer_is)
{
    struct hearing asked, answered;
    open_scripted(PATIENT_US);
    ask(&asked, "some", "80");
    resolve_cancel(asked.question);
    ask(&answered, "none", "80");
    cr_assert(turn_until(loop, is_heard, &answered, SOON_MS));
    ask(&answered, "none", "80");
    while (lookups < 2) { /* the loop does not turn meanwhile: the answer lies in its mailbox, or soon will */
    }
    resolve_cancel(answered.question);
    turn_for(loop, 20);
    cr_assert_eq(asked.times + answered.times, 0);
    close_all();
}

Test(resolve, more_names_than_threads_hang_and_the_rest_waits_in_vain)
{
    struct hearing asks[40];
    open_scripted(100000);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 40; i++) {
        char port[16];
        snprintf(port, sizeof port, "%d", i);
        ask(&asks[i], "slow", port);
    }
    for (int i = 0; i < 40; i++)
        expect(&asks[i], GW_E_DEADLINE, "");
    cr_assert_eq(lookups, 16);
    pthread_mutex_unlock(&gate);
    ask(&asks[0], "other", "80");
    expect(&asks[0], GW_OK, "10.0.0.2:80 10.0.0.9:80 [fd00::1]:80 ");
    close_all();
}

Test(resolve, freeing_leaves_behind_what_hangs)
{
    struct hearing slow[2];
    open_scripted(PATIENT_US);
    pthread_mutex_lock(&gate);
    ask(&slow[0], "slow", "80");
    ask(&slow[1], "slow", "81");
    cr_assert(turn_until(loop, has_looked_up, NULL, SOON_MS));
    resolver_free(resolver);
    pthread_mutex_unlock(&gate);
    turn_for(loop, 20);
    cr_assert_eq(slow[0].times + slow[1].times, 0);
    loop_free(loop);
}

Test(resolve, freeing_nothing_is_harmless)
{
    resolver_free(NULL);
}
