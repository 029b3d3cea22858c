"""Annealing of levels by moves of one and of two: sixteen proposals are tested at once.

As :mod:`anneal.kernels.dense` does with spins: proposals of a block are tested together, the lowest
that is accepted is made, the fields follow, and those behind it are tested anew, so that moves come
exactly one after the other. All is float32; ``width`` is a multiple of 16 above the number of
weights, and what is beyond has equal bounds.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.lanes import absolute, constant, multiply_add
from anneal.kernels.random import OFFSET_SHIFT, next_below, next_word
from anneal.kernels.vector import (
    above,
    add,
    at_least,
    bits,
    load,
    multiply,
    select,
    splat,
    store,
    subtract,
    trailing_zeros,
)  # fmt: skip

LANES = 16
COIN_SHIFT = np.uint64(40)
QUANTILE = np.uint64(4095)
MEDIAN = np.float32(np.log(2))  # of Exp(1)


@inlined
def _coins(quantiles, word):  # type: ignore[no-untyped-def]
    """±1 in each lane, from where in a table of quantiles ``word`` points to."""
    drawn = load(quantiles, np.int64((word >> COIN_SHIFT) & QUANTILE))
    return select(above(drawn, splat(MEDIAN)), constant(1.0), constant(-1.0))


@inlined
def _patience(quantiles, word, heat):  # type: ignore[no-untyped-def]
    """What each lane's proposal may cost: heat times Exp(1)."""
    return multiply(load(quantiles, np.int64(word >> OFFSET_SHIFT)), splat(heat))


@inlined
def _room(step, at, low, high):  # type: ignore[no-untyped-def]
    """How many levels there are in the direction of ``step``."""
    return select(above(step, constant(0.0)), subtract(high, at), subtract(at, low))


@inlined
def _move(i, step, levels, fields, twice):  # type: ignore[no-untyped-def]
    """Move level i by ``step``; the fields follow."""
    levels[i] += step
    by, row = splat(step), twice[i]
    for start in range(0, fields.size, LANES):
        store(fields, start, multiply_add(by, load(row, start), load(fields, start)))


@inlined
def _single_moves(levels, fields, low, high, twice, diagonal, quantiles, heat, state):  # type: ignore[no-untyped-def]
    """Offer every level one step up or down; of two levels, the other one."""
    scratch = np.empty(LANES, np.float32)
    for start in range(0, levels.size, LANES):
        word = next_word(state)
        patience, coins = _patience(quantiles, word, heat), _coins(quantiles, word)
        least, most, curve = load(low, start), load(high, start), load(diagonal, start)
        span = subtract(most, least)
        choice = bits(above(span, constant(0.0)))
        binary = choice & ~bits(above(span, constant(1.0)))
        ahead = ~np.uint64(0)
        while True:
            room = above(_room(coins, load(levels, start), least, most), constant(0.0))
            step = select(room, coins, subtract(constant(0.0), coins))
            rise = multiply_add(step, load(fields, start), curve)
            taken = bits(at_least(patience, rise)) & (bits(room) | binary) & ahead
            if taken == 0:
                break
            lane = trailing_zeros(taken)
            ahead = (~np.uint64(0) << np.uint64(lane)) << np.uint64(1)
            store(scratch, 0, step)
            _move(start + lane, scratch[lane], levels, fields, twice)


@inlined
def _pair_moves(levels, fields, low, high, twice, diagonal, quantiles, heat, state, num):  # type: ignore[no-untyped-def]
    """Offer every level a step together with one of sixteen others against it, block at random."""
    scratch, partner = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    zero = constant(0.0)
    for i in range(num):
        if low[i] >= high[i]:
            continue
        word, start = next_word(state), LANES * next_below(state, levels.size // LANES)
        patience, coins = _patience(quantiles, word, heat), _coins(quantiles, word)
        line, least, most = load(twice[i], start), load(low, start), load(high, start)
        curve = add(splat(diagonal[i]), subtract(load(diagonal, start), absolute(line)))
        binary = high[i] - low[i] == np.float32(1)
        ahead = ~np.uint64(0)
        if start <= i < start + LANES:
            ahead &= ~(np.uint64(1) << np.uint64(i - start))
        while True:
            room = above(_room(coins, splat(levels[i]), splat(low[i]), splat(high[i])), zero)
            step = select(room, coins, subtract(zero, coins)) if binary else coins
            other = select(above(line, zero), subtract(zero, step), step)
            free = above(_room(other, load(levels, start), least, most), zero)
            rise = multiply_add(step, splat(fields[i]), curve)
            rise = multiply_add(other, load(fields, start), rise)
            taken = bits(at_least(patience, rise)) & bits(free) & ahead
            if not binary:
                taken &= bits(room)
            if taken == 0:
                break
            lane = trailing_zeros(taken)
            ahead &= (~np.uint64(0) << np.uint64(lane)) << np.uint64(1)
            store(scratch, 0, step)
            store(partner, 0, other)
            _move(i, scratch[lane], levels, fields, twice)
            _move(start + lane, partner[lane], levels, fields, twice)


@kernel
def anneal(  # type: ignore[no-untyped-def]
    levels, fields, low, high, twice, diagonal, group, heats, every, num, quantiles, states,
    start, stop,
):  # fmt: skip
    """Anneal rows from where they are, by one sweep at each heat.

    levels, low, high: (rows, width). fields: 2H(q − t), follows. twice: 2H, (groups, num, width);
    diagonal: of H, (groups, width); ``group`` rows share them. heats: (groups, sweeps), in units of
    the cost over the weight; a sweep in ``every`` has moves of two as well. states: (rows, 1).
    """
    for row in range(start, stop):
        of = row // group
        now, slope, least, most, state = levels[row], fields[row], low[row], high[row], states[row]
        matrix, curve = twice[of], diagonal[of]
        for sweep in range(heats.shape[1]):
            heat = heats[of, sweep]
            _single_moves(now, slope, least, most, matrix, curve, quantiles, heat, state)
            if sweep % every == 0:
                _pair_moves(now, slope, least, most, matrix, curve, quantiles, heat, state, num)
