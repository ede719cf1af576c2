"""A Triton kernel with marked phases."""

# mypy: allow-untyped-defs, allow-incomplete-defs
import triton
import triton.language as tl


@triton.jit
def weigh(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    logits = tl.load(x + at)  # phase: gather
    # phase: softmax
    weights = tl.exp(logits - tl.max(logits, 0))
    result = weights / tl.sum(weights, 0)
    tl.store(out + at, result)  # phase: store
