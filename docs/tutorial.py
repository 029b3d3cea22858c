# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From bits to qubits
#
# One small network on scikit-learn's digits, three times: its weights are bits, then
# probabilities, then qubits. After that a neuron of it runs as a circuit, and a network of bits
# runs without torch. Everything here takes seconds on one core; the mathematics has
# [its own page](mathematics.md).

# %%
import matplotlib.pyplot as plt
import torch

from qbnn.config import Config
from qbnn.data import load
from qbnn.models import Network, count_parameters
from qbnn.training.evaluate import evaluate
from qbnn.training.train import TrainOptions, train

torch.set_num_threads(1)
digits = load("digits")
len(digits.train), len(digits.validation), len(digits.test), digits.in_shape


# %%
def trained(family="none", *, architecture="16FC-SM10", seed=1, **settings):
    """Train for eight epochs; the best of them counts."""
    config = Config(
        architecture=architecture, in_shape=digits.in_shape, family=family, seed=seed, **settings
    )
    network = Network(config)
    train(network, digits, TrainOptions(epochs=8, batch_size=32, seed=seed))
    return network


# %% [markdown]
# ## Bits
#
# `16FC-SM10` is a hidden layer of 16 neurons and a head of ten classes. The family `sign` is the
# classical binary network: forwards a weight is the sign of a real number, backwards a
# pseudo-gradient stands in for the derivative that a step does not have.

# %%
classical = trained("sign")
print(evaluate(classical, digits.test).accuracy_interval)

# %% [markdown]
# ## Probabilities
#
# In the family `none`, which is PBNet, a weight is a bit with a probability. The count of weights
# that agree with their inputs is then random, and its law gives the probability that a neuron
# fires. That has a derivative, so nothing has to stand in for one.

# %%
probabilistic = trained("none")
images, labels = digits.test.batch(torch.arange(100))
for bits in probabilistic.hidden(images):
    print(tuple(bits.spin.shape), bits.probability[0, :4].tolist())

# %% [markdown]
# Those are what the two layers read of the first image: pixels as P(bit = 1), then the
# probabilities of the hidden bits.
#
# ## Qubits
#
# In the family `real4` each weight qubit meets its activation qubit in a gate of four trained
# angles before the two are compared. A pair then agrees in the mean as α + βφ + γχ, φ being the
# spin mean of the activation and χ its coherence, in place of θφ.

# %%
deformed = trained("real4")
print(evaluate(deformed, digits.test).accuracy_interval)

# %% [markdown]
# The three coefficients of one hidden neuron, as pictures of 8×8:

# %%
coefficients = deformed.blocks[0].layer.coefficients()
figure, axes = plt.subplots(1, 3, figsize=(7, 2.4), layout="constrained")
for axis, values, name in zip(axes, coefficients, ("α", "β", "γ"), strict=True):
    picture = values.detach().numpy()[3].reshape(8, 8)
    shown = axis.imshow(picture, cmap="RdBu", vmin=-1, vmax=1)
    axis.set_title(name)
    axis.set_axis_off()
_ = figure.colorbar(shown, ax=axes)

# %% [markdown]
# ## Is it the qubits?
#
# The deformed network beats the probabilistic one of the same width. It also has five numbers a
# connection where that has one, so it is printed beside what else could explain the gain: a
# wider PBNet with as many parameters, the classical `free` (any α, β, γ, no circuit), and gates
# that are random and stay so.

# %%
rows = {
    "sign": {"family": "sign"},
    "PBNet": {},
    "PBNet, as many parameters": {"architecture": "80FC-SM10"},
    "free α, β, γ": {"family": "free"},
    "real4, frozen at random": {"family": "real4", "trainable": False, "init_std": 1.0},
    "real4": {"family": "real4"},
}
for name, settings in rows.items():
    networks = [trained(**settings, seed=seed) for seed in (1, 2, 3)]
    found = [100 * evaluate(network, digits.test).accuracy for network in networks]
    shown = " ".join(f"{accuracy:.1f}" for accuracy in found)
    print(f"{name:26} {count_parameters(networks[0]):6,} parameters   {shown} %")

# %% [markdown]
# With 360 test images an accuracy near 97 % is known to about ±2 %. The trained gates help at equal
# width, and a wider classical network or free coefficients do as well: here is no quantum gain,
# and a computer emulates all of it. [Benchmarks](benchmarks.md) has the larger comparisons.
#
# ## A neuron as a circuit
#
# A neuron of the second layer reads 16 bits. A state vector of 16 pairs and a register is out of
# reach of a laptop, so take four pairs; the threshold moves in proportion.

# %%
from qbnn.circuits.drawing import draw
from qbnn.circuits.neurons import neuron_qnode, read_neuron
from qbnn.states import Bits

with torch.no_grad():
    neuron, bits = read_neuron(deformed, 1, 3, images[:1], pairs=range(4))
one = Bits(*(part[0] for part in bits))
print(draw(neuron, one))

# %% [markdown]
# `Counter` is phase estimation: it writes the count into the wires k, and the top one is the
# activation. Three ways to the probability that it fires: the state vector, PennyLane's device
# `qbnn.emulator`, and the law without any circuit.

# %%
print(neuron_qnode(neuron, one, "default.qubit")())
print(neuron_qnode(neuron, one, "qbnn.emulator")())
print(neuron.probability(one))

# %% [markdown]
# The whole register is the law of the count. With shots the emulator draws from it.

# %%
exact = neuron_qnode(neuron, one, "default.qubit", measure="count")()
shots = neuron_qnode(neuron, one, "qbnn.emulator", measure="count", shots=200)()
figure, axis = plt.subplots(figsize=(5, 2.6), layout="constrained")
axis.bar([k - 0.2 for k in range(8)], exact.tolist(), width=0.4, label="default.qubit")
axis.bar([k + 0.2 for k in range(8)], shots.tolist(), width=0.4, label="200 shots of qbnn.emulator")
axis.axvline(neuron.kappa - 0.5, color="grey", linestyle=":")
axis.set(xlabel="count", ylabel="probability")
_ = figure.legend(loc="outside upper center", ncols=2, frameon=False)

# %% [markdown]
# It fires right of the dotted line. The emulator also takes the whole neuron, here for 100 images
# at once; a state vector of its circuit would have 2^37 entries for each.

# %%
with torch.no_grad():
    whole, every = read_neuron(deformed, 1, 3, images)
print(neuron_qnode(whole, every, "qbnn.emulator")()[:5])
print(whole.probability(every)[:5])

# %% [markdown]
# `certify` does this for neurons of every layer, with gradients, and says which path each
# comparison took. `qbnn certify RUN` is the same on the command line.

# %%
from qbnn.circuits.certify import certify

certificate = certify(deformed, images[:8], num_neurons=1, fan_in=4)
for check in certificate.checks:
    print(
        f"layer {check.layer}, {check.pairs:2} of {check.fan_in} pairs, {check.circuit:9} "
        f"{check.path:12} difference {check.difference:.0e}"
    )
certificate.verdict

# %% [markdown]
# ## Back to bits
#
# An undeformed network has a deterministic twin, the most probable bits of it, which compiles to
# 64 weights a word. One that was trained on drawn bits loses little by that.

# %%
from qbnn.deploy.compiled import compile_network

sampled = trained(architecture="64FC-SM10", mode="sample", input="real")
packed = compile_network(sampled)
images, labels = digits.test.batch(torch.arange(len(digits.test)))
right = packed.logits(images.numpy()).argmax(1) == labels.numpy()
print(f"drawn, 16 passes: {evaluate(sampled, digits.test, num_draws=16).accuracy:.3f}")
print(f"packed bits:      {right.mean():.3f}")

# %% [markdown]
# A deformed one has no such twin: its pairs agree with a probability, and it compiles to a table of
# these.

# %%
type(compile_network(deformed)).__name__
