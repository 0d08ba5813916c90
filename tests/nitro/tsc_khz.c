/* Prints the rate of this machine's time stamp counter in kHz: Debian's kernel cannot always find
 * it out in QEMU's machine, which has no other timer then. */
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static long long now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void)
{
    enum { PERIOD_NS = 200000000 };
    const long long start = now_ns();
    const unsigned long long first = __rdtsc();
    long long now;
    do
        now = now_ns();
    while (now - start < PERIOD_NS);
    (void)printf("%llu\n", (__rdtsc() - first) * 1000000ULL / (unsigned long long)(now - start));
    return 0;
}
