/* Runs the commands of a plan in turn, in another order each time, and says for each run how long it took and what it used.
 * Does not: judge. Small and static, since a child begins with its parent's size, and starts children by vfork.
 * Used by: the benchmark. Usage: stopwatch ROUNDS PLAN
 *
 * A line of the plan has its fields between tabs: the file for standard input, the file with the expected output (or
 * `-` for any), and the program in full with its arguments. A line that begins with `!` is run just before the next
 * one, untimed. For each timed run one line is printed: index, nanoseconds, microseconds of processor, KiB at most. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { MOST_COMMANDS = 64, MOST_WORDS = 32, MOST_TEXT = 16384 };

struct command {
    int is_timed;
    char *program, *arguments[MOST_WORDS], *expected, input[MOST_TEXT], answer[MOST_TEXT];
    ssize_t input_length, answer_length;
};

static struct command commands[MOST_COMMANDS];

static void fail(const char *what, const char *of) {
    fprintf(stderr, "stopwatch: %s: %s\n", what, of);
    exit(1);
}

static ssize_t content(const char *path, char *buffer) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, buffer, MOST_TEXT);
    if (length < 0 || length == MOST_TEXT) fail("cannot read", path);
    close(fd);
    return length;
}

static int load(const char *path) {
    static char line[65536];
    FILE *plan = fopen(path, "re");
    int count = 0;
    if (!plan) fail("cannot read", path);
    while (fgets(line, sizeof line, plan)) {
        struct command *command = &commands[count++];
        char *rest = strdup(line);
        int words = 0;
        rest[strcspn(rest, "\n")] = 0;
        command->is_timed = *rest != '!';
        rest += !command->is_timed;
        command->input_length = content(strsep(&rest, "\t"), command->input);
        command->expected = strsep(&rest, "\t");
        if (command->expected && strcmp(command->expected, "-"))
            command->answer_length = content(command->expected, command->answer);
        while (rest && words < MOST_WORDS - 1) command->arguments[words++] = strsep(&rest, "\t");
        if (!(command->program = command->arguments[0]) || count == MOST_COMMANDS) fail("bad plan", path);
    }
    fclose(plan);
    return count;
}

static long long nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void run(int index, struct command *command) {
    static char answer[65536];
    int in[2], out[2], status;
    struct rusage used;
    posix_spawn_file_actions_t actions;
    pid_t pid;
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) fail("no pipe", command->program);
    if (write(in[1], command->input, command->input_length) != command->input_length) fail("no input", command->program);
    close(in[1]);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    long long began = nanoseconds();
    if (posix_spawn(&pid, command->program, &actions, 0, command->arguments, environ)) fail("cannot start", command->program);
    if (wait4(pid, &status, 0, &used) != pid) fail("cannot wait for", command->program);
    long long took = nanoseconds() - began;
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    ssize_t length = 0, count;
    /* Not to its end, which a daemon that was started may hold open. */
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    while ((count = read(out[0], answer + length, sizeof answer - length)) > 0) length += count;
    close(out[0]);
    if (!command->is_timed) return;
    if (status) fail("did not end well", command->program);
    if (strcmp(command->expected, "-") &&
        (length != command->answer_length || memcmp(answer, command->answer, length)))
        fail("gave a wrong answer", command->program);
    long long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    printf("%d %lld %lld %ld\n", index, took, cpu, used.ru_maxrss);
}

/* Another order in each round, since a run finds the caches as the one before it left them. */
static void shuffle(int *order, int count) {
    static unsigned random = 1;
    for (int last = count - 1; last > 0; last--) {
        random = random * 1664525 + 1013904223;
        int other = (random >> 16) % (last + 1), index = order[last];
        order[last] = order[other];
        order[other] = index;
    }
}

int main(int argc, char **argv) {
    int order[MOST_COMMANDS], timed = 0;
    if (argc != 3) fail("usage", "stopwatch ROUNDS PLAN");
    int count = load(argv[2]);
    for (int index = 0; index < count; index++)
        if (commands[index].is_timed) order[timed++] = index;
    for (int rounds = atoi(argv[1]); rounds > 0; rounds--) {
        shuffle(order, timed);
        for (int turn = 0; turn < timed; turn++) {
            int index = order[turn];
            if (index && !commands[index - 1].is_timed) run(index - 1, &commands[index - 1]);
            run(index, &commands[index]);
        }
    }
    return 0;
}
