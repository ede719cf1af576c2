// The checks themselves. Every finding is kept once for an instruction and kind; execution goes on.
#include "sanitize.h"

enum { LONGEST_WAIT = 20 };   // wait states, of all in the tables below
#define LIKELY_SETTLED(r, ws) ((ws)->slot - (r)->time > LONGEST_WAIT && (ws)->slot - (r)->c_time > LONGEST_WAIT)

static Sanitizer* shadow_of(Wave* w) { return w->worker->sanitizer; }
static RegisterShadow* registers_of(Wave* w) { return shadow_of(w)->registers + (u64)w->index * shadow_of(w)->n_registers; }

__attribute__((noinline, cold)) static Finding* found(Wave* w, u32 kind, u32 pc, u64 lanes) {
  Sanitizer* s = shadow_of(w);
  u8* seen = &s->seen[(u64)pc * FOUND_KINDS + kind];
  if (*seen || s->n_findings == MAX_FINDINGS) return 0;
  *seen = 1;
  Finding* f = &s->findings[s->n_findings++];
  *f = (Finding){.kind = kind, .pc = pc, .wave = w->index, .other_pc = NO_PC, .lanes = lanes};
  __builtin_memcpy(f->workgroup, s->workgroup, 12);
  return f;
}

// Wait states that software must put between a writer and a reader or writer of the same register (research: ISA manual 4.5, 7.6).
static u32 index_of(u32 passes) { passes &= 127; return passes == 2 ? 0 : passes == 4 ? 1 : passes == 8 ? 2 : 3; }
static u32 states_needed(const RegisterShadow* r, const Check* c, const Access* a, u32 d_first) {
  static const u8 SAME_C[] = {2, 0, 0, 0}, OVERLAP_C[] = {4, 6, 10, 18}, FROM_XDL[] = {5, 8, 12, 20};
  if (r->class_ == CLASS_MFMA) {
    u32 i = index_of(r->passes);
    const u8* FROM_MATRIX = r->passes & 128 ? OVERLAP_C : FROM_XDL;   // fp32 operands do not go through the XDL unit
    if (c->class_ != CLASS_MFMA) return FROM_MATRIX[i];
    if (!(a->mode & READ)) return 0;
    if (a->role == ROLE_MATRIX_AB) return FROM_MATRIX[i];
    return r->d_first == d_first && r->passes == c->passes ? SAME_C[i] : OVERLAP_C[i];
  }
  if (r->class_ < CLASS_VALU || r->class_ > CLASS_READLANE || !(a->mode & READ)) return 0;
  if (a->file == FILE_SCALAR) return c->class_ == CLASS_MEMORY ? 5 : c->class_ == CLASS_OTHER ? 0 : 2;
  switch (c->class_) {
    case CLASS_MFMA: case CLASS_DPP: case CLASS_SWAP: return 2;
    case CLASS_READLANE: return 1;
    case CLASS_VALU: return r->class_ == CLASS_TRANS;
    default: return 0;
  }
}

// What is wrong with touching one register; rarely anything, so the questions are asked together first.
__attribute__((noinline, cold)) static void report_register(
    Wave* w, const Check* c, const Access* a, const RegisterShadow* r, u32 number, u64 missing, u32 pc) {
  WaveShadow* ws = &shadow_of(w)->waves[w->index];
  u64 lanes = c->class_ == CLASS_MFMA ? ~0ull : exec_of(w);
  Finding* f = 0;
  if (missing && (f = found(w, a->file == FILE_SCALAR ? FOUND_UNWRITTEN_SGPR : FOUND_UNWRITTEN_VGPR, pc, missing))) f->what = number;
  if (r->vm > ws->vm_done && (f = found(w, FOUND_NOT_WAITED_VM, pc, lanes))) {
    f->what = number; f->need = ws->vm_issued - r->vm; f->other_pc = r->time;
  }
  if ((r->lgkm > ws->lgkm_done || r->smem) && (f = found(w, FOUND_NOT_WAITED_LGKM, pc, lanes))) {
    f->what = number; f->need = r->smem ? 0 : ws->lgkm_issued - r->lgkm; f->other_pc = r->time;
  }
}

static void check_registers(Wave* w, const Check* c, u32 pc) {
  Sanitizer* s = shadow_of(w);
  WaveShadow* ws = &s->waves[w->index];
  RegisterShadow* all = registers_of(w);
  u64 lanes = c->class_ == CLASS_MFMA ? ~0ull : exec_of(w);
  ws->handed_on[0] = ws->handed_on[1] = ws->handed_on[2] = ws->handed_on[3] = 0;
  for (u32 i = 0; i < c->n; ++i) {
    const Access* a = &c->access[i];
    u32 scalar = a->file == FILE_SCALAR, number = a->first + (scalar ? s->n_vectors : 0);
    u64 wanted = a->mode & READ ? scalar ? 1 : lanes : 0;
    for (u32 end = number + a->count; number < end; ++number) {
      RegisterShadow* r = &all[number];
      u64 missing = wanted & ~r->defined;
      if (a->role == ROLE_ONE_LANE && r->defined) missing = 0;   // whichever lane it is
      u32 k = number - (end - a->count);
      if (missing && !scalar && k < 4 && (a->role == ROLE_COPY || (a->role == ROLE_HIGH && k == 1))) { ws->handed_on[k] |= missing; missing = 0; }
      if (UNLIKELY(missing || r->vm > ws->vm_done || r->lgkm > ws->lgkm_done || r->smem)) report_register(w, c, a, r, number, missing, pc);
      if (LIKELY_SETTLED(r, ws)) continue;
      u32 have = ws->slot - r->time, need = r->vm || r->lgkm || r->smem ? 0 : states_needed(r, c, a, c->access[0].first);
      // A VALU write to what an MFMA still reads as SrcC.
      static const u8 AFTER_C[] = {1, 3, 7, 15};
      u32 since = ws->slot - r->c_time, after_c = r->c_passes ? AFTER_C[index_of(r->c_passes)] : 0;
      if (a->mode & WRITE && c->class_ != CLASS_MFMA && since < after_c && need <= have) { need = after_c; have = since; }
      Finding* f = have < need ? found(w, FOUND_WAIT_STATES, pc, lanes) : 0;
      if (f) { f->what = number; f->need = need; f->have = have; }
    }
  }
}

static void mark_registers(Wave* w, const Check* c, u32 pc) {
  WaveShadow* ws = &shadow_of(w)->waves[w->index];
  RegisterShadow* all = registers_of(w);
  u64 lanes = c->class_ == CLASS_MFMA ? ~0ull : exec_of(w);
  u32 vm = 0, lgkm = 0;
  if (c->counter == COUNTER_VM || c->counter == COUNTER_BOTH) vm = ++ws->vm_issued;
  if (c->counter == COUNTER_LGKM || c->counter == COUNTER_BOTH) lgkm = ++ws->lgkm_issued;
  if (c->counter == COUNTER_SMEM) ws->smem_pending = 1;
  ws->slot += c->slots;
  for (u32 i = 0; i < c->n; ++i) {
    const Access* a = &c->access[i];
    for (u32 k = 0; k < a->count; ++k) {
      RegisterShadow* r = &all[a->first + k + (a->file == FILE_SCALAR ? shadow_of(w)->n_vectors : 0)];
      if (a->role == ROLE_MATRIX_C) { r->c_time = ws->slot; r->c_passes = c->passes; }
      if (!(a->mode & WRITE)) continue;
      r->defined |= a->file == FILE_SCALAR ? 1 : lanes;
      if (k < 4 && a->file == FILE_VECTOR) r->defined &= ~(ws->handed_on[k] & lanes);
      r->class_ = c->class_; r->passes = c->passes; r->d_first = a->first;
      r->vm = vm; r->lgkm = lgkm; r->smem = c->counter == COUNTER_SMEM;
      r->time = vm || lgkm || r->smem ? pc : ws->slot;   // of a load: who it was
    }
  }
}

static void wait_for(Wave* w, const Check* c) {
  WaveShadow* ws = &shadow_of(w)->waves[w->index];
  if (ws->vm_issued > c->vm && ws->vm_issued - c->vm > ws->vm_done) ws->vm_done = ws->vm_issued - c->vm;
  if (c->lgkm == 0) {
    ws->lgkm_done = ws->lgkm_issued;
    if (ws->smem_pending) {
      RegisterShadow* all = registers_of(w) + shadow_of(w)->n_vectors;
      for (u32 i = 0; i < 128; ++i) {
        if (all[i].smem) all[i].time = ws->slot;
        all[i].smem = 0;
      }
      ws->smem_pending = 0;
    }
  } else if (!ws->smem_pending && ws->lgkm_issued > c->lgkm && ws->lgkm_issued - c->lgkm > ws->lgkm_done)
    ws->lgkm_done = ws->lgkm_issued - c->lgkm;   // scalar loads return in any order: with one in flight only 0 says anything
}

// One LDS dword, of which an access touches `bytes`; true when one of them was never written. `same`: it stores what is there
// already, and two waves that store the same do not race.
INLINE int touch_lds(Wave* w, Sanitizer* s, WaveShadow* ws, const Check* c, u32 pc, u64 d, u32 bytes, u64 lane, int same) {
  LdsShadow* x = &s->lds[d];
  Finding* f = 0;
  u16 epoch = (u16)ws->epoch;
  if (x->w_bytes & bytes && x->w_wave != w->index && !c->atomic) {
    if (UNLIKELY(x->w_epoch == epoch)) f = same ? 0 : found(w, FOUND_LDS_RACE, pc, lane);
    else if (UNLIKELY(s->waves[x->w_wave].lgkm_at_barrier < x->w_seq)) f = found(w, FOUND_LDS_IN_FLIGHT, pc, lane);
    if (UNLIKELY(f != 0)) { f->address = 4 * d; f->other_pc = x->w_pc; f->other_wave = x->w_wave; }
  }
  if (x->r_epoch != epoch) { x->r_epoch = epoch; x->r_waves = 0; x->r_bytes = 0; }
  if (!c->writes) {
    x->r_bytes |= (u8)bytes; x->r_waves |= (u16)(1u << w->index); x->r_pc = (u16)pc;
    return (bytes & ~x->defined) != 0;
  }
  u32 readers = x->r_bytes & bytes ? x->r_waves & ~(1u << w->index) : 0;
  if (UNLIKELY(readers != 0) && !c->atomic && (f = found(w, FOUND_LDS_RACE, pc, lane))) {
    f->address = 4 * d; f->other_pc = x->r_pc; f->other_wave = (u32)__builtin_ctz(readers);
  }
  if (x->w_wave != w->index || x->w_epoch != epoch) x->w_bytes = 0;
  x->defined |= (u8)bytes; x->w_bytes |= (u8)bytes; x->w_wave = (u8)w->index; x->w_epoch = epoch; x->w_pc = (u16)pc;
  x->w_seq = ws->lgkm_issued + 1;
  return 0;
}

static void check_lds(Wave* w, const Op* o, const Check* c, u32 pc) {
  Sanitizer* s = shadow_of(w);
  WaveShadow* ws = &s->waves[w->index];
  const u32* address = &AT(u32, w, o->o[c->address_slot]);
  u32 size = c->bytes, aligned = size % 4 == 0;
  for (u32 n = 0; n < c->addresses; ++n) {
    u64 offset = (n ? (u64)o->aux : (u64)o->imm) * c->unit, unwritten = 0, misaligned = 0, last = ~0ull, of = 0;
    const u32* stored = &AT(u32, w, o->o[c->address_slot + 1 + n]);   // a store's data stands behind its address
    u32 bytes = 0;   // of dword `last`, touched by lane `of` first: neighbouring lanes often share one
    for (u64 active = exec_of(w); active; active &= active - 1) {
      u64 lane = active & -active, at = (u32)(address[__builtin_ctzll(active)] + offset);
      if (at + size > w->lds_bytes) continue;   // the instruction itself faults
      if (at & (c->align - 1)) misaligned |= lane;
      if (aligned && !(at & 3)) {
        for (u64 d = at / 4; d < (at + size) / 4; ++d)
          if (touch_lds(w, s, ws, c, pc, d, 15, lane, c->writes && stored[LANES * (d - at / 4) + __builtin_ctzll(active)] == ((u32*)w->lds)[d]))
            unwritten |= lane;
        continue;
      }
      for (u64 b = at; b < at + size; ++b) {
        if (b / 4 != last) {
          if (bytes && touch_lds(w, s, ws, c, pc, last, bytes, of, 0)) unwritten |= of;
          last = b / 4; bytes = 0; of = lane;
        }
        bytes |= 1u << (b & 3);
      }
    }
    if (bytes && touch_lds(w, s, ws, c, pc, last, bytes, of, 0)) unwritten |= of;
    Finding* f;
    if (unwritten && (f = found(w, FOUND_UNWRITTEN_LDS, pc, unwritten))) f->address = address[__builtin_ctzll(unwritten)] + offset;
    if (misaligned && (f = found(w, FOUND_MISALIGNED, pc, misaligned))) {
      f->address = address[__builtin_ctzll(misaligned)] + offset; f->need = c->align;
    }
  }
}

// Two workgroups of one launch share no order: what one writes, another may not touch. Atomics are left out, and so are accesses
// of less than a dword, whose neighbours may be somebody else's.
static void check_global(Wave* w, const Op* o, const Check* c, u32 pc) {
  Sanitizer* s = shadow_of(w);
  const Launch* l = w->launch;
  u32 va = o->o[c->address_slot], sa = o->o[c->saddr_slot];
  Uv address = sa ? get_M(w, sa) + __builtin_convertvector(AT(uv, w, va), Uv) : get_U(w, va);
  Finding* f;
  const Range* r = 0;
  for (u64 active = exec_of(w); active; active &= active - 1) {
    u64 lane = active & -active, a = address[__builtin_ctzll(active)] + (u64)o->imm;
    if (!r || a - r->base >= r->size || r->size - (a - r->base) < c->bytes) r = find_range(l, a, c->bytes);
    if (!r) continue;
    if (a % c->align && (f = found(w, FOUND_MISALIGNED, pc, lane))) { f->address = a; f->need = c->align; }
    GlobalShadow* g = s->global[r - l->ranges];
    if (!g || c->bytes < 4 || c->atomic) continue;
    for (u64 d = (a - r->base) / 4; 4 * d < a - r->base + c->bytes; ++d) {
      GlobalShadow* x = &g[d];
      int written = x->w_group && x->w_group != s->group, read = c->writes && x->r_group && x->r_group != s->group;
      if ((written || read) && (f = found(w, FOUND_GLOBAL_RACE, pc, lane))) {
        f->address = a; f->other_pc = written ? x->w_pc : x->r_pc; f->other_group = written ? x->w_group : x->r_group;
      }
      if (c->writes) { x->w_group = s->group; x->w_pc = (u16)pc; }
      else { x->r_group = x->r_group && x->r_group != s->group ? ~0u : s->group; x->r_pc = (u16)pc; }
    }
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
  const Check* c = &shadow_of(w)->checks[o->pc];
  if (c->special == SPECIAL_WAIT) { wait_for(w, c); shadow_of(w)->waves[w->index].slot += c->slots; return o + 1; }
  if (c->special == SPECIAL_BARRIER) {
    WaveShadow* ws = &shadow_of(w)->waves[w->index];
    if (exec_of(w) != ws->all_lanes) found(w, FOUND_DIVERGENT_BARRIER, o->pc, ws->all_lanes & ~exec_of(w));
    ws->lgkm_at_barrier = ws->lgkm_done; ws->barrier_pc = o->pc; ++ws->epoch;
  }
  if (c->results) shadow_of(w)->waves[w->index].not_finite = operands_not_finite(w, o + 1, c);
  check_registers(w, c, o->pc);
  if (c->space == SPACE_LDS) check_lds(w, o + 1, c, o->pc);
  if (c->space == SPACE_GLOBAL) check_global(w, o + 1, c, o->pc);
  mark_registers(w, c, o->pc);
  return o + 1;
}

// A NaN or infinity that no operand brought along. `o` has the slots of the instruction.
const Op* sanitize_result(const Op* o, Wave* w) {
  const Check* c = &shadow_of(w)->checks[o->pc];
  u64 bad = 0;
  for (u32 i = 0; i < c->results; ++i) bad |= not_finite(AT(uv, w, o->o[0] + 4 * LANES * i));
  bad &= (c->half_exponent ? ~0ull : exec_of(w)) & ~shadow_of(w)->waves[w->index].not_finite;
  if (bad) found(w, FOUND_BORN_NAN, o->pc, bad);
  return o + 1;
}

void sanitize_start(Wave* w, const u32 id[3], u32 n_scalars) {
  Sanitizer* s = shadow_of(w);
  const Launch* l = w->launch;
  if (w->index == 0) {
    __builtin_memset(s->lds, 0, sizeof(LdsShadow) * ((l->lds_bytes + 3) / 4));
    if (s->open_lds)
      for (u32 i = 0; i < (l->lds_bytes + 3) / 4; ++i) s->lds[i].defined = 15;
    __builtin_memcpy(s->workgroup, id, 12);
    s->group = 1 + id[0] + l->grid[0] * (id[1] + l->grid[1] * id[2]);
  }
  RegisterShadow* r = registers_of(w);
  __builtin_memset(r, 0, sizeof *r * s->n_registers);
  s->waves[w->index] = (WaveShadow){.slot = 64, .epoch = 1, .all_lanes = exec_of(w), .barrier_pc = NO_PC};
  r[0].defined = exec_of(w);
  for (u32 i = 0; i < 128; ++i) r[s->n_vectors + i].defined = i < n_scalars || i >= EXEC;
}

// Waves that wait at the same time must wait at the same barrier.
void sanitize_barrier(Wave* w, Wave* first) {
  Sanitizer* s = shadow_of(w);
  u32 pc = s->waves[w->index].barrier_pc, other = s->waves[first->index].barrier_pc;
  Finding* f = pc == other ? 0 : found(w, FOUND_BARRIER_MISMATCH, pc, ~0ull);
  if (f) { f->other_pc = other; f->other_wave = first->index; }
}
