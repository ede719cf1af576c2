// The checks of memory: who wrote, who reads, and whether anything orders the two.
//
// Waves of a workgroup are ordered by barriers and by LDS atomics; workgroups by what reaches the other: a release (buffer_wbl2 sc1,
// waited for) publishes, with the next atomic or device-scope store to a dword, everything that its waves had done and that
// came before it; a load or atomic that reads that dword, or what further atomics made of it, and then buffer_inv sc1, comes after.
#include "access.h"
#include "sanitize.h"

INLINE u32 larger(u32 a, u32 b) { return a > b ? a : b; }
INLINE Meeting* met(Wave* w) { return &w->worker->sanitizer->meetings[w->shadow->epoch & 1]; }   // the last barrier

// ---- LDS -----------------------------------------------------------------------------------------------------------
// By dword: the last store's epoch (barriers passed), lgkmcnt number and site (wave << 24 | pc); which waves loaded in which epoch
// and the last of them; what an atomic there publishes of each wave; which bytes were ever stored, and were last stored and loaded.
typedef struct { u32 *w_epoch, *w_seq, *w_site, *r_epoch, *r_site, *clock; u16* r_waves; u8 *defined, *w_bytes, *r_bytes; u64 n; } Lds;
static Lds lds_of(Wave* w) {
  u64 n = (w->lds_bytes / 4 + 4) & ~3ull, waves = w->launch->n_waves;
  u32* p = w->worker->sanitizer->lds;
  u16* r = (u16*)(p + n * (5 + waves));
  u8* b = (u8*)(r + n);
  return (Lds){p, p + n, p + 2 * n, p + 3 * n, p + 4 * n, p + 5 * n, r, b, b + n, b + 2 * n, n};
}

// One dword, of which an access touches `bytes`; true when one of them was never written. `same`: it stores what is there
// already, and two waves that store the same do not race.
static int touch_lds(Wave* w, const Lds* x, const Check* c, u32 pc, u64 d, u32 bytes, u64 lane, int same) {
  Sanitizer* s = w->worker->sanitizer;
  WaveShadow* ws = w->shadow;
  Finding* f = 0;
  u32 me = w->index, writer = x->w_site[d] >> 24;
  if (x->w_bytes[d] & bytes && writer != me && !c->atomic && x->w_seq[d] > ws->lds_seen[writer]) {
    if (x->w_epoch[d] == ws->epoch) f = same ? 0 : found(w, FOUND_LDS_RACE, pc, lane);
    else if (met(w)->lgkm_done[writer] < x->w_seq[d]) f = found(w, FOUND_LDS_IN_FLIGHT, pc, lane);
    if (f) { f->address = 4 * d; f->other_pc = x->w_site[d] & 0xffffff; f->other_wave = writer; }
  }
  if (x->r_epoch[d] != ws->epoch) { x->r_epoch[d] = ws->epoch; x->r_waves[d] = 0; x->r_bytes[d] = 0; }
  if (c->atomic) {
    s->lds_atomics = 1;
    u32* clock = x->clock + d * w->launch->n_waves;
    for (u32 i = 0; i < w->launch->n_waves; ++i) {
      u32 before = i == me ? ws->lgkm_issued : ws->lds_seen[i];
      if (c->atomic == 2) ws->lds_seen[i] = larger(ws->lds_seen[i], clock[i]);
      clock[i] = larger(clock[i], before);
    }
  }
  if (!c->writes) {
    x->r_bytes[d] |= (u8)bytes; x->r_waves[d] |= (u16)(1u << me); x->r_site[d] = me << 24 | pc;
    return (bytes & ~(u32)x->defined[d]) != 0;
  }
  for (u32 readers = x->r_bytes[d] & bytes && !c->atomic ? x->r_waves[d] & ~(1u << me) : 0; readers; readers &= readers - 1) {
    u32 reader = (u32)__builtin_ctz(readers);
    if (ws->lds_seen[reader] > met(w)->lgkm_issued[reader] || !(f = found(w, FOUND_LDS_RACE, pc, lane))) continue;
    f->address = 4 * d; f->other_pc = x->r_site[d] & 0xffffff; f->other_wave = reader;
  }
  if (writer != me || x->w_epoch[d] != ws->epoch) x->w_bytes[d] = 0;
  x->defined[d] |= (u8)bytes; x->w_bytes[d] |= (u8)bytes;
  x->w_epoch[d] = ws->epoch; x->w_seq[d] = ws->lgkm_stored = ws->lgkm_issued + 1; x->w_site[d] = me << 24 | pc;
  return 0;
}

// The ordinary case, whole dwords that nobody else touches between two barriers; false where it is another.
#define LOADED(T, p) ({ T v_; __builtin_memcpy(&v_, p, sizeof v_); v_; })
#define STORED(p, v) do { __typeof__(v) v_ = v; __builtin_memcpy(p, &v_, sizeof v_); } while (0)
#define ORDINARY(N)                                                                                  \
  INLINE u32 load_ordinary_##N(const Lds* x, u64 d, u32 epoch, u32 site) {                           \
    typedef VEC(u32, N) U; typedef VEC(i32, N) I; typedef VEC(u16, N) H; typedef VEC(u8, N) B;       \
    I same = (I)(LOADED(U, x->r_epoch + d) == epoch);                                                \
    I other = (I)(LOADED(U, x->w_epoch + d) == epoch) | (I)(__builtin_convertvector(LOADED(B, x->defined + d), U) != 15u); \
    if (__builtin_reduce_or(other)) return 0;                                                        \
    H before = LOADED(H, x->r_waves + d) & __builtin_convertvector(same, H);                         \
    STORED(x->r_waves + d, before | (u16)(1u << (site >> 24)));                                      \
    STORED(x->r_epoch + d, (U)epoch); STORED(x->r_site + d, (U)site); STORED(x->r_bytes + d, (B)(u8)15); \
    return 1;                                                                                        \
  }                                                                                                  \
  INLINE u32 store_ordinary_##N(const Lds* x, u64 d, u32 epoch, u32 site, u32 seq) {                 \
    typedef VEC(u32, N) U; typedef VEC(i32, N) I; typedef VEC(u8, N) B;                              \
    if (__builtin_reduce_or((I)(LOADED(U, x->r_epoch + d) == epoch) | (I)(LOADED(U, x->w_epoch + d) == epoch))) return 0; \
    STORED(x->w_epoch + d, (U)epoch); STORED(x->w_site + d, (U)site); STORED(x->w_seq + d, (U)seq);  \
    STORED(x->defined + d, (B)(u8)15); STORED(x->w_bytes + d, (B)(u8)15);                            \
    return 1;                                                                                        \
  }
// Of loads of less: part of one dword.
INLINE u32 load_part(const Lds* x, u64 d, u32 bytes, u32 epoch, u32 site) {
  u32 me = 1u << (site >> 24), again = x->r_epoch[d] == epoch;
  if (again && x->r_waves[d] & me && !(bytes & ~(u32)x->r_bytes[d])) return 1;
  if (x->w_epoch[d] == epoch || bytes & ~(u32)x->defined[d]) return 0;
  x->r_waves[d] = (u16)((again ? x->r_waves[d] : 0) | me);
  x->r_bytes[d] = (u8)((again ? x->r_bytes[d] : 0) | bytes);
  x->r_epoch[d] = epoch; x->r_site[d] = site;
  return 1;
}
ORDINARY(1)
ORDINARY(2)
ORDINARY(4)

// What one lane touches of LDS, from byte `at` on; `stored` is what it stores, where that is known. True where it loads what
// was never written.
static int touch_bytes(Wave* w, const Lds* x, const Check* c, u32 pc, u64 at, u32 size, u64 lane, const u32* stored) {
  int unwritten = 0;
  for (u64 d = at / 4; 4 * d < at + size; ++d) {
    u32 first = 4 * d < at ? at & 3 : 0, end = 4 * d + 4 > at + size ? (u32)(at + size - 4 * d) : 4;
    int same = stored && end - first == 4 && stored[LANES * (d - at / 4)] == ((u32*)w->lds)[d];
    unwritten |= touch_lds(w, x, c, pc, d, (1u << end) - (1u << first), lane, same);
  }
  return unwritten;
}

void check_lds(Wave* w, const Op* o, const Check* c, u32 pc) {
  WaveShadow* ws = w->shadow;
  Lds x = lds_of(w);
  const u32* address = &AT(u32, w, o->o[c->address_slot]);
  u32 size = c->bytes, epoch = ws->epoch, site = w->index << 24 | pc, seq = ws->lgkm_issued + 1;
  u32 quick = !w->worker->sanitizer->lds_unsettled && !c->atomic;
  if (c->writes) ws->lgkm_stored = seq;
  for (u32 n = 0; n < c->addresses; ++n) {
    u32 offset = (u32)((n ? (u64)o->aux : (u64)o->imm) * c->unit);
    if (lds_outside(w, AT(uv, w, o->o[c->address_slot]), offset, size) < LANES) return;   // the instruction itself faults
    u64 unwritten = 0, misaligned = mask_bits((iv)(((AT(uv, w, o->o[c->address_slot]) + offset) & (c->align - 1u)) != 0u)) & exec_of(w);
    const u32* stored = c->atomic ? 0 : &AT(u32, w, o->o[c->address_slot + 1 + n]);   // a store's data stands behind its address
    // Neighbouring lanes that together touch 16 bytes in a row are looked at together.
    u32 several = quick && 16 % size == 0 ? 16 / size : 0;
    uv places = AT(uv, w, o->o[c->address_slot]) + offset;
    u64 starts = several ? ~0ull / ((2ull << (several - 1)) - 1) : 0, active = exec_of(w);
    u64 rows = active & (several > 1 ? mask_bits((iv)(places - LOADED(uv, address - 1) == offset + size)) | starts : ~0ull);
    for (u32 k = 1; k < several; k *= 2) rows &= rows >> k;
    rows &= starts & mask_bits((iv)((places & 3u) == 0u));
    while (active) {
      u32 lane = (u32)__builtin_ctzll(active), at = address[lane] + offset, done = 0;
      u64 d = at / 4;
      if (rows >> lane & 1 && (c->writes ? store_ordinary_4(&x, d, epoch, site, seq) : load_ordinary_4(&x, d, epoch, site))) {
        active &= ~(((2ull << (several - 1)) - 1) << lane);
        continue;
      }
      active &= active - 1;
      if (quick && !(at & 3 & (size - 1))) {
        if (size == 8) done = c->writes ? store_ordinary_2(&x, d, epoch, site, seq) : load_ordinary_2(&x, d, epoch, site);
        else if (size == 4) done = c->writes ? store_ordinary_1(&x, d, epoch, site, seq) : load_ordinary_1(&x, d, epoch, site);
        else if (size < 4 && !c->writes) done = load_part(&x, d, ((1u << size) - 1) << (at & 3), epoch, site);
      }
      if (!done && touch_bytes(w, &x, c, pc, at, size, 1ull << lane, c->writes && stored ? stored + lane : 0)) unwritten |= 1ull << lane;
    }
    Finding* f;
    if (unwritten && (f = found(w, FOUND_UNWRITTEN_LDS, pc, unwritten))) f->address = address[__builtin_ctzll(unwritten)] + offset;
    if (misaligned && (f = found(w, FOUND_MISALIGNED, pc, misaligned))) {
      f->address = address[__builtin_ctzll(misaligned)] + offset; f->need = c->align;
    }
  }
}

// ---- workgroups ------------------------------------------------------------------------------------------------------
// Whether an earlier touch comes before what this wave does now: its workgroup's own do, others' by events.
static u32 published(Sanitizer* s, u32 list, u32 group, u32 wave) {   // how much of that wave is known by these events
  u32 most = 0;
  for (; list; list = s->links[list].next) {
    Event* e = &s->events[s->links[list].event];
    if (e->visit == s->visits) continue;
    e->visit = s->visits;
    if (e->group == group) most = larger(most, e->vm[wave]);
    most = larger(most, larger(published(s, e->acquired, group, wave), published(s, e->met, group, wave)));
  }
  return most;
}
static int before(Wave* w, u32 touch) {
  Sanitizer* s = w->worker->sanitizer;
  WaveShadow* ws = w->shadow;
  const Touch* t = &s->touches[touch];
  if (!touch || t->group == s->group) return 1;
  u32 wave = t->pc >> 24;
  if (ws->known_group != t->group || ws->known_wave != wave) {
    ++s->visits;
    ws->known_group = t->group; ws->known_wave = wave;
    ws->known_vm = larger(published(s, ws->acquired, t->group, wave), published(s, met(w)->acquired, t->group, wave));
  }
  return t->vm <= ws->known_vm;
}

static u32 add(Sanitizer* s, u32* list, u32 event, u32 vm) {   // once
  for (u32 l = *list; l; l = s->links[l].next)
    if (s->links[l].event == event) return 0;
  if (s->n_links + 1 >= s->max_links) { s->blind = 1; return 0; }
  s->links[++s->n_links] = (Link){event, *list, vm};
  return *list = s->n_links;
}

// The event that stands for all that this wave has released by now; 0 where that is nothing.
static u32 publish(Wave* w) {
  Sanitizer* s = w->worker->sanitizer;
  WaveShadow* ws = w->shadow;
  if (ws->event) return ws->event;
  Event e = {.group = s->group, .wave = w->index, .lgkm = ws->lgkm_done, .acquired = ws->acquired, .met = met(w)->acquired};
  u32 some = 0;
  for (u32 i = 0; i < MAX_WAVES; ++i) some |= e.vm[i] = larger(ws->released[i], met(w)->released[i]);
  if (!some) return 0;
  if (s->n_events + 1 >= s->max_events) { s->blind = 1; return 0; }
  s->events[++s->n_events] = e;
  return ws->event = s->n_events;
}

void races_release(Wave* w) {   // covers what the wave has begun, and the others had at the barrier: a CU keeps their order
  WaveShadow* ws = w->shadow;
  ws->flush = ws->vm_issued + 1;
  for (u32 i = 0; i < MAX_WAVES; ++i) ws->flushing[i] = i == w->index ? ws->vm_issued : met(w)->vm_issued[i];
}
void races_wait(Wave* w) {
  WaveShadow* ws = w->shadow;
  if (!ws->flush || ws->vm_done < ws->flush) return;
  for (u32 i = 0; i < MAX_WAVES; ++i) ws->released[i] = larger(ws->released[i], ws->flushing[i]);
  ws->flush = ws->event = 0;
}
void races_acquire(Wave* w) {
  Sanitizer* s = w->worker->sanitizer;
  WaveShadow* ws = w->shadow;
  for (u32 l = ws->observed; l; l = s->links[l].next)
    if (s->links[l].vm <= ws->vm_done) add(s, &ws->acquired, s->links[l].event, 0);
  for (u32 l = met(w)->observed; l; l = s->links[l].next) add(s, &ws->acquired, s->links[l].event, 0);
  ws->event = ws->known_group = 0;
}
void races_barrier(Wave* w) {
  Sanitizer* s = w->worker->sanitizer;
  WaveShadow* ws = w->shadow;
  const Meeting* last = met(w);
  Meeting* m = &s->meetings[++ws->epoch & 1];
  u32 me = w->index;
  if (m->epoch != ws->epoch) { *m = *last; m->epoch = ws->epoch; }   // the first to come
  m->vm_issued[me] = ws->vm_issued; m->lgkm_done[me] = ws->lgkm_done; m->lgkm_issued[me] = ws->lgkm_issued;
  for (u32 i = 0; i < MAX_WAVES; ++i) m->released[i] = larger(m->released[i], ws->released[i]);
  for (u32 l = ws->observed; l; l = s->links[l].next)
    if (s->links[l].vm <= ws->vm_done) add(s, &m->observed, s->links[l].event, 0);
  for (u32 l = ws->acquired; l; l = s->links[l].next) add(s, &m->acquired, s->links[l].event, 0);
  if (ws->lgkm_stored > ws->lgkm_done) s->lds_unsettled = 1;
  ws->event = ws->known_group = 0;
}

// ---- buffers, scratch, flat addresses --------------------------------------------------------------------------------
static u32 new_touch(Wave* w, u32 pc, u32 next) {
  Sanitizer* s = w->worker->sanitizer;
  if (s->n_touches + 1 >= s->max_touches) { s->blind = 1; return 0; }
  s->touches[++s->n_touches] = (Touch){s->group, w->shadow->vm_issued + 1, next, w->index << 24 | pc};
  return s->n_touches;
}

// One instruction's way through a buffer: neighbouring dwords mostly have the same past.
typedef struct { u32 me, from, to, wrote, read; } Visit;   // this store; loads before and with this one; pasts that were looked at

__attribute__((noinline, cold)) static void race(Wave* w, u32 pc, u64 lane, const Range* r, u64 d, u32 touch, u32 several) {
  const Touch* t = &w->worker->sanitizer->touches[touch];
  Finding* f = found(w, FOUND_GLOBAL_RACE, pc, lane);
  if (f) { f->address = r->base + 4 * d; f->other_pc = t->pc & 0xffffff; f->other_group = several ? ~0u : t->group; }
}

static void touch_atomic(Wave* w, const Check* c, const GlobalShadow* g, u64 d, Visit* v, u32 pc) {
  Sanitizer* s = w->worker->sanitizer;
  u32 *atomic = g->dwords + 2 * g->n + d, *events = g->dwords + 3 * g->n + d;
  if (c->atomic == 2)
    for (u32 l = *events; l; l = s->links[l].next) {
      const Event* e = &s->events[s->links[l].event];
      if (e->group == s->group) w->shadow->lds_seen[e->wave] = larger(w->shadow->lds_seen[e->wave], e->lgkm);
      else add(s, &w->shadow->observed, s->links[l].event, w->shadow->vm_issued + 1);
    }
  if (!c->writes) return;
  s->global_atomics = 1;
  *atomic = v->me ? v->me : (v->me = new_touch(w, pc, 0));
  if (c->writes == 1) *events = 0;   // a store; what reads and writes hands on what was published before
  u32 event = publish(w);
  if (event) add(s, events, event, 0);
}

INLINE void touch_global(Wave* w, const Check* c, const Range* r, const GlobalShadow* g, u64 d, Visit* v, u32 pc, u64 lane) {
  Sanitizer* s = w->worker->sanitizer;
  u32 *write = g->dwords + d, *read = g->dwords + g->n + d, *atomic = g->dwords + 2 * g->n + d;
  if (UNLIKELY(*write != v->wrote)) {
    if (before(w, *write)) v->wrote = *write;
    else race(w, pc, lane, r, d, *write, 0);
  }
  if (UNLIKELY(s->global_atomics) && !c->atomic && !before(w, *atomic)) race(w, pc, lane, r, d, *atomic, 0);
  if (!c->writes && !c->atomic) {
    if (*read == v->from && v->to) { *read = v->to; return; }
    if (*read && *read == v->to) return;
    v->from = *read;
    u32 older = s->touches[*read].group == s->group ? s->touches[*read].next : *read;   // the last load of a workgroup stands for it
    *read = v->to = new_touch(w, pc, older);
    return;
  }
  if (!c->writes) { touch_atomic(w, c, g, d, v, pc); return; }
  if (UNLIKELY(*read != v->read)) {
    u32 t = *read;
    while (t && before(w, t)) t = s->touches[t].next;
    if (!t) v->read = *read;
    else race(w, pc, lane, r, d, t, s->touches[t].next != 0);
  }
  if (c->atomic) touch_atomic(w, c, g, d, v, pc);
  else { *write = v->me ? v->me : (v->me = new_touch(w, pc, 0)); *read = 0; }
}

// Where an access of any space but LDS goes; 0 where the instruction itself faults.
static u32 find_all(Wave* w, const Op* o, const Check* c, u8** pointers, Outside* outside) {
  u32 size = c->bytes;
  u64 bad;
  switch (c->space) {
    case SPACE_GLOBAL: return global_pointers(w, o, o->o[c->address_slot], o->o[c->saddr_slot], size, pointers, &bad) == LANES;
    case SPACE_FLAT: return flat_pointers(w, o, o->o[c->address_slot], size, pointers);
    case SPACE_SCRATCH: return scratch_pointers(w, o, o->o[c->address_slot], o->o[c->saddr_slot], size, pointers);
    default: return buffer_pointers(w, o, size, 0, pointers, outside);
  }
}

void check_memory(Wave* w, const Op* o, const Check* c, u32 pc) {
  Sanitizer* s = w->worker->sanitizer;
  const Launch* l = w->launch;
  POINTERS;
  Outside outside;
  if (!find_all(w, o, c, pointers, &outside)) return;
  u32 size = c->bytes;
  u64 unwritten = 0, misaligned = 0;
  const Range* r = l->ranges;
  Visit v = {0};
  u32 plain = !c->writes && !c->atomic && !s->global_atomics;
  for (u64 active = exec_of(w); active; active &= active - 1) {
    u64 lane = active & -active, i = (u64)__builtin_ctzll(active), at;
    u8* p = pointers[i];
    if (c->space == SPACE_SCRATCH || c->space == SPACE_FLAT) {
      if ((at = (u64)(p - w->scratch)) < (u64)LANES * w->scratch_bytes) {
        u8* written = s->scratch + (u64)w->index * LANES * w->scratch_bytes + at;
        for (u32 k = 0; k < size; ++k)
          if (c->writes) written[k] = 1; else if (!written[k]) unwritten |= lane;
        continue;
      }
      if ((at = (u64)(p - w->lds)) < w->lds_bytes) {
        Lds x = lds_of(w);
        Finding* f;
        if (touch_bytes(w, &x, c, pc, at, size, lane, 0) && (f = found(w, FOUND_UNWRITTEN_LDS, pc, lane))) f->address = at;
        continue;
      }
    }
    if ((at = (u64)(p - r->host)) >= r->size) {
      for (r = l->ranges; r < l->ranges + l->n_ranges && (u64)(p - r->host) >= r->size; ++r) {}
      if (r == l->ranges + l->n_ranges) { r = l->ranges; continue; }   // a buffer access that is out of range
      at = (u64)(p - r->host);
    }
    if (c->space != SPACE_BUFFER && (r->base + at) % c->align) misaligned |= lane;
    const GlobalShadow* g = &s->global[r - l->ranges];
    if (!g->dwords || size < 4 || s->blind) continue;
    u32* row = g->dwords + at / 4;
    if (size == 16 && !(at & 3) && v.to && plain && !__builtin_reduce_or((LOADED(quad, row) ^ v.wrote) | (LOADED(quad, row + g->n) ^ v.from))) {
      STORED(row + g->n, (quad)v.to);
      continue;
    }
    for (u64 d = at / 4; 4 * d < at + size; ++d) touch_global(w, c, r, g, d, &v, pc, lane);
  }
  Finding* f;
  if (unwritten && (f = found(w, FOUND_UNWRITTEN_SCRATCH, pc, unwritten))) {
    u64 i = (u64)__builtin_ctzll(unwritten);
    f->address = (u64)(pointers[i] - w->scratch) - i * w->scratch_bytes;
  }
  if (misaligned && (f = found(w, FOUND_MISALIGNED, pc, misaligned))) {
    const u8* p = pointers[__builtin_ctzll(misaligned)];
    for (r = l->ranges; (u64)(p - r->host) >= r->size; ++r) {}
    f->address = r->base + (u64)(p - r->host); f->need = c->align;
  }
}

void races_start(Wave* w) {
  Sanitizer* s = w->worker->sanitizer;
  __builtin_memset(s->scratch + (u64)w->index * LANES * w->scratch_bytes, 0, (u64)LANES * w->scratch_bytes);
  if (w->index) return;
  Lds x = lds_of(w);
  __builtin_memset(x.w_epoch, 0, 20 * x.n + (s->lds_atomics ? 4 * x.n * w->launch->n_waves : 0));
  __builtin_memset(x.r_waves, 0, 5 * x.n);
  if (s->open_lds) __builtin_memset(x.defined, 15, x.n);
  __builtin_memset(s->meetings, 0, sizeof s->meetings);
  s->meetings[1].epoch = 1;
  s->lds_unsettled = s->lds_atomics = 0;
}
