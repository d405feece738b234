/* Cases that must fail, each in its way: what the suite's own test runs. */
#include <signal.h>
#include <unistd.h>

#include "../cases/hip.h"

static int shimmed(void) {
    return getenv("LD_PRELOAD") != NULL;
}

static void passes(void) {
    uint64_t *p = device(8);
    for (int i = 0; i < 500; i++) count(p, 1, NULL);
    OK(hipDeviceSynchronize());
    say("counted %lu", (unsigned long)*p);
}

static void differs_in_its_transcript(void) {
    say("first line");
    say("shimmed %d", shimmed());
}

static void differs_in_its_status(void) {
    say("a line");
    exit(shimmed() ? 3 : 0);
}

static void hangs_under_the_shim(void) {
    say("a line");
    while (shimmed()) pause();
}

static void crashes_under_the_shim(void) {
    say("a line");
    if (shimmed()) raise(SIGSEGV);
}

static void hangs_natively(void) {
    say("a line");
    while (!shimmed()) pause();
}

static void fails_natively(void) {
    TRUE(shimmed());
    say("a line");
}

static void says_nothing(void) {}

CASES(CASE(passes), CASE(differs_in_its_transcript), CASE(differs_in_its_status), CASE(hangs_under_the_shim),
      CASE(crashes_under_the_shim), CASE(hangs_natively), CASE(fails_natively), CASE(says_nothing))
