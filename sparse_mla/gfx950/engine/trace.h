// What a traced launch records: basic blocks entered and the memory accesses in them, wave by wave. `_trace_block` stands behind every
// `_block` and `_trace` before every access; what an access is, a TraceAccess says, which trace.py makes from the instruction's row.
#pragma once
#include "engine.h"

// In the order of trace.py.
enum { TRACE_NONE, TRACE_LDS, TRACE_CROSSBAR, TRACE_GLOBAL, TRACE_FLAT, TRACE_BUFFER, TRACE_SCRATCH, TRACE_SCALAR, TRACE_SCALAR_BUFFER };
typedef struct {
  u8 space, kind, dwords, cache;                   // kind, cache: for the timing model
  u8 pattern, address_slot, base_slot, addresses;   // pattern: of the LDS service; addresses: 2 in read2 and its like
  u16 bytes, unit;                                  // of one lane's access; what an offset counts
  u32 cached;                                       // number of its first address among those of LDS instructions
} TraceAccess;

// How LDS serves an access: phase of each lane; in one phase a bank gives one dword, to whoever asks for it.
typedef struct { u8 banks, phases, serial /* equal addresses conflict too */, pad; u8 phase[LANES]; } LdsPattern;
typedef struct { u32 delta[LANES]; u64 active; u32 low, known; u8 phases, extra; } LdsCached;   // an access, but for a shift by whole dwords

enum { TRACE_CHUNK = 1 << 16 };   // words that a host thread takes at a time
typedef struct { u32* words; u64 next, capacity; } TracePool;   // of all host threads: segments {workgroup, wave, words}, words ...

typedef struct Tracer {
  const TraceAccess* accesses;   // one a static instruction
  const LdsPattern* patterns;
  TracePool* pool;
  u64* conflicts;                // [static instruction][64] dwords beyond the first of a bank in a phase; null unless asked for
  LdsCached* cached;             // [LDS address][wave]
  u64 base;                      // what line numbers count from
  u32* at;                       // next word; null before the first chunk
  u32* end;
  u32* header;                   // of the open segment
  u32 group, wave;
} Tracer;

u32 trace_block(const Op* o, Wave* w);    // 0 after a fault
u32 trace_access(const Op* o, Wave* w);
void trace_begin(Wave* w, const u32 id[3]);   // a wave goes on
void trace_end(Wave* w);                      // it waits or has ended
void trace_gather(const u32* words, u64 chunks, u32 n_waves, u64* at, u32* streams);
