/*
 * What a hostile application plants in its own root file system. Whoever loads or executes it leaves a mark there.
 * Without a C library, so that it can be loaded into any program.
 */
#define SYS_OPEN 2
#define SYS_EXIT 60
#define WRITE_ONLY_CREATE (01 | 0100)

static long kernel_call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

__attribute__((constructor)) void leave_mark(void) {
    kernel_call(SYS_OPEN, (long)"/evil-was-here", WRITE_ONLY_CREATE, 0644);
}

#ifdef PROGRAM
void _start(void) {
    leave_mark();
    kernel_call(SYS_EXIT, 0, 0, 0);
}
#endif
