"""JAX: a program of XLA's, compiled for the device."""
import sys
import time

sys.path.pop(0)  # this folder has files of the libraries' names
import jax
import jax.numpy as jnp

print(jax.devices()[0].platform)
x = jnp.ones((64, 64))
work = jax.jit(lambda a: (a @ a).sum() + jnp.sin(a).mean())
for _ in range(20):
    y = work(x)
y.block_until_ready()
print("done", y.shape)
time.sleep(0.3)  # callers are named while their process lives
