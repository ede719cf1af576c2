// Replay of recorded waves of one CU: for each instruction, in the order of issue, what the rules would have said.
#include "timing.h"

typedef struct { u64 at, until; u32 wave, desc, simd; u8 taken; } Recorded;   // until: when a wait, barrier or branch let go
typedef struct { u64 at; u8 cause, idle; } Predicted;

// `waves`, `simds`, `cu`: zeroed. Memory and barrier waits come from the recording; all else from the rules.
void replay(const Constants* k, const Desc* descs, const Recorded* events, u64 n, Predicted* out, WaveState* waves, Simd* simds, Cu* cu) {
  for (u64 i = 0; i < n; ++i) {
    const Recorded* e = &events[i];
    const Desc* d = &descs[e->desc];
    WaveState* w = &waves[e->wave];
    Simd* s = &simds[e->simd];
    w->id = e->wave;
    When x = earliest(k, cu, s, w, d);
    out[i] = (Predicted){x.at, x.cause, x.idle};
    issue(k, s, w, d, e->at, e->taken, e->until == e->at + k->slot);
    if (d->kind == K_WAIT || d->kind == K_BARRIER)
      for (u32 p = 0; p < PORTS; ++p)
        if (e->until > w->ready[p]) w->ready[p] = e->until;
    if (d->kind == K_LDS) lds_done(cu, s, e->simd, d, e->at, 0, 0);
    if (d->port == VMEM) vmem_taken(cu, s, e->at, e->at > cu->address_free ? e->at : cu->address_free, address_cycles(k, d->dwords, 64));
  }
}
