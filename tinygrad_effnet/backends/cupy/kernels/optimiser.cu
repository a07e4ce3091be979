// Updates of all parameters in one launch. A parameter's arrays are given by their addresses, and cut into pieces, so that
// a thousand small parameters and one large one keep a device equally busy. A block does a piece:
//
//     addresses   parameters x slots; the parameter first, its gradient next, then what the rule remembers
//     pieces      (parameter, first number, count)
//
// The formulas, and what their letters mean, are in optim/; scalars come in double and are used in the arrays' precision.

struct Piece {
    int parameter, first, count;

    __device__ explicit Piece(const int *pieces)
        : parameter(pieces[blockIdx.x * 3]), first(pieces[blockIdx.x * 3 + 1]), count(pieces[blockIdx.x * 3 + 2]) {}

    template <typename T>
    __device__ T *array(const unsigned long long *addresses, int slots, int slot) const {
        return reinterpret_cast<T *>(addresses[parameter * slots + slot]) + first;
    }
};

// Adam and NAdam: m and v as in both, then  p -= (of_gradient g + of_momentum m) / (sqrt(v / correction) + eps).
// Adam has of_gradient 0. `shrink` multiplies p first (decoupled decay), `decay` adds to the gradient (L2), `sign` is -1
// to go up. With AMSGRAD there is a fifth array, the largest v so far, in v's place.
template <typename T, bool AMSGRAD>
__global__ void adam(const unsigned long long *addresses, const int *pieces, double sign, double shrink, double decay,
                     double beta1, double beta2, double of_gradient, double of_momentum, double correction,
                     double eps) {
    using A = Wide<T>;
    constexpr int SLOTS = AMSGRAD ? 5 : 4;
    const Piece piece(pieces);
    T *p = piece.array<T>(addresses, SLOTS, 0), *gradient = piece.array<T>(addresses, SLOTS, 1);
    T *m = piece.array<T>(addresses, SLOTS, 2), *v = piece.array<T>(addresses, SLOTS, 3);
    T *largest = AMSGRAD ? piece.array<T>(addresses, SLOTS, 4) : nullptr;
    const A new_m = A(1 - beta1), new_v = A(1 - beta2), inverse = A(1 / correction);
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) {
        A x = wide(p[i]) * A(shrink);
        const A g = A(sign) * wide(gradient[i]) + A(decay) * x;
        const A first = A(beta1) * wide(m[i]) + new_m * g;
        A second = A(beta2) * wide(v[i]) + new_v * (g * g);
        m[i] = T(first);
        v[i] = T(second);
        if (AMSGRAD) {
            const A before = wide(largest[i]);
            second = second > before || second != second ? second : before;  // a NaN stays seen
            largest[i] = T(second);
        }
        x -= (A(of_gradient) * g + A(of_momentum) * first) / (root(second * inverse) + A(eps));
        p[i] = T(x);
    }
}

// Gradient descent; b is the third array, where there is momentum.
enum Descent { PLAIN, MOMENTUM, NESTEROV };

template <typename T, Descent KIND>
__global__ void sgd(const unsigned long long *addresses, const int *pieces, double sign, double decay, double momentum,
                    double share, double lr) {
    using A = Wide<T>;
    constexpr int SLOTS = KIND == PLAIN ? 2 : 3;
    const Piece piece(pieces);
    T *p = piece.array<T>(addresses, SLOTS, 0), *gradient = piece.array<T>(addresses, SLOTS, 1);
    T *b = KIND == PLAIN ? nullptr : piece.array<T>(addresses, SLOTS, 2);
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) {
        const A x = wide(p[i]), g = A(sign) * wide(gradient[i]) + A(decay) * x;
        A step = g;
        if (KIND != PLAIN) {
            step = A(momentum) * wide(b[i]) + A(share) * g;
            b[i] = T(step);
        }
        if (KIND == NESTEROV) step = g + A(momentum) * step;
        p[i] = T(x - A(lr) * step);
    }
}

// average += share (x - average); the average first, x second.
template <typename T>
__global__ void ema(const unsigned long long *addresses, const int *pieces, double share) {
    const Piece piece(pieces);
    T *average = piece.array<T>(addresses, 2, 0), *x = piece.array<T>(addresses, 2, 1);
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) {
        const Wide<T> before = wide(average[i]);
        average[i] = T(before + Wide<T>(share) * (wide(x[i]) - before));
    }
}

// The sum of squares of each piece, in double: of what is stored in at most 32 bits it neither over- nor underflows.
template <typename T>
__global__ void squares(const unsigned long long *addresses, const int *pieces, double *found) {
    const Piece piece(pieces);
    const T *x = piece.array<T>(addresses, 1, 0);
    double sum[1] = {0};
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) sum[0] += double(wide(x[i])) * double(wide(x[i]));
    block_sum(sum);
    if (threadIdx.x == 0) found[blockIdx.x] = sum[0];
}

// x *= factor, one number on the device
template <typename T>
__global__ void scale(const unsigned long long *addresses, const int *pieces, const double *factor) {
    const Piece piece(pieces);
    T *x = piece.array<T>(addresses, 1, 0);
    const Wide<T> share = Wide<T>(*factor);
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) x[i] = T(wide(x[i]) * share);
}

// to = from, rounded; from, the second, is in the precision that is computed in.
template <typename T>
__global__ void narrow(const unsigned long long *addresses, const int *pieces) {
    const Piece piece(pieces);
    T *to = piece.array<T>(addresses, 2, 0);
    const Wide<T> *from = piece.array<Wide<T>>(addresses, 2, 1);
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) to[i] = T(from[i]);
}

// to = from / divisor, or that is added to it; to, the first, is in the precision that is computed in.
template <typename T, bool ADDS>
__global__ void widen(const unsigned long long *addresses, const int *pieces, double divisor) {
    const Piece piece(pieces);
    Wide<T> *to = piece.array<Wide<T>>(addresses, 2, 0);
    const T *from = piece.array<T>(addresses, 2, 1);
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) {
        const Wide<T> x = wide(from[i]) / Wide<T>(divisor);
        to[i] = ADDS ? to[i] + x : x;
    }
}
