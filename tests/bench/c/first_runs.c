/* Writes down where each function of a program begins, in the order in which they are run for the first time.
 * Does not: follow a program that it starts, though a forked copy of it; know other processors than x86-64.
 * Used by: `cargo bench-get --order`. Usage: first_runs STARTS FOUND PROGRAM ARGUMENT…
 *
 * STARTS has the addresses in hexadecimal, as `nm` tells them of an executable that is loaded anywhere, and in their
 * order. A breakpoint is put at each, and taken away when it is met. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_STARTS = 1 << 17 };
static const unsigned char BREAKPOINT = 0xcc;

static unsigned long starts[MOST_STARTS], base;
static unsigned char covered[MOST_STARTS], is_found[MOST_STARTS];
static size_t count;

static int by_address(const void *one, const void *other) {
    unsigned long a = *(const unsigned long *)one, b = *(const unsigned long *)other;
    return (a > b) - (a < b);
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static FILE *open_of(pid_t process, const char *name, const char *mode) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", process, name);
    FILE *file = fopen(path, mode);
    if (!file) fail(path);
    setvbuf(file, NULL, _IONBF, 0);
    return file;
}

static void put(FILE *memory, unsigned long address, const unsigned char *byte) {
    if (fseek(memory, (long)address, SEEK_SET) || fwrite(byte, 1, 1, memory) != 1) fail("writing to the program");
}

static void put_breakpoints(pid_t process) {
    FILE *maps = open_of(process, "maps", "r"), *memory = open_of(process, "mem", "r+");
    if (fscanf(maps, "%lx", &base) != 1) fail("reading the program's maps");
    for (size_t at = 0; at < count; at++) {
        if (fseek(memory, (long)(base + starts[at]), SEEK_SET) || fread(&covered[at], 1, 1, memory) != 1)
            fail("reading the program");
        put(memory, base + starts[at], &BREAKPOINT);
    }
    fclose(maps);
    fclose(memory);
}

/* Whether a thread that stopped at a trap met one of ours; then the function is noted, and goes on. */
static int take_breakpoint(pid_t thread, FILE *found) {
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, thread, 0, &registers);
    unsigned long start = registers.rip - 1 - base;
    unsigned long *known = bsearch(&start, starts, count, sizeof *starts, by_address);
    if (!known) return 0;
    size_t at = (size_t)(known - starts);
    FILE *memory = open_of(thread, "mem", "r+");
    put(memory, base + start, &covered[at]);
    fclose(memory);
    registers.rip--;
    ptrace(PTRACE_SETREGS, thread, 0, &registers);
    if (!is_found[at]) fprintf(found, "%lx\n", start);
    is_found[at] = 1;
    return 1;
}

int main(int argument_count, char **arguments) {
    if (argument_count < 4) return 2;
    FILE *list = fopen(arguments[1], "r"), *found = fopen(arguments[2], "w");
    if (!list || !found) fail("first_runs");
    while (count < MOST_STARTS && fscanf(list, "%lx", &starts[count]) == 1) count++;
    pid_t program = fork();
    if (!program) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(arguments[3], arguments + 3);
        _exit(127);
    }
    int status;
    waitpid(program, &status, 0);
    long options = PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
    options |= PTRACE_O_TRACEEXEC;
    ptrace(PTRACE_SETOPTIONS, program, 0, options);
    put_breakpoints(program);
    ptrace(PTRACE_CONT, program, 0, 0);
    for (;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0 && errno != EINTR) break;
        if (thread < 0) continue;
        if (!WIFSTOPPED(status)) {
            if (thread == program) break;
            continue;
        }
        int is_event = status >> 16, signal = WSTOPSIG(status);
        int is_ours = is_event || signal == SIGSTOP || (signal == SIGTRAP && take_breakpoint(thread, found));
        ptrace(PTRACE_CONT, thread, 0, is_ours ? 0 : signal);
    }
    return fclose(found) ? 1 : 0;
}
