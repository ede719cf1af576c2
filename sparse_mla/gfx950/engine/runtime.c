// Running workgroups: every host thread takes the next one, runs its waves to their barriers, and goes on.
#include "sanitize.h"
#include "trace.h"

const Range* find_range(const Launch* l, u64 address, u64 size) {
  u32 lo = 0, hi = l->n_ranges;   // sorted by base, never overlapping
  while (lo < hi) {
    u32 mid = (lo + hi) / 2;
    if (l->ranges[mid].base <= address) lo = mid + 1; else hi = mid;
  }
  if (!lo) return 0;
  const Range* r = &l->ranges[lo - 1];
  u64 off = address - r->base;
  return off < r->size && r->size - off >= size ? r : 0;
}

const Op* find_code(const Launch* l, u64 address) {   // the operation that counts the basic block there
  u64 pc = (address - l->code_base) / 4;
  u32 lo = 0, hi = l->n_ops;   // in the order of pc, that operation before the others of its instruction
  while (lo < hi) {
    u32 mid = (lo + hi) / 2;
    if (l->code[mid].pc < pc) lo = mid + 1; else hi = mid;
  }
  return lo < l->n_ops && l->code_base + 4 * pc == address && l->code[lo].pc == pc && l->code[lo].run == l->code[0].run ? &l->code[lo] : 0;
}

// The accesses of one instruction mostly go to one buffer, though another one than those of the instruction before.
u32 find_pointers(Wave* w, const Uv* address, u64 size, u8** pointers) {
  for (u64 active = exec_of(w); active; active &= active - 1) {
    u32 lane = (u32)__builtin_ctzll(active);
    pointers[lane] = host_address(w, (*address)[lane], size);
    if (!pointers[lane]) return lane;
  }
  return LANES;
}

const Op* fault(Wave* w, const Op* o, u32 kind, u32 lane, u64 address, u32 size) {
  Fault* f = &w->worker->fault;
  f->kind = kind; f->pc = o->pc; f->wave = w->index; f->lane = lane; f->address = address; f->size = size;
  w->state = FAULTED;
  return 0;
}

static Wave* wave_at(const Launch* l, Worker* k, u32 i) { return (Wave*)((u8*)k->waves + (u64)i * l->wave_bytes); }

static void give_memory(Wave* w, const Launch* l, Worker* k, u32 index) {
  w->lds = k->lds; w->lds_bytes = l->lds_bytes;
  w->scratch = k->scratch + (u64)index * LANES * l->scratch_bytes; w->scratch_bytes = l->scratch_bytes;
}

// Registers hold junk when a wave starts on a device; here they hold all ones, which is a NaN and a bad address.
static void start_wave(const Launch* l, Worker* k, u32 index, const u32 id[3]) {
  Wave* w = wave_at(l, k, index);
  __builtin_memset(w, 0, sizeof *w);
  w->launch = l; w->worker = k; w->range = l->ranges; w->resume = l->code + l->entry;
  w->counts = k->counts + (u64)index * l->n_blocks;
  w->budget = (i64)l->budget; w->index = index;
  give_memory(w, l, k, index);
  __builtin_memset(w->scratch, 0xff, (u64)LANES * l->scratch_bytes);
  u32* s = &SREG(u32, w, 0);
  __builtin_memset(s, 0xff, 128 * 4);
  u32 n = l->n_user_sgprs;
  __builtin_memcpy(s, l->user_sgprs, 4 * n);
  for (u32 d = 0; d < 3; ++d)
    if (l->workgroup_id_mask >> d & 1) s[n++] = id[d];
  __builtin_memcpy(s + 128, l->constants, 4 * l->n_constants);
  uv* v = &AT(uv, w, l->vgpr_offset);
  __builtin_memset(v, 0xff, sizeof(uv) * l->n_vgprs);
  u32 threads = l->block[0] * l->block[1] * l->block[2];
  u64 exec = 0;
  for (u32 lane = 0; lane < LANES; ++lane) {
    u32 t = index * LANES + lane;
    if (t >= threads) break;
    exec |= 1ull << lane;
    u32 x = t % l->block[0], y = t / l->block[0] % l->block[1], z = t / l->block[0] / l->block[1];
    v[0][lane] = x | y << 10 | z << 20;
  }
  exec_of(w) = exec;
  if (k->sanitizer) sanitize_start(w, id, n);
}

static void run_wave(Wave* w) {
  const Op* o = w->resume;
  w->state = RUNNING;
  while (o) o = o->run(o, w);
}

// Fisher and Yates, with the high bits of Knuth's 64-bit linear congruence.
static void shuffle(u32* turn, u32 n, u64* seed) {
  for (u32 i = n; i > 1; --i) {
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    u32 other = (u32)(*seed >> 33) % i, kept = turn[i - 1];
    turn[i - 1] = turn[other];
    turn[other] = kept;
  }
}

static int run_workgroup(const Launch* l, Worker* k, const u32 id[3], u64 seed) {
  u32 turn[WAVES_MOST];
  __builtin_memset(k->lds, 0xff, l->lds_bytes);
  for (u32 i = 0; i < l->n_waves; ++i) {
    start_wave(l, k, i, id);
    turn[i] = i;
  }
  for (;;) {
    if (seed) shuffle(turn, l->n_waves, &seed);
    u32 ended = 0;
    Wave* waiting = 0;   // the first wave at a barrier
    for (u32 i = 0; i < l->n_waves; ++i) {
      Wave* w = wave_at(l, k, turn[i]);
      if (w->state != ENDED) {
        if (k->tracer) trace_begin(w, id);
        run_wave(w);
        if (k->tracer) trace_end(w);
      }
      if (w->state == FAULTED) { __builtin_memcpy(k->fault.workgroup, id, 12); return -1; }
      ended += w->state == ENDED;
      if (k->sanitizer && w->state == AT_BARRIER) {
        if (waiting) sanitize_barrier(w, waiting); else waiting = w;
      }
    }
    if (ended == l->n_waves) return 0;   // a barrier is satisfied by the waves that still live
  }
}

// Runs workgroups until none is left or `most` are done; several threads share one Launch. Returns how many, -1 on a fault.
i64 engine_run(Launch* l, Worker* k, u64 most) {
  u64 done = 0;
  for (; done < most; ++done) {
    u64 g = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
    if (g >= l->limit) break;
    if (l->order) g = l->order[g];
    u32 id[3] = {(u32)(g % l->grid[0]), (u32)(g / l->grid[0] % l->grid[1]), (u32)(g / l->grid[0] / l->grid[1])};
    if (run_workgroup(l, k, id, l->seed ? l->seed + g : 0)) return -1;
  }
  return (i64)done;
}

// One wave of a debugged workgroup until it stops, waits at a barrier, ends or faults. Returns its state.
u32 engine_resume(const Launch* l, Worker* k, u32 wave) {
  Wave* w = wave_at(l, k, wave);
  run_wave(w);
  return w->state;
}

// All waves of a workgroup to debug, each stopped before its first instruction; nothing is left of an earlier one.
void engine_start(const Launch* l, Worker* k, const u32 id[3]) {
  __builtin_memset(k->lds, 0xff, l->lds_bytes);
  __builtin_memset(&k->fault, 0, sizeof k->fault);
  __builtin_memcpy(k->fault.workgroup, id, 12);
  k->debug->left = 0;
  for (u32 i = 0; i < l->n_waves; ++i) {
    start_wave(l, k, i, id);
    engine_resume(l, k, i);
  }
}

// A bare wave on given registers (tests, lane maps): the caller has filled the Wave's registers; EXEC, SGPRs and VGPRs stay after.
i64 engine_run_wave(const Launch* l, Worker* k) {
  Wave* w = wave_at(l, k, 0);
  w->launch = l; w->worker = k; w->range = l->ranges; w->resume = l->code + l->entry; w->counts = k->counts;
  w->budget = (i64)l->budget; w->mode = 0; w->index = 0;
  give_memory(w, l, k, 0);
  do run_wave(w); while (w->state == AT_BARRIER);
  return w->state == FAULTED ? -1 : 0;
}

// Yardstick for the benchmark: `n` plain 64-lane multiply-adds over a small set of vectors, with no dispatch at all.
f32 engine_calibrate(u64 n) {
  static _Thread_local fv v[16];
  for (u64 i = 0; i < n; ++i) {
    fv* d = &v[i * 5 % 16];
    *d = v[i * 3 % 16] * 0.5f + v[i * 7 % 16] + 1.0f;
    __asm__ volatile("" : : "r"(v) : "memory");
  }
  return v[0][0];
}
