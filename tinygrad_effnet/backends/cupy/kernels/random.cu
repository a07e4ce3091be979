// Random numbers by counting: number i of a stream is a function of i and the stream's key alone, so that threads need
// no state and no order. Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.2).

struct Words {
    unsigned at[4];
};

__device__ Words philox(unsigned long long counter, unsigned long long key) {
    Words x = {{unsigned(counter), unsigned(counter >> 32), 0u, 0u}};
    unsigned k0 = unsigned(key), k1 = unsigned(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const unsigned long long p0 = 0xD2511F53ull * x.at[0], p1 = 0xCD9E8D57ull * x.at[2];
        const Words next = {{unsigned(p1 >> 32) ^ x.at[1] ^ k0, unsigned(p1), unsigned(p0 >> 32) ^ x.at[3] ^ k1,
                             unsigned(p0)}};
        x = next;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return x;
}

// The first binary digits, as many as the dtype holds exactly: more would round up to 1.
__device__ inline void fill(const Words &x, float *y) { *y = (x.at[0] >> 8) * (1.0f / 16777216); }
__device__ inline void fill(const Words &x, float16 *y) { *y = float16((x.at[0] >> 21) * (1.0f / 2048)); }
__device__ inline void fill(const Words &x, bfloat16 *y) { *y = bfloat16((x.at[0] >> 24) * (1.0f / 256)); }
__device__ inline void fill(const Words &x, double *y) {
    const unsigned long long whole = (static_cast<unsigned long long>(x.at[1]) << 32) | x.at[0];
    *y = (whole >> 11) * (1.0 / 9007199254740992.0);
}

// y[i] in [0, 1)
template <typename T>
__global__ void uniform(unsigned long long key, T *y, int n) {
    const int step = gridDim.x * blockDim.x;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) fill(philox(i, key), y + i);
}
