// The sanitizer's view of a launch. A `_check` operation stands before every instruction of a launch that asked for it, so no
// handler knows of it. What an instruction does stands in a `Check`, which sanitize.py makes from its row.
//
// Most checks are of instructions that touch registers only, all of them written and none in flight: the operation itself holds
// the registers' bits, and a wave those of its registers that need a look (`open`).
#pragma once
#include "engine.h"

enum { FILE_VECTOR, FILE_SCALAR };
enum { READ = 1, WRITE = 2 };
// Copies hand on what was never written, and 64-bit additions do so with the high dword: compilers count on both.
enum { ROLE_PLAIN, ROLE_MATRIX_AB, ROLE_MATRIX_C, ROLE_COPY, ROLE_HIGH, ROLE_ONE_LANE };
enum { COUNTER_NONE, COUNTER_VM, COUNTER_LGKM, COUNTER_SMEM, COUNTER_BOTH };
enum { SPACE_NONE, SPACE_GLOBAL, SPACE_LDS, SPACE_FLAT, SPACE_SCRATCH, SPACE_BUFFER };
enum { SPECIAL_NONE, SPECIAL_WAIT, SPECIAL_BARRIER, SPECIAL_RELEASE, SPECIAL_ACQUIRE };
enum {
  FOUND_UNWRITTEN_VGPR, FOUND_UNWRITTEN_SGPR, FOUND_UNWRITTEN_LDS, FOUND_UNWRITTEN_SCRATCH, FOUND_NOT_WAITED_VM,
  FOUND_NOT_WAITED_LGKM, FOUND_WAIT_STATES, FOUND_MISALIGNED, FOUND_LDS_RACE, FOUND_LDS_IN_FLIGHT, FOUND_GLOBAL_RACE,
  FOUND_DIVERGENT_BARRIER, FOUND_BARRIER_MISMATCH, FOUND_BORN_NAN, FOUND_KINDS
};
enum { VM_MOST = 63, LGKM_MOST = 15 };   // in flight
enum { MAX_FINDINGS = 256, MAX_ACCESSES = 10, MAX_WAVES = 16, OPEN_WORDS = 12, NO_PC = ~0u };

typedef struct { u16 first; u8 count, file, mode, role; } Access;   // registers; AGPRs follow the VGPRs
typedef struct {
  Access access[MAX_ACCESSES];
  u8 n, matrix, counter, space, special;
  u8 writes;            // 1 a store, 2 an atomic that reads too
  u8 atomic;            // at device scope (or in LDS); 2: and it gives what was there
  u8 vm, lgkm;          // SPECIAL_WAIT: the counts waited for
  u8 slots;             // wait states that the instruction itself takes
  u16 bytes;            // of one lane's access
  u16 align;            // that it needs
  u16 unit, addresses;  // two-address LDS forms: bytes an offset counts, and 2
  u8 address_slot, saddr_slot;
  // NaNs, where asked for: registers of the result from slot 0 on, fp32 sources in slots [source, source_end); for a matrix
  // instruction the exponent bits of its 16-bit elements, in A and B alike.
  u8 results, source, source_end, open_lds;
  u16 half_exponent;
  u16 needs, n_needs, records, n_records;   // wait states: in Sanitizer.needs and .records
} Check;

// Wait states (hazards.py). A resource is a register that some pair of instructions may touch too soon after one another.
typedef struct { u16 resource, wait; u32 producer, what; } Need;   // `what`: the register's number
typedef struct { u32 pc, slot; } Record;                           // who touched a resource last, and when it was done

typedef struct {
  u64 defined;                  // lanes ever written
  u32 vm, lgkm;                 // sequence number of the load that will write it, 0 for none
  u32 pc, smem;                 // that load; whether it is a scalar one
} RegisterShadow;
typedef struct WaveShadow {
  u64 open[OPEN_WORDS];         // registers that are not all written, or in flight
  u32 slot, vm_issued, vm_done, lgkm_issued, lgkm_done, epoch, barrier_pc;
  u16 smem_pending, flat;       // whether a scalar load, or a flat access that may be out of order, is in flight
  u64 handed_on[4];             // by register of the result: lanes whose value was never written
  u64 all_lanes, not_finite;    // lanes with a NaN or infinity among the operands of the instruction at hand
  u32 lgkm_stored;                             // the last LDS operation that stored
  u32 lds_seen[MAX_WAVES];                     // LDS operations of each wave that come before what this one does now
  u32 flush, flushing[MAX_WAVES];              // a write-back on its way: its vmcnt number, and what it covers
  u32 released[MAX_WAVES];                     // memory operations of each wave that every later reader on the device sees
  u32 event, observed, acquired;               // of that, as last published; lists of events seen, and behind an invalidate
  u32 known_group, known_wave, known_vm;       // the last writer that was found to come before
} WaveShadow;

// What waves tell each other at a barrier, for those that have passed it.
typedef struct { u32 epoch, vm_issued[MAX_WAVES], lgkm_done[MAX_WAVES], lgkm_issued[MAX_WAVES], released[MAX_WAVES], observed, acquired; } Meeting;
// Memory operations of a workgroup's waves that are published, and the events that came before it.
typedef struct { u32 group, wave, lgkm, acquired, met, visit, vm[MAX_WAVES]; } Event;
typedef struct { u32 event, next, vm; } Link;                          // vm: of the load that saw it
typedef struct { u32 group, vm, next, pc; } Touch;                     // a memory instruction; the wave stands in pc's high bits
typedef struct { u32* dwords; u64 n; } GlobalShadow;   // [4][n]: last plain store, plain loads, last atomic (touches), events

typedef struct {
  u32 kind, pc, wave, other_pc, other_wave, what;
  u64 lanes, address;
  u32 workgroup[3], other_group, need, have;
} Finding;

typedef struct Sanitizer {
  const Check* checks;          // one a static instruction
  RegisterShadow* registers;    // [n_waves][n_registers]
  WaveShadow* waves;
  u32* lds;                     // races.c
  u8* scratch;                  // [n_waves][LANES][scratch_bytes]: whether it was written
  GlobalShadow* global;         // one a range, no dwords where it is not watched
  u8* seen;                     // [static instruction][kind]
  Finding* findings;
  const Need* needs;
  const u16* records;
  Record* last;                 // [n_waves][n_resources]
  Touch* touches;
  Event* events;
  Link* links;
  u32 n_registers, n_vectors, open_lds, n_resources, max_touches, max_events, max_links;
  u32 n_findings, group, workgroup[3], n_touches, n_events, n_links, visits, blind /* out of room: races are not looked for */;
  u32 lds_unsettled, lds_atomics, global_atomics;   // whether there was such a thing
  Meeting meetings[2];          // by epoch
} Sanitizer;

INLINE void bits_open(WaveShadow* ws, u32 number, int open) {
  u64 bit = 1ull << (number & 63);
  ws->open[number >> 6] = open ? ws->open[number >> 6] | bit : ws->open[number >> 6] & ~bit;
}

// Of an instruction that only touches registers: o[0..7] are four words of register bits, imm's bytes say which, aux is its slots.
#define CHECK_REGISTERS                                                                              \
  WaveShadow* ws = w->shadow;                                                                        \
  u64 bits[4];                                                                                       \
  __builtin_memcpy(bits, o->o, 32);                                                                  \
  u32 at = (u32)o->imm;                                                                              \
  u64 hit = (ws->open[at & 255] & bits[0]) | (ws->open[at >> 8 & 255] & bits[1])                     \
          | (ws->open[at >> 16 & 255] & bits[2]) | (ws->open[at >> 24] & bits[3]);                   \
  if (UNLIKELY(hit != 0)) GO(sanitize_check(o, w));                                                  \
  ws->slot += o->aux;                                                                                \
  NEXT

const Op* sanitize_check(const Op* o, Wave* w);
const Op* sanitize_result(const Op* o, Wave* w);
void sanitize_start(Wave* w, const u32 id[3], u32 n_scalars);
void sanitize_barrier(Wave* w, Wave* first);

// Between sanitize.c and races.c.
Finding* found(Wave* w, u32 kind, u32 pc, u64 lanes);
void check_lds(Wave* w, const Op* o, const Check* c, u32 pc);
void check_memory(Wave* w, const Op* o, const Check* c, u32 pc);
void races_start(Wave* w);
void races_wait(Wave* w);        // after vm_done has grown
void races_barrier(Wave* w);
void races_release(Wave* w);     // buffer_wbl2
void races_acquire(Wave* w);     // buffer_inv
