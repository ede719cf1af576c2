// Memory behind the CUs' address units: L1 of a CU, L2 of an XCD, the memory-side cache (MALL) and HBM; scalar caches; address
// translation. docs/timing.md, "Memory", says what is decided here and why.
//
// Each access is resolved when it is issued. A resource with a bandwidth keeps the time until which its work lasts: a request that
// gets there earlier waits. The work is booked at the time when an unloaded request of this moment would arrive, so that one that
// is held up on its way does not hold up others that are not.
#include "timing.h"

enum { L1_LINES = 256, SCALAR_LINES = 256, L2_CHANNELS = 16, WAYS = 16, PAGES = 4096, MAX_MISSES = 1024 };
enum { LINE = 128, SCALAR_LINE = 64, SYSTEM_BIT = 16, STREAM_BIT = 32 };   // sc1, nt
typedef struct { u32 tag, ready, dirty; } Line;   // tag: line + 1; ready: when it is there; dirty: halves of 64 bytes
typedef struct { u32 page, ready; } Page;
typedef struct { f64 until; } Server;

typedef struct {
  u64 address_free, misses;       // misses: how many so far
  u64 miss_done[MAX_MISSES];      // when the last ones came back
  Server fill;                    // what L2 sends
  Line l1[L1_LINES];
} CuMemory;
typedef struct { Server port; Line lines[SCALAR_LINES]; } ScalarCache;   // of two CUs
typedef struct {
  Server channel[L2_CHANNELS], fabric[L2_CHANNELS];
  u64 touched;                    // lines that it had never held before
  Page pages[PAGES];
} Xcd;
enum { N_TCP, N_READ_REQ, N_WRITE_REQ, N_ATOMIC_RET, N_ATOMIC, N_HIT, N_MISS, N_EA_READ, N_EA_WRITE, N_SCALAR, N_SCALAR_HIT, N_SCALAR_MISS,
       N_MALL_READ, N_MALL_WRITE, N_HBM_READ, N_HBM_WRITE, N_TLB_MISS, MEMORY_COUNTERS };
struct Memory {
  const Constants* k;
  Server mall, hbm;
  u64 mall_touched, mall_sets, l2_sets;
  u32 cus_per_xcd, l1_sets;
  u64 counters[MEMORY_COUNTERS];
  CuMemory* cus;
  ScalarCache* scalars;
  Xcd* xcds;
  Line* l2;                       // [XCD][channel][set][way]
  Line* mall_lines;               // [set][way]
};
const u32 memory_counters_count = MEMORY_COUNTERS;

static u64 rounded(u64 bytes) { return (bytes + 255) / 256 * 256; }
static u32 cus_of(const Constants* k) { return k->ses * k->cus; }
static u64 sizes(const Constants* k, u64 size[6]) {
  u64 n = (u64)k->xcds * cus_of(k), sum = 0;
  size[0] = rounded(sizeof(Memory));
  size[1] = rounded(n * sizeof(CuMemory));
  size[2] = rounded((n + 1) / 2 * sizeof(ScalarCache));
  size[3] = rounded(k->xcds * sizeof(Xcd));
  size[4] = rounded((u64)k->xcds * k->l2_bytes / LINE * sizeof(Line));
  size[5] = rounded((u64)k->mall_bytes / LINE * sizeof(Line));
  for (u32 i = 0; i < 6; ++i) sum += size[i];
  return sum;
}
u64 memory_bytes(const Constants* k) { u64 size[6]; return sizes(k, size); }

void memory_start(Memory* m, const Constants* k) {
  u64 size[6];
  sizes(k, size);
  u8* at = (u8*)m + size[0];
  m->k = k;
  m->cus = (CuMemory*)at; at += size[1];
  m->scalars = (ScalarCache*)at; at += size[2];
  m->xcds = (Xcd*)at; at += size[3];
  m->l2 = (Line*)at; at += size[4];
  m->mall_lines = (Line*)at;
  m->cus_per_xcd = cus_of(k);
  m->l1_sets = L1_LINES / k->l1_ways;
  m->l2_sets = k->l2_bytes / LINE / L2_CHANNELS / WAYS;
  m->mall_sets = k->mall_bytes / LINE / WAYS;
}

// A kernel begins: what lies in L1 and in scalar caches is not used again; L2 stays, coherent by the fabric's filters.
void memory_launch(Memory* m) {
  for (u32 i = 0; i < m->k->xcds * m->cus_per_xcd; ++i) __builtin_memset(m->cus[i].l1, 0, sizeof m->cus[i].l1);
  for (u32 i = 0; i < m->k->xcds * m->cus_per_xcd / 2; ++i) __builtin_memset(m->scalars[i].lines, 0, sizeof m->scalars[i].lines);
}

// `cost` cycles of work; a request that an unloaded path would bring here at `nominal` gets here at `at`. Returns when it starts.
static f64 serve(Server* s, f64 nominal, f64 at, f64 cost) {
  f64 start = at > s->until ? at : s->until;
  s->until = (s->until > nominal ? s->until : nominal) + cost;
  return start;
}

// A set in order of use. Returns whether the line was there; it stands first afterwards, and `victim` is what left.
static u32 touch(Line* set, u32 ways, u32 tag, Line* victim) {
  u32 i = 0;
  while (i + 1 < ways && set[i].tag != tag) ++i;
  u32 hit = set[i].tag == tag;
  Line moved = hit ? set[i] : (Line){tag, 0, 0};
  *victim = hit ? (Line){0, 0, 0} : set[i];
  for (; i; --i) set[i] = set[i - 1];
  set[0] = moved;
  return hit;
}

static u32 channel_of(u32 line) { return (line ^ line >> 4 ^ line >> 8 ^ line >> 12 ^ line >> 16 ^ line >> 20) % L2_CHANNELS; }
static Line* l2_set(Memory* m, u32 xcd, u32 channel, u32 line) {
  return m->l2 + (((u64)xcd * L2_CHANNELS + channel) * m->l2_sets + line / L2_CHANNELS % m->l2_sets) * WAYS;
}
static Line* mall_set(Memory* m, u32 line) { return m->mall_lines + (line ^ line >> 21) % m->mall_sets * WAYS; }

// A line of L2 goes out to the MALL, and from there what it replaces to HBM. Nobody waits for it, but it takes bandwidth.
static void write_back(Memory* m, u32 xcd, u32 line, u32 halves, f64 t) {
  const Constants* k = m->k;
  Line victim, *set = mall_set(m, line);
  f64 bytes = 64.0 * halves;
  serve(&m->xcds[xcd].fabric[channel_of(line)], t, t, bytes / k->fabric_bytes);
  serve(&m->mall, t, t, bytes * k->clock / k->mall_bandwidth);
  m->counters[N_EA_WRITE] += halves;
  m->counters[N_MALL_WRITE] += 64 * halves;
  if (!touch(set, WAYS, line + 1, &victim)) ++m->mall_touched;
  set[0].dirty = halves;
  if (!victim.dirty) return;
  serve(&m->hbm, t, t, LINE * k->clock / k->hbm_bandwidth);
  m->counters[N_HBM_WRITE] += LINE;
}

typedef struct { f64 ready; u8 level; } Fetched;

// From the MALL or HBM. `at`: when the request leaves L2, `now` when it would if nothing had held it up.
static Fetched beyond_l2(Memory* m, u32 xcd, u32 channel, u32 line, f64 now, f64 at) {
  const Constants* k = m->k;
  Line victim, *set = mall_set(m, line);
  ++m->counters[N_EA_READ];
  f64 half = (k->mall_hit - k->l2_hit) / 2;
  at = serve(&m->xcds[xcd].fabric[channel], now, at, LINE / k->fabric_bytes) + half;
  at = serve(&m->mall, now + half, at, LINE * k->clock / k->mall_bandwidth);
  u32 hit = touch(set, WAYS, line + 1, &victim);
  // What an earlier run of the same work left behind.
  if (!hit) hit = m->mall_touched++ < (k->warm ? k->mall_bytes / LINE : 0);
  if (victim.dirty) {
    serve(&m->hbm, now + half, now + half, LINE * k->clock / k->hbm_bandwidth);
    m->counters[N_HBM_WRITE] += LINE;
  }
  if (hit) {
    m->counters[N_MALL_READ] += LINE;
    f64 ready = at + half;
    return (Fetched){ready > set[0].ready ? ready : set[0].ready, 3};
  }
  m->counters[N_HBM_READ] += LINE;
  f64 way = k->hbm_hit - k->mall_hit;
  f64 ready = serve(&m->hbm, now + half, at, LINE * k->clock / k->hbm_bandwidth) + way + half;
  set[0].ready = (u32)ready;
  return (Fetched){ready, 4};
}

// When a line that is asked of L2 at `at` is there. `read`: its data are wanted.
static Fetched from_l2(Memory* m, u32 xcd, u32 line, u32 kind, f64 now, f64 at, f64 requests) {
  const Constants* k = m->k;
  u32 channel = channel_of(line), read = (kind & 7) != MEMORY_STORE, past = kind & SYSTEM_BIT && read && (kind & 7) != MEMORY_ATOMIC;
  Line victim, *set = l2_set(m, xcd, channel, line);
  at = serve(&m->xcds[xcd].channel[channel], now, at, requests);
  u32 hit = touch(set, WAYS, line + 1, &victim);
  if (!hit && read && !past && k->warm > 1) hit = m->xcds[xcd].touched++ < k->l2_bytes / LINE;
  if (victim.dirty) write_back(m, xcd, victim.tag - 1, victim.dirty, now);
  m->counters[(hit && !past) || !read ? N_HIT : N_MISS] += (u64)requests;
  // Stores mostly go on where the last one ended, atomics come again to the same half.
  if ((kind & 7) == MEMORY_ATOMIC && set[0].dirty < requests) set[0].dirty = (u32)requests;
  if (!read) set[0].dirty = set[0].dirty + requests > 1 ? 2 : 1;
  if (!read) return (Fetched){at, 2};
  if (hit && !past) return (Fetched){at > set[0].ready ? at : set[0].ready, 2};
  Fetched f = beyond_l2(m, xcd, channel, line, now, at);
  set[0].ready = (u32)f.ready;
  return f;
}

// Translation of addresses, one table an XCD: the first access to a page waits for its entry, others that come meanwhile too.
static f64 translated(Memory* m, u32 xcd, u32 line, f64 at) {
  const Constants* k = m->k;
  u32 page = line / (k->tlb_page / LINE);
  Page* p = &m->xcds[xcd].pages[page % PAGES];
  if (p->page != page + 1) {
    *p = (Page){page + 1, (u32)(at + k->tlb_miss)};
    ++m->counters[N_TLB_MISS];
  }
  return at > p->ready ? at : p->ready;
}

static MemoryTime scalar_access(Memory* m, u32 cu, u64 t, u32 kind, const u32* lines, u32 n_lines) {
  const Constants* k = m->k;
  u32 xcd = cu / m->cus_per_xcd;
  ScalarCache* c = &m->scalars[cu / 2];
  f64 done = (f64)t + k->smem_hit, queued = 0;
  u8 level = 1;
  for (u32 i = 0; i < n_lines; ++i) {
    f64 now = (f64)t, at = serve(&c->port, now, now, i ? k->smem_each : 0);
    Line victim, *set = c->lines + lines[i] % (SCALAR_LINES / 4) * 4;
    ++m->counters[N_SCALAR];
    u32 hit = touch(set, 4, lines[i] + 1, &victim);
    ++m->counters[hit ? N_SCALAR_HIT : N_SCALAR_MISS];
    if (!hit) {
      u32 line = lines[i] / (LINE / SCALAR_LINE);
      f64 half = (k->smem_l2 - k->smem_hit) / 2, there = translated(m, xcd, line, at);
      Fetched f = from_l2(m, xcd, line, kind, now + half, there + half, 1);
      set[0].ready = (u32)(f.ready + half);
      if (f.level > level) level = f.level;
      f64 alone = there + (f.level == 2 ? k->smem_l2 : k->smem_l2 + (f.level == 3 ? k->mall_hit : k->hbm_hit) - k->l2_hit);
      f64 wait = f.ready + half + k->smem_hit - alone;
      if (wait > queued) queued = wait;
    }
    at = (at > set[0].ready ? at : set[0].ready) + k->smem_hit;
    if (at > done) done = at;
  }
  return (MemoryTime){t, (u64)done, level, queued > 0 ? (u32)queued : 0};
}

MemoryTime memory_access(Memory* m, u32 cu, u64 t, u32 kind, u32 dwords, u32 lanes, const u32* lines, u32 n_lines) {
  const Constants* k = m->k;
  u32 what = kind & 7, xcd = cu / m->cus_per_xcd;
  if (what == MEMORY_SMEM) return scalar_access(m, cu, t, kind, lines, n_lines);
  CuMemory* c = &m->cus[cu];
  f64 nominal = address_cycles(k, dwords, lanes), cycles = n_lines > nominal ? n_lines : nominal;
  u64 start = t > c->address_free ? t : c->address_free;
  f64 l1 = dwords > 1 ? k->l1_hit_wide : k->l1_hit, beyond = k->l2_hit - k->l1_hit_wide, there = beyond / 2;
  f64 done = (f64)start + l1, alone = done, held = 0;   // alone: without any queue
  u8 level = 1;
  c->address_free = start + (u64)cycles;
  for (u32 i = 0; i < n_lines; ++i) {
    // A coalesced access takes the measured latency as a whole; each line beyond what its address cycles cover comes a cycle later.
    f64 late = (i + 1) * cycles / n_lines - nominal, at = (f64)start + (late > 0 ? late : 0) + held, mapped = translated(m, xcd, lines[i], at);
    f64 now = (f64)t + there, free_path = (f64)t + (late > 0 ? late : 0) + (mapped - at);
    ++m->counters[N_TCP];
    at = mapped;
    Line victim, *set = c->l1 + lines[i] % m->l1_sets * k->l1_ways;
    if (what == MEMORY_STORE || what == MEMORY_ATOMIC) {
      f64 bytes = 4.0 * lanes * dwords / n_lines, requests = bytes > 64 ? 2 : 1;
      u32 returns = (kind & 8) != 0;   // sc0 of an atomic
      m->counters[what == MEMORY_STORE ? N_WRITE_REQ : returns ? N_ATOMIC_RET : N_ATOMIC] += (u64)requests;
      Fetched f = from_l2(m, xcd, lines[i], kind, now, at + there, requests);
      f64 rest = (what == MEMORY_STORE ? k->store_done : k->atomic_done) - there;
      if (f.ready + rest > done) done = f.ready + rest;
      f64 own = free_path + there + rest + (f.level == 3 ? k->mall_hit - k->l2_hit : f.level == 4 ? k->hbm_hit - k->l2_hit : 0);
      if (own > alone) alone = own;
      if (f.level > level) level = f.level;
      continue;
    }
    u32 hit = kind & SYSTEM_BIT ? 0 : touch(set, k->l1_ways, lines[i] + 1, &victim);
    f64 own = free_path + l1;
    if (hit) {
      if (set[0].ready > at) at = set[0].ready;
    } else {
      // One more miss in flight; when the CU has no room for it, everything behind waits.
      u64* slot = &c->miss_done[c->misses++ % k->l1_misses];
      if (*slot > at) { held += (f64)*slot - at; at = (f64)*slot; }
      ++m->counters[N_READ_REQ];
      Fetched f = from_l2(m, xcd, lines[i], kind, now, at + there, 1);
      f64 back = serve(&c->fill, now, f.ready, LINE / k->fill_bytes) + there;
      if (what == MEMORY_TO_LDS) { back += k->to_lds; own += k->to_lds; }
      own += beyond + (f.level == 3 ? k->mall_hit - k->l2_hit : f.level == 4 ? k->hbm_hit - k->l2_hit : 0);
      *slot = (u64)back;
      if (!(kind & (SYSTEM_BIT | STREAM_BIT))) set[0].ready = (u32)back;
      else if (kind & STREAM_BIT && set[0].tag == lines[i] + 1) set[0].tag = 0;
      at = back;
      if (f.level > level) level = f.level;
    }
    if (at + l1 > done) done = at + l1;
    if (own > alone) alone = own;
  }
  c->address_free += (u64)held;
  return (MemoryTime){start + (u64)held, (u64)done, level, done > alone ? (u32)(done - alone) : 0};
}

// What the launch that ends now did; its dirty lines of L2 are written back, for the next kernel and the host to see.
void memory_counters(Memory* m, u64 t, u64 out[MEMORY_COUNTERS]) {
  u64 n = m->k->l2_bytes / LINE;
  for (u64 i = 0; i < n * m->k->xcds; ++i)
    if (m->l2[i].dirty) { write_back(m, (u32)(i / n), m->l2[i].tag - 1, m->l2[i].dirty, (f64)t); m->l2[i].dirty = 0; }
  for (u32 i = 0; i < MEMORY_COUNTERS; ++i) { out[i] = m->counters[i]; m->counters[i] = 0; }
}
