// Where the accesses of flat, scratch and buffer instructions go. The handlers in access.h call these once an instruction.
#include "access.h"

#define ACTIVE(lane) u64 active = exec_of(w), lane; active && (lane = (u64)__builtin_ctzll(active), 1); active &= active - 1

u32 flat_pointers(Wave* w, const Op* o, u32 vaddr, u32 size, u8** pointers) {
  for (ACTIVE(lane)) {
    u64 a = (V(vaddr, lane) | (u64)V(vaddr + 4 * LANES, lane) << 32) + (u64)o->imm, low = (u32)a;
    if (a >> 32 == SHARED_APERTURE) {
      if (low + size > w->lds_bytes) return fault(w, o, FAULT_LDS, (u32)lane, low, size), 0;
      pointers[lane] = w->lds + low;
    } else if (a >> 32 == PRIVATE_APERTURE) {
      if (low + size > w->scratch_bytes) return fault(w, o, FAULT_SCRATCH, (u32)lane, low, size), 0;
      pointers[lane] = w->scratch + lane * w->scratch_bytes + low;
    } else if (!(pointers[lane] = host_address(w, a, size))) return fault(w, o, FAULT_GLOBAL, (u32)lane, a, size), 0;
  }
  return 1;
}

u32 scratch_pointers(Wave* w, const Op* o, u32 vaddr, u32 saddr, u32 size, u8** pointers) {
  u32 base = (saddr ? AT(u32, w, saddr & ~1u) : 0) + (u32)o->imm;
  for (ACTIVE(lane)) {
    u64 a = base + (vaddr ? V(vaddr, lane) : 0);
    a = (u32)a;
    if (a + size > w->scratch_bytes) return fault(w, o, FAULT_SCRATCH, (u32)lane, a, size), 0;
    pointers[lane] = w->scratch + lane * w->scratch_bytes + a;
  }
  return 1;
}

Resource resource(Wave* w, u32 at) {
  u32 d[4];
  __builtin_memcpy(d, (u8*)w + (at & ~1u), 16);
  return (Resource){d[0] | (u64)(d[1] & 0xffff) << 32, d[1] >> 16 & 0x3fff, d[2], d[1] >> 31 | d[3] >> 30 | (d[3] >> 23 & 1)};
}

u32 buffer_pointers(Wave* w, const Op* o, u32 size, u32 from, u8** pointers, Outside* outside) {
  Resource r = resource(w, o->o[2]);
  if (r.refused) return fault(w, o, FAULT_RESOURCE, 0, r.base, 0), 0;
  u64 base = r.base + AT(u32, w, o->o[3] & ~1u);
  for (ACTIVE(lane)) {
    u64 index = o->aux & IDXEN ? V(o->o[1], lane) : 0, offset = (u64)o->imm;
    if (o->aux & OFFEN) offset += V(o->o[1] + (o->aux & IDXEN ? 4 * LANES : 0), lane);
    u64 at = r.stride && o->aux & IDXEN ? index : offset, inside = 0;   // bytes, from the first one, that pass the check
    if (r.stride && o->aux & IDXEN) inside = at < r.records ? size : 0;
    else while (inside < size && at + inside < r.records) inside += size < 4 ? size : 4;
    u64 a = base + r.stride * index + offset;
    if (size >= 4) a &= ~3ull;
    u8* p = inside ? host_address(w, a, inside) : 0;
    if (inside && !p) return fault(w, o, FAULT_GLOBAL, (u32)lane, a, (u32)inside), 0;
    pointers[lane] = p;
    if (inside == size) continue;
    pointers[lane] = outside->bytes[lane];
    for (u32 k = 0; k < 16; ++k) outside->bytes[lane][k] = k < inside ? p[k] : 0;
    for (u32 k = 0; from && k < inside; k += 4) __builtin_memcpy(p + k, &V(from + LANES * k, lane), 4);
  }
  return 1;
}

u32 smem_buffer(Wave* w, const Op* o, u32 n, u32 store) {
  Resource r = resource(w, o->o[1]);
  if (r.refused) return fault(w, o, FAULT_RESOURCE, 0, r.base, 0), 0;
  u64 offset = (o->o[2] ? AT(u32, w, o->o[2] & ~1u) : 0) + (u64)o->imm, end = r.stride ? (u64)r.stride * r.records : r.records;
  u32 x[16] = {0};
  u8* own = (u8*)w + (o->o[0] & ~1u);
  for (u32 k = 0; k < n && offset + 4 * k < end; ++k) {
    u64 a = (r.base + offset + 4 * k) & ~3ull;
    u8* p = host_address(w, a, 4);
    if (!p) return fault(w, o, FAULT_GLOBAL, 0, a, 4), 0;
    if (store) __builtin_memcpy(p, own + 4 * k, 4); else __builtin_memcpy(&x[k], p, 4);
  }
  for (u32 k = 0; k < n && !store; ++k) __builtin_memcpy(own + 4 * k, &x[k], 4);
  return 1;
}

// LDS takes a dword a lane for anything up to one, else 16 bytes a lane of which three dwords fill twelve.
u32 to_lds(Wave* w, const Op* o, u32 size, u32 sign_extend, u8** pointers) {
  u64 base = (SREG(u32, w, M0) & 0x3fffcu) + (u64)o->imm, step = size <= 4 ? 4 : 16, n = size < 4 ? 4 : size;
  for (ACTIVE(lane))
    if (base + lane * step + n > w->lds_bytes) return fault(w, o, FAULT_LDS, (u32)lane, base + lane * step, (u32)n), 0;
  for (ACTIVE(lane)) {
    u8* to = w->lds + base + lane * step;
    const u8* from = pointers[lane];
    u8 fill = sign_extend && from[size - 1] >> 7 ? 0xff : 0;
    for (u32 k = 0; k < n; ++k) to[k] = k < size ? from[k] : fill;
  }
  return 1;
}

// Pointers are aligned as the addresses are: memory.py maps buffers so.
u32 misaligned(Wave* w, const Op* o, u8** pointers, u32 size) {
  for (ACTIVE(lane))
    if ((u64)pointers[lane] & (size - 1)) {
      u64 a = (u64)pointers[lane];
      for (u32 i = 0; i < w->launch->n_ranges; ++i) {
        const Range* r = &w->launch->ranges[i];
        if (a - (u64)r->host < r->size) { a += r->base - (u64)r->host; break; }
      }
      if (a - (u64)w->lds < w->lds_bytes) a -= (u64)w->lds;
      fault(w, o, FAULT_ALIGNMENT, (u32)lane, a, size);
      return 1;
    }
  return 0;
}
