// The issue rules of one wave and one SIMD. Constants: profiles/devices/*.toml, each with its source.
#include "timing.h"

static void later(When* x, u64 at, u8 cause, u8 idle) {
  if (at > x->at) { x->at = at; x->cause = cause; x->idle = idle; }
}

// When the wave's next instruction may issue, were no other to come before it, and what holds it back the longest.
When earliest(const Constants* k, const Cu* cu, const Simd* s, const WaveState* w, const Desc* d) {
  When x = {w->ready[d->port], C_DEPENDENCY, 1};
  u32 first = d->address / CHUNK, last = (d->address + d->bytes - 1) / CHUNK;
  if (w->chunk == NO_CHUNK ? last != first : last != w->chunk) later(&x, w->next_chunk, C_DEPENDENCY, 1);
  if (d->port == SALU) later(&x, w->scalar_ready, C_DEPENDENCY, 1);
  if (d->port == BRANCH && d->scalar) later(&x, w->branch_ready, C_DEPENDENCY, 1);
  if (d->port == VALU) {
    if (d->kind == K_MFMA && x.at + 2 * d->lead < s->pipe_free) later(&x, s->pipe_free, C_MFMA, 0);
    if (d->kind == K_PACKED) later(&x, s->shadow_until, C_MFMA, 0);
    int second = d->pair && s->valu_pair && d->pair * s->valu_pair < 4 && s->valu_count == 1 && s->valu_wave != w->id &&
                 s->valu_at >= s->shadow_until && s->valu_at >= s->unpaired_until && x.at <= s->valu_at;
    if (second) later(&x, s->valu_at, C_ARBITRATION, 0);
    else later(&x, s->port[VALU], s->port[VALU] > s->valu_at + k->slot && s->pipe_free > s->port[VALU] ? C_MFMA : C_ARBITRATION, 0);
    return x;
  }
  if (d->port == NONE) return x;
  later(&x, s->port[d->port], C_ARBITRATION, 0);
  if (d->port == LDS && s->n_lds >= k->lds_queue) later(&x, s->lds[(s->n_lds - k->lds_queue) % LDS_RING], C_LDS, 0);
  if (d->port == VMEM) {
    if (cu->vmem_at) later(&x, cu->vmem_at + k->slot, C_ARBITRATION, 0);
    if (x.at > cu->vmem_at + k->vmem_idle && s->valu_wave == w->id && s->valu_at + k->valu_to_memory == x.at) later(&x, x.at + k->vmem_wake, C_DEPENDENCY, 0);
    if (s->n_vmem >= k->vmem_queue && s->vmem[(s->n_vmem - k->vmem_queue) % VMEM_RING] > x.at && cu->address_free > x.at + k->vmem_backlog)
      later(&x, s->vmem_at + k->vmem_pace, C_BANDWIDTH, 0);
    if (cu->n_vmem >= k->vmem_entries) later(&x, cu->vmem[(cu->n_vmem - k->vmem_entries) % VMEM_RING], C_BANDWIDTH, 0);
    if (cu->address_free > x.at + k->vmem_full) later(&x, cu->vmem_at + k->vmem_pace, C_BANDWIDTH, 0);
  }
  return x;
}

// The instruction issues at t.
void issue(const Constants* k, Simd* s, WaveState* w, const Desc* d, u64 t, int taken, int second) {
  // A scaled matrix instruction is two: one that brings the scales, and `lead` later, or when the pipe is free, the matrix one.
  // Where that waits for long, its issue is the one that counts (`second`).
  u64 matrix = t;
  if (d->lead) {
    if (second) t -= d->lead;
    matrix = t + d->lead + (d->address % CHUNK + d->bytes / 2 > CHUNK ? k->slot : 0);
    if (matrix < s->pipe_free) matrix = s->pipe_free;
  }
  for (u32 p = 0; p < PORTS; ++p) {
    u64 at = t + (taken ? k->branch_taken : d->next[p]);
    if (at > w->ready[p]) w->ready[p] = at;
  }
  u32 start = d->address / CHUNK, chunk = (d->address + d->bytes - 1) / CHUNK;
  if (taken) {   // the first chunk of the target comes with the branch's own cost
    w->chunk = NO_CHUNK;
    w->next_chunk = t + k->branch_taken + k->fetch_pace;
  } else if (chunk != w->chunk) {   // it has left a chunk: the one after the next is asked for
    if (w->chunk != NO_CHUNK || chunk != start) w->next_chunk = (start != chunk ? t : w->issued) + k->fetch_next;
    w->chunk = chunk;
  }
  // Behind a branch nothing is fetched before it is decided.
  if (d->port == BRANCH && !taken && w->next_chunk < t + k->branch_taken) w->next_chunk = t + k->branch_taken;
  w->issued = t;
  if (d->port == VALU) {
    if (t == s->valu_at && s->valu_count) ++s->valu_count;
    else { s->valu_at = t; s->valu_count = 1; s->valu_pair = d->pair; s->valu_wave = w->id; }
    if (t + d->hold > s->port[VALU]) s->port[VALU] = t + d->hold;
    if (d->pipe) { s->pipe_free = matrix + d->pipe; s->shadow_until = matrix + d->shadow; }
    if (d->kind == K_TRANS) s->unpaired_until = t + d->hold;
    if (d->scalar) {
      w->scalar_ready = t + k->valu_to_salu;
      w->branch_ready = t + k->valu_to_branch;
    }
  } else if (d->port != NONE) {
    s->port[d->port] = t + d->port_hold;
  }
}

// An LDS instruction that issues at t: when its data are back. Each pair of SIMDs has a path to the banks, which all share: a
// phase of an access takes them for a clock, and those beyond the ones that its width needs (conflicts) come on top of the latency.
u64 lds_done(Cu* cu, Simd* s, u32 simd, const Desc* d, u64 t, u32 phases, u32 extra) {
  u64* pair = &cu->lds_pair[simd >> 1 & 1];
  u64 done = t + d->latency + extra, after = *pair + d->service, banks = cu->lds_banks + phases;
  if (after > done) done = after;
  if (banks > done) done = banks;
  *pair = done;
  cu->lds_banks = done;
  s->lds[s->n_lds++ % LDS_RING] = done - d->latency - extra;   // it left the queue when its service began
  return done;
}

// How long the CU's address unit works on a VMEM instruction whose lanes lie side by side.
u32 address_cycles(const Constants* k, u32 dwords, u32 lanes) {
  u32 by_lane = (lanes + k->address_lanes - 1) / k->address_lanes, by_byte = (4 * lanes * dwords + k->address_bytes - 1) / k->address_bytes;
  return by_byte > by_lane ? by_byte : by_lane;
}

// A VMEM instruction that issues at t, and that the CU's address unit takes at `accept` and works on for `cost`.
void vmem_taken(Cu* cu, Simd* s, u64 t, u64 accept, u32 cost) {
  s->vmem_at = cu->vmem_at = t;
  if (accept + cost > cu->address_free) cu->address_free = accept + cost;
  s->vmem[s->n_vmem++ % VMEM_RING] = accept;
  cu->vmem[cu->n_vmem++ % VMEM_RING] = accept + cost;
}
