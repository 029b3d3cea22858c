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
# # Quickstart
#
# A solver of `anneal` is a dimod sampler: a binary quadratic model goes in, a sample set comes
# out. Here is one with 60 spins and couplings of ±1 between all of them.

# %%
import dimod

from anneal.solvers import get_solver

bqm = dimod.generators.ran_r(1, 60, seed=7)
sampleset = get_solver("auto")().sample(bqm, time_limit=0.5, seed=1)
float(sampleset.first.energy)

# %% [markdown]
# `get_solver` takes the names of the [solvers](solvers.md). The same call with another name runs
# another solver, dwave's neal among them.

# %%
for name in ["greedy", "neal", "anneal"]:
    best = get_solver(name)().sample(bqm, num_reads=10, seed=1).first
    print(f"{name:8} {best.energy:g}")

# %% [markdown]
# `info["timing"]` says where the time went, in nanoseconds and under D-Wave's keys.

# %%
sampleset.info["timing"]

# %% [markdown]
# A problem knows its own unit: Max-Cut's cost is minus the weight of the cut.

# %%
from anneal import get_problem

maxcut = get_problem("maxcut").generate(seed=1)
best = get_solver("auto")().sample(maxcut.bqm(), time_limit=0.5, seed=1).first
maxcut.cost(maxcut.decode(best.sample))
