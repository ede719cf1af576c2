// The whole chip, event by event: dispatch of workgroups, waves that issue when the rules let them, memory and barriers.
//
// One event a wave, ordered by time, then priority, then by which issued least recently: the wave that comes first takes the port,
// others come again when it is free. Served in turn, two waves of flash attention slow each other down by 1.23, as recorded (1.22);
// oldest first, one would hardly be. Everything that a wave waits for has a time that is known when it starts to wait, but a barrier.
#include "timing.h"

#define QUEUE 64   // memory operations of a wave that may be outstanding
typedef struct {
  WaveState rules;
  u64 begin, reached;      // reached: its life is accounted for until here
  u64 vm[QUEUE], vm_last;  // when each VMEM operation is done, in order
  u64 lgkm[QUEUE];         // LDS and scalar memory
  u32 vm_queued[QUEUE];    // of that, cycles in queues
  u32 n_vm, n_lgkm, lds_in_a_row;
  u64 lds_last, lgkm_max;
  u64 wake;                // ready for what it waits for
  const u32* at;           // its stream
  const u32* end;
  u32 pc, stop;            // next instruction, end of its block
  u32 group, wave, cu, simd, slot, id, number;
  u8 priority, ending, at_barrier;
  u64 idle, stall, cause[CAUSES];   // of the instruction that comes next
} Wave;

typedef struct { u64 left, arrived, ended; u32 members[16]; } Group;
typedef struct { Simd simd; u32 slots; } SimdState;   // slots: mask of those in use
typedef struct { SimdState simds[4]; Cu shared; u32 groups; u64 busy_since, busy; u32 waves; } CuState;
typedef struct { u64 key; u32 wave; } Event;

typedef struct { i64 hit, latency, stall, idle, cause[CAUSES]; } InstructionTime;   // sums over all waves
typedef struct { u32 workgroup, wave, xcd, se, cu, simd, slot, pad; i64 begin, end, cause[CAUSES]; } WaveTime;
typedef struct { u32 wave, pc; i64 time; u32 stall, duration; u8 category, cause, pad[6]; } Traced;
enum { X_WAVES, X_BUSY, X_BUSY_CU, X_WAVE_CYCLES, X_WAIT_ANY, X_WAIT_INST_ANY, X_WAIT_INST_LDS, X_MFMA_BUSY, X_LDS_ACTIVE, X_LDS_CONFLICT,
       X_ACTIVE_ANY, X_ACTIVE_VALU, X_ACTIVE_SCA, X_ACTIVE_LDS, X_ACTIVE_VMEM, X_ACTIVE_MISC, X_VALU2, COUNTERS };

typedef struct {
  const Desc* descs;
  const u32 (*blocks)[2];
  const u8* accesses;      // [static instruction]: bit 0: it leaves an access record; from bit 4: cache bits
  const u32* streams;
  const u64* offsets;      // [groups][waves + 1]
  InstructionTime* instructions;
  WaveTime* waves;         // [groups * waves]
  Traced* events;
  u64* counters;
  u32* fetched;            // [pairs of CUs][lines]: when each line of code is there, from the launch's start; 0: not asked for
  u64 start, end, n_events, capacity;
  u32 n_descs, n_groups, n_waves, per_cu, per_simd, traced_cu, n_lines, failed;
} LaunchTime;

typedef struct {
  const Constants* k;
  Memory* memory;
  CuState* cus;
  Wave* pool;
  u32* free;               // pool indices
  Event* heap;
  Group* groups;           // of the launch
  u32* resident;           // [XCD]: next workgroup to start, as n-th of the XCD's
  u64* se_free;            // [XCD * SE]: when it can start another workgroup
  u64* address_free;       // [CU], where memory is the stand-in
  u32 n_free, n_heap, pool_size, fixed;   // fixed: latency of the stand-in, 0 for the model
} Chip;


// ---- events --------------------------------------------------------------------------------------------------------
static u64 key_of(u64 t, const Wave* w) { return t << 20 | (u64)(3 - w->priority) << 18 | (w->rules.issued / 4 & 0x3ffff); }

static void sink(Event* h, u32 n, u32 i, Event e) {
  for (u32 child; (child = 4 * i + 1) < n; i = child) {
    u32 last = child + 4 < n ? child + 4 : n;
    for (u32 j = child + 1; j < last; ++j)
      if (h[j].key < h[child].key) child = j;
    if (h[child].key >= e.key) break;
    h[i] = h[child];
  }
  h[i] = e;
}

static void push(Chip* c, u64 t, Wave* w) {
  Event e = {key_of(t, w), w->id};
  u32 i = c->n_heap++;
  for (u32 up; i && c->heap[up = (i - 1) / 4].key > e.key; i = up) c->heap[i] = c->heap[up];
  c->heap[i] = e;
}

// ---- accounting ----------------------------------------------------------------------------------------------------
static void charge(Wave* w, u64 until, u8 cause, u8 idle) {
  if (until <= w->reached) return;
  u64 n = until - w->reached;
  w->cause[cause] += n;
  if (idle) w->idle += n;
  else w->stall += n;
  w->reached = until;
}

static const u8 ATT_CATEGORY[] = {6, 6, 6, 6, 2, 1, 5, 4, 4, 4, 8, 9, 9, 9, 11};   // by kind

// The wave's instruction is over at `until`; its own `cost` goes to `cause`.
static void record(const Chip* c, LaunchTime* l, Wave* w, u64 until, u8 cause, int whole_is_stall, u8 category) {
  u64 cost = until > w->reached ? until - w->reached : 0, time = w->reached - w->stall;
  InstructionTime* x = &l->instructions[w->pc];
  u64 duration = w->stall + cost, stall = whole_is_stall ? duration : w->stall;
  w->cause[cause] += cost;
  if (whole_is_stall) l->counters[X_WAIT_ANY] += stall;
  else l->counters[X_WAIT_INST_ANY] += stall;
  if (l->descs[w->pc].port == LDS) l->counters[X_WAIT_INST_LDS] += stall;
  ++x->hit;
  x->latency += duration;
  x->stall += stall;
  x->idle += w->idle;
  u8 most = C_ISSUE;
  i64* total = l->waves[w->number].cause;
  for (u32 i = 0; i < CAUSES; ++i) {
    x->cause[i] += w->cause[i];
    total[i] += w->cause[i];
    if (w->cause[i] > w->cause[most]) most = (u8)i;
  }
  if (w->cu < c->k->ses * c->k->cus && w->cu % c->k->cus == l->traced_cu && l->n_events < l->capacity)
    l->events[l->n_events++] = (Traced){w->number, w->pc, time, (u32)stall, (u32)duration, category, most, {0}};
  for (u32 i = 0; i < CAUSES; ++i) w->cause[i] = 0;
  w->idle = w->stall = 0;
  if (until > w->reached) w->reached = until;
}

// ---- dispatch ------------------------------------------------------------------------------------------------------
static void next_block(LaunchTime* l, Wave* w) {
  if (w->at >= w->end) { l->failed = 1; w->stop = w->pc; return; }
  const u32* b = l->blocks[*w->at++];
  w->pc = b[0];
  w->stop = b[1];
}

// When the code at `pc` is in the instruction cache of the CU pair; lines behind it come along.
static u64 fetch(Chip* c, LaunchTime* l, u32 cu, u32 pc, u64 t) {
  u32 line = l->descs[pc].address / 64;
  u32* at = &l->fetched[(cu / 2) * l->n_lines];
  u32 from_start = (u32)(t - l->start) + 1;
  if (!at[line]) at[line] = from_start + c->k->first_fetch - c->k->first_instruction;
  return at[line] > from_start ? l->start + at[line] - 1 : t;
}

static void run_through(LaunchTime* l, u32 cu, u32 pc, u64 t) {   // straight-line code is fetched ahead
  u32* at = &l->fetched[(cu / 2) * l->n_lines + l->descs[pc].address / 64];
  if (!*at) *at = (u32)(t - l->start) + 1;
}

static int start_group(Chip* c, LaunchTime* l, u32 xcd, u64 t) {
  const Constants* k = c->k;
  u32 nth = c->resident[xcd], group = nth * k->xcds + xcd;
  if (group >= l->n_groups) return 0;
  // Round the shader engines, and the CUs of each: the n-th workgroup tries first where the n-th place is.
  u32 per_xcd = k->ses * k->cus, found = per_xcd;
  for (u32 i = 0; i < per_xcd; ++i) {
    u32 place = (nth + i) % per_xcd, cu = (place % k->ses) * k->cus + place / k->ses;
    CuState* x = &c->cus[xcd * per_xcd + cu];
    if (x->groups >= l->per_cu) continue;
    u32 room = 0;
    for (u32 s = 0; s < 4; ++s) room += l->per_simd - (u32)__builtin_popcount(x->simds[s].slots);
    if (room < l->n_waves) continue;
    found = cu;
    break;
  }
  if (found == per_xcd) return 0;
  u32 se = found / k->cus, cu = xcd * per_xcd + found;
  u64* free = &c->se_free[xcd * k->ses + se];
  u64 at = t > *free ? t : *free;
  u32 pace = k->wave_pace * l->n_waves;
  *free = at + (pace > k->group_pace ? pace : k->group_pace);
  CuState* x = &c->cus[cu];
  ++x->groups;
  Group* g = &c->groups[group];
  g->left = l->n_waves;
  ++c->resident[xcd];
  for (u32 i = 0; i < l->n_waves; ++i) {
    u32 simd = 0;
    for (u32 s = 1; s < 4; ++s)
      if (__builtin_popcount(x->simds[s].slots) < __builtin_popcount(x->simds[simd].slots)) simd = s;
    u32 slot = (u32)__builtin_ctz(~x->simds[simd].slots);
    x->simds[simd].slots |= 1u << slot;
    u32 id = c->free[--c->n_free];
    Wave* w = &c->pool[id];
    u64 begin = at + k->wave_pace * i;
    for (u64* p = (u64*)w; p < (u64*)(w + 1); ++p) *p = 0;
    w->id = w->rules.id = id;
    w->begin = w->reached = begin;
    w->group = group;
    w->wave = i;
    w->number = group * l->n_waves + i;
    w->cu = cu;
    w->simd = simd;
    w->slot = slot;
    const u64* o = &l->offsets[(u64)group * (l->n_waves + 1) + i];
    w->at = l->streams + o[0];
    w->end = l->streams + o[1];
    g->members[i] = id;
    if (!x->waves++) x->busy_since = begin;
    next_block(l, w);
    u64 first = begin + k->first_instruction, fetched = fetch(c, l, cu, w->pc, begin) + k->first_instruction;
    if (fetched > first) first = fetched;
    for (u32 p = 0; p < PORTS; ++p) w->rules.ready[p] = first;
    charge(w, first, C_LAUNCH, 1);
    WaveTime* out = &l->waves[w->number];
    out->workgroup = group; out->wave = i; out->xcd = xcd; out->se = se; out->cu = found % k->cus; out->simd = simd; out->slot = slot;
    out->begin = begin;
    push(c, first, w);
  }
  return 1;
}

static void end_wave(Chip* c, LaunchTime* l, Wave* w, u64 t) {
  const Constants* k = c->k;
  WaveTime* out = &l->waves[w->number];
  out->end = t;
  l->counters[X_WAVES]++;
  l->counters[X_WAVE_CYCLES] += t - w->begin;
  if (t > l->end) l->end = t;
  CuState* x = &c->cus[w->cu];
  x->simds[w->simd].slots &= ~(1u << w->slot);
  if (!--x->waves) x->busy += t - x->busy_since;
  c->free[c->n_free++] = w->id;
  Group* g = &c->groups[w->group];
  if (--g->left) return;
  --x->groups;
  u32 xcd = w->cu / (k->ses * k->cus);
  while (start_group(c, l, xcd, t + k->slot_reuse)) {}
}

// ---- what an instruction does beyond its SIMD ------------------------------------------------------------------------
static u64 cover(const Wave* w, const Desc* d, u64 t, u8* cause, u32* queued) {   // when a wait lets go
  u64 until = t;
  *cause = C_ISSUE;
  *queued = 0;
  if (d->vm < w->n_vm) {
    u32 i = (w->n_vm - 1 - d->vm) % QUEUE;
    if (w->vm[i] > until) { until = w->vm[i]; *cause = C_MEMORY; *queued = w->vm_queued[i]; }
  }
  if (d->lgkm < w->n_lgkm) {
    u64 at = w->lgkm_max;
    if (d->lgkm) {   // the (n+1)-th latest of those under way
      u32 n = w->n_lgkm < 32 ? w->n_lgkm : 32;
      at = 0;
      for (u32 i = 0; i < n; ++i) {
        u64 x = w->lgkm[(w->n_lgkm - 1 - i) % QUEUE];
        u32 above = 0;
        for (u32 j = 0; j < n; ++j) above += w->lgkm[(w->n_lgkm - 1 - j) % QUEUE] > x || (w->lgkm[(w->n_lgkm - 1 - j) % QUEUE] == x && j < i);
        if (above == d->lgkm) at = x;
      }
    }
    if (at > until) { until = at; *cause = w->lds_in_a_row ? C_LDS : C_MEMORY; *queued = 0; }
  }
  return until;
}

static u64 align(u64 t) { return (t + 3) & ~3ull; }

static void memory(Chip* c, LaunchTime* l, CuState* x, Wave* w, const Desc* d, u64 t) {
  const Constants* k = c->k;
  u8 access = l->accesses[w->pc];
  u32 head = 0, lanes = 64, n = 0;
  const u32* lines = w->at;
  if (access) {
    if (w->at >= w->end) { l->failed = 1; return; }
    head = *w->at++;
    n = head & 255;
    lines = w->at;
    lanes = (head >> 24) + 1 & 255;
    w->at += n;
  }
  if (d->kind == K_LDS) {
    u32 phases = head >> 8 & 255, extra = head >> 16 & 255;
    u64 done = lds_done(&x->shared, &x->simds[w->simd].simd, w->simd, d, t, phases, extra);
    l->counters[X_LDS_ACTIVE] += phases ? phases : d->service / 2;
    l->counters[X_LDS_CONFLICT] += extra;
    done = align(done);
    if (done < w->lds_last) done = w->lds_last;
    w->lds_last = done;
    w->lgkm[w->n_lgkm++ % QUEUE] = done;
    if (done >= w->lgkm_max) { w->lgkm_max = done; w->lds_in_a_row = 1; }
    return;
  }
  u32 kind = d->kind == K_SMEM ? MEMORY_SMEM : d->to_lds ? MEMORY_TO_LDS : d->kind == K_STORE ? MEMORY_STORE : d->kind == K_ATOMIC ? MEMORY_ATOMIC : MEMORY_LOAD;
  MemoryTime m = {t, t, 1, 0};
  if (!access && d->kind != K_SMEM) m.done = t + k->slot;   // no access: a cache hint
  else if (c->fixed) m = fixed_access(k, c->address_free, w->cu, t, kind, d->dwords, lanes, c->fixed);
  else m = memory_access(c->memory, w->cu, t, kind | (u32)(access >> 4) << 3, d->dwords, lanes, lines, n);
  m.done = align(m.done);
  m.accept = align(m.accept);
  if (d->kind == K_SMEM) {
    w->lgkm[w->n_lgkm++ % QUEUE] = m.done;
    if (m.done >= w->lgkm_max) { w->lgkm_max = m.done; w->lds_in_a_row = 0; }
    return;
  }
  u32 cost = address_cycles(k, d->dwords, lanes);
  vmem_taken(&x->shared, &x->simds[w->simd].simd, t, m.accept, n > cost ? n : cost);
  if (m.done < w->vm_last) m.done = w->vm_last;   // counted in order
  w->vm_last = m.done;
  w->vm[w->n_vm % QUEUE] = m.done;
  w->vm_queued[w->n_vm++ % QUEUE] = m.queued;
}

// Releases the workgroup's barrier when all waves that have not ended are there.
static void barrier(Chip* c, LaunchTime* l, Wave* w, u64 t) {
  Group* g = &c->groups[w->group];
  if (!g->arrived || g->arrived + g->ended < l->n_waves) return;
  g->arrived = 0;
  for (u32 i = 0; i < l->n_waves; ++i) {
    Wave* o = &c->pool[g->members[i]];
    if (o->group != w->group || !o->at_barrier) continue;
    o->at_barrier = 0;
    record(c, l, o, t + c->k->barrier, C_BARRIER, 1, 9);
    for (u32 p = 0; p < PORTS; ++p)
      if (o->rules.ready[p] < t + c->k->barrier) o->rules.ready[p] = t + c->k->barrier;
    ++o->pc;
    if (o->pc == o->stop) next_block(l, o);
    if (l->failed) return;
    push(c, t + c->k->barrier, o);
  }
}

// What the wave does at t. Returns when it comes again, 0 where something else decides that.
static u64 step(Chip* c, LaunchTime* l, Wave* w, u64 t) {
  const Constants* k = c->k;
  if (w->ending) { end_wave(c, l, w, t); return 0; }
  const Desc* d = &l->descs[w->pc];
  CuState* x = &c->cus[w->cu];
  Simd* s = &x->simds[w->simd].simd;
  When at = earliest(k, &x->shared, s, &w->rules, d);
  if (at.at > t) {
    charge(w, at.at, at.cause, at.idle);
    return at.at;
  }
  charge(w, t, at.cause, at.idle);
  run_through(l, w->cu, w->pc, t);
  u32 pc = w->pc;
  int last = pc + 1 == w->stop, taken = 0;
  if (d->kind == K_BARRIER) {
    issue(k, s, &w->rules, d, t, 0, 0);
    w->at_barrier = 1;
    ++c->groups[w->group].arrived;
    barrier(c, l, w, t);
    return 0;
  }
  if (d->kind == K_END) {
    u64 until = t + k->endpgm;
    if (w->vm_last > until) until = w->vm_last;
    record(c, l, w, until, C_LAUNCH, 0, 11);
    w->ending = 1;
    ++c->groups[w->group].ended;
    barrier(c, l, w, t);
    return until;
  }
  if (d->port == LDS || d->port == VMEM || d->kind == K_SMEM) memory(c, l, x, w, d, t);
  if (d->kind == K_BRANCH && last && w->at < w->end) taken = l->blocks[*w->at][0] != pc + 1;
  issue(k, s, &w->rules, d, t, taken, t == s->pipe_free);
  if (d->kind == K_MFMA) l->counters[X_MFMA_BUSY] += d->pipe;
  if (d->port == VALU && s->valu_count == 2) l->counters[X_VALU2]++;
  static const u8 ACTIVE[] = {X_ACTIVE_VALU, X_ACTIVE_SCA, X_ACTIVE_LDS, X_ACTIVE_VMEM, X_ACTIVE_MISC, X_ACTIVE_MISC};
  u32 active = d->port == VALU && !d->pipe ? d->hold : k->slot;
  l->counters[ACTIVE[d->port]] += active;
  l->counters[X_ACTIVE_ANY] += active;
  if (d->kind == K_WAIT) {
    u8 cause;
    u32 queued;
    u64 until = cover(w, d, t + k->slot, &cause, &queued);
    if (cause == C_MEMORY && queued) {   // what queues took first, latency last
      u64 n = until - t > queued ? queued : until - t;
      charge(w, t + n, C_BANDWIDTH, 0);
    }
    if (d->stall && t + d->stall > until) { until = t + d->stall; cause = C_DEPENDENCY; }
    for (u32 p = 0; p < PORTS; ++p)
      if (w->rules.ready[p] < until) w->rules.ready[p] = until;
    if (d->priority < 4) w->priority = d->priority;
    record(c, l, w, until, cause, 1, 9);
  } else if (d->kind == K_NOP) {
    record(c, l, w, t + d->next[NONE], C_DEPENDENCY, 1, 9);
  } else {
    u8 category = ATT_CATEGORY[d->kind];
    if (d->kind == K_BRANCH && taken) category = 7;
    if (d->port == VMEM && d->buffer) category = 3;
    record(c, l, w, t + (d->kind == K_BRANCH ? k->slot : d->next[NONE]), C_ISSUE, 0, category);
  }
  ++w->pc;
  if (last || taken) {
    next_block(l, w);
    if (l->failed) return 0;
    if (taken) {
      u64 ready = fetch(c, l, w->cu, w->pc, t);
      if (ready > t)
        for (u32 p = 0; p < PORTS; ++p) w->rules.ready[p] = ready + k->branch_taken;
    }
  }
  When next = earliest(k, &x->shared, s, &w->rules, &l->descs[w->pc]);
  charge(w, next.at, next.cause, next.idle);
  return next.at;
}

// Times one launch that may start at l->start. Returns 0, or 1 where a stream does not fit the code.
u32 time_launch(Chip* c, LaunchTime* l) {
  const Constants* k = c->k;
  u32 n_cus = k->xcds * k->ses * k->cus;
  c->n_heap = 0;
  c->n_free = c->pool_size;
  for (u32 i = 0; i < c->pool_size; ++i) c->free[i] = c->pool_size - 1 - i;
  for (u64 *p = (u64*)c->cus, *end = (u64*)(c->cus + n_cus); p < end; ++p) *p = 0;
  for (u32 i = 0; i < k->xcds; ++i) c->resident[i] = 0;
  for (u32 i = 0; i < k->xcds * k->ses; ++i) c->se_free[i] = l->start;
  l->end = l->start;
  if (!c->fixed) memory_launch(c->memory);
  for (u32 xcd = 0; xcd < k->xcds; ++xcd)
    while (start_group(c, l, xcd, l->start)) {}
  while (c->n_heap && !l->failed) {
    Wave* w = &c->pool[c->heap[0].wave];   // stays at the top meanwhile: nothing that it starts comes before it
    u64 again = step(c, l, w, c->heap[0].key >> 20);
    Event e = again ? (Event){key_of(again, w), w->id} : c->heap[--c->n_heap];
    if (c->n_heap) sink(c->heap, c->n_heap, 0, e);
  }
  for (u32 i = 0; i < n_cus; ++i) l->counters[X_BUSY_CU] += c->cus[i].busy;
  return l->failed;
}
