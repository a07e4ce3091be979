// From pictures as they are decoded to what a network takes: a cut, perhaps mirrored, normalised. Bytes cross to the
// device, a quarter of what floats would be.

// pictures, N H W 3 -> y, 3 N h w; places is N 3: top, left and whether to mirror. A thread does a pixel.
template <typename T>
__global__ void crop_flip_normalise(const unsigned char *pictures, const int *places, int images, int height, int width,
                                    int out_height, int out_width, const Wide<T> *scale, const Wide<T> *offset, T *y) {
    const int total = images * out_height * out_width;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        const int w = i % out_width, h = i / out_width % out_height, n = i / out_width / out_height;
        const int *place = places + n * 3;
        const int row = place[0] + h, column = place[1] + (place[2] ? out_width - 1 - w : w);
        const unsigned char *pixel = pictures + ((n * height + row) * width + column) * 3;
        for (int c = 0; c < 3; ++c) y[c * total + i] = T(Wide<T>(pixel[c]) * scale[c] - offset[c]);
    }
}
