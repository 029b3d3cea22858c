"""Another package that rounds networks, to stand beside ours in a table: brevitas.

Pappalardo et al., brevitas, https://github.com/Xilinx/brevitas; its GPTQ (Frantar et al. 2022,
arXiv:2210.17323), its cross-layer equalisation and bias correction (Nagel et al. 2019,
arXiv:1906.04721).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.registry import load_extra
from anneal.rounding.graphs import Traced, bias_of, trace
from anneal.rounding.quantisers import Quantiser, quantise_inputs

BATCH_SIZE = 16
MAX_BITS = 16
SWEEPS = 20  # of equalisation, as in brevitas' own example


def brevitas_rounded(
    network: nn.Module,
    calibration: Tensor,
    *,
    bits: int,
    activation_bits: int | None,
    gptq: bool,
    equalise: bool,
    correct_bias: bool,
    seed: int,
) -> nn.Module:
    """Return a copy of a network that brevitas has rounded, as a plain module for evaluation.

    calibration: (num, channels, height, width), as the network reads them. Brevitas equalises,
    measures ranges of activations, rounds by GPTQ with the largest diagonal first or else to the
    nearest levels, and corrects biases, in this order; what is not asked for is left out.

    As for our methods: the network with folded normalisations, from
    :func:`~anneal.rounding.graphs.trace`; the layers, first and last among them, with biases in
    float; a step for each output channel and one for each layer's input, with a zero point; the
    images; GPTQ's inputs, from layers that are rounded already, and its damping of a hundredth of
    the mean diagonal.

    Brevitas' own: 2^b − 1 levels, from −(2^(b−1) − 1) on, one less than ours; steps of weights, of
    the multiples of max ``|w|`` / (2^(b−1) − 1) / 20 up to 20 that with the least squared error
    (with all 2^b levels they would clip the largest weight, and nets come out worse); ranges of
    activations, chosen alike in the float network, a mean over batches of 16; GPTQ's objective,
    E[xxᵀ] with the float weights as target; zero for weights of inputs that no image reaches, by
    GPTQ; biases, by the mean error of each layer for inputs from the float network. Equalisation
    passes residual additions, but not ReLU6, which brevitas would replace by ReLU, nor padding as a
    step of its own: the function stays.

    Raises :class:`~anneal.errors.InputError` without brevitas, for bits not in 2 … 16, for fewer
    than two images or numbers that are not finite, and where GPTQ gives a layer up.
    """
    _check(calibration, bits, activation_bits)
    plain = trace(network, calibration[:1])
    # Of the same size, since brevitas takes the plain mean over batches.
    batches = calibration.tensor_split(-(-len(calibration) // BATCH_SIZE))
    with torch.no_grad(), torch.random.fork_rng(devices=()), warnings.catch_warnings():
        # Brevitas warns of its own code; and of a layer without an inverse, which GPTQ leaves.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="Failed to compute the inverse")
        torch.manual_seed(seed)
        if equalise:
            _equalise(plain)
        quantised = _quantised(plain, bits, activation_bits)
        if activation_bits is not None:
            with _brevitas("graph.calibrate").calibration_mode(quantised):
                _pass(quantised, batches)
        if gptq:
            _gptq(quantised, batches)
        if correct_bias:
            with _brevitas("graph.calibrate").bias_correction_mode(quantised):
                _pass(quantised, batches)
        return _in_torch(plain, quantised, activation_bits)


def _check(calibration: Tensor, bits: int, activation_bits: int | None) -> None:
    for name, given in (("bits", bits), ("activation_bits", activation_bits)):
        if given is not None and not 2 <= given <= MAX_BITS:
            raise InputError(f"{name} must be 2 … {MAX_BITS}, is {given}")
    if len(calibration) < 2:
        raise InputError(f"at least two images are needed for calibration, got {len(calibration)}")
    if not calibration.isfinite().all():
        raise InputError("calibration must be finite")


def _brevitas(name: str) -> Any:
    """Return a module of brevitas."""
    return load_extra(f"brevitas.{name}", extra="bench-rounding")


def _pass(module: nn.Module, batches: Sequence[Tensor]) -> None:
    for batch in batches:
        module(batch)


def _equalise(plain: Traced) -> None:
    """Equalise the layers of a network, in place."""
    prepare = _brevitas("graph.quantize").preprocess_for_quantize
    # It traces anew: some of its steps fail on graphs of torch's own.
    found = prepare(plain.copy().module, relu6_to_relu=False, equalize_iters=SWEEPS)
    for name in plain.layers:
        layer, equalised = plain.layer(name), found.get_submodule(name)
        layer.weight.copy_(equalised.weight)
        bias_of(layer).copy_(equalised.bias)


def _quantised(plain: Traced, bits: int, activation_bits: int | None) -> nn.Module:
    """Return a copy whose layers are brevitas' own, with scales of weights that stay."""
    layers, scaling = _brevitas("nn"), _brevitas("core.scaling.standalone")
    weights = _brevitas("quant.scaled_int").Int8WeightPerChannelFloatMSE
    inputs = _brevitas("quant.shifted_scaled_int").ShiftedUint8ActPerTensorFloatMSE
    copied = plain.copy().module
    dtype = next(copied.parameters()).dtype
    options = {
        "weight_quant": weights.let(
            bit_width=bits,
            narrow_range=True,
            scaling_impl=scaling.ParameterFromStatsFromParameterScaling,
        ),
        "input_quant": activation_bits and inputs.let(bit_width=activation_bits, dtype=dtype),
        "bias_quant": None,
        "return_quant_tensor": False,
        "dtype": dtype,
    }
    kinds = {nn.Conv2d: (layers.QuantConv2d, options), nn.Linear: (layers.QuantLinear, options)}
    left = list(plain.unsupported)
    found: nn.Module = _brevitas("graph.quantize").layerwise_quantize(
        copied, kinds, name_blacklist=left
    )
    for name in plain.layers:
        layer: Any = found.get_submodule(name)
        # A module inside of a layer, such as its padding, is not taken over.
        for key, child in plain.layer(name).named_children():
            layer.add_module(key, child)
        layer.quant_weight()  # The scales are chosen when they are first asked for.
    return found.eval()


def _gptq(quantised: nn.Module, batches: Sequence[Tensor]) -> None:
    """Round layer after layer; what they were is kept, for biases to be corrected by."""
    try:
        with _brevitas("graph.gptq").gptq_mode(quantised, act_order=True) as run:
            for _ in range(run.num_layers):
                _pass(run.model, batches)
                run.update()
    except UserWarning as warning:
        raise InputError(f"brevitas' GPTQ: {warning}") from warning


def _in_torch(plain: Traced, quantised: nn.Module, activation_bits: int | None) -> nn.Module:
    """Return the network with the weights, biases and grids of inputs that brevitas has found."""
    grids = {}
    for name in plain.layers:
        found: Any = quantised.get_submodule(name)
        layer = plain.layer(name)
        layer.weight.copy_(found.quant_weight().value)
        bias_of(layer).copy_(found.bias)
        if activation_bits is not None:
            scale, zero = found.input_quant.scale(), found.input_quant.zero_point()
            grids[name] = Quantiser(float(scale), round(float(zero)), activation_bits)
    quantise_inputs(plain.module, grids)
    return plain.module
