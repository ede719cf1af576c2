// Step 10, prefetch: ask for the next tile before working on this one.
//
// The idea. A load does not hold a wave; only the use of its result does. So the loop is turned: slots of the tile after next are
// on their way, then bytes of the next tile, while this one is multiplied. When the loop comes round, both have been travelling
// for the time of a whole tile. K's registers are free as soon as K has been converted: that is when the next bytes are asked
// for.
//
// The layout. That of step 9; what a tile needs from memory is held in two stages, `listed` and `source` with `raw`.
//
// The price. Two registers for slots, nine for addresses and valid bits. And the loads go out all at once, 20 of them: the
// address unit takes 16 lanes a clock and holds the wave while its queue is full. Past the end, slots of the last tile are asked
// for again.
//
// The gain. 27 us become 25; 6 % more instructions a tile, most of them copies from accumulation registers, where what travels
// is kept. It was a loss at first, 28 to 31 us: with the registers that the next tile takes the compiler read V just in time, and
// waited for each read. Hence AHEAD in step 9. What is won depends on memory: the pessimistic end of the band falls from 46
// to 40.
#if defined(__gfx950__)
#include "09_private.hip"

namespace ladder {

__device__ __forceinline__ void attend(Online& state, Shared& lds, const Row& work, int begin, int end,
                                       const Worker& at) { // phase: none
  const int first = begin + at.wave;
  Listed listed;
  Source source = {};
  Raw raw;
  bf16x8 q[Q_PIECES];
  bring_q(q, lds, work.p, at);
  state.max = NO_MAX;
  if (first >= end)
    return;
  fetch_slots(listed, work, first, at.m);
  source = locate(work, first, listed, at.m, at.g);
  gather(raw, source);
  fetch_slots(listed, work, min(first + WAVES, end - 1), at.m);
  for (int tile = first; tile < end; tile += WAVES) {
    f32x4 x[STRIPS];
    const uint32_t valid = source.valid;
    score(x, raw, q, lds.tile[at.wave], at);
    if (tile + WAVES < end) {
      source = locate(work, tile + WAVES, listed, at.m, at.g);
      gather(raw, source);
      fetch_slots(listed, work, min(tile + 2 * WAVES, end - 1), at.m);
    }
    const bf16x8 weights = weigh(state, x, valid, work.p.scale * LOG2_E, at);
    accumulate(state, lds.tile[at.wave], weights, at);
  }
}

} // namespace ladder

#if __INCLUDE_LEVEL__ == 0
extern "C" __global__ __launch_bounds__(256, 1) void mla_ladder_prefetch(const DecodeParams p) { // phase: none
  using namespace ladder;
  __shared__ Shared lds;
  const Worker at;
  const Row work = row_of(p, ends_of(p, at.row));
  Online state = {};
  attend(state, lds, work, 0, work.tiles, at);
  finish_row(lds, p, state, at);
}
#endif
#endif
