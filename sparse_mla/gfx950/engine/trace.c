// Recording a launch. A word stream a wave: the number of each basic block entered, then a record for each memory instruction of
// that block: lines | service phases << 8 | phases due to conflicts << 16 | active lanes - 1 << 24, and the line numbers.
#include "access.h"
#include "trace.h"

#define ACTIVE(lane) u64 active = exec_of(w), lane; active && (lane = (u64)__builtin_ctzll(active), 1); active &= active - 1
enum { HEADER = 3, RECORD = 256, NONE = ~0u, LINE_SHIFT = 7, SCALAR_LINE_SHIFT = 6 };

static void close_segment(Tracer* t) {
  t->header[2] = (u32)(t->at - t->header) - HEADER;
  *t->at = NONE;   // overwritten by the next segment of the chunk
}

static u32 open_segment(Tracer* t) {
  if (!t->at || t->end - t->at <= HEADER + RECORD) {
    u64 chunk = __atomic_fetch_add(&t->pool->next, 1, __ATOMIC_RELAXED);
    if ((chunk + 1) * TRACE_CHUNK > t->pool->capacity) { t->end = t->at; return 0; }
    t->at = t->pool->words + chunk * TRACE_CHUNK;
    t->end = t->at + TRACE_CHUNK;
  }
  t->header = t->at;
  t->header[0] = t->group; t->header[1] = t->wave;
  t->at += HEADER;
  return 1;
}

// Room for one record and the end mark.
INLINE u32 room(Tracer* t) {
  if (__builtin_expect(t->end - t->at > RECORD, 1)) return 1;
  if (t->at == t->end) return 0;
  close_segment(t);
  return open_segment(t);
}

void trace_begin(Wave* w, const u32 id[3]) {
  Tracer* t = w->worker->tracer;
  const u32* grid = w->launch->grid;
  t->group = id[0] + grid[0] * (id[1] + grid[1] * id[2]);
  t->wave = w->index;
  open_segment(t);   // where it cannot, the first block faults
}
void trace_end(Wave* w) { if (w->state != FAULTED) close_segment(w->worker->tracer); }

u32 trace_block(const Op* o, Wave* w) {
  Tracer* t = w->worker->tracer;
  if (UNLIKELY(!room(t))) return fault(w, o, FAULT_TRACE, 0, 0, 0), 0;
  *t->at++ = (u32)o->imm;
  return 1;
}

// ---- LDS -----------------------------------------------------------------------------------------------------------------
typedef struct { u32 phases, extra; } Service;

static Service serve(const LdsPattern* p, const u32* address, u64 lanes, u32 bytes, u64* conflicts) {
  Service s = {p->phases, 0};
  u32 seen[64][LANES];   // [bank][..]: dwords asked for
  for (u32 phase = 0; phase < p->phases; ++phase) {
    u8 count[64] = {0};
    u32 most = 1;
    for (u64 active = lanes; active; active &= active - 1) {
      u32 lane = (u32)__builtin_ctzll(active);
      if (p->phase[lane] != phase) continue;
      u32 first = address[lane] / 4, last = (address[lane] + bytes - 1) / 4;
      for (u32 d = first; d <= last; ++d) {
        u32 bank = d % p->banks, n = count[bank], found = 0;
        for (u32 i = 0; i < n; ++i) found |= seen[bank][i] == d;
        if ((found && !p->serial) || n == LANES) continue;
        seen[bank][n] = d;
        count[bank] = (u8)++n;
        if (n > most) most = n;
        if (conflicts && n > 1) ++conflicts[bank];
      }
    }
    s.extra += most - 1;
  }
  s.phases += s.extra;
  return s;
}

// The conflicts of an access stay the same when all its addresses move by the same number of dwords.
static Service lds_service(Wave* w, const TraceAccess* a, u32 n, const uv* address, u64 lanes, u64* conflicts) {
  Tracer* t = w->worker->tracer;
  const LdsPattern* p = &t->patterns[a->pattern];
  if (!lanes) return (Service){p->phases, 0};
  if (conflicts) return serve(p, (const u32*)address, lanes, a->bytes, conflicts);
  LdsCached* c = &t->cached[(a->cached + n) * w->launch->n_waves + w->index];
  u32 first = ((const u32*)address)[__builtin_ctzll(lanes)];
  uv delta = *address - first, known;
  __builtin_memcpy(&known, c->delta, sizeof known);
  if (c->known && c->active == lanes && c->low == (first & 3) && !(mask_bits((iv)(delta != known)) & lanes))
    return (Service){c->phases, c->extra};
  Service s = serve(p, (const u32*)address, lanes, a->bytes, 0);
  __builtin_memcpy(c->delta, &delta, sizeof delta);
  c->active = lanes; c->low = first & 3; c->known = 1; c->phases = (u8)s.phases; c->extra = (u8)s.extra;
  return s;
}

static Service trace_lds(Wave* w, const Op* o, const TraceAccess* a) {
  u64* conflicts = w->worker->tracer->conflicts;
  if (conflicts) conflicts += 64 * o->pc;
  Service sum = {0, 0};
  for (u32 n = 0; n < a->addresses; ++n) {
    uv address = AT(uv, w, o->o[a->address_slot]) + (n ? o->aux : (u32)o->imm) * a->unit;
    Service s = lds_service(w, a, n, &address, exec_of(w), conflicts);
    sum.phases += s.phases; sum.extra += s.extra;
  }
  return sum;
}

// ---- lines ---------------------------------------------------------------------------------------------------------------
typedef struct { u32* line; u32 n; } Lines;

INLINE void add_lines(Lines* l, u64 from, u64 bytes, u32 shift) {
  for (u32 line = (u32)(from >> shift), last = (u32)((from + bytes - 1) >> shift);; ++line) {
    if (!l->n || l->line[l->n - 1] != line) {
      u32 seen = 0;
      for (u32 i = 0; i < l->n; ++i) seen |= l->line[i] == line;
      if (!seen && l->n < 255) l->line[l->n++] = line;
    }
    if (line == last) return;
  }
}

static void global_lines(Wave* w, const Op* o, const TraceAccess* a, Lines* l) {
  u32 va = o->o[a->address_slot], sa = a->base_slot == 255 ? 0 : o->o[a->base_slot];
  u64 base = w->worker->tracer->base - (u64)o->imm - (sa ? get_M(w, sa) : 0);
  for (ACTIVE(lane)) add_lines(l, (V(va, lane) | (sa ? 0 : (u64)V(va + 4 * LANES, lane) << 32)) - base, a->bytes, LINE_SHIFT);
}

// As a buffer's range check has it (access.c): a lane outside touches nothing.
static void buffer_lines(Wave* w, const Op* o, const TraceAccess* a, Lines* l) {
  u32 d[3];
  __builtin_memcpy(d, (u8*)w + (o->o[2] & ~1u), 12);
  u32 stride = d[1] >> 16 & 0x3fff, indexed = (o->aux & 2) != 0;
  u64 base = (d[0] | (u64)(d[1] & 0xffff) << 32) + AT(u32, w, o->o[3] & ~1u) - w->worker->tracer->base;
  for (ACTIVE(lane)) {
    u64 index = indexed ? V(o->o[1], lane) : 0, offset = (u64)o->imm;
    if (o->aux & 1) offset += V(o->o[1] + (indexed ? 4 * LANES : 0), lane);
    u64 at = stride && indexed ? index : offset, bytes = a->bytes;
    if (at >= d[2]) continue;
    if (!(stride && indexed) && d[2] - at < bytes) bytes = d[2] - at;
    add_lines(l, base + stride * index + offset, bytes, LINE_SHIFT);
  }
}

// Private memory is interleaved by dwords: dword d of all lanes lies together. Each wave has lines of its own, far above buffers.
INLINE void scratch_dwords(Wave* w, u64 lane, u64 at, u64 bytes, Lines* l) {
  u64 wave = (u64)w->worker->tracer->group * w->launch->n_waves + w->index;
  u64 base = (1ull << 38) + wave * LANES * w->scratch_bytes;
  for (u64 d = at / 4; d <= (at + bytes - 1) / 4; ++d) add_lines(l, base + (d * LANES + lane) * 4, 4, LINE_SHIFT);
}
static void scratch_lines(Wave* w, const Op* o, const TraceAccess* a, Lines* l) {
  u32 va = o->o[a->address_slot], sa = o->o[a->base_slot], base = (sa ? AT(u32, w, sa & ~1u) : 0) + (u32)o->imm;
  for (ACTIVE(lane)) scratch_dwords(w, lane, (u32)(base + (va ? V(va, lane) : 0)), a->bytes, l);
}

static Service flat_lines(Wave* w, const Op* o, const TraceAccess* a, Lines* l) {
  u32 va = o->o[a->address_slot];
  u64 shared = 0;
  uv lds;
  for (ACTIVE(lane)) {
    u64 at = (V(va, lane) | (u64)V(va + 4 * LANES, lane) << 32) + (u64)o->imm;
    ((u32*)&lds)[lane] = (u32)at;
    if (at >> 32 == SHARED_APERTURE) shared |= 1ull << lane;
    else if (at >> 32 == PRIVATE_APERTURE) scratch_dwords(w, lane, (u32)at, a->bytes, l);
    else add_lines(l, at - w->worker->tracer->base, a->bytes, LINE_SHIFT);
  }
  u64* conflicts = w->worker->tracer->conflicts;
  return shared ? lds_service(w, a, 0, &lds, shared, conflicts ? conflicts + 64 * o->pc : 0) : (Service){0, 0};
}

static void scalar_lines(Wave* w, const Op* o, const TraceAccess* a, Lines* l) {
  u64 base;
  __builtin_memcpy(&base, (u8*)w + (o->o[1] & ~1u), 8);
  if (a->space == TRACE_SCALAR_BUFFER) base &= (1ull << 48) - 1;
  base += (o->o[2] ? AT(u32, w, o->o[2] & ~1u) : 0) + (u64)o->imm;
  add_lines(l, (base & ~3ull) - w->worker->tracer->base, a->bytes, SCALAR_LINE_SHIFT);
}

u32 trace_access(const Op* before, Wave* w) {
  Tracer* t = w->worker->tracer;
  const Op* o = before + 1;
  const TraceAccess* a = &t->accesses[o->pc];
  if (UNLIKELY(!room(t))) return fault(w, o, FAULT_TRACE, 0, 0, 0), 0;
  Lines l = {t->at + 1, 0};
  Service s = {0, 0};
  switch (a->space) {
    case TRACE_LDS: s = trace_lds(w, o, a); break;
    case TRACE_CROSSBAR: s.phases = t->patterns[a->pattern].phases; break;
    case TRACE_GLOBAL: global_lines(w, o, a, &l); break;
    case TRACE_FLAT: s = flat_lines(w, o, a, &l); break;
    case TRACE_BUFFER: buffer_lines(w, o, a, &l); break;
    case TRACE_SCRATCH: scratch_lines(w, o, a, &l); break;
    default: scalar_lines(w, o, a, &l);
  }
  u32 lanes = (u32)__builtin_popcountll(exec_of(w));
  t->at[0] = l.n | (s.phases < 255 ? s.phases : 255) << 8 | (s.extra < 255 ? s.extra : 255) << 16 | (lanes - 1) << 24;
  t->at += 1 + l.n;
  return 1;
}

// Segments to streams. Without `streams`, at[1 + i] becomes the number of words of stream i = workgroup * n_waves + wave; with it,
// at[i] is where the next words of stream i go, and moves on. The segments of one wave are found in the order in which it ran.
void trace_gather(const u32* words, u64 chunks, u32 n_waves, u64* at, u32* streams) {
  for (u64 chunk = 0; chunk < chunks; ++chunk) {
    const u32* s = words + chunk * TRACE_CHUNK;
    while (s[0] != NONE) {
      u64 stream = (u64)s[0] * n_waves + s[1];
      if (streams) __builtin_memcpy(streams + at[stream], s + HEADER, 4ull * s[2]);
      at[streams ? stream : stream + 1] += s[2];
      s += HEADER + s[2];
    }
  }
}
