/* Counters of lines of Python that ran: main.c has them, where libFuzzer looks for what it did not instrument itself. */
#include <stdint.h>

extern uint8_t fuzz_lines[8192];
