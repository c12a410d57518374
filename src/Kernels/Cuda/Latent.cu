// Multi-head latent attention in its absorbed form: queries go to the latents' space, the latents serve as keys and values of
// all heads, and each head's values are made from what was gathered.

struct AbsorbArguments
{
    Tensor query, absorbed, gathered, output; // [tokens, heads·(plain + rope)], [tokens, heads·(rank + rope)], [tokens, heads·rank], [tokens, heads·value]
    Weight expand;                            // rows heads·(plain + value)
    int heads, plain, rope, value, rank, brain;
};

#define ABSORB_TOKENS 4
#define ABSORB_GROUPS 8

// Two neighbouring columns of a row.
__device__ inline float2 elements(const Weight& w, int brain, long long row, int column)
{
    long long at = row * w.stride + column;
    if (!brain)
        return *(const float2*)((const float*)w.values + at);
    u32 pair = *(const u32*)((const u16*)w.values + at);
    return make_float2(lower(pair), upper(pair));
}

// Block: 64 columns of a head's latent and up to 4 tokens; eight groups of threads share the sum over the plain columns.
extern "C" __global__ void __launch_bounds__(256) absorb(AbsorbArguments p)
{
    __shared__ float query[ABSORB_TOKENS][1024], parts[ABSORB_GROUPS][ABSORB_TOKENS][64];
    enter();
    int head = blockIdx.y, firstToken = blockIdx.z * ABSORB_TOKENS, width = p.plain + p.rope, x = threadIdx.x % 32 * 2, group = threadIdx.x / 32;
    int tokens = min(ABSORB_TOKENS, p.query.rows - firstToken), column = blockIdx.x * 64 + x;
    for (int item = threadIdx.x; item < tokens * width; item += 256)
        query[item / width][item % width] = floats(p.query, firstToken + item / width)[head * width + item % width];
    __syncthreads();
    float sums[ABSORB_TOKENS][2] = {};
    if (column < p.rank)
    {
        long long row = (long long)head * (p.plain + p.value);
#pragma unroll 8
        for (int i = group; i < p.plain; i += ABSORB_GROUPS)
        {
            float2 value = elements(p.expand, p.brain, row + i, column);
#pragma unroll
            for (int token = 0; token < ABSORB_TOKENS; token++)
                sums[token][0] += value.x * query[token][i], sums[token][1] += value.y * query[token][i];
        }
    }
#pragma unroll
    for (int token = 0; token < ABSORB_TOKENS; token++)
        parts[group][token][x] = sums[token][0], parts[group][token][x + 1] = sums[token][1];
    __syncthreads();
    int token = threadIdx.x / 64;
    column = blockIdx.x * 64 + threadIdx.x % 64;
    if (token >= tokens || column >= p.rank + p.rope)
        return;
    float sum = 0;
    if (column < p.rank)
        for (int i = 0; i < ABSORB_GROUPS; i++)
            sum += parts[i][token][threadIdx.x % 64];
    else
        sum = query[token][p.plain + column - p.rank];
    floats(p.absorbed, firstToken + token)[head * (p.rank + p.rope) + column] = sum;
}

// A warp per value column of a head, up to 4 tokens.
extern "C" __global__ void __launch_bounds__(256) release(AbsorbArguments p)
{
    enter();
    int item = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31, firstToken = blockIdx.y * ABSORB_TOKENS;
    if (item >= p.heads * p.value)
        return;
    int head = item / p.value, tokens = min(ABSORB_TOKENS, p.output.rows - firstToken);
    long long row = (long long)head * (p.plain + p.value) + p.plain + item % p.value;
    float sums[ABSORB_TOKENS] = {};
#pragma unroll 8
    for (int i = lane * 2; i < p.rank; i += 64)
    {
        float2 value = elements(p.expand, p.brain, row, i);
#pragma unroll
        for (int token = 0; token < ABSORB_TOKENS; token++)
            if (token < tokens)
            {
                float2 from = *(const float2*)(floats(p.gathered, firstToken + token) + head * p.rank + i);
                sums[token] += value.x * from.x + value.y * from.y;
            }
    }
#pragma unroll
    for (int token = 0; token < ABSORB_TOKENS; token++)
    {
        float sum = warpSum(sums[token]);
        if (lane == 0 && token < tokens)
            floats(p.output, firstToken + token)[item] = sum;
    }
}

struct LatentArguments
{
    Tensor output, query, latents; // [tokens, heads·512], [tokens, heads·576], bfloat16 cache
    Paged batch;
    float* partial; // [tokens · head tiles · parts] of 16 · (512 + 4)
    int heads, parts, split;
    float scale;
};

#define RANK 512
#define WIDTH 576
#define QUERY_PITCH 608 // rows start 16 banks apart
#define KEYS 64
#define WEIGHT_PITCH 72
#define LATENT_PITCH (RANK + 4)

// Block: a token, 16 heads, a part of the context. Four warps score 16 keys each, then each gathers 128 columns of all 64.
extern "C" __global__ void __launch_bounds__(128) attendLatent(LatentArguments p)
{
    __shared__ __align__(16) u16 query[16 * QUERY_PITCH];
    __shared__ __align__(16) u16 weights[16 * WEIGHT_PITCH];
    __shared__ float tops[4][16], totals[4][16];
    enter();
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3, token = blockIdx.z, firstHead = blockIdx.y * 16;
    int limit = *ints(p.batch.positions, token) + 1, size = p.split ? partSize(limit, 64, 2048) : limit, parts = (limit + size - 1) / size;
    if (blockIdx.x >= parts)
        return;
    int start = blockIdx.x * size, end = min(limit, start + size), sequence = sequenceOf(p.batch, token);
#pragma unroll 9
    for (int i = 0; i < 16 * WIDTH / 4 / 128; i++)
    {
        int item = threadIdx.x + i * 128, row = item / (WIDTH / 4), column = item % (WIDTH / 4) * 4;
        float4 from = firstHead + row < p.heads ? *(const float4*)(floats(p.query, token) + (firstHead + row) * WIDTH + column) : make_float4(0, 0, 0, 0);
        *(uint2*)(query + row * QUERY_PITCH + column) = make_uint2(pack(from.x, from.y), pack(from.z, from.w));
    }
    const u16* latents = (const u16*)p.latents.address;
    float sums[16][4] = {}; // column warp·128 + c·64 + n·8 + j is column n of tile c·8 + j
    float most[2] = {-INFINITY, -INFINITY}, total[2] = {};
    __syncthreads();
    for (int base = start; base < end; base += KEYS)
    {
        float scores[2][4] = {};
        const u16* from[2];
#pragma unroll
        for (int half = 0; half < 2; half++)
        {
            int key = min(base + warp * 16 + half * 8 + g, limit - 1);
            from[half] = latents + cacheAt(p.batch, p.latents, sequence, key, 0, WIDTH) + q * 8;
        }
#pragma unroll 6
        for (int i = 0; i < WIDTH / 32; i++)
        {
            uint4 upper4 = *(const uint4*)(query + g * QUERY_PITCH + i * 32 + q * 8), lower4 = *(const uint4*)(query + (g + 8) * QUERY_PITCH + i * 32 + q * 8);
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                uint4 key = *(const uint4*)(from[half] + i * 32);
                multiply(scores[half], upper4.x, lower4.x, upper4.y, lower4.y, key.x, key.y);
                multiply(scores[half], upper4.z, lower4.z, upper4.w, lower4.w, key.z, key.w);
            }
        }
        float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int e = 0; e < 4; e++)
            {
                int key = base + warp * 16 + half * 8 + q * 2 + (e & 1);
                scores[half][e] = key < end ? scores[half][e] * p.scale : -INFINITY;
                top[e >> 1] = fmaxf(top[e >> 1], scores[half][e]);
            }
#pragma unroll
        for (int r = 0; r < 2; r++)
        {
            top[r] = fmaxf(top[r], __shfl_xor_sync(0xFFFFFFFFu, top[r], 1));
            top[r] = fmaxf(top[r], __shfl_xor_sync(0xFFFFFFFFu, top[r], 2));
            if (q == 0)
                tops[warp][g + r * 8] = top[r];
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < 2; r++)
        {
            float larger = most[r];
            for (int i = 0; i < 4; i++)
                larger = fmaxf(larger, tops[i][g + r * 8]);
            float keep = __expf(most[r] - larger), sum = 0;
            most[r] = larger;
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                u32 pair = pack(__expf(scores[half][r * 2] - larger), __expf(scores[half][r * 2 + 1] - larger));
                sum += lower(pair) + upper(pair);
                ((u32*)weights)[((g + r * 8) * WEIGHT_PITCH + warp * 16 + half * 8 + q * 2) / 2] = pair;
            }
            total[r] = total[r] * keep + sum;
#pragma unroll
            for (int tile = 0; tile < 16; tile++)
                sums[tile][r * 2] *= keep, sums[tile][r * 2 + 1] *= keep;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < KEYS / 16; k++)
        {
            if (base + k * 16 >= end)
                break;
            uint4 v[4][2];
#pragma unroll
            for (int i = 0; i < 4; i++)
            {
                int key = min(base + k * 16 + 2 * q + (i & 1) + (i >> 1) * 8, limit - 1);
                const u16* at = latents + cacheAt(p.batch, p.latents, sequence, key, 0, WIDTH) + warp * 128 + g * 8;
                v[i][0] = *(const uint4*)at, v[i][1] = *(const uint4*)(at + 64);
            }
            const u32* w = (const u32*)weights + (k * 16 + q * 2) / 2;
            u32 a0 = w[g * WEIGHT_PITCH / 2], a1 = w[(g + 8) * WEIGHT_PITCH / 2], a2 = w[g * WEIGHT_PITCH / 2 + 4], a3 = w[(g + 8) * WEIGHT_PITCH / 2 + 4];
#pragma unroll
            for (int c = 0; c < 2; c++)
#pragma unroll
                for (int j = 0; j < 8; j++)
                {
                    u32 order = j & 1 ? 0x7632 : 0x5410;
                    multiply(sums[c * 8 + j], a0, a1, a2, a3,
                        __byte_perm((&v[0][c].x)[j / 2], (&v[1][c].x)[j / 2], order), __byte_perm((&v[2][c].x)[j / 2], (&v[3][c].x)[j / 2], order));
                }
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        total[r] += __shfl_xor_sync(0xFFFFFFFFu, total[r], 1);
        total[r] += __shfl_xor_sync(0xFFFFFFFFu, total[r], 2);
        if (q == 0)
            totals[warp][g + r * 8] = total[r];
    }
    __syncthreads();
    int place = token * gridDim.y + blockIdx.y;
    float* mine = p.partial + ((long long)place * p.parts + blockIdx.x) * 16 * LATENT_PITCH;
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        int row = g + r * 8;
        float all = totals[0][row] + totals[1][row] + totals[2][row] + totals[3][row];
        float* to = parts == 1 ? floats(p.output, token) + (firstHead + row) * RANK : mine + row * LATENT_PITCH;
        if (parts == 1 && firstHead + row >= p.heads)
            continue;
#pragma unroll
        for (int i = 0; i < 16; i++)
            for (int e = 0; e < 2; e++)
                to[warp * 128 + i / 8 * 64 + (2 * q + e) * 8 + i % 8] = parts == 1 ? sums[i][r * 2 + e] / all : sums[i][r * 2 + e];
        if (parts > 1 && q == 0 && warp == 0)
            to[RANK] = most[r], to[RANK + 1] = all;
    }
}

// Adds the parts of a head up in order: a block per head and token.
extern "C" __global__ void __launch_bounds__(128) mergeLatent(LatentArguments p)
{
    __shared__ float shares[1024];
    enter();
    int head = blockIdx.x, token = blockIdx.y, lane = threadIdx.x & 31;
    int limit = *ints(p.batch.positions, token) + 1, size = partSize(limit, 64, 2048), parts = (limit + size - 1) / size;
    if (parts == 1)
        return;
    int place = token * ((p.heads + 15) / 16) + head / 16;
    const float* from = p.partial + ((long long)place * p.parts * 16 + head % 16) * LATENT_PITCH;
    if (threadIdx.x < 32)
    {
        float most = -INFINITY, total = 0;
        for (int part = lane; part < parts; part += 32)
            most = fmaxf(most, from[part * 16 * LATENT_PITCH + RANK]);
        most = warpMax(most);
        for (int part = lane; part < parts; part += 32)
        {
            float share = __expf(from[part * 16 * LATENT_PITCH + RANK] - most);
            shares[part] = share;
            total += share * from[part * 16 * LATENT_PITCH + RANK + 1];
        }
        total = warpSum(total);
        for (int part = lane; part < parts; part += 32)
            shares[part] /= total;
    }
    __syncthreads();
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 8
    for (int part = 0; part < parts; part++)
    {
        float4 theirs = *(const float4*)(from + part * 16 * LATENT_PITCH + threadIdx.x * 4);
        float share = shares[part];
        sum.x += share * theirs.x, sum.y += share * theirs.y, sum.z += share * theirs.z, sum.w += share * theirs.w;
    }
    *(float4*)(floats(p.output, token) + head * RANK + threadIdx.x * 4) = sum;
}
