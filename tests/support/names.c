/* names: a table, and addrinfos made of it by the C library. */
#include "names.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES = 4, ROOM = 8192 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char name[32], addresses[ROOM];
} table[NAMES];
static int failing;
static uint32_t asked;

void names_say(const char *name, const char *addresses)
{
    pthread_mutex_lock(&lock);
    int at = 0;
    while (at < NAMES - 1 && table[at].name[0] && strcmp(table[at].name, name) != 0)
        at++;
    snprintf(table[at].name, sizeof table[at].name, "%s", name);
    snprintf(table[at].addresses, ROOM, "%s", addresses ? addresses : "");
    pthread_mutex_unlock(&lock);
}

void names_fail(int failure)
{
    pthread_mutex_lock(&lock);
    failing = failure;
    pthread_mutex_unlock(&lock);
}

uint32_t names_asked(void)
{
    pthread_mutex_lock(&lock);
    uint32_t so_far = asked;
    pthread_mutex_unlock(&lock);
    return so_far;
}

static int make(char *addresses, struct addrinfo **found)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    char *rest;
    for (char *each = strtok_r(addresses, " ", &rest); each; each = strtok_r(NULL, " ", &rest)) {
        char *colon = strrchr(each, ':');
        *colon = '\0';
        if (getaddrinfo(each, colon + 1, &hints, found) != 0)
            abort();
        while (*found)
            found = &(*found)->ai_next;
    }
    return 0;
}

int names_look_up(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
    (void)port, (void)hints;
    char addresses[ROOM] = "";
    pthread_mutex_lock(&lock);
    asked++;
    int failure = failing;
    for (int i = 0; i < NAMES; i++)
        if (!strcmp(table[i].name, host))
            strcpy(addresses, table[i].addresses);
    pthread_mutex_unlock(&lock);
    *found = NULL;
    if (failure)
        return failure;
    return addresses[0] ? make(addresses, found) : EAI_NONAME;
}
