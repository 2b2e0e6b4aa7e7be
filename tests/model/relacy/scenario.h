/* What is played: so many producers and consumers at one ring. checker.cpp reads it from its command line; rings.cpp plays it. */
#ifndef FASTRING_MODEL_SCENARIO_H
#define FASTRING_MODEL_SCENARIO_H

struct scenario {
    const char *strategy = "cached";
    unsigned producers = 1, consumers = 1;
    unsigned capacity = 2;
    unsigned items = 3;       /* of each producer */
    unsigned most = 1;        /* at once: each operation is for 1 to so many, in bulk or as a burst */
    unsigned units = 1;       /* in an item */
    unsigned batch = 2;       /* batched */
    unsigned distance = 1;    /* headtail, RTS */
    unsigned in_place = 0;    /* 1: producers reserve and commit; 2: consumers peek and release; 3: both */
    unsigned one = 0;         /* 1: the inlined operations for one item, of cached */
    const char *wait = "";    /* who finds nothing yields; or parks, and all ring bells: futex, eventfd */
};

extern scenario play;

void rings_begin(void);             /* makes the ring */
void rings_thread(unsigned thread); /* the producers first */
void rings_end(void);               /* all threads are done */

#endif
