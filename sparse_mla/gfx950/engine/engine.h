// The emulator's machine: one wave's registers, the memory that a launch may touch, and threaded code.
//
// A kernel is an array of `Op`: each names a handler and the byte offsets of its operands inside `Wave`, so executing an
// instruction is one indirect call on 64-lane vectors. Handlers are generated from the rows in isa/ (see generate.py);
// this header is the vocabulary in which their effects are written. No intrinsics: Clang's vector types become AVX-512,
// AVX2, SSE or NEON as the host has them. No headers and no C library: the shared object is freestanding.
#pragma once

typedef __UINT8_TYPE__ u8;
typedef __UINT16_TYPE__ u16;
typedef __UINT32_TYPE__ u32;
typedef __UINT64_TYPE__ u64;
typedef __INT8_TYPE__ i8;
typedef __INT16_TYPE__ i16;
typedef __INT32_TYPE__ i32;
typedef __INT64_TYPE__ i64;
typedef float f32;
typedef double f64;
typedef _Float16 f16;

#define LANES 64
#define VEC(T, N) T __attribute__((ext_vector_type(N)))
typedef VEC(u32, LANES) uv;   // one VGPR: a dword a lane
typedef VEC(i32, LANES) iv;
typedef VEC(f32, LANES) fv;
typedef VEC(u64, LANES) Uv;   // an even-aligned VGPR pair
typedef VEC(i64, LANES) Iv;
typedef VEC(f64, LANES) Fv;
typedef VEC(u16, 2 * LANES) qv;   // packed 16-bit halves
typedef VEC(i16, 2 * LANES) pv;
typedef VEC(_Bool, LANES) bv;
#define INLINE static inline __attribute__((always_inline))
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

typedef struct Wave Wave;
typedef struct Op Op;
typedef const Op* (*Handler)(const Op*, Wave*);

// Operand offsets count bytes from the start of Wave; bit 0 marks a scalar (SGPR or constant) where a vector may stand.
struct Op {
  Handler run;
  const Op* target;   // branches: where to go
  u32 o[8];           // operands, in the order of the assembly text
  i64 imm;            // offset, truth table, selector: whatever the row calls imm
  u32 pc;             // index of the static instruction
  u32 aux;            // second immediate (offset1, block length)
};
_Static_assert(sizeof(Op) == 64, "one line of a cache");

typedef struct { u64 base, size; u8* host; } Range;   // one buffer of the launch, at an emulated address

enum { RUNNING, AT_BARRIER, ENDED, FAULTED, STOPPED };
enum { FAULT_NONE, FAULT_GLOBAL, FAULT_LDS, FAULT_BUDGET, FAULT_PAST_END, FAULT_SCRATCH, FAULT_ALIGNMENT, FAULT_RESOURCE, FAULT_LANES,
       FAULT_TRAP, FAULT_JUMP, FAULT_INDEX, FAULT_MODE, FAULT_TRACE };   // native.py has the words
typedef struct { u32 kind, pc, wave, lane; u64 address; u32 size, workgroup[3]; } Fault;

enum { WAVES_MOST = 16 };   // of a workgroup

enum { MFMA_PLAIN, MFMA_CDNA3 };   // matrix.h says what they are; native.py has the words

// What stays the same during a launch.
typedef struct {
  const Op* code;
  const Range* ranges;
  const u32* constants;       // copied behind the scalar registers of every wave
  u32 n_ranges, n_constants;
  u32 vgpr_offset, n_vgprs;   // bytes, vectors
  u32 wave_bytes, n_waves, lds_bytes, scratch_bytes;   // scratch: private memory of one lane
  u32 grid[3], block[3];
  u32 user_sgprs[16], n_user_sgprs, n_blocks;   // n_blocks: basic blocks counted
  u32 workgroup_id_mask;      // bits 0..2: which of x, y, z follow the user SGPRs
  u32 mfma_model;
  u32 n_ops;                  // of code
  u64 code_base;              // the program counter of static instruction 0; 4 bytes an instruction
  u64 budget;                 // wave instructions a wave may execute
  u64 next, limit;            // next workgroup to start (shared by all workers), one past the last
  const u64* order;           // [limit] a permutation of the workgroups, null: as they are numbered
  u64 entry;                  // operation with which a wave starts
  u64 seed;                   // of the order in which a workgroup's waves run to their next barrier, 0: as they are numbered
} Launch;

// What the debugger asks of the wave that it resumes.
typedef struct { u64 left; const u8* stops; } Debug;   // instructions before it stops; [static instruction] it stops before

// What one host thread owns.
typedef struct {
  Wave* waves;   // n_waves of them, wave_bytes apart
  u8* lds;
  u8* scratch;   // [n_waves][LANES][scratch_bytes]
  u64* counts;   // [n_waves][n_blocks] executions of each basic block
  struct Sanitizer* sanitizer;   // null unless the launch is checked
  Debug* debug;                  // null unless a debugger runs the code
  struct Tracer* tracer;         // null unless the launch is traced
  Fault fault;
} Worker;

struct Wave {
  const Launch* launch;
  Worker* worker;
  const Range* range;   // the buffer that was hit last
  const Op* resume;
  u64* counts;
  i64 budget;
  u32 state, index, scc, lds_bytes;
  u8* lds;
  u8* scratch;
  u32 scratch_bytes;
  u32 mode;   // the MODE register, as what differs from how a kernel starts
  struct WaveShadow* shadow;   // null unless the launch is checked
} __attribute__((aligned(64)));

enum { VCC = 106, M0 = 124, EXEC = 126 };   // scalar register numbers; SGPRs stand at byte 128 of a wave
#define SGPR_OFFSET 128
_Static_assert(sizeof(Wave) <= SGPR_OFFSET, "scalar registers follow the header");

#define AT(T, w, off) (*(T*)((u8*)(w) + (off)))
#define SREG(T, w, n) AT(T, w, SGPR_OFFSET + 4 * (n))
#define exec_of(w) SREG(u64, w, EXEC)

// ---- lane masks --------------------------------------------------------------------------------------------------
INLINE u64 mask_bits(iv m) { bv b = __builtin_convertvector(m, bv); u64 r; __builtin_memcpy(&r, &b, 8); return r; }
INLINE iv mask_lanes(u64 m) { bv b; __builtin_memcpy(&b, &m, 8); return -__builtin_convertvector(b, iv); }
INLINE uv select(iv m, uv yes, uv no) { return m ? yes : no; }

// ---- operands ----------------------------------------------------------------------------------------------------
INLINE uv get_u(Wave* w, u32 o) { return o & 1 ? (uv)AT(u32, w, o & ~1u) : AT(uv, w, o); }
INLINE iv get_i(Wave* w, u32 o) { return (iv)get_u(w, o); }
INLINE fv get_f(Wave* w, u32 o) { return (fv)get_u(w, o); }
INLINE qv get_q(Wave* w, u32 o) { return (qv)get_u(w, o); }
INLINE pv get_p(Wave* w, u32 o) { return (pv)get_u(w, o); }
INLINE Uv get_U(Wave* w, u32 o) {
  if (o & 1) { u64 x; __builtin_memcpy(&x, (u8*)w + (o & ~1u), 8); return (Uv)x; }
  return __builtin_convertvector(AT(uv, w, o), Uv) | __builtin_convertvector(AT(uv, w, o + 4 * LANES), Uv) << 32;
}
INLINE Iv get_I(Wave* w, u32 o) { return (Iv)get_U(w, o); }
INLINE Fv get_F(Wave* w, u32 o) { return (Fv)get_U(w, o); }
INLINE u64 get_M(Wave* w, u32 o) { return AT(u64, w, o & ~1u); }        // a lane mask as bits
INLINE iv get_m(Wave* w, u32 o) { return mask_lanes(get_M(w, o)); }     // a lane mask as lanes

// Vector results are written under EXEC; lanes outside keep what they held.
INLINE void put_u(Wave* w, u32 o, uv x) {
  u64 e = exec_of(w);
  AT(uv, w, o) = UNLIKELY(e != ~0ull) ? select(mask_lanes(e), x, AT(uv, w, o)) : x;
}
INLINE void put_i(Wave* w, u32 o, iv x) { put_u(w, o, (uv)x); }
INLINE void put_f(Wave* w, u32 o, fv x) { put_u(w, o, (uv)x); }
INLINE void put_q(Wave* w, u32 o, qv x) { put_u(w, o, (uv)x); }
INLINE void put_p(Wave* w, u32 o, pv x) { put_u(w, o, (uv)x); }
INLINE void put_U(Wave* w, u32 o, Uv x) {
  put_u(w, o, __builtin_convertvector(x, uv));
  put_u(w, o + 4 * LANES, __builtin_convertvector(x >> 32, uv));
}
INLINE void put_I(Wave* w, u32 o, Iv x) { put_U(w, o, (Uv)x); }
INLINE void put_F(Wave* w, u32 o, Fv x) { put_U(w, o, (Uv)x); }
INLINE void put_M(Wave* w, u32 o, u64 x) { AT(u64, w, o & ~1u) = x & exec_of(w); }   // inactive lanes give 0
INLINE void put_m(Wave* w, u32 o, iv x) { put_M(w, o, mask_bits(x)); }

// ---- faults and memory -------------------------------------------------------------------------------------------
const Op* fault(Wave* w, const Op* o, u32 kind, u32 lane, u64 address, u32 size);
const Range* find_range(const Launch* l, u64 address, u64 size);
const Op* find_code(const Launch* l, u64 address);   // null where no basic block begins

INLINE u8* host_address(Wave* w, u64 address, u64 size) {   // null when no buffer holds all of it
  const Range* r = w->range;
  u64 off = address - r->base;
  if (UNLIKELY(off >= r->size || r->size - off < size)) {
    r = find_range(w->launch, address, size);
    if (!r) return 0;
    w->range = r;
    off = address - r->base;
  }
  return r->host + off;
}

// Runs BODY for every active lane, `lane` in scope; the full-EXEC loop has a constant trip count.
#define EACH_LANE(w, BODY)                                                                        \
  do {                                                                                            \
    u64 active_ = exec_of(w);                                                                     \
    if (active_ == ~0ull)                                                                         \
      for (u32 lane = 0; lane < LANES; ++lane) BODY                                               \
    else                                                                                          \
      for (; active_; active_ &= active_ - 1) { u32 lane = (u32)__builtin_ctzll(active_); BODY }  \
  } while (0)
