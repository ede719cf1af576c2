"""Triton kernels of ours for the tests: the subjects of Triton's tutorials, and what their code generator needs most."""

# mypy: allow-untyped-defs, allow-incomplete-defs
# Triton reads these sources itself, and types its parameters at the call.
import triton
import triton.language as tl


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(out + at, tl.load(x + at, mask=inside) + tl.load(y + at, mask=inside), mask=inside)


@triton.jit
def softmax(x, out, x_stride, out_stride, rows, columns, BLOCK: tl.constexpr, STAGES: tl.constexpr):
    at = tl.arange(0, BLOCK)
    for row in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=STAGES):
        logits = tl.load(x + row * x_stride + at, mask=at < columns, other=-float("inf")).to(tl.float32)
        weights = tl.exp(logits - tl.max(logits, 0))
        result = weights / tl.sum(weights, 0)
        tl.store(out + row * out_stride + at, result.to(out.dtype.element_ty), mask=at < columns)


@triton.jit
def matmul(a, b, c, M, N, K, am, ak, bk, bn, cm, cn, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
           LEAKY: tl.constexpr):  # fmt: skip
    """c[M, N] = a[M, K] @ b[K, N]; programs walk groups of GROUP block rows, so that neighbours share blocks of b."""
    program, across = tl.program_id(0), tl.cdiv(N, BN)
    first = program // (GROUP * across) * GROUP
    height = min(tl.cdiv(M, BM) - first, GROUP)
    i, j = first + program % (GROUP * across) % height, program % (GROUP * across) // height
    rows, columns, inner = i * BM + tl.arange(0, BM), j * BN + tl.arange(0, BN), tl.arange(0, BK)
    a_at, b_at = a + rows[:, None] * am + inner[None, :] * ak, b + inner[:, None] * bk + columns[None, :] * bn
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(tl.cdiv(K, BK)):
        left = K - k * BK
        left_rows, left_columns = (rows[:, None] < M) & (inner[None, :] < left), (inner[:, None] < left) & (columns[None, :] < N)
        total = tl.dot(tl.load(a_at, mask=left_rows, other=0.0), tl.load(b_at, mask=left_columns, other=0.0), total)
        a_at += BK * ak
        b_at += BK * bk
    if LEAKY:
        total = tl.where(total >= 0, total, 0.01 * total)
    tl.store(c + rows[:, None] * cm + columns[None, :] * cn, total.to(c.dtype.element_ty),
             mask=(rows[:, None] < M) & (columns[None, :] < N))  # fmt: skip


@triton.jit
def dropout(x, out, n, p, seed, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    kept = tl.rand(seed, at) > p
    tl.store(out + at, tl.where(kept, tl.load(x + at, mask=inside) / (1 - p), 0.0), mask=inside)


@triton.jit
def layer_norm(x, out, weight, bias, mean, inverse, stride, columns, eps, BLOCK: tl.constexpr):
    """One row a program, in blocks: mean, variance, then the row normalised."""
    row, lanes = tl.program_id(0), tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        total += tl.load(x + row * stride + start + lanes, mask=start + lanes < columns, other=0.0).to(tl.float32)
    middle = tl.sum(total, axis=0) / columns
    squares = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        value = tl.load(x + row * stride + start + lanes, mask=start + lanes < columns, other=0.0).to(tl.float32)
        value = tl.where(start + lanes < columns, value - middle, 0.0)
        squares += value * value
    rstd = 1 / tl.sqrt(tl.sum(squares, axis=0) / columns + eps)
    tl.store(mean + row, middle)
    tl.store(inverse + row, rstd)
    for start in range(0, columns, BLOCK):
        at, inside = start + lanes, start + lanes < columns
        value = tl.load(x + row * stride + at, mask=inside).to(tl.float32)
        scaled = (value - middle) * rstd * tl.load(weight + at, mask=inside) + tl.load(bias + at, mask=inside)
        tl.store(out + row * stride + at, scaled.to(out.dtype.element_ty), mask=inside)


@triton.jit
def layer_norm_backward(dx, dout, dweight, dbias, x, weight, mean, inverse, lock, stride, columns, GROUPS: tl.constexpr,
                        BLOCK: tl.constexpr):  # fmt: skip
    """dx of a row a program. The weights' gradients are summed in GROUPS partial rows, each behind a spin lock."""
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    inside, group = at < columns, row % GROUPS
    value = tl.load(x + row * stride + at, mask=inside, other=0.0).to(tl.float32)
    grad = tl.load(dout + row * stride + at, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    rstd = tl.load(inverse + row)
    normal = tl.where(inside, (value - tl.load(mean + row)) * rstd, 0.0)
    scaled = tl.where(inside, w * grad, 0.0)
    along, level = tl.sum(normal * scaled, axis=0) / columns, tl.sum(scaled, axis=0) / columns
    tl.store(dx + row * stride + at, ((scaled - (normal * along + level)) * rstd).to(dx.dtype.element_ty), mask=inside)
    while tl.atomic_cas(lock + group, 0, 1) == 1:
        pass
    tl.debug_barrier()
    partial_w, partial_b = grad * normal, grad
    started = tl.load(lock + GROUPS + group)
    tl.debug_barrier()  # all waves have read it before one of them writes it
    if started == 0:
        tl.atomic_xchg(lock + GROUPS + group, 1)
    else:
        partial_w += tl.load(dweight + group * columns + at, mask=inside)
        partial_b += tl.load(dbias + group * columns + at, mask=inside)
    tl.store(dweight + group * columns + at, partial_w, mask=inside)
    tl.store(dbias + group * columns + at, partial_b, mask=inside)
    tl.debug_barrier()
    tl.atomic_xchg(lock + group, 0)


@triton.jit
def column_sums(parts, out, rows, columns, BM: tl.constexpr, BN: tl.constexpr):
    """The partial rows of layer_norm_backward, summed."""
    at = tl.program_id(0) * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for i in range(0, rows, BM):
        row = i + tl.arange(0, BM)
        inside = (row[:, None] < rows) & (at[None, :] < columns)
        total += tl.load(parts + row[:, None] * columns + at[None, :], mask=inside, other=0.0)
    tl.store(out + at, tl.sum(total, axis=0), mask=at < columns)


@triton.jit
def attention(q, k, v, out, logsumexp, scale, stride_head, tokens, HEAD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
              CAUSAL: tl.constexpr):  # fmt: skip
    """One block of queries of one head a program; keys in blocks, with an online softmax in base 2."""
    block, head = tl.program_id(0), tl.program_id(1)
    base = head * stride_head
    rows, dims, lanes = block * BM + tl.arange(0, BM), tl.arange(0, HEAD), tl.arange(0, BN)
    query = tl.load(q + base + rows[:, None] * HEAD + dims[None, :], mask=rows[:, None] < tokens, other=0.0)
    top = tl.full([BM], -float("inf"), dtype=tl.float32)
    weight = tl.zeros([BM], dtype=tl.float32)
    total = tl.zeros([BM, HEAD], dtype=tl.float32)
    last = tokens
    if CAUSAL:
        last = min(tokens, (block + 1) * BM)
    for start in range(0, last, BN):
        at = start + lanes
        keys = tl.load(k + base + at[None, :] * HEAD + dims[:, None], mask=at[None, :] < tokens, other=0.0)
        scores = tl.dot(query, keys) * (scale * 1.44269504)
        seen = at[None, :] < tokens
        if CAUSAL:
            seen = seen & (at[None, :] <= rows[:, None])
        scores = tl.where(seen, scores, -1.0e30)
        higher = tl.maximum(top, tl.max(scores, 1))
        shrink, p = tl.exp2(top - higher), tl.exp2(scores - higher[:, None])
        weight = weight * shrink + tl.sum(p, 1)
        values = tl.load(v + base + at[:, None] * HEAD + dims[None, :], mask=at[:, None] < tokens, other=0.0)
        total = tl.dot(p.to(v.dtype.element_ty), values, total * shrink[:, None])
        top = higher
    tl.store(logsumexp + head * tokens + rows, (top + tl.log2(weight)) * 0.69314718, mask=rows < tokens)
    tl.store(out + base + rows[:, None] * HEAD + dims[None, :], (total / weight[:, None]).to(out.dtype.element_ty),
             mask=rows[:, None] < tokens)  # fmt: skip
