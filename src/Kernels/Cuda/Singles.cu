// Products with weights in single precision: routers and small models. Plain multiply-adds, exact operands.

struct SinglesArguments { Tensor output, input, bias, ids; Weight weight; };

#define SINGLES_TOKENS 4

// A block of four warps per output row; a few tokens at a time. Sums run over threads in a fixed order.
extern "C" __global__ void __launch_bounds__(128) singlesFew(SinglesArguments p)
{
    __shared__ float parts[4][SINGLES_TOKENS];
    enter();
    int row = blockIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, columns = p.weight.columns;
    const float* weights = (const float*)p.weight.values + (long long)row * p.weight.stride;
    for (int first = 0; first < p.input.rows; first += SINGLES_TOKENS)
    {
        float sums[SINGLES_TOKENS] = {};
#pragma unroll 4
        for (int i = threadIdx.x * 4; i < columns; i += 512)
        {
            // Rows of the weight end in zeros.
            float4 weight = *(const float4*)(weights + i);
#pragma unroll
            for (int token = 0; token < SINGLES_TOKENS; token++)
            {
                if (first + token >= p.input.rows)
                    break;
                const float* from = floats(p.input, first + token) + i;
                sums[token] += weight.x * from[0];
                if (i + 1 < columns)
                    sums[token] += weight.y * from[1];
                if (i + 2 < columns)
                    sums[token] += weight.z * from[2];
                if (i + 3 < columns)
                    sums[token] += weight.w * from[3];
            }
        }
        __syncthreads();
#pragma unroll
        for (int token = 0; token < SINGLES_TOKENS; token++)
        {
            float sum = warpSum(sums[token]);
            if (lane == 0)
                parts[warp][token] = sum;
        }
        __syncthreads();
        int token = first + threadIdx.x;
        if (threadIdx.x < SINGLES_TOKENS && token < p.input.rows)
        {
            float sum = parts[0][threadIdx.x] + parts[1][threadIdx.x] + parts[2][threadIdx.x] + parts[3][threadIdx.x];
            floats(p.output, token)[row] = p.bias.address ? sum + floats(p.bias, 0)[row] : sum;
        }
    }
}

// The same for chosen experts: blockIdx.x is the pair.
extern "C" __global__ void singlesGrouped(SinglesArguments p)
{
    enter();
    int row = blockIdx.y * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31, pair = blockIdx.x;
    if (row >= p.weight.rows)
        return;
    int expert = ((const int*)p.ids.address)[pair];
    const float* from = floats(p.input, p.input.rows == p.ids.rows ? pair / p.ids.columns : pair);
    const float* weights = (const float*)p.weight.values + ((long long)expert * p.weight.rows + row) * p.weight.stride;
    float sum = 0;
#pragma unroll 8
    for (int i = lane; i < p.weight.columns; i += 32)
        sum += from[i] * weights[i];
    sum = warpSum(sum);
    if (lane == 0)
        floats(p.output, pair)[row] = sum;
}

// Many tokens: 64 tokens by 64 rows a block, 4 by 4 a thread.
extern "C" __global__ void singlesMany(SinglesArguments p)
{
    __shared__ float left[16][65], right[16][65];
    enter();
    int firstRow = blockIdx.x * 64, firstToken = blockIdx.y * 64, x = threadIdx.x % 16, y = threadIdx.x / 16;
    float sums[4][4] = {};
    for (int start = 0; start < p.weight.columns; start += 16)
    {
        for (int item = threadIdx.x; item < 1024; item += 256)
        {
            int line = item / 16, column = start + item % 16;
            int token = firstToken + line, row = firstRow + line;
            bool inside = column < p.weight.columns;
            left[item % 16][line] = inside && token < p.input.rows ? floats(p.input, token)[column] : 0;
            right[item % 16][line] = inside && row < p.weight.rows ? ((const float*)p.weight.values)[(long long)row * p.weight.stride + column] : 0;
        }
        __syncthreads();
        for (int k = 0; k < 16; k++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    sums[i][j] += left[k][y * 4 + i] * right[k][x + 16 * j];
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
        {
            int token = firstToken + y * 4 + i, row = firstRow + x + 16 * j;
            if (token < p.input.rows && row < p.weight.rows)
                floats(p.output, token)[row] = p.bias.address ? sums[i][j] + floats(p.bias, 0)[row] : sums[i][j];
        }
}
