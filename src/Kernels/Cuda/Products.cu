// Products for few rows: a decode step. The weights are read once, straight into the tensor cores' registers: a lane takes
// 8 neighbouring columns of a row and of a token, and both sides agree on which of them a multiply-add sees first, so nothing
// passes through shared memory. Tokens are the narrow side (8 at a time). A block owns 16 output rows; its warps share the
// columns and are summed in order, so a token's result does not depend on the others.

#define MOST_PAIRS 1024

struct ProductArguments
{
    Tensor output, input, bias, ids;
    Weight weight;
    const int* order;  // pairs by expert, and where each expert's begin; null: the block looks for its pairs itself
    const int* starts;
    int vectors;       // rows of the input can be read 16 bytes at a time
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

// 8 columns of a weight row as bfloat16 pairs.
template <int FORMAT> struct Slice;

template <> struct Slice<1>
{
    uint4 bits;
    __device__ void load(const Weight& w, long long row, int column) { bits = *(const uint4*)((const u16*)w.values + row * w.stride + column); }
    __device__ void clear() { bits = make_uint4(0, 0, 0, 0); }
    __device__ void pairs(u32* to) const { to[0] = bits.x, to[1] = bits.y, to[2] = bits.z, to[3] = bits.w; }
};

template <> struct Slice<2>
{
    uint2 bits;
    __device__ void load(const Weight& w, long long row, int column) { bits = *(const uint2*)(w.values + row * w.stride + column); }
    __device__ void clear() { bits = make_uint2(0, 0); }
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

// The pairs (token, choice) of the block's expert; false if another block has them.
__device__ inline bool findPairs(const ProductArguments& p, int* list, int* counts, int& count, int& expert)
{
    int pairs = p.ids.rows * p.ids.columns, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, slot = blockIdx.y;
    const int* ids = (const int*)p.ids.address;
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
            list[before + __popc(votes & ((1u << lane) - 1))] = pair;
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
    constexpr int PARTS = GATED ? 2 : 1, AHEAD = GATED ? 2 : WARPS == 16 ? 8 : 4;
    __shared__ float partial[WARPS][PARTS * 128];
    __shared__ int list[GROUPED ? MOST_PAIRS : 1];
    __shared__ int counts[WARPS];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
    const Weight& w = p.weight;
    int width = GATED ? w.rows / 2 : w.rows, firstRow = blockIdx.x * 16, blocks = w.stride / 32;
    if (!GROUPED)
    {
        // Weights never change: they can come closer while the kernel before this one ends.
        int rowBytes = w.stride * (FORMAT == 1 ? 2 : 1), lines = rowBytes / 128;
        for (int part = 0; part < PARTS; part++)
            for (int i = threadIdx.x; i < 16 * lines; i += WARPS * 32)
                if (firstRow + i / lines < width)
                    prefetch(w.values + (long long)(part * width + firstRow + i / lines) * rowBytes + i % lines * 128);
    }
    enter();
    int count = p.input.rows, expert = 0;
    const int* chosen = nullptr;
    if (GROUPED && p.starts)
    {
        expert = blockIdx.y;
        count = p.starts[expert + 1] - p.starts[expert];
        chosen = p.order + p.starts[expert];
    }
    else if (GROUPED)
    {
        if (!findPairs(p, list, counts, count, expert))
            return;
        chosen = list;
    }
    int topK = GROUPED && p.input.rows == p.ids.rows ? p.ids.columns : 1;
    long long base = (long long)expert * w.rows;
    long long rows[PARTS][2];
    for (int part = 0; part < PARTS; part++)
        for (int half = 0; half < 2; half++)
        {
            int row = firstRow + g + half * 8;
            rows[part][half] = base + part * width + (row < width ? row : width - 1);
        }
    for (int first = 0; first < count; first += COUNT * 8)
    {
        const float* tokens[COUNT];
#pragma unroll
        for (int tile = 0; tile < COUNT; tile++)
        {
            int token = first + tile * 8 + g;
            tokens[tile] = token >= count ? nullptr : floats(p.input, GROUPED ? chosen[token] / topK : token);
        }
        float sums[PARTS][COUNT][4] = {};
        for (int start = warp; start < blocks; start += WARPS * AHEAD)
        {
            Slice<FORMAT> slices[AHEAD][PARTS][2];
#pragma unroll
            for (int ahead = 0; ahead < AHEAD; ahead++)
#pragma unroll
                for (int part = 0; part < PARTS; part++)
#pragma unroll
                    for (int half = 0; half < 2; half++)
                    {
                        int block = start + ahead * WARPS;
                        if (block < blocks)
                            slices[ahead][part][half].load(w, rows[part][half], block * 32 + q * 8);
                        else
                            slices[ahead][part][half].clear();
                    }
#pragma unroll
            for (int ahead = 0; ahead < AHEAD; ahead++)
            {
                int block = start + ahead * WARPS;
                if (block >= blocks)
                    break;
                u32 a[PARTS][2][4];
                float scales[PARTS][2];
#pragma unroll
                for (int part = 0; part < PARTS; part++)
#pragma unroll
                    for (int half = 0; half < 2; half++)
                    {
                        slices[ahead][part][half].pairs(a[part][half]);
                        if (FORMAT == 2)
                            scales[part][half] = fromHalf(w.scales[rows[part][half] * blocks + block]);
                    }
#pragma unroll
                for (int tile = 0; tile < COUNT; tile++)
                {
                    u32 high[4], low[4];
                    loadTokens<HALVES>(high, low, tokens[tile], block * 32 + q * 8, p.input.columns, p.vectors);
#pragma unroll
                    for (int part = 0; part < PARTS; part++)
                    {
                        float fresh[4] = {};
                        float* to = FORMAT == 2 ? fresh : sums[part][tile];
                        u32(*m)[4] = a[part];
                        multiply(to, m[0][0], m[1][0], m[0][1], m[1][1], high[0], high[1]);
                        multiply(to, m[0][2], m[1][2], m[0][3], m[1][3], high[2], high[3]);
                        if (HALVES)
                        {
                            multiply(to, m[0][0], m[1][0], m[0][1], m[1][1], low[0], low[1]);
                            multiply(to, m[0][2], m[1][2], m[0][3], m[1][3], low[2], low[3]);
                        }
                        if (FORMAT == 2)
                        {
                            sums[part][tile][0] += scales[part][0] * fresh[0], sums[part][tile][1] += scales[part][0] * fresh[1];
                            sums[part][tile][2] += scales[part][1] * fresh[2], sums[part][tile][3] += scales[part][1] * fresh[3];
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int tile = 0; tile < COUNT; tile++)
        {
            if (first + tile * 8 >= count)
                break;
            __syncthreads();
#pragma unroll
            for (int part = 0; part < PARTS; part++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    partial[warp][part * 128 + lane * 4 + i] = sums[part][tile][i];
            __syncthreads();
            if (threadIdx.x >= 128)
                continue;
            // One thread for each (row, token) of the tile: token by token, rows side by side.
            int token = first + tile * 8 + threadIdx.x / 16, inTile = threadIdx.x % 16, row = firstRow + inTile;
            if (token >= count || row >= width)
                continue;
            int at = ((inTile & 7) * 4 + ((threadIdx.x / 16) >> 1)) * 4 + (inTile >> 3) * 2 + ((threadIdx.x / 16) & 1);
            float sum = 0, other = 0;
            for (int i = 0; i < WARPS; i++)
            {
                sum += partial[i][at];
                if (GATED)
                    other += partial[i][128 + at];
            }
            if (p.bias.address)
            {
                sum += floats(p.bias, 0)[row];
                if (GATED)
                    other += floats(p.bias, 0)[width + row];
            }
            if (GATED)
                sum = silu(sum) * other;
            floats(p.output, GROUPED ? chosen[token] : token)[row] = sum;
        }
    }
}

// KIND (1: bfloat16, 2: 8-bit blocks), TILES, SPLIT and WARPS are set when the text is compiled.
#define PRODUCT(name, gated, grouped) \
    extern "C" __global__ void __launch_bounds__(WARPS * 32) name(ProductArguments p) { product<KIND, TILES, SPLIT, gated, grouped>(p); }
PRODUCT(linear, false, false)
PRODUCT(linearGated, true, false)
PRODUCT(grouped, false, true)
PRODUCT(groupedGated, true, true)
