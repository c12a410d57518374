// Products for few rows: a decode step. The weights are read once. A lane takes 8 neighbouring columns of a row and of a token,
// and both sides agree on which of them a multiply-add sees first, so that nothing is exchanged: a lane copies what it will
// multiply to shared memory in the background, as much as there is room for and, as weights never change, before the kernel
// before this one has ended. Tokens are the narrow side (8 at a time). A block owns 16 output rows; its warps share the columns
// and are summed in order, so a token's result does not depend on the others.

#define MOST_PAIRS 1024

struct ProductArguments
{
    Tensor output, input, bias, ids;
    Weight weight;
    const int* order;  // pairs by expert, and where each expert's begin; null: the block looks for its pairs itself
    const int* starts;
    int vectors;       // rows of the input can be read 16 bytes at a time
    int early;         // the ids are there before the kernel before this one has ended
};

// 8 values of a token, rounded to bfloat16, and what the rounding lost.
template <bool HALVES>
__device__ inline void loadTokens(u32* high, u32* low, const float* row, int column, int columns, int vectors)
{
    float4 a = make_float4(0, 0, 0, 0), b = a;
    if (row && vectors && column + 8 <= columns)
    {
        a = ((const float4*)(row + column))[0];
        b = ((const float4*)(row + column))[1];
    }
    else if (row)
    {
        for (int i = 0; i < 8; i++)
            if (column + i < columns)
                (i < 4 ? &a.x : &b.x)[i & 3] = row[column + i];
    }
    high[0] = pack(a.x, a.y), high[1] = pack(a.z, a.w), high[2] = pack(b.x, b.y), high[3] = pack(b.z, b.w);
    if (HALVES)
    {
        low[0] = pack(a.x - lower(high[0]), a.y - upper(high[0]));
        low[1] = pack(a.z - lower(high[1]), a.w - upper(high[1]));
        low[2] = pack(b.x - lower(high[2]), b.y - upper(high[2]));
        low[3] = pack(b.z - lower(high[3]), b.w - upper(high[3]));
    }
}

// 8 columns of a weight row, as they lie there.
template <int FORMAT> struct Slice;

template <> struct Slice<1>
{
    uint4 bits;
    __device__ void pairs(u32* to) const { to[0] = bits.x, to[1] = bits.y, to[2] = bits.z, to[3] = bits.w; }
};

template <> struct Slice<2>
{
    uint2 bits;
    __device__ static float whole(u32 biased, int index)
    {
        // The byte becomes the last bits of 2^23 + byte: no conversion instruction.
        return __uint_as_float(__byte_perm(biased, 0x4B000000u, 0x7440 + index)) - 8388736.0f;
    }
    __device__ void pairs(u32* to) const
    {
        u32 first = bits.x ^ 0x80808080u, second = bits.y ^ 0x80808080u;
        to[0] = pack(whole(first, 0), whole(first, 1)), to[1] = pack(whole(first, 2), whole(first, 3));
        to[2] = pack(whole(second, 0), whole(second, 1)), to[3] = pack(whole(second, 2), whole(second, 3));
    }
};

template <> struct Slice<3>
{
    uint2 bits;
    __device__ void pairs(u32* to) const
    {
        to[0] = widenFloats(bits.x, 0x1404), to[1] = widenFloats(bits.x, 0x3424);
        to[2] = widenFloats(bits.y, 0x1404), to[3] = widenFloats(bits.y, 0x3424);
    }
};

// What 32 columns of a row are multiplied by.
template <int FORMAT>
__device__ inline float scaleOf(const Weight& w, long long row, int block)
{
    if (FORMAT == 2)
        return fromHalf(w.scales[row * (w.stride / 32) + block]);
    return FORMAT == 3 ? ((const float*)w.scales)[row * ((w.stride + 127) / 128) + block / 4] : 1.0f;
}

// The pairs (token, choice) of the block's expert; false if another block has them.
__device__ inline bool findPairs(const ProductArguments& p, u16* list, int* counts, int& count, int& expert)
{
    int pairs = p.ids.rows * p.ids.columns, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, slot = blockIdx.y;
    const volatile int* ids = (const volatile int*)p.ids.address; // others may have written them while this block was there
    expert = ids[slot];
    count = 0;
    for (int base = 0; base < pairs; base += WARPS * 32)
    {
        int pair = base + threadIdx.x;
        bool mine = pair < pairs && ids[pair] == expert;
        u32 votes = __ballot_sync(0xFFFFFFFFu, mine);
        if (lane == 0)
            counts[warp] = __popc(votes);
        __syncthreads();
        int before = count;
        for (int other = 0; other < WARPS; other++)
        {
            if (other < warp)
                before += counts[other];
            count += counts[other];
        }
        if (mine)
            list[before + __popc(votes & ((1u << lane) - 1))] = (u16)pair;
        __syncthreads();
        // The first pair of an expert speaks for it.
        if (base + WARPS * 32 > slot && count > 0 && list[0] < slot)
            return false;
    }
    return true;
}

template <int FORMAT, int COUNT, bool HALVES, bool GATED, bool GROUPED>
__device__ void product(const ProductArguments& p)
{
    constexpr int PARTS = GATED ? 2 : HEIGHT;
    typedef Slice<FORMAT> Piece;
    extern __shared__ __align__(16) char memory[]; // [WARPS, DEPTH, PARTS, 2, 32] pieces, then the warps' sums
    __shared__ u16 list[GROUPED ? MOST_PAIRS : 1];
    __shared__ int counts[WARPS];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
    const Weight& w = p.weight;
    int width = GATED ? w.rows / 2 : w.rows, firstRow = blockIdx.x * 16 * HEIGHT, blocks = w.stride / 32;
    int count = p.input.rows, expert = 0;
    const int* chosen = nullptr;
    if (GROUPED)
    {
        if (!p.early)
            await();
        if (p.starts)
        {
            expert = blockIdx.y;
            count = p.starts[expert + 1] - p.starts[expert];
            chosen = p.order + p.starts[expert];
        }
        else if (!findPairs(p, list, counts, count, expert))
            return;
    }
    long long rows[PARTS][2];
    for (int part = 0; part < PARTS; part++)
        for (int half = 0; half < 2; half++)
        {
            int row = firstRow + g + half * 8 + (GATED ? 0 : part * 16);
            rows[part][half] = (long long)expert * w.rows + (GATED ? part * width : 0) + (row < width ? row : width - 1);
        }
    Piece* pieces = (Piece*)memory + warp * DEPTH * PARTS * 64 + lane;
    float scales[FORMAT == 1 ? 1 : DEPTH][PARTS][2];
    u64 policy = passing();
    auto fetch = [&](int slot, int block)
    {
        if (block < blocks)
#pragma unroll
            for (int part = 0; part < PARTS; part++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                {
                    if (FORMAT == 1)
                        copyPassing(sharedAddress(pieces + (slot * PARTS + part) * 64 + half * 32), w.values + (rows[part][half] * w.stride + block * 32 + q * 8) * 2, policy);
                    else
                        scales[FORMAT == 1 ? 0 : slot][part][half] = scaleOf<FORMAT>(w, rows[part][half], block);
                    // Bytes: a lane copies its neighbour's piece too, of every other row.
                    if (FORMAT != 1 && half == (q & 1))
                        copyPassing(sharedAddress(pieces + (slot * PARTS + part) * 64 + half * 32 - half), w.values + rows[part][half] * w.stride + block * 32 + (q >> 1) * 16, policy);
                }
        commitCopies();
    };
#pragma unroll
    for (int slot = 0; slot < DEPTH; slot++)
    {
        // What the kernels before this one read in small pieces should not wait behind all of these weights.
        if (!GROUPED && slot >= 2)
            awaitCopies<1>();
        fetch(slot, warp + slot * WARPS);
    }
    if (!GROUPED)
        enter();
    else
    {
        if (p.early)
            await();
        letNext();
    }
    int topK = GROUPED && p.input.rows == p.ids.rows ? p.ids.columns : 1;
    auto pairAt = [&](int token) { return !GROUPED ? token : p.starts ? chosen[token] : (int)list[token]; };
    for (int first = 0; first < count; first += COUNT * 8)
    {
        const float* tokens[COUNT];
#pragma unroll
        for (int tile = 0; tile < COUNT; tile++)
        {
            int token = first + tile * 8 + g;
            tokens[tile] = token >= count ? nullptr : floats(p.input, pairAt(token) / topK);
        }
        if (first > 0)
        {
            __syncthreads();
#pragma unroll
            for (int slot = 0; slot < DEPTH; slot++)
                fetch(slot, warp + slot * WARPS);
        }
        float sums[PARTS][COUNT][4] = {};
        for (int start = warp; start < blocks; start += WARPS * DEPTH)
#pragma unroll
            for (int batch = 0; batch < DEPTH; batch += BATCH)
            {
                u32 high[BATCH][COUNT][4], low[HALVES ? BATCH : 1][COUNT][4];
#pragma unroll
                for (int i = 0; i < BATCH; i++)
#pragma unroll
                    for (int tile = 0; tile < COUNT; tile++)
                    {
                        int block = start + (batch + i) * WARPS;
                        loadTokens<HALVES>(high[i][tile], low[HALVES ? i : 0][tile], block < blocks ? tokens[tile] : nullptr, block * 32 + q * 8, p.input.columns, p.vectors);
                    }
#pragma unroll
                for (int i = 0; i < BATCH; i++)
                {
                    int slot = batch + i, block = start + slot * WARPS;
                    awaitCopies<DEPTH - 1>();
                    if (FORMAT != 1)
                        __syncwarp();
                    if (block < blocks)
#pragma unroll
                        for (int part = 0; part < PARTS; part++)
                        {
                            u32 m[2][4];
#pragma unroll
                            for (int half = 0; half < 2; half++)
                                pieces[(slot * PARTS + part) * 64 + half * 32].pairs(m[half]);
#pragma unroll
                            for (int tile = 0; tile < COUNT; tile++)
                            {
                                float fresh[4] = {};
                                float* to = FORMAT == 1 ? sums[part][tile] : fresh;
                                u32 *h = high[i][tile], *l = low[HALVES ? i : 0][tile];
                                multiply(to, m[0][0], m[1][0], m[0][1], m[1][1], h[0], h[1]);
                                multiply(to, m[0][2], m[1][2], m[0][3], m[1][3], h[2], h[3]);
                                if (HALVES)
                                {
                                    multiply(to, m[0][0], m[1][0], m[0][1], m[1][1], l[0], l[1]);
                                    multiply(to, m[0][2], m[1][2], m[0][3], m[1][3], l[2], l[3]);
                                }
                                if (FORMAT != 1)
#pragma unroll
                                    for (int e = 0; e < 4; e++)
                                        sums[part][tile][e] += scales[FORMAT == 1 ? 0 : slot][part][e >> 1] * fresh[e];
                            }
                        }
                    if (FORMAT != 1)
                        __syncwarp();
                    fetch(slot, block + WARPS * DEPTH);
                }
            }
        float* partial = (float*)memory; // [WARPS, PARTS · 128]: every copy has been multiplied by now
#pragma unroll
        for (int tile = 0; tile < COUNT; tile++)
        {
            if (first + tile * 8 >= count)
                break;
            __syncthreads();
#pragma unroll
            for (int part = 0; part < PARTS; part++)
                *(float4*)(partial + (warp * PARTS + part) * 128 + lane * 4) = make_float4(sums[part][tile][0], sums[part][tile][1], sums[part][tile][2], sums[part][tile][3]);
            __syncthreads();
            // One thread for each (row, token) of the tile: token by token, rows side by side.
            for (int item = threadIdx.x; item < 128 * HEIGHT; item += WARPS * 32)
            {
                int inTile = item % 16, half = item / 128, column = item % 128 / 16, token = first + tile * 8 + column, row = firstRow + half * 16 + inTile;
                if (token >= count || row >= width)
                    continue;
                int at = half * 128 + ((inTile & 7) * 4 + (column >> 1)) * 4 + (inTile >> 3) * 2 + (column & 1);
                float sum = 0, other = 0;
#pragma unroll
                for (int i = 0; i < WARPS; i++)
                {
                    sum += partial[i * PARTS * 128 + at];
                    if (GATED)
                        other += partial[i * PARTS * 128 + 128 + at];
                }
                if (p.bias.address)
                {
                    sum += floats(p.bias, 0)[row];
                    if (GATED)
                        other += floats(p.bias, 0)[width + row];
                }
                if (GATED)
                    sum = silu(sum) * other;
                floats(p.output, pairAt(token))[row] = sum;
            }
        }
    }
}

// KIND (1: bfloat16, 2: 8-bit blocks, 3: 8-bit floats), TILES, SPLIT, WARPS, DEPTH, BATCH (blocks of columns whose tokens are on their
// way together), HEIGHT (16 rows of a block, once or twice) and BLOCKS are set when the text is compiled.
#define PRODUCT(name, gated, grouped) \
    extern "C" __global__ void __launch_bounds__(WARPS * 32, BLOCKS) name(ProductArguments p) { product<KIND, TILES, SPLIT, gated, grouped>(p); }
#ifdef GATES
PRODUCT(linearGated, true, false)
PRODUCT(groupedGated, true, true)
#else
PRODUCT(linear, false, false)
PRODUCT(grouped, false, true)
#endif
