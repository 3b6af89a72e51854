"""BlobNet, its inference form, and the choice of precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.game.rules import ACTIONS
from engine.network import precision
from engine.network.blobnet import (
    CAN_PACK_BFLOAT16,
    BlobNet,
    InferenceNet,
    NetworkConfig,
    build_network,
    encode_token,
    load_weights,
    weights_hash,
    weights_of,
)
from engine.network.precision import choose_dtype, difference, probe_states
from engine.training.trainer import fastest_dtype

SMALL = NetworkConfig(32, 2, 4, 64)


def test_the_default_network_has_the_parameters_of_the_design() -> None:
    network = BlobNet()
    assert sum(p.numel() for p in network.parameters()) == 4_921_034
    assert sum(p.numel() for p in InferenceNet(network).parameters()) == 3_681_482


@pytest.mark.parametrize("config", [NetworkConfig(), SMALL, NetworkConfig(48, 3, 1, 16)])
def test_the_inference_form_computes_the_same(config: NetworkConfig) -> None:
    network = build_network(config, "cpu", seed=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)  # biases and norms away from 0 and 1
        states = torch.rand(33, 256)
        logits, values = network(states)
        folded_logits, folded_values = InferenceNet(network)(states).split([ACTIONS, 8], 1)
    assert logits.shape == (33, ACTIONS)
    torch.testing.assert_close(folded_logits, logits, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(folded_values, values.sigmoid(), rtol=1e-4, atol=1e-5)


def test_refolding_takes_new_weights_in_place() -> None:
    old, new = build_network(SMALL, "cpu", 1), build_network(SMALL, "cpu", 2)
    folded = InferenceNet(old)
    address = folded.embedding.weight.data_ptr()
    folded.refold(new)
    assert folded.embedding.weight.data_ptr() == address
    assert difference(folded, InferenceNet(new), probe_states(8)) == (0, 0)
    assert difference(folded, InferenceNet(old), probe_states(8)).policy > 0


def test_the_same_seed_builds_the_same_network_and_leaves_torch_s_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, other = build_network(SMALL, "cpu", 3), build_network(SMALL, "cpu", 3)
    assert weights_hash(weights_of(one)) == weights_hash(weights_of(other))
    assert weights_hash(weights_of(one)) != weights_hash(weights_of(build_network(SMALL, "cpu")))
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_travel_as_arrays_and_are_a_copy() -> None:
    network, other = build_network(SMALL, "cpu", 1), build_network(SMALL, "cpu", 2)
    weights = weights_of(network)
    load_weights(other, weights)
    assert weights_hash(weights_of(other)) == weights_hash(weights)
    with torch.no_grad():
        network.embedding.weight.zero_()
    assert np.abs(weights["embedding.weight"]).max() > 0


def test_on_meta_the_inference_form_keeps_shapes_and_device() -> None:
    with torch.device("meta"):
        network = BlobNet(256, *SMALL)
    load_weights(network, weights_of(build_network(SMALL, "cpu")))
    folded = InferenceNet(network)
    answers = folded(torch.zeros(2, 256, device="meta"))
    assert {str(p.device) for p in folded.parameters()} == {"meta"}
    assert (str(answers.device), answers.shape) == ("meta", (2, ACTIONS + 8))


def test_bfloat16_agrees_within_the_stated_tolerance() -> None:
    network = build_network(NetworkConfig(), "cpu", seed=4)
    exact = InferenceNet(network)
    fast = InferenceNet(network).to(torch.bfloat16)
    assert difference(exact, fast, probe_states(256)).within_tolerance


def test_packed_weights_give_the_same_answers_and_follow_new_ones() -> None:
    """Packing changes the layout, not the numbers; a refold packs again."""
    old, new = build_network(NetworkConfig(), "cpu", 1), build_network(NetworkConfig(), "cpu", 2)
    states = probe_states(77).bfloat16()
    plain, packed = (InferenceNet(old).to(torch.bfloat16) for _ in range(2))
    packed.pack()
    assert (packed.narrow[0].packed is not None) == CAN_PACK_BFLOAT16
    assert plain.narrow[0].packed is None
    # The residual is added before rounding where it is fused, after it where it is not.
    assert difference(plain, packed, probe_states(77)).within_tolerance
    packed.refold(new)
    answers = packed(states)
    assert not torch.equal(answers, plain(states))
    fresh = InferenceNet(new).to(torch.bfloat16).pack()
    assert torch.equal(answers, fresh(states))


def test_a_network_that_bfloat16_gets_wrong_stays_in_float32() -> None:
    network = build_network(SMALL, "cpu")
    with torch.no_grad():
        network.policy_head[2].weight *= 1000
    assert choose_dtype(network, "cpu") == "float32"


def test_a_cpu_without_kernels_for_bfloat16_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(network: BlobNet, device: str) -> None:
        raise AssertionError("tried")

    monkeypatch.setattr(precision, "CAN_PACK_BFLOAT16", False)
    monkeypatch.setattr(precision, "try_bfloat16", tried)
    network = build_network(SMALL, "cpu")
    assert choose_dtype(network, "cpu") == "float32"
    assert fastest_dtype(network, "cpu") == "float32"
    assert precision.computes_bfloat16("cuda")


def test_the_probe_changes_neither_network_nor_threads() -> None:
    network = build_network(SMALL, "cpu")
    before = weights_hash(weights_of(network))
    torch.set_num_threads(2)
    try:
        assert choose_dtype(network, "cpu") in ("float32", "bfloat16")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert weights_hash(weights_of(network)) == before


def test_network_shapes_are_read_and_refused_in_one_line() -> None:
    assert NetworkConfig.parse("128-2-4-512") == (128, 2, 4, 512)
    assert str(NetworkConfig()) == "256-6-8-1024"
    for text in ("256", "256-6-8", "a-b-c-d", "0-1-1-1", "256-6-7-1024", "-1-2-3-4"):
        with pytest.raises(ValueError, match="network"):
            NetworkConfig.parse(text)


def test_one_token_needs_no_queries_and_keys() -> None:
    """Outputs and gradients are those of torch's own layer; queries' and keys' are zero."""
    torch.manual_seed(1)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True).train()
    x = torch.randn(7, 32)
    parameters = list(layer.parameters())
    theirs, ours = layer(x.unsqueeze(1)).squeeze(1), encode_token(layer, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    weight = torch.randn(7, 32)
    expected = torch.autograd.grad((theirs * weight).sum(), parameters)
    gradients = torch.autograd.grad((ours * weight).sum(), parameters)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5)
    names = [name for name, _ in layer.named_parameters()]
    assert not gradients[names.index("self_attn.in_proj_weight")][:64].any()


def test_dropout_is_on_in_training_only() -> None:
    network = BlobNet(256, 32, 2, 4, 64, dropout=0.5)
    states = torch.rand(5, 256)
    network.train()
    assert not torch.equal(network(states)[0], network(states)[0])
    network.eval()
    assert torch.equal(network(states)[0], network(states)[0])
