# A 3x3 convolution: step to it, choose an entry of y, and see the nine products that make it.
import numpy as np
import tinygrad_effnet as tg

image = np.zeros((1, 1, 6, 6), np.float32)
image[..., 3:] = 1.0
x = tg.Tensor(image, requires_grad=True)
w = tg.Tensor(np.array([[[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]]], np.float32), requires_grad=True)
y = tg.conv2d(x, w, padding=1)
print(y.numpy()[0, 0])
(y**2.0).sum().backward()
print(w.grad.numpy()[0, 0])
