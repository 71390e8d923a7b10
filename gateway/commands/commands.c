/* commands: arguments -> a question -> an answer, as it came or for a person. */
#include "commands/commands.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands/ask.h"
#include "commands/print.h"
#include "config/config.h"

enum { EXIT_USAGE = 2, TOKEN_ROOM = 4096, WORDS_MAX = 2 + CONFIG_ARMS_MAX };
enum { PATIENCE_US = 10 * 1000 * 1000, RELOAD_PATIENCE_US = 60 * 1000 * 1000, ANSWER_BYTES = 64 << 20 };

#define COMMON_OPTIONS                                                                                       \
    "  --admin ADDRESS    the gateway's admin listener: host:port, [v6]:port or unix:/path; "                \
    "127.0.0.1:8081\n"                                                                                       \
    "  --json             print what the gateway answered, as it is\n"
#define TOKEN_OPTION                                                                                         \
    "  --token-file FILE  a file with the admin token; XEBEC_ADMIN_TOKEN_FILE unless it is given\n"
#define EXIT_HELP "\nexit status: 0 done, 1 refused, or the gateway cannot be asked, 2 wrong usage\n"

/* clang-format off */
static const char status_help[] = "usage: xebec status [OPTIONS]\n"
                                  "\n"
                                  "Shows the models, versions, replicas and endpoints of a running gateway.\n"
                                  "\n" COMMON_OPTIONS EXIT_HELP;
static const char reload_help[] =
    "usage: xebec reload [OPTIONS]\n"
    "\n"
    "Has a running gateway read its configuration again and go by it. A file with a problem changes nothing.\n"
    "\n" COMMON_OPTIONS TOKEN_OPTION EXIT_HELP;
static const char rollout_help[] =
    "usage: xebec rollout list                         how every endpoint shares out its requests\n"
    "       xebec rollout show ENDPOINT                one of them\n"
    "       xebec rollout set ENDPOINT ARM=WEIGHT...   other weights; arms that are not named keep theirs\n"
    "       xebec rollout reset ENDPOINT               the weights of the file again\n"
    "       xebec rollout promote ENDPOINT             a canary: all requests to the candidate\n"
    "       xebec rollout rollback ENDPOINT            a canary: all requests to the baseline\n"
    "       xebec rollout pause ENDPOINT               a canary: no further steps; it is still guarded\n"
    "       xebec rollout resume ENDPOINT              a canary: on with it\n"
    "\n"
    "  --why TEXT         for the log and for others\n" COMMON_OPTIONS TOKEN_OPTION
    "\n"
    "What is set stays until the file has other weights for the endpoint. docs/operating.md tells more.\n" EXIT_HELP;
/* clang-format on */

struct command {
    const char *name, *help;
    const char *admin, *token_file, *why;
    bool json, needs_token, takes_why;
    const char *words[WORDS_MAX]; /* what is no option */
    int n_words;
};

/* --- arguments --- */

static int fail_usage(const struct command *command, const char *what, const char *which)
{
    fprintf(stderr, "xebec %s: %s%s; try: xebec %s --help\n", command->name, what, which, command->name);
    return EXIT_USAGE;
}

/* The value of `--name VALUE` or `--name=VALUE` at argv[*i]; NULL: it is not there. */
static const char *value_of(const char *name, int argc, char **argv, int *i)
{
    size_t length = strlen(name);
    if (!strncmp(argv[*i], name, length) && argv[*i][length] == '=')
        return argv[*i] + length + 1;
    return !strcmp(argv[*i], name) && *i + 1 < argc ? argv[++*i] : NULL;
}

static bool take_option(struct command *command, int argc, char **argv, int *i)
{
    const char *value;
    if (!strcmp(argv[*i], "--json"))
        command->json = true;
    else if ((value = value_of("--admin", argc, argv, i)))
        command->admin = value;
    else if (command->needs_token && (value = value_of("--token-file", argc, argv, i)))
        command->token_file = value;
    else if (command->takes_why && (value = value_of("--why", argc, argv, i)))
        command->why = value;
    else
        return false;
    return true;
}

/* Whether an option that could not be taken is one of those that have a value: it stood last. */
static bool lacks_value(const struct command *command, const char *option)
{
    return !strcmp(option, "--admin") || (command->needs_token && !strcmp(option, "--token-file")) ||
           (command->takes_why && !strcmp(option, "--why"));
}

/* -1: go on; else the exit status. */
static int parse(struct command *command, int argc, char **argv)
{
    command->admin = "127.0.0.1:8081";
    command->token_file = getenv("XEBEC_ADMIN_TOKEN_FILE");
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            fputs(command->help, stdout);
            return EXIT_SUCCESS;
        }
        if (argv[i][0] != '-' && command->n_words < WORDS_MAX)
            command->words[command->n_words++] = argv[i];
        else if (argv[i][0] != '-' || !take_option(command, argc, argv, &i))
            return fail_usage(
                command, lacks_value(command, argv[i]) ? "there is no value after " : "cannot make sense of ",
                argv[i]);
    }
    return -1;
}

/* --- asking --- */

/* The first line of the file. False, said to stderr: there is none. */
static bool read_token(const struct command *command, char token[TOKEN_ROOM])
{
    int fd = open(command->token_file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, token, TOKEN_ROOM - 1);
    if (fd >= 0)
        close(fd);
    token[n > 0 ? n : 0] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    if (token[0])
        return true;
    fprintf(stderr, "xebec %s: no token can be read from %s\n", command->name, command->token_file);
    return false;
}

static bool asks_colour(void)
{
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no && no[0]) && !(term && !strcmp(term, "dumb"));
}

typedef void printer(const struct print *print, const struct node *node);

static int print_for_people(const struct answer *answer, printer *people)
{
    struct document document;
    struct gw_err err;
    struct buf out = {0};
    const struct print print = {.out = &out, .colour = asks_colour(), .now_s = (uint64_t)time(NULL)};
    if (document_read(&document, "the answer", answer->body.bytes, answer->body.length, &err) != GW_OK) {
        fprintf(stderr, "xebec: %s\n", err.what);
        return EXIT_FAILURE;
    }
    people(&print, document.root);
    document_clear(&document);
    bool printed =
        !out.failed && fwrite(out.bytes, 1, out.length, stdout) == out.length && fflush(stdout) == 0;
    buf_clear(&out);
    return printed ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void print_problems(const struct node *problems)
{
    for (const struct node *each = problems ? problems->first : NULL; each; each = each->next)
        fprintf(stderr, "  line %.0f, column %.0f: %s\n", node_number(each, "line", 0),
                node_number(each, "column", 0), node_text(each, "what", "?"));
}

/* What the gateway has against it, in its own words. */
static int print_refusal(const struct command *command, const struct answer *answer)
{
    struct document document;
    struct gw_err err;
    if (document_read(&document, "the answer", answer->body.bytes, answer->body.length, &err) != GW_OK) {
        fprintf(stderr, "xebec %s: the gateway answered %d\n", command->name, answer->status);
        return EXIT_FAILURE;
    }
    fprintf(stderr, "xebec %s: %s\n", command->name, node_text(document.root, "error", "refused"));
    print_problems(node_get(document.root, "problems"));
    if (answer->status == gw_status_http(GW_E_UNAUTHENTICATED))
        fputs("  --token-file FILE, or XEBEC_ADMIN_TOKEN_FILE, says where the token is\n", stderr);
    document_clear(&document);
    return EXIT_FAILURE;
}

static int print_answer(const struct command *command, const struct answer *answer, printer *people)
{
    if (!answer->status) {
        fprintf(stderr, "xebec %s: %.*s", command->name, (int)answer->body.length,
                answer->body.length ? answer->body.bytes : "");
        return EXIT_FAILURE;
    }
    bool well = answer->status == 200;
    if (command->json) {
        fwrite(answer->body.bytes, 1, answer->body.length, stdout);
        return well && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    return well ? print_for_people(answer, people) : print_refusal(command, answer);
}

/* body: NULL: a GET. */
static int ask_gateway(const struct command *command, const char *path, const struct buf *body,
                       uint64_t patience_us, printer *people)
{
    char token[TOKEN_ROOM];
    const struct ask ask = {.address = command->admin,
                            .method = body ? "POST" : "GET",
                            .path = path,
                            .token = body && command->token_file ? token : NULL,
                            .body = body,
                            .patience_us = patience_us,
                            .bytes_max = ANSWER_BYTES};
    struct answer answer;
    if (ask.token && !read_token(command, token))
        return EXIT_FAILURE;
    admin_ask(&ask, &answer);
    int status = print_answer(command, &answer, people);
    buf_clear(&answer.body);
    return status;
}

/* --- status and reload --- */

int command_status(int argc, char **argv)
{
    struct command command = {.name = "status", .help = status_help};
    int end = parse(&command, argc, argv);
    if (end >= 0)
        return end;
    if (command.n_words)
        return fail_usage(&command, "cannot make sense of ", command.words[0]);
    return ask_gateway(&command, "/status", NULL, PATIENCE_US, print_status);
}

int command_reload(int argc, char **argv)
{
    struct command command = {.name = "reload", .help = reload_help, .needs_token = true};
    const struct buf nothing = {0};
    int end = parse(&command, argc, argv);
    if (end >= 0)
        return end;
    if (command.n_words)
        return fail_usage(&command, "cannot make sense of ", command.words[0]);
    return ask_gateway(&command, "/reload", &nothing, RELOAD_PATIENCE_US, print_reload);
}

/* --- rollout --- */

static void write_member(struct buf *body, const char *key, const char *text)
{
    buf_printf(body, "%s\"%s\":", body->length > 1 ? "," : "", key);
    buf_json_text(body, text, strlen(text));
}

/* "ada@host": for the log, beside the address that the gateway sees. */
static void write_who(struct buf *body)
{
    const struct passwd *user = getpwuid(getuid());
    char who[160], host[64] = "";
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    snprintf(who, sizeof who, "%.64s%s%s", user ? user->pw_name : "somebody", host[0] ? "@" : "", host);
    write_member(body, "who", who);
}

/* False: a word is no ARM=WEIGHT. Whether the arm is one and the weight a number, the gateway says. */
static bool write_weights(const struct command *command, struct buf *body)
{
    buf_text(body, ",\"weights\":{");
    for (int i = 2; i < command->n_words; i++) {
        const char *word = command->words[i], *equals = strrchr(word, '=');
        if (!equals || equals == word || !equals[1] ||
            strspn(equals + 1, "0123456789.") != strlen(equals + 1))
            return false;
        buf_text(body, i > 2 ? "," : "");
        buf_json_text(body, word, (size_t)(equals - word));
        buf_printf(body, ":%s", equals + 1);
    }
    buf_text(body, "}");
    return true;
}

static int change_rollout(const struct command *command, const char *path, bool sets)
{
    struct buf body = {0};
    int status;
    buf_text(&body, "{");
    write_who(&body);
    if (command->why)
        write_member(&body, "why", command->why);
    if (sets && !write_weights(command, &body)) {
        status = fail_usage(
            command, "set wants ENDPOINT ARM=WEIGHT..., weights being numbers: set digits digits@forest=10",
            "");
    } else {
        buf_text(&body, "}");
        status = ask_gateway(command, path, &body, PATIENCE_US, print_rollout);
    }
    buf_clear(&body);
    return status;
}

int command_rollout(int argc, char **argv)
{
    static const char *const actions[] = {"set", "reset", "promote", "rollback", "pause", "resume", NULL};
    struct command command = {
        .name = "rollout", .help = rollout_help, .needs_token = true, .takes_why = true};
    char path[256];
    int end = parse(&command, argc, argv);
    if (end >= 0)
        return end;
    const char *verb = command.n_words ? command.words[0] : "list";
    if (!strcmp(verb, "list") && command.n_words < 2)
        return ask_gateway(&command, "/rollouts", NULL, PATIENCE_US, print_rollouts);
    bool shows = !strcmp(verb, "show"), sets = !strcmp(verb, "set");
    const char *const *action = actions;
    while (*action && strcmp(*action, verb) != 0)
        action++;
    if (!shows && !*action)
        return fail_usage(&command, "cannot make sense of ", verb);
    if (sets ? command.n_words < 3 : command.n_words != 2)
        return fail_usage(&command, verb, sets ? " wants ENDPOINT ARM=WEIGHT..." : " wants one ENDPOINT");
    /* names are letters, digits and a few signs (docs/configuration.md): nothing that a path has to escape */
    const char *name = command.words[1];
    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != strlen(name))
        return fail_usage(&command, "no endpoint can have the name ", name);
    snprintf(path, sizeof path, "/rollouts/%.100s%s%s", name, shows ? "" : "/", shows ? "" : verb);
    return shows ? ask_gateway(&command, path, NULL, PATIENCE_US, print_rollout)
                 : change_rollout(&command, path, sets);
}
