# One multiplication. Change the numbers and run: what do the gradients become?
import tinygrad_effnet as tg

x = tg.Tensor(3.0, requires_grad=True)
w = tg.Tensor(2.0, requires_grad=True)
y = x * w
y.backward()
print("y =", y.item())
print("dy/dx =", x.grad.item(), "  dy/dw =", w.grad.item())
