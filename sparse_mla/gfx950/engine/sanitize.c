// The checks of registers, waits and barriers. Every finding is kept once for an instruction and kind; execution goes on.
#include "sanitize.h"

static Sanitizer* shadow_of(Wave* w) { return w->worker->sanitizer; }
static RegisterShadow* registers_of(Wave* w) { return shadow_of(w)->registers + (u64)w->index * shadow_of(w)->n_registers; }

__attribute__((noinline, cold)) Finding* found(Wave* w, u32 kind, u32 pc, u64 lanes) {
  Sanitizer* s = shadow_of(w);
  u8* seen = &s->seen[(u64)pc * FOUND_KINDS + kind];
  if (*seen || s->n_findings == MAX_FINDINGS) return 0;
  *seen = 1;
  Finding* f = &s->findings[s->n_findings++];
  *f = (Finding){.kind = kind, .pc = pc, .wave = w->index, .other_pc = NO_PC, .lanes = lanes};
  __builtin_memcpy(f->workgroup, s->workgroup, 12);
  return f;
}

static u64 lanes_of(Wave* w, const Check* c) { return c->matrix ? ~0ull : exec_of(w); }

static void report_register(Wave* w, const Check* c, const Access* a, const RegisterShadow* r, u32 number, u64 missing, u32 pc) {
  WaveShadow* ws = w->shadow;
  Finding* f = 0;
  if (missing && (f = found(w, a->file == FILE_SCALAR ? FOUND_UNWRITTEN_SGPR : FOUND_UNWRITTEN_VGPR, pc, missing))) f->what = number;
  if (r->vm > ws->vm_done && (f = found(w, FOUND_NOT_WAITED_VM, pc, lanes_of(w, c)))) {
    f->what = number; f->need = ws->flat ? 0 : ws->vm_issued - r->vm; f->other_pc = r->pc;
  }
  if ((r->lgkm > ws->lgkm_done || r->smem) && (f = found(w, FOUND_NOT_WAITED_LGKM, pc, lanes_of(w, c)))) {
    f->what = number; f->need = r->smem || ws->flat ? 0 : ws->lgkm_issued - r->lgkm; f->other_pc = r->pc;
  }
}

INLINE void settle(WaveShadow* ws, RegisterShadow* r, u32 number, int scalar) {
  if (r->vm <= ws->vm_done) r->vm = 0;
  if (r->lgkm <= ws->lgkm_done) r->lgkm = 0;
  bits_open(ws, number, r->vm || r->lgkm || r->smem || r->defined != (scalar ? 1 : ~0ull));
}

static void check_registers(Wave* w, const Check* c, u32 pc) {
  WaveShadow* ws = w->shadow;
  RegisterShadow* all = registers_of(w);
  u64 lanes = lanes_of(w, c);
  ws->handed_on[0] = ws->handed_on[1] = ws->handed_on[2] = ws->handed_on[3] = 0;
  for (u32 i = 0; i < c->n; ++i) {
    const Access* a = &c->access[i];
    u32 scalar = a->file == FILE_SCALAR, number = a->first + (scalar ? shadow_of(w)->n_vectors : 0);
    u64 wanted = a->mode & READ ? scalar ? 1 : lanes : 0;
    for (u32 k = 0; k < a->count; ++k, ++number) {
      if (!(ws->open[number >> 6] >> (number & 63) & 1)) continue;
      RegisterShadow* r = &all[number];
      settle(ws, r, number, (int)scalar);
      u64 missing = wanted & ~r->defined;
      if (a->role == ROLE_ONE_LANE && r->defined) missing = 0;   // whichever lane it is
      if (missing && !scalar && k < 4 && (a->role == ROLE_COPY || (a->role == ROLE_HIGH && k == 1))) { ws->handed_on[k] |= missing; missing = 0; }
      if (UNLIKELY(missing || r->vm || r->lgkm || r->smem)) report_register(w, c, a, r, number, missing, pc);
    }
  }
}

static void mark_registers(Wave* w, const Check* c, u32 pc) {
  WaveShadow* ws = w->shadow;
  RegisterShadow* all = registers_of(w);
  u64 lanes = lanes_of(w, c);
  u32 vm = 0, lgkm = 0, smem = c->counter == COUNTER_SMEM;
  if (c->counter == COUNTER_VM || c->counter == COUNTER_BOTH) vm = ++ws->vm_issued;
  if (c->counter == COUNTER_LGKM || c->counter == COUNTER_BOTH) lgkm = ++ws->lgkm_issued;
  if (smem) ws->smem_pending = 1;
  if (c->counter == COUNTER_BOTH) ws->flat = 1;
  for (u32 i = 0; i < c->n; ++i) {
    const Access* a = &c->access[i];
    if (!(a->mode & WRITE)) continue;
    u32 scalar = a->file == FILE_SCALAR, number = a->first + (scalar ? shadow_of(w)->n_vectors : 0);
    for (u32 k = 0; k < a->count; ++k, ++number) {
      RegisterShadow* r = &all[number];
      u64 handed_on = k < 4 && !scalar ? ws->handed_on[k] & lanes : 0;
      if (!(ws->open[number >> 6] >> (number & 63) & 1)) {
        if (!(vm | lgkm | smem) && !handed_on) continue;
        r->defined = scalar ? 1 : ~0ull;   // not kept up meanwhile
      }
      r->defined = (r->defined | (scalar ? 1 : lanes)) & ~handed_on;
      r->vm = vm; r->lgkm = lgkm; r->smem = smem; r->pc = pc;
      settle(ws, r, number, (int)scalar);
    }
  }
}

// No more than so many are in flight. They come back in order, but for scalar loads, which are not among them, and for flat
// accesses: of those only a 0 says where they went (CDNA4 ISA manual, FLAT).
static void in_flight(Wave* w, u32 vm, u32 lgkm) {
  WaveShadow* ws = w->shadow;
  if (!vm || !lgkm) ws->flat = 0;
  if (ws->flat) return;
  if (ws->vm_issued > vm + ws->vm_done) {
    ws->vm_done = ws->vm_issued - vm;
    races_wait(w);
  }
  if (ws->lgkm_issued > lgkm + ws->lgkm_done) ws->lgkm_done = ws->lgkm_issued - lgkm;
}

static void wait_for(Wave* w, const Check* c) {
  WaveShadow* ws = w->shadow;
  in_flight(w, c->vm, c->lgkm);
  if (c->lgkm || !ws->smem_pending) return;
  RegisterShadow* all = registers_of(w) + shadow_of(w)->n_vectors;
  for (u32 i = 0; i < 128; ++i)
    if (all[i].smem) { all[i].smem = 0; settle(ws, &all[i], shadow_of(w)->n_vectors + i, 1); }
  ws->smem_pending = 0;
}

// Whether somebody whose result or operand this instruction must not touch yet was executed too few wait states ago.
static void check_needs(Wave* w, const Check* c, u32 pc) {
  Sanitizer* s = shadow_of(w);
  const Record* last = s->last + (u64)w->index * s->n_resources;
  for (const Need* n = s->needs + c->needs, *end = n + c->n_needs; n < end; ++n) {
    const Record* r = &last[n->resource];
    u32 have = w->shadow->slot - r->slot;
    Finding* f = r->pc == n->producer && have < n->wait ? found(w, FOUND_WAIT_STATES, pc, lanes_of(w, c)) : 0;
    if (f) { f->what = n->what; f->need = n->wait; f->have = have; f->other_pc = n->producer; }
  }
}

INLINE u64 not_finite(uv x) { return mask_bits((x & 0x7f800000u) == 0x7f800000u); }
static u64 operands_not_finite(Wave* w, const Op* o, const Check* c) {
  u64 given = 0;
  for (u32 i = c->source; i < c->source_end; ++i) given |= not_finite(get_u(w, o->o[i]));
  if (!c->half_exponent) return given;
  u32 low = c->half_exponent, high = low << 16;
  for (u32 i = 1; i < c->n; ++i) {
    const Access* a = &c->access[i];
    for (u32 k = 0; k < a->count; ++k) {
      uv x = AT(uv, w, w->launch->vgpr_offset + 4 * LANES * (a->first + k));
      given |= a->role == ROLE_MATRIX_C ? not_finite(x) : mask_bits(((x & low) == low) | ((x & high) == high));
    }
  }
  return given ? ~0ull : 0;   // one element of A or B reaches a whole row or column
}

const Op* sanitize_check(const Op* o, Wave* w) {
  Sanitizer* s = shadow_of(w);
  const Check* c = &s->checks[o->pc];
  WaveShadow* ws = w->shadow;
  switch (c->special) {
    case SPECIAL_WAIT: wait_for(w, c); break;
    case SPECIAL_RELEASE: races_release(w); break;
    case SPECIAL_ACQUIRE: races_acquire(w); break;
    case SPECIAL_BARRIER:
      if (exec_of(w) != ws->all_lanes) found(w, FOUND_DIVERGENT_BARRIER, o->pc, ws->all_lanes & ~exec_of(w));
      ws->barrier_pc = o->pc;
      races_barrier(w);
  }
  // What a counter has no room for is not issued (so says ROCm's rocjitsu, issue 11202 of rocm-systems); compilers count on it.
  if (c->counter) in_flight(w, VM_MOST - (c->counter == COUNTER_VM || c->counter == COUNTER_BOTH), LGKM_MOST - (c->counter != COUNTER_VM));
  if (c->n_needs) check_needs(w, c, o->pc);
  if (c->results) ws->not_finite = operands_not_finite(w, o + 1, c);
  if (c->n) check_registers(w, c, o->pc);
  if (c->space == SPACE_LDS) check_lds(w, o + 1, c, o->pc);
  else if (c->space) check_memory(w, o + 1, c, o->pc);
  mark_registers(w, c, o->pc);
  ws->slot += c->slots;
  Record* last = s->last + (u64)w->index * s->n_resources;
  for (u32 i = 0; i < c->n_records; ++i) last[s->records[c->records + i]] = (Record){o->pc, ws->slot};
  return o + 1;
}

// A NaN or infinity that no operand brought along. `o` has the slots of the instruction.
const Op* sanitize_result(const Op* o, Wave* w) {
  const Check* c = &shadow_of(w)->checks[o->pc];
  u64 bad = 0;
  for (u32 i = 0; i < c->results; ++i) bad |= not_finite(AT(uv, w, o->o[0] + 4 * LANES * i));
  bad &= (c->half_exponent ? ~0ull : exec_of(w)) & ~w->shadow->not_finite;
  if (bad) found(w, FOUND_BORN_NAN, o->pc, bad);
  return o + 1;
}

void sanitize_start(Wave* w, const u32 id[3], u32 n_scalars) {
  Sanitizer* s = shadow_of(w);
  const Launch* l = w->launch;
  if (w->index == 0) {
    __builtin_memcpy(s->workgroup, id, 12);
    s->group = 1 + id[0] + l->grid[0] * (id[1] + l->grid[1] * id[2]);
  }
  RegisterShadow* r = registers_of(w);
  WaveShadow* ws = w->shadow = &s->waves[w->index];
  __builtin_memset(r, 0, sizeof *r * s->n_registers);
  __builtin_memset(s->last + (u64)w->index * s->n_resources, 0xff, sizeof(Record) * s->n_resources);   // by nobody
  *ws = (WaveShadow){.slot = 64, .epoch = 1, .all_lanes = exec_of(w), .barrier_pc = NO_PC};
  r[0].defined = exec_of(w);
  for (u32 i = 0; i < 128; ++i) r[s->n_vectors + i].defined = i < n_scalars || i >= EXEC;
  for (u32 i = 0; i < s->n_registers; ++i) settle(ws, &r[i], i, i >= s->n_vectors);
  races_start(w);
}

// Waves that wait at the same time must wait at the same barrier.
void sanitize_barrier(Wave* w, Wave* first) {
  u32 pc = w->shadow->barrier_pc, other = first->shadow->barrier_pc;
  Finding* f = pc == other ? 0 : found(w, FOUND_BARRIER_MISMATCH, pc, ~0ull);
  if (f) { f->other_pc = other; f->other_wave = first->index; }
}
