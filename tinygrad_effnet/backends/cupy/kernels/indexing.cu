// Sums of numbers that go to the same place, always in the same order: places come sorted, and the thread that stands
// at the first of a run of equal places adds up the run. Atomic additions would take another order in every run.

// y[places[j]] = sum of dy[order[j]] over equal places; y holds zeros before
template <typename T>
__global__ void add_runs(const long long *places, const long long *order, const T *dy, int n, T *y) {
    const int step = gridDim.x * blockDim.x;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const long long place = places[i];
        if (i > 0 && places[i - 1] == place) continue;
        Wide<T> sum = 0;
        for (int j = i; j < n && places[j] == place; ++j) sum += wide(dy[order[j]]);
        y[place] = T(sum);
    }
}
