// What a warp of Attention.cu holds: 16 keys and values, and the sums of 16 rows over the keys so far; and the heads of the step itself.

struct AttentionArguments
{
    Tensor output, query, keys, values;
    Paged batch;
    float* partial;  // [sequences · cache heads · parts] of 16 · (width + 4)
    int* tickets;    // [sequences · cache heads], zero between launches
    Tensor queryGain, keyGain, table; // with a table the heads come as they were projected: queries, keys, values one behind the other
    int heads, cacheHeads, parts, single, window; // single: every sequence has one row
    float scale, epsilon;
};

__device__ inline void addScaled(float4& sum, const float4& value, float factor)
{
    sum.x += value.x * factor, sum.y += value.y * factor, sum.z += value.z * factor, sum.w += value.w * factor;
}

__device__ inline void storeScaled(float* to, const float4& value, float factor)
{
    to[0] = value.x * factor, to[1] = value.y * factor, to[2] = value.z * factor, to[3] = value.w * factor;
}

// 16 keys and their values, as a lane multiplies them.
template <int WIDTH>
struct Rows
{
    uint4 k[2][WIDTH / 32], v[4][WIDTH / 64];

    __device__ static int keyOf(int base, int half) { return base + half * 8 + (threadIdx.x & 31) / 4; }
    __device__ static int valueOf(int base, int i) { return base + 2 * (threadIdx.x & 3) + (i & 1) + (i >> 1) * 8; }

    __device__ void loadKeys(const AttentionArguments& p, int sequence, int cacheHead, int base, int context)
    {
#pragma unroll
        for (int half = 0; half < 2; half++)
        {
            const u16* from = (const u16*)p.keys.address + cacheAt(p.batch, p.keys, sequence, min(keyOf(base, half), context - 1), cacheHead, WIDTH) + (threadIdx.x & 3) * 8;
#pragma unroll
            for (int i = 0; i < WIDTH / 32; i++)
                k[half][i] = *(const uint4*)(from + i * 32);
        }
    }
    __device__ void loadValues(const AttentionArguments& p, int sequence, int cacheHead, int base, int context)
    {
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            const u16* from = (const u16*)p.values.address + cacheAt(p.batch, p.values, sequence, min(valueOf(base, i), context - 1), cacheHead, WIDTH) + (threadIdx.x & 31) / 4 * 8;
#pragma unroll
            for (int c = 0; c < WIDTH / 64; c++)
                v[i][c] = *(const uint4*)(from + c * 64);
        }
    }
    // The step's own key and value, which were not in the cache when this was loaded.
    __device__ void mend(int base, int newest, const u16* key, const u16* value)
    {
#pragma unroll
        for (int half = 0; half < 2; half++)
            if (keyOf(base, half) == newest)
#pragma unroll
                for (int i = 0; i < WIDTH / 32; i++)
                    k[half][i] = *(const uint4*)(key + (threadIdx.x & 3) * 8 + i * 32);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (valueOf(base, i) == newest)
#pragma unroll
                for (int c = 0; c < WIDTH / 64; c++)
                    v[i][c] = *(const uint4*)(value + (threadIdx.x & 31) / 4 * 8 + c * 64);
    }
};

template <int WIDTH>
struct State
{
    float sums[WIDTH / 8][4]; // column c·64 + n·8 + j of the output is column n of tile c·8 + j
    float most[2], total[2];  // of rows g and g + 8

    __device__ void clear()
    {
#pragma unroll
        for (int tile = 0; tile < WIDTH / 8; tile++)
            sums[tile][0] = sums[tile][1] = sums[tile][2] = sums[tile][3] = 0;
        most[0] = most[1] = -INFINITY;
        total[0] = total[1] = 0;
    }

    // Attends to 16 keys, of which those before each row's limit count; the next ones are brought while these are worked on.
    __device__ void attend(const AttentionArguments& p, const u32 (*query)[4], Rows<WIDTH>& rows, int sequence, int cacheHead, int base, int next, int context, const int* limits, const int* firsts)
    {
        int q = threadIdx.x & 3;
        float scores[2][4] = {};
#pragma unroll
        for (int i = 0; i < WIDTH / 32; i++)
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                uint4 k = rows.k[half][i];
                multiply(scores[half], query[i * 2][0], query[i * 2][1], query[i * 2][2], query[i * 2][3], k.x, k.y);
                multiply(scores[half], query[i * 2 + 1][0], query[i * 2 + 1][1], query[i * 2 + 1][2], query[i * 2 + 1][3], k.z, k.w);
            }
        if (next > 0)
            rows.loadKeys(p, sequence, cacheHead, next, context);
        float larger[2] = {most[0], most[1]};
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int e = 0; e < 4; e++)
            {
                int key = base + half * 8 + q * 2 + (e & 1);
                scores[half][e] = key < limits[e >> 1] && key >= firsts[e >> 1] ? scores[half][e] * p.scale : -INFINITY;
                larger[e >> 1] = fmaxf(larger[e >> 1], scores[half][e]);
            }
        u32 weights[2][2];
#pragma unroll
        for (int r = 0; r < 2; r++)
        {
            larger[r] = fmaxf(larger[r], __shfl_xor_sync(0xFFFFFFFFu, larger[r], 1));
            larger[r] = fmaxf(larger[r], __shfl_xor_sync(0xFFFFFFFFu, larger[r], 2));
            float keep = larger[r] == -INFINITY ? 1.0f : __expf(most[r] - larger[r]);
            most[r] = larger[r];
            float sum = 0;
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                float first = larger[r] == -INFINITY ? 0.0f : __expf(scores[half][r * 2] - larger[r]);
                float second = larger[r] == -INFINITY ? 0.0f : __expf(scores[half][r * 2 + 1] - larger[r]);
                weights[half][r] = pack(first, second);
                // What is summed is what is multiplied: the rounded weights.
                sum += lower(weights[half][r]) + upper(weights[half][r]);
            }
            sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
            sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
            total[r] = total[r] * keep + sum;
#pragma unroll
            for (int tile = 0; tile < WIDTH / 8; tile++)
                sums[tile][r * 2] *= keep, sums[tile][r * 2 + 1] *= keep;
        }
#pragma unroll
        for (int c = 0; c < WIDTH / 64; c++)
#pragma unroll
            for (int j = 0; j < 8; j++)
            {
                u32 order = j & 1 ? 0x7632 : 0x5410;
                u32 b0 = __byte_perm((&rows.v[0][c].x)[j / 2], (&rows.v[1][c].x)[j / 2], order);
                u32 b1 = __byte_perm((&rows.v[2][c].x)[j / 2], (&rows.v[3][c].x)[j / 2], order);
                multiply(sums[c * 8 + j], weights[0][0], weights[0][1], weights[1][0], weights[1][1], b0, b1);
            }
        if (next > 0)
            rows.loadValues(p, sequence, cacheHead, next, context);
    }
};

// Norm and rotation of halves of a query head, of which a lane holds 8 columns of each 32.
template <int WIDTH>
__device__ inline void turn(const AttentionArguments& p, float (*values)[8], int position)
{
    int q = threadIdx.x & 3;
    float squares = 0;
#pragma unroll
    for (int i = 0; i < WIDTH / 32; i++)
#pragma unroll
        for (int e = 0; e < 8; e++)
            squares += values[i][e] * values[i][e];
    squares += __shfl_xor_sync(0xFFFFFFFFu, squares, 1);
    squares += __shfl_xor_sync(0xFFFFFFFFu, squares, 2);
    float factor = rsqrtf(squares / WIDTH + p.epsilon);
    const float* turn = floats(p.table, max(position, 0)) + q * 8;
    const float* gain = p.queryGain.address ? (const float*)p.queryGain.address + q * 8 : nullptr;
#pragma unroll
    for (int i = 0; i < WIDTH / 64; i++)
#pragma unroll
        for (int e = 0; e < 8; e += 4)
        {
            float4 cosines = *(const float4*)(turn + i * 32 + e), sines = *(const float4*)(turn + WIDTH / 2 + i * 32 + e);
            float4 first = gain ? *(const float4*)(gain + i * 32 + e) : make_float4(1, 1, 1, 1), second = gain ? *(const float4*)(gain + WIDTH / 2 + i * 32 + e) : first;
#pragma unroll
            for (int j = 0; j < 4; j++)
            {
                float a = values[i][e + j], b = values[i + WIDTH / 64][e + j], cosine = (&cosines.x)[j], sine = (&sines.x)[j];
                if (gain)
                    a *= factor * (&first.x)[j], b *= factor * (&second.x)[j];
                values[i][e + j] = a * cosine - b * sine;
                values[i + WIDTH / 64][e + j] = b * cosine + a * sine;
            }
        }
}

// One warp brings the step's key (or value) of a head into the cache, and into a copy: norm and rotation of halves first if it is a key.
template <int WIDTH>
__device__ void keep(const AttentionArguments& p, const float* from, const Tensor& cache, int sequence, int cacheHead, int position, bool key, u16* copy)
{
    int lane = threadIdx.x & 31;
    float low[WIDTH / 64], high[WIDTH / 64], squares = 0;
#pragma unroll
    for (int j = 0; j < WIDTH / 64; j++)
    {
        low[j] = from[lane + j * 32], high[j] = from[lane + j * 32 + WIDTH / 2];
        squares += low[j] * low[j] + high[j] * high[j];
    }
    float factor = rsqrtf(warpSum(squares) / WIDTH + p.epsilon);
    const float* turn = floats(p.table, position);
    u16* to = (u16*)cache.address + cacheAt(p.batch, cache, sequence, position, cacheHead, WIDTH);
#pragma unroll
    for (int j = 0; j < WIDTH / 64; j++)
    {
        int i = lane + j * 32;
        float a = low[j], b = high[j];
        if (key)
        {
            if (p.keyGain.address)
                a *= factor * floats(p.keyGain, 0)[i], b *= factor * floats(p.keyGain, 0)[i + WIDTH / 2];
            float cosine = turn[i], sine = turn[WIDTH / 2 + i], first = a;
            a = first * cosine - b * sine, b = b * cosine + first * sine;
        }
        copy[i] = to[i] = narrow(a), copy[i + WIDTH / 2] = to[i + WIDTH / 2] = narrow(b);
    }
}
