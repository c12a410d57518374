// What a warp of Attention.cu works on: 16 keys and values in shared memory, and the sums over the keys so far; and the heads of the step itself.

struct AttentionArguments
{
    Tensor output, query, keys, values;
    Paged batch;
    float* partial;  // [sequences · cache heads · teams] of 16 · (width + 4)
    int* tickets;    // [sequences · cache heads · blocks of a team], zero between launches
    Tensor queryGain, keyGain, table; // with a table the heads come as they were projected: queries, keys, values one behind the other
    int heads, cacheHeads, parts, single, window; // single: every sequence has one row
    float scale, epsilon;
};

// 16 keys and their values, rows of pieces of 16 bytes. Pieces change places from row to row, so that lanes that multiply meet no other in a bank.
template <int WIDTH>
struct Chunk
{
    static constexpr int PIECES = WIDTH / 8; // of a row
    uint4 keys[16][PIECES], values[16][PIECES];

    __device__ static int keyPlace(int row, int piece) { return piece ^ (row & 1) << 2; }
    __device__ static int valuePlace(int row, int piece) { return piece ^ (row >> 1 & 3) << 1; }

    // What a lane multiplies: pieces of the keys g and g + 8, and of the values 2q, 2q + 1 and those 8 behind.
    __device__ uint4 key(int half, int i) const
    {
        int lane = threadIdx.x & 31, row = half * 8 + lane / 4;
        return keys[row][keyPlace(row, i * 4 + (lane & 3))];
    }
    __device__ uint4 value(int i, int c) const
    {
        int lane = threadIdx.x & 31, row = 2 * (lane & 3) + (i & 1) + (i >> 1) * 8;
        return values[row][valuePlace(row, c * 8 + lane / 4)];
    }

    // A warp starts to copy those from a position on, a multiple of 16, which lie in one block of the cache as a rule; zeros behind the context.
    __device__ void fetch(const AttentionArguments& p, int sequence, int cacheHead, int base, int context, long long firstKey, long long firstValue)
    {
        int lane = threadIdx.x & 31;
        bool together = p.batch.blockSize % 16 == 0;
#pragma unroll
        for (int i = lane; i < 16 * PIECES; i += 32)
        {
            int row = i / PIECES, piece = i % PIECES;
            bool there = base + row < context;
            long long key = firstKey + i * 8, value = firstValue + i * 8;
            if (!together && there)
                key = cacheAt(p.batch, p.keys, sequence, base + row, cacheHead, WIDTH) + piece * 8, value = cacheAt(p.batch, p.values, sequence, base + row, cacheHead, WIDTH) + piece * 8;
            copyAsync(sharedAddress(&keys[row][keyPlace(row, piece)]), (const u16*)p.keys.address + (there ? key : 0), there);
            copyAsync(sharedAddress(&values[row][valuePlace(row, piece)]), (const u16*)p.values.address + (there ? value : 0), there);
        }
    }

    // The step's own key and value, which were not in the cache when this was copied.
    __device__ void mend(int newest, const u16* key, const u16* value)
    {
        int lane = threadIdx.x & 31;
        if (lane < PIECES)
            keys[newest][keyPlace(newest, lane)] = *(const uint4*)(key + lane * 8), values[newest][valuePlace(newest, lane)] = *(const uint4*)(value + lane * 8);
        __syncwarp();
    }
};

// Keys are the wide side of the products, rows the narrow one: 8 rows a tile, of which a lane has 2.
template <int WIDTH, int TILES>
struct State
{
    float sums[TILES][WIDTH / 16][4]; // of tile c · 4 + j, columns c·64 + g·8 + 2j and the next, each of the lane's two rows
    float most[TILES][2], total[TILES][2]; // of rows 2q and 2q + 1; the total is of the lane's keys alone

    __device__ void clear()
    {
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
        {
#pragma unroll
            for (int i = 0; i < WIDTH / 16; i++)
                sums[tile][i][0] = sums[tile][i][1] = sums[tile][i][2] = sums[tile][i][3] = 0;
            most[tile][0] = most[tile][1] = -INFINITY;
            total[tile][0] = total[tile][1] = 0;
        }
    }

    // Attends to 16 keys, of which those before each row's limit count.
    __device__ void attend(const Chunk<WIDTH>& chunk, const u32 (*query)[WIDTH / 16][2], int base, float scale, const int (*limits)[2], const int (*firsts)[2])
    {
        int g = (threadIdx.x & 31) >> 2;
        float scores[TILES][4] = {}, others[TILES][4] = {}; // two chains of products wait half as long
#pragma unroll
        for (int i = 0; i < WIDTH / 32; i++)
        {
            uint4 first = chunk.key(0, i), second = chunk.key(1, i);
#pragma unroll
            for (int tile = 0; tile < TILES; tile++)
            {
                multiply(scores[tile], first.x, second.x, first.y, second.y, query[tile][i * 2][0], query[tile][i * 2][1]);
                multiply(others[tile], first.z, second.z, first.w, second.w, query[tile][i * 2 + 1][0], query[tile][i * 2 + 1][1]);
            }
        }
        u32 weights[TILES][2];
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
        {
            float larger[2], keep[2];
#pragma unroll
            for (int e = 0; e < 2; e++)
            {
#pragma unroll
                for (int half = 0; half < 2; half++)
                {
                    int key = base + half * 8 + g;
                    float& score = scores[tile][half * 2 + e];
                    score = key < limits[tile][e] && key >= firsts[tile][e] ? (score + others[tile][half * 2 + e]) * scale : -INFINITY;
                }
                larger[e] = fmaxf(most[tile][e], fmaxf(scores[tile][e], scores[tile][e + 2]));
#pragma unroll
                for (int step = 4; step < 32; step <<= 1)
                    larger[e] = fmaxf(larger[e], __shfl_xor_sync(0xFFFFFFFFu, larger[e], step));
                // Where nothing counts yet, nothing is subtracted: all weights are 0 all the same.
                float shift = larger[e] == -INFINITY ? 0.0f : larger[e];
                keep[e] = __expf(most[tile][e] - shift);
                most[tile][e] = larger[e];
                scores[tile][e] = __expf(scores[tile][e] - shift), scores[tile][e + 2] = __expf(scores[tile][e + 2] - shift);
            }
#pragma unroll
            for (int half = 0; half < 2; half++)
                weights[tile][half] = pack(scores[tile][half * 2], scores[tile][half * 2 + 1]);
            // What is summed is what is multiplied: the rounded weights.
            total[tile][0] = total[tile][0] * keep[0] + lower(weights[tile][0]) + lower(weights[tile][1]);
            total[tile][1] = total[tile][1] * keep[1] + upper(weights[tile][0]) + upper(weights[tile][1]);
            weights[tile][0] = turned(weights[tile][0]), weights[tile][1] = turned(weights[tile][1]);
#pragma unroll
            for (int i = 0; i < WIDTH / 16; i++)
                sums[tile][i][0] *= keep[0], sums[tile][i][1] *= keep[1], sums[tile][i][2] *= keep[0], sums[tile][i][3] *= keep[1];
        }
#pragma unroll
        for (int c = 0; c < WIDTH / 64; c++)
        {
            uint4 v[4] = {chunk.value(0, c), chunk.value(1, c), chunk.value(2, c), chunk.value(3, c)};
#pragma unroll
            for (int j = 0; j < 4; j++)
            {
                u32 a0 = __byte_perm((&v[0].x)[j], (&v[1].x)[j], 0x5410), a1 = __byte_perm((&v[0].x)[j], (&v[1].x)[j], 0x7632);
                u32 a2 = __byte_perm((&v[2].x)[j], (&v[3].x)[j], 0x5410), a3 = __byte_perm((&v[2].x)[j], (&v[3].x)[j], 0x7632);
#pragma unroll
                for (int tile = 0; tile < TILES; tile++)
                    multiply(sums[tile][c * 4 + j], a0, a1, a2, a3, weights[tile][0], weights[tile][1]);
            }
        }
    }

    // Rows of sums, and behind each its largest score and its total.
    __device__ void store(float* to, int pitch)
    {
        int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
#pragma unroll
            for (int e = 0; e < 2; e++)
            {
                float all = total[tile][e], *row = to + (tile * 8 + 2 * q + e) * pitch;
#pragma unroll
                for (int step = 4; step < 32; step <<= 1)
                    all += __shfl_xor_sync(0xFFFFFFFFu, all, step);
#pragma unroll
                for (int i = 0; i < WIDTH / 16; i += 2)
                    *(float4*)(row + i / 4 * 64 + g * 8 + i % 4 * 2) = make_float4(sums[tile][i][e], sums[tile][i][e + 2], sums[tile][i + 1][e], sums[tile][i + 1][e + 2]);
                if (g == 0)
                    *(float4*)(row + WIDTH) = make_float4(most[tile][e], all, 0, 0);
            }
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
