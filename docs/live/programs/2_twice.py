# x is used twice, so two contributions to its gradient arrive and are added.
import tinygrad_effnet as tg

x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
y = (x * x + 2.0 * x).sum()
y.backward()
print("2x + 2 =", x.grad.numpy())
