// The sanitizer's view of a launch. A `_check` operation stands before every instruction of a launch that asked for it and reads
// what the instruction does from a `Check`, which sanitize.py makes from the instruction's row; so no handler knows of it.
#pragma once
#include "engine.h"

enum { FILE_VECTOR, FILE_SCALAR };
enum { READ = 1, WRITE = 2 };
// Copies hand on what was never written, and 64-bit additions do so with the high dword: compilers count on both.
enum { ROLE_PLAIN, ROLE_MATRIX_AB, ROLE_MATRIX_C, ROLE_COPY, ROLE_HIGH, ROLE_ONE_LANE };
// Who writes and who reads, as the tables of required wait states tell them apart.
enum { CLASS_OTHER, CLASS_VALU, CLASS_TRANS, CLASS_DPP, CLASS_SWAP, CLASS_READLANE, CLASS_MFMA, CLASS_MEMORY };
enum { COUNTER_NONE, COUNTER_VM, COUNTER_LGKM, COUNTER_SMEM, COUNTER_BOTH };
enum { SPACE_NONE, SPACE_GLOBAL, SPACE_LDS };
enum { SPECIAL_NONE, SPECIAL_WAIT, SPECIAL_BARRIER };
enum {
  FOUND_UNWRITTEN_VGPR, FOUND_UNWRITTEN_SGPR, FOUND_UNWRITTEN_LDS, FOUND_NOT_WAITED_VM, FOUND_NOT_WAITED_LGKM, FOUND_WAIT_STATES,
  FOUND_MISALIGNED, FOUND_LDS_RACE, FOUND_LDS_IN_FLIGHT, FOUND_GLOBAL_RACE, FOUND_DIVERGENT_BARRIER, FOUND_BARRIER_MISMATCH,
  FOUND_BORN_NAN, FOUND_KINDS
};
enum { MAX_FINDINGS = 256, MAX_ACCESSES = 10, NO_PC = ~0u };

typedef struct { u16 first; u8 count, file, mode, role; } Access;   // registers; AGPRs follow the VGPRs
typedef struct {
  Access access[MAX_ACCESSES];
  u8 n, class_, passes /* | 128: fp32 operands */, counter, space, writes, atomic, special;
  u8 vm, lgkm;          // SPECIAL_WAIT: the counts waited for
  u16 slots;            // wait states that the instruction itself takes
  u16 bytes;            // of one lane's access
  u16 align;            // that it needs
  u16 unit, addresses;  // two-address LDS forms: bytes an offset counts, and 2
  u8 address_slot, saddr_slot;
  // NaNs, where asked for: registers of the result from slot 0 on, fp32 sources in slots [source, source_end); for a matrix
  // instruction the exponent bits of its 16-bit elements, in A and B alike.
  u8 results, source, source_end, open_lds;
  u16 half_exponent;
} Check;

typedef struct {
  u64 defined;                  // lanes ever written
  u32 vm, lgkm;                 // sequence number of the load that will write it, 0 for none
  u32 time, c_time;             // wait state at which it was written, or read as SrcC
  u16 d_first;                  // MFMA: first register of that result
  u8 class_, passes, c_passes, smem, pad[2];
} RegisterShadow;
typedef struct {
  u32 slot, vm_issued, vm_done, lgkm_issued, lgkm_done, lgkm_at_barrier, smem_pending, epoch, barrier_pc;
  u64 handed_on[4];             // by register of the result: lanes whose value was never written
  u64 all_lanes, not_finite;    // lanes with a NaN or infinity among the operands of the instruction at hand
} WaveShadow;
// Of one LDS dword: its last writer, who read it since the barrier, and which of its bytes that concerns.
// Small, because a tile touches tens of thousands; an epoch of 65,536 barriers ago counts as this one.
typedef struct { u32 w_seq; u16 w_pc, w_epoch, r_pc, r_epoch, r_waves; u8 w_wave, w_bytes, r_bytes, defined, pad[2]; } LdsShadow;
typedef struct { u32 w_group, r_group; u16 w_pc, r_pc; } GlobalShadow;   // of one dword; groups count from 1, ~0: several

typedef struct {
  u32 kind, pc, wave, other_pc, other_wave, what;   // what: a register, or the wait states missing
  u64 lanes, address;
  u32 workgroup[3], other_group, need, have;
} Finding;

typedef struct Sanitizer {
  const Check* checks;          // one a static instruction
  RegisterShadow* registers;    // [n_waves][n_registers]
  WaveShadow* waves;
  LdsShadow* lds;               // [LDS dwords]
  GlobalShadow** global;        // one a range, null where it is not watched
  u8* seen;                     // [static instruction][kind]
  Finding* findings;
  u32 n_registers, n_vectors, open_lds, n_findings, group, workgroup[3];
} Sanitizer;

const Op* sanitize_check(const Op* o, Wave* w);
const Op* sanitize_result(const Op* o, Wave* w);
void sanitize_start(Wave* w, const u32 id[3], u32 n_scalars);
void sanitize_barrier(Wave* w, Wave* first);
