// Products for many rows: tokens go to bfloat16 first (in two halves where singles are wanted), then 64 tokens by 128 rows a block
// through shared memory, three stages deep, on the tensor cores. Bytes become bfloat16 in shared memory. Experts take turns by tiles.

struct GroupArguments { Tensor ids; int *order, *starts, *tiles; int experts, tileRows; };

// One block: pairs by expert, and the tiles of at most tileRows pairs of one expert: (expert, first pair, pairs), then zeros.
extern "C" __global__ void group(GroupArguments p)
{
    extern __shared__ int counts[]; // [2 · experts]
    enter();
    int pairs = p.ids.rows * p.ids.columns;
    const int* ids = (const int*)p.ids.address;
    int* cursors = counts + p.experts;
    for (int i = threadIdx.x; i < p.experts; i += blockDim.x)
        counts[i] = 0;
    __syncthreads();
    for (int pair = threadIdx.x; pair < pairs; pair += blockDim.x)
        atomicAdd(&counts[ids[pair]], 1);
    __syncthreads();
    if (threadIdx.x == 0)
    {
        int start = 0, tile = 0;
        for (int expert = 0; expert < p.experts; expert++)
        {
            p.starts[expert] = cursors[expert] = start;
            for (int done = 0; done < counts[expert]; done += p.tileRows, tile++)
            {
                int left = counts[expert] - done;
                p.tiles[3 * tile] = expert, p.tiles[3 * tile + 1] = start + done, p.tiles[3 * tile + 2] = left < p.tileRows ? left : p.tileRows;
            }
            start += counts[expert];
        }
        p.starts[p.experts] = start;
        for (int most = pairs / p.tileRows + p.experts; tile < most; tile++)
            p.tiles[3 * tile + 2] = 0;
    }
    __syncthreads();
    for (int pair = threadIdx.x; pair < pairs; pair += blockDim.x)
        p.order[atomicAdd(&cursors[ids[pair]], 1)] = pair;
}

struct PackArguments { Tensor input; u16 *high, *low; int stride; };

// Rows in bfloat16, zeros behind their ends, and what the rounding lost.
extern "C" __global__ void packRows(PackArguments p)
{
    enter();
    long long row = blockIdx.x;
    const float* from = floats(p.input, row);
    int column = (blockIdx.y * blockDim.x + threadIdx.x) * 2;
    if (column >= p.stride)
        return;
    float first = column < p.input.columns ? from[column] : 0, second = column + 1 < p.input.columns ? from[column + 1] : 0;
    u32 pair = pack(first, second);
    ((u32*)p.high)[(row * p.stride + column) / 2] = pair;
    if (p.low)
        ((u32*)p.low)[(row * p.stride + column) / 2] = pack(first - lower(pair), second - upper(pair));
}

struct TileArguments
{
    Tensor output, bias;
    Weight weight;
    const u16 *high, *low;       // [rows, weight.stride] in bfloat16, and what that lost or null
    const int *order, *tiles;    // pairs by expert, and the tiles; null without experts
    u16 *gatedHigh, *gatedLow;   // of gates and ups: the same for the next product, [pairs in order, gatedStride]; output stays as it is
    int rows, topK, gatedStride; // topK: a pair takes its token's row; 0: rows lie in the tiles' order
};

#define TILE_TOKENS 64
#define TILE_ROWS 128
#define STAGES 3
#define LINE (KIND == 1 ? 128 : 64) // bytes of 64 columns of a weight row
#define STAGE_BYTES (TILE_TOKENS * 128 + TILE_ROWS * LINE)

// 16 bytes of a weight row as bfloat16, in two swizzled pieces of its line.
__device__ inline void widen16(char* line, int lineIndex, int piece, uint4 bytes, float scale)
{
    const u32* words = &bytes.x;
    u32 pairs[8];
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (KIND == 2)
        {
            int word = (int)words[i];
            pairs[2 * i] = pack(scale * (float)(signed char)word, scale * (float)(signed char)(word >> 8));
            pairs[2 * i + 1] = pack(scale * (float)(signed char)(word >> 16), scale * (float)(signed char)(word >> 24));
        }
        else
        {
            u32 first = widenFloats(words[i], 0x1404), second = widenFloats(words[i], 0x3424);
            pairs[2 * i] = pack(scale * lower(first), scale * upper(first));
            pairs[2 * i + 1] = pack(scale * lower(second), scale * upper(second));
        }
    *(uint4*)(line + (((2 * piece) ^ (lineIndex & 7)) * 16)) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    *(uint4*)(line + (((2 * piece + 1) ^ (lineIndex & 7)) * 16)) = make_uint4(pairs[4], pairs[5], pairs[6], pairs[7]);
}

// Shared memory of a stage: the tokens, then 128 weight rows, 64 columns each; pieces of 16 bytes are swizzled, but for bytes, which
// lie as they are and are widened to one of two tiles behind the stages. Of gates and ups a tile has 64 each: 32 gates, then their ups,
// for each half of the warps. KIND is set when the text is compiled.
template <bool GATED>
__device__ void product(const TileArguments& p)
{
    extern __shared__ __align__(128) char stages[];
    enter();
    int expert = 0, firstToken = blockIdx.y * TILE_TOKENS, count = p.rows - firstToken;
    if (p.tiles)
    {
        expert = p.tiles[3 * blockIdx.y], firstToken = p.tiles[3 * blockIdx.y + 1], count = p.tiles[3 * blockIdx.y + 2];
        if (count == 0)
            return;
    }
    const Weight& w = p.weight;
    int width = GATED ? w.rows / 2 : w.rows, firstRow = blockIdx.x * (GATED ? TILE_ROWS / 2 : TILE_ROWS), lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    int tokenWarp = warp & 1, rowWarp = warp >> 1;
    long long before = (long long)expert * w.rows;
    int steps = (w.stride + 63) / 64, passes = p.low ? 2 : 1;
    u32 memory = sharedAddress(stages);
    // A thread copies the same piece of every sixteenth line (of bytes: of every 32nd).
    int line = threadIdx.x / 8, piece = threadIdx.x % 8;
    u32 place = line * 128 + ((piece ^ (line & 7)) * 16), tokenAt[TILE_TOKENS / 16]; // pieces from the first one
    int tokenLines = (count - line + 15) / 16;
#pragma unroll
    for (int i = 0; i < TILE_TOKENS / 16; i++)
    {
        int row = firstToken + line + i * 16;
        tokenAt[i] = i < tokenLines ? (p.topK ? p.order[row] / p.topK : row) * (w.stride / 8) + piece : 0;
    }
    constexpr int APART = KIND == 1 ? 16 : 32, LINES = TILE_ROWS / APART, VALUES = KIND == 1 ? 8 : 16;
    int weightLine = KIND == 1 ? line : threadIdx.x / 4, weightPiece = KIND == 1 ? piece : threadIdx.x % 4;
    u32 weightPlace = TILE_TOKENS * 128 + (KIND == 1 ? place : threadIdx.x * 16);
    long long firstWeight = before + firstRow + weightLine;
    int rowsLeft = width - firstRow - weightLine;
    // Rows from the thread's first one to that of its i-th line, and whether that is an up.
    auto down = [](int i) { return GATED ? i * APART / 64 * 32 + i * APART % 32 : i * APART; };
    auto isUp = [](int i) { return GATED ? i * APART / 32 % 2 : 0; };
    auto fetch = [&](int step)
    {
        int column = step % steps * 64;
        u32 stage = memory + step % STAGES * STAGE_BYTES;
        bool inside = column + piece * 8 < w.stride;
        const uint4* tokens = (const uint4*)(step < steps ? p.high : p.low) + column / 8;
#pragma unroll
        for (int i = 0; i < TILE_TOKENS / 16; i++)
        {
            bool wanted = inside && i < tokenLines;
            copyAsync(stage + place + i * 2048, wanted ? (const char*)(tokens + tokenAt[i]) : w.values, wanted);
        }
        inside = column + weightPiece * VALUES < w.stride;
        const char* from = w.values + (firstWeight * w.stride + column + weightPiece * VALUES) * (16 / VALUES);
#pragma unroll
        for (int i = 0; i < LINES; i++)
        {
            bool wanted = inside && down(i) < rowsLeft;
            copyAsync(stage + weightPlace + i * 2048, wanted ? from + (long long)(down(i) + isUp(i) * width) * w.stride * (16 / VALUES) : w.values, wanted);
        }
    };
    float scales[LINES];
    auto findScales = [&](int step)
    {
        int column = step % steps * 64 + weightPiece * VALUES;
#pragma unroll
        for (int i = 0; i < LINES; i++)
        {
            long long row = firstWeight + down(i) + isUp(i) * width;
            bool wanted = column < w.stride && down(i) < rowsLeft;
            scales[i] = !wanted ? 0.0f : KIND == 2 ? fromHalf(w.scales[row * (w.stride / 32) + column / 32]) : ((const float*)w.scales)[row * ((w.stride + 127) / 128) + column / 128];
        }
    };
    if (KIND != 1)
        findScales(0);
    float sums[2][8][4] = {};
    int all = steps * passes;
    for (int step = 0; step < STAGES - 1; step++)
    {
        if (step < all)
            fetch(step);
        commitCopies();
    }
    for (int step = 0; step < all; step++)
    {
        awaitCopies<STAGES - 2>();
        u32 stage = memory + step % STAGES * STAGE_BYTES, rowsAt = stage + TILE_TOKENS * 128;
        if (KIND != 1)
        {
            // Each thread widens what it has copied itself.
            char* wide = stages + STAGES * STAGE_BYTES + step % 2 * (TILE_ROWS * 128);
            rowsAt = sharedAddress(wide);
#pragma unroll
            for (int i = 0; i < LINES; i++)
            {
                int index = weightLine + i * APART;
                widen16(wide + index * 128, index, weightPiece, *(const uint4*)(stages + step % STAGES * STAGE_BYTES + weightPlace + i * 2048), scales[i]);
            }
        }
        __syncthreads();
        if (step + STAGES - 1 < all)
            fetch(step + STAGES - 1);
        commitCopies();
        if (KIND != 1)
            findScales(step + 1);
        if (tokenWarp * 32 >= count)
            continue; // no tokens for this warp: it copies only
#pragma unroll
        for (int k = 0; k < 4; k++)
        {
            u32 a[2][4], b[4][4];
#pragma unroll
            for (int i = 0; i < 2; i++)
            {
                int line = tokenWarp * 32 + i * 16 + (lane & 15), piece = k * 2 + (lane >> 4);
                loadMatrices(a[i], stage + line * 128 + ((piece ^ (line & 7)) * 16));
            }
#pragma unroll
            for (int j = 0; j < 4; j++)
            {
                int line = rowWarp * 64 + j * 16 + (lane >> 4) * 8 + (lane & 7), piece = k * 2 + ((lane >> 3) & 1);
                loadMatrices(b[j], rowsAt + line * 128 + ((piece ^ (line & 7)) * 16));
            }
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < 8; j++)
                    multiply(sums[i][j], a[i][0], a[i][1], a[i][2], a[i][3], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int half = 0; half < 2; half++)
        {
            int token = tokenWarp * 32 + i * 16 + half * 8 + (lane >> 2);
            if (token >= count)
                continue;
            if (GATED)
            {
                // Up to the end of the next product's rows: what is no row there is zero.
                long long at = (long long)(firstToken + token) * p.gatedStride;
#pragma unroll
                for (int j = 0; j < 4; j++)
                {
                    int row = firstRow + rowWarp * 32 + j * 8 + (lane & 3) * 2;
                    if (row >= p.gatedStride)
                        continue;
                    float first = silu(sums[i][j][half * 2]) * sums[i][j + 4][half * 2], second = silu(sums[i][j][half * 2 + 1]) * sums[i][j + 4][half * 2 + 1];
                    u32 pair = pack(first, second);
                    *(u32*)(p.gatedHigh + at + row) = pair;
                    if (p.gatedLow)
                        *(u32*)(p.gatedLow + at + row) = pack(first - lower(pair), second - upper(pair));
                }
                continue;
            }
            float* to = floats(p.output, p.order ? p.order[firstToken + token] : firstToken + token);
#pragma unroll
            for (int j = 0; j < 8; j++)
                for (int e = 0; e < 2; e++)
                {
                    int row = firstRow + rowWarp * 64 + j * 8 + (lane & 3) * 2 + e;
                    if (row < w.rows)
                        to[row] = sums[i][j][half * 2 + e] + (p.bias.address ? floats(p.bias, 0)[row] : 0.0f);
                }
        }
}

extern "C" __global__ void __launch_bounds__(128) tiles(TileArguments p) { product<false>(p); }
extern "C" __global__ void __launch_bounds__(128) tilesGated(TileArguments p) { product<true>(p); }

struct BiasArguments { Tensor output, bias; };
extern "C" __global__ void addBias(BiasArguments p)
{
    enter();
    float* to = floats(p.output, blockIdx.y);
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.output.columns)
        to[i] += floats(p.bias, 0)[i];
}

struct RestoreArguments { Weight weight; u16* to; };

// A weight of bytes as bfloat16, for a product of many rows.
extern "C" __global__ void restore(RestoreArguments p)
{
    enter();
    long long at = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * 4, all = (long long)p.weight.groups * p.weight.rows * p.weight.stride;
    if (at >= all)
        return;
    u32 first, second;
    float scale;
    if (KIND == 2)
    {
        char4 q = *(const char4*)(p.weight.values + at);
        scale = fromHalf(p.weight.scales[at / 32]);
        first = pack(scale * q.x, scale * q.y), second = pack(scale * q.z, scale * q.w);
    }
    else
    {
        u32 bytes = *(const u32*)(p.weight.values + at), low = widenFloats(bytes, 0x1404), high = widenFloats(bytes, 0x3424);
        scale = ((const float*)p.weight.scales)[at / p.weight.stride * ((p.weight.stride + 127) / 128) + at % p.weight.stride / 128];
        first = pack(scale * lower(low), scale * upper(low)), second = pack(scale * lower(high), scale * upper(high));
    }
    ((u32*)p.to)[at / 2] = first;
    ((u32*)p.to)[at / 2 + 1] = second;
}
