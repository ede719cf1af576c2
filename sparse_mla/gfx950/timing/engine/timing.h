// The timing model: what one instruction asks of a SIMD, the state that the issue rules look at, and memory's interface.
// Times are shader clocks. Each rule stands once, in issue.c; replay.c drives it by recorded issue times, chip.c by its own.
#pragma once
// In front of every unit, native.py puts the integer types and `Constants`, generated from profiles/devices/*.toml.

enum { VALU, SALU, LDS, VMEM, BRANCH, NONE, PORTS };
enum { K_VALU, K_TRANS, K_PACKED, K_MFMA, K_SALU, K_SMEM, K_LDS, K_LOAD, K_STORE, K_ATOMIC, K_BRANCH, K_WAIT, K_NOP, K_BARRIER, K_END };
// Where a cycle of a wave goes; sparse_mla.gfx950.timing.CAUSES has the same order.
enum { C_ISSUE, C_ARBITRATION, C_DEPENDENCY, C_MFMA, C_LDS, C_MEMORY, C_BANDWIDTH, C_BARRIER, C_LAUNCH, CAUSES };

typedef struct {           // one static instruction; classes.py fills it in
  u8 port, kind;
  u8 hold;                 // cycles that the SIMD's vector ALU takes nothing else
  u8 pair;                 // second VALU in its slot: 0 never, 1 with any that pairs, 2 only with those of 1
  u8 port_hold;            // cycles that the SIMD's port takes nothing else, from any wave
  u8 scalar;               // a vector instruction that writes a scalar register, or a branch that reads one (VCC, EXEC)
  u8 dwords;               // of data, a lane
  u8 to_lds;
  u8 priority;             // s_setprio's, 255 for all others
  u8 buffer;               // VMEM through a buffer resource
  u8 lead;                 // cycles from a scaled matrix instruction's first half to its second
  u8 next[PORTS];          // cycles from its issue until the wave's next instruction of each port
  u8 vm, lgkm;             // s_waitcnt: what may stay outstanding
  u16 pipe, shadow;        // matrix pipe; no packed fp32 and no second VALU meanwhile
  u16 latency, service;    // LDS
  u16 stall;               // s_sleep
  u16 bytes;               // of its encoding
  u32 address;             // from the kernel's first instruction
} Desc;

#define LDS_RING 16
#define VMEM_RING 32
#define NO_CHUNK 0xffffffffu
#define CHUNK 32   // bytes that one instruction fetch brings
typedef struct {
  u64 port[PORTS];         // when each port takes the next instruction
  u64 valu_at;             // slot of the last vector instruction, how many went into it, how they pair, whose it was
  u32 valu_count, valu_pair, valu_wave;
  u64 pipe_free;           // matrix pipe
  u64 shadow_until;        // of the last matrix instruction
  u64 unpaired_until;      // after trans
  u64 lds[LDS_RING];       // when each of the last LDS instructions left the SIMD's queue
  u64 vmem[VMEM_RING];     // when the CU's address unit took each of the last VMEM instructions
  u64 vmem_at;             // last VMEM issue
  u32 n_lds, n_vmem;
} Simd;

typedef struct {
  u64 ready[PORTS];        // earliest issue of its next instruction
  u64 scalar_ready, branch_ready;   // the same for scalar instructions and branches behind a vector one that writes scalars
  u64 issued;              // its last instruction
  u64 next_chunk;          // when the instructions behind its last chunk are there
  u32 chunk;               // of its last instruction's end; NO_CHUNK behind a jump
  u32 id;
} WaveState;

typedef struct {
  u64 lds_pair[2], lds_banks;   // when the path of each pair of SIMDs is free, and when the banks are
  u64 vmem_at, address_free;    // last VMEM issue of any SIMD; when the address unit has done all that it was given
  u64 vmem[VMEM_RING];          // when it has done each of the last ones
  u32 n_vmem;
} Cu;

typedef struct { u64 at; u8 cause, idle; } When;   // idle: the recorder would show a gap instead of a stall

When earliest(const Constants* k, const Cu* cu, const Simd* s, const WaveState* w, const Desc* d);
void issue(const Constants* k, Simd* s, WaveState* w, const Desc* d, u64 t, int taken, int second);
u64 lds_done(Cu* cu, Simd* s, u32 simd, const Desc* d, u64 t, u32 phases, u32 extra);
u32 address_cycles(const Constants* k, u32 dwords, u32 lanes);
void vmem_taken(Cu* cu, Simd* s, u64 t, u64 accept, u32 cost);

// ---- memory --------------------------------------------------------------------------------------------------------
enum { MEMORY_LOAD, MEMORY_STORE, MEMORY_ATOMIC, MEMORY_TO_LDS, MEMORY_SMEM };   // bits 0..2 of `kind`; above: sc0 8, sc1 16, nt 32
typedef struct {
  u64 accept;   // when the CU's address unit has taken the instruction
  u64 done;     // when its data are back, or the store is acknowledged; the caller sees to the order
  u8 level;     // furthest touched: 1 L1, 2 L2, 3 MALL, 4 HBM
  u32 queued;   // of done - t: cycles of waiting for bandwidth or queues
} MemoryTime;
typedef struct Memory Memory;
u64 memory_bytes(const Constants* k);                  // of one Memory, which starts zeroed
void memory_start(Memory* m, const Constants* k);
void memory_launch(Memory* m);                         // another kernel of the sequence begins
// In nondecreasing t. cu counts through the chip; lines: distinct ones of 128 bytes (64 for scalar loads).
MemoryTime memory_access(Memory* m, u32 cu, u64 t, u32 kind, u32 dwords, u32 lanes, const u32* lines, u32 n_lines);
MemoryTime fixed_access(const Constants* k, u64* address_free, u32 cu, u64 t, u32 kind, u32 dwords, u32 lanes, u32 latency);
